//! The SBC: it calls the gateway with a transfer's id, takes REFER, holds, cancels and hangs up.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call_control::TRANSFER_HEADER;
use sdp::Direction;
use sip_core::{Command, EndpointConfig, Header, LegEvent, LegId, Place, Response};
use timebase::{Now, earliest};

use crate::agenda::Agenda;
use crate::dice::Dice;
use crate::host::{Host, HostEvent, Machine, trunk};
use crate::phone::Phone;
use crate::plan::{CallPlan, CallerPlan, GATEWAY, ReferPlan, RunPlan, SBC};
use crate::voice::PTIME;

/// How long the SBC waits for an answer.
const RING_TIMEOUT: Duration = Duration::from_secs(60);

/// The SBC.
#[derive(Debug)]
pub(crate) struct Sbc {
    pub(crate) host: Host,
    lines: Vec<Line>,
    agenda: Agenda<(usize, Act)>,
    dice: Dice,
    dies: Option<Now>,
    /// When it ends a call of itself, where the gateway's BYE may never come.
    rescue: Option<Duration>,
    config: EndpointConfig,
    sounds: bool,
    pub(crate) dead: bool,
}

/// One call of the SBC's.
#[derive(Debug)]
struct Line {
    transfer: String,
    caller: CallerPlan,
    refer: ReferPlan,
    phone: Phone,
    up: bool,
    answered: bool,
    /// NOTIFYs still to be sent; each waits for the answer to the one before.
    notifications: VecDeque<Notification>,
}

#[derive(Clone, Copy, Debug)]
struct Notification {
    status: u16,
    last: bool,
    after: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Place,
    /// Nobody has answered for too long.
    GiveUp,
    HangUp,
    Hold,
    Resume,
    AnswerRefer,
    Notify(Notification),
    /// The next packet.
    Speak,
}

impl Machine for Sbc {
    fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    fn address(&self) -> SocketAddr {
        self.host.address
    }

    fn settle(&mut self, now: Now) {
        while let Some(event) = self.host.event() {
            match event {
                HostEvent::Invited(invitation) => {
                    self.host.refuse(now, invitation, Response::new(404));
                }
                HostEvent::Leg(leg, event) => self.leg_event(now, number_of(leg), event),
            }
        }
    }

    fn restart(&mut self, _now: Now) {
        self.forget();
    }

    fn poll_timeout(&self) -> Option<Now> {
        if self.dead {
            return None;
        }
        let own = earliest(self.agenda.poll_timeout(), self.dies);
        earliest(own, self.host.endpoint.poll_timeout())
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.dies.is_some_and(|at| at <= now) {
            self.dead = true;
            self.agenda.clear();
            return self.host.note("the SBC dies");
        }
        match self.agenda.due(now) {
            Some((line, act)) => self.act(now, line, act),
            None => self.host.handle_timeout(now),
        }
        self.settle(now);
    }
}

impl Sbc {
    /// Calls to come are made; those that were are not known any more.
    fn forget(&mut self) {
        let seed = self.dice.seed();
        self.host.restart(self.config.clone(), seed);
        self.agenda.retain(|(_, act)| matches!(act, Act::Place));
        self.lines.iter_mut().for_each(|line| line.up = false);
    }

    pub(crate) fn new(plan: &RunPlan, dice: &mut Dice) -> Self {
        let mut config = EndpointConfig {
            trunks: vec![trunk(&[GATEWAY])],
            user_agent: "sbc".to_owned(),
            ..EndpointConfig::default()
        };
        if let Some([_, interval, _]) = plan.intervals {
            config.session_expires = interval;
        }
        let mut sbc = Self {
            host: Host::new(SBC, config.clone(), dice.seed()),
            config,
            lines: Vec::new(),
            agenda: Agenda::default(),
            dice: dice.fork(),
            dies: plan.sbc_dies.map(Now),
            sounds: plan.sounds,
            rescue: plan.loses_ends().then(|| plan.rescue()),
            dead: false,
        };
        for transfer in plan.transfers.iter().filter(|plan| !plan.caller.rough) {
            sbc.add(transfer, transfer.caller.clone());
        }
        for (index, caller) in &plan.again {
            if let Some(transfer) = plan.transfers.get(*index) {
                sbc.add(transfer, caller.clone());
            }
        }
        sbc
    }

    fn add(&mut self, plan: &CallPlan, caller: CallerPlan) {
        let number = self.lines.len();
        self.agenda.add(Now(caller.start), (number, Act::Place));
        self.lines.push(Line {
            transfer: plan.transfer.clone(),
            caller,
            refer: plan.refer,
            phone: Phone::new(SBC, number as u64),
            up: false,
            answered: false,
            notifications: VecDeque::new(),
        });
    }

    /// Its first call ends at this instant.
    pub(crate) fn hang_up(&mut self, at: Now) {
        self.agenda.add(at, (0, Act::HangUp));
    }

    /// The transfers whose callers can be heard.
    pub(crate) fn audible(&self) -> BTreeSet<String> {
        let heard = self.lines.iter().filter(|line| line.up && !self.dead);
        heard.map(|line| line.transfer.clone()).collect()
    }

    fn act(&mut self, now: Now, number: usize, act: Act) {
        let leg = leg_of(number);
        let line = &mut self.lines[number];
        match act {
            Act::Place => self.place(now, number),
            Act::GiveUp if line.answered => {}
            Act::GiveUp | Act::HangUp => {
                let headers = vec![Header::new("Reason", "Q.850;cause=16;text=\"bye\"")];
                self.host.command(now, leg, Command::HangUp { headers });
            }
            Act::Hold => {
                let sdp = line.phone.reoffer(Direction::SendOnly);
                self.host.command(now, leg, Command::Reoffer { sdp });
            }
            Act::Resume => {
                let sdp = line.phone.reoffer(Direction::SendRecv);
                self.host.command(now, leg, Command::Reoffer { sdp });
            }
            Act::AnswerRefer => self.answer_refer(now, number),
            Act::Notify(notification) => self.notify(now, number, notification),
            Act::Speak => self.speak(now, number),
        }
    }

    fn place(&mut self, now: Now, number: usize) {
        let line = &self.lines[number];
        let headers = vec![
            Header::new(TRANSFER_HEADER, line.transfer.clone()),
            Header::new("P-Asserted-Identity", "<sip:+15551234@sbc.example.com>"),
        ];
        let place = Place {
            leg: leg_of(number),
            flow: self.host.flow_to(GATEWAY, line.caller.transport),
            uri: Bytes::from(format!("sip:agent@{GATEWAY}")),
            from: Bytes::from_static(b"\"Ann\" <sip:+15551234@sbc.example.com>"),
            to: Bytes::from(format!("<sip:agent@{GATEWAY}>")),
            headers,
            sdp: (!line.caller.late_offer).then(|| line.phone.offer()),
            credentials: None,
            trunk: None,
            max_forwards: 70,
            route: None,
            sources: Vec::new(),
            patience: None,
        };
        self.agenda.add(now + RING_TIMEOUT, (number, Act::GiveUp));
        if let Some(rescue) = self.rescue {
            self.agenda.add(now + rescue, (number, Act::HangUp));
        }
        if let Some(after) = line.caller.hang_up {
            self.agenda.add(now + after, (number, Act::HangUp));
        }
        self.host.place(now, place);
    }

    fn leg_event(&mut self, now: Now, number: usize, event: LegEvent) {
        let leg = leg_of(number);
        let Some(line) = self.lines.get_mut(number) else {
            return;
        };
        match event {
            LegEvent::Answered { sdp, .. } => self.answered(now, number, sdp.as_ref()),
            LegEvent::Reoffered { sdp } => {
                let command = match line.phone.answer(sdp.as_ref()) {
                    Some(sdp) => Command::Answer { sdp },
                    None => Command::RefuseOffer { status: 488 },
                };
                self.host.command(now, leg, command);
            }
            LegEvent::Referred { .. } => {
                let at = now + self.dice.millis(1, 200);
                self.agenda.add(at, (number, Act::AnswerRefer));
            }
            LegEvent::OfferAnswered { sdp } => line.phone.accept(sdp.as_ref()),
            LegEvent::NotifyAnswered { .. } => self.notify_next(now, number),
            LegEvent::HungUp { .. } | LegEvent::Ended { .. } => line.up = false,
            LegEvent::Confirmed { .. }
            | LegEvent::Cancelled { .. }
            | LegEvent::NoPrack
            | LegEvent::Progress { .. }
            | LegEvent::Refused { .. }
            | LegEvent::OfferRefused { .. }
            | LegEvent::ReofferCancelled
            | LegEvent::Pressed { .. }
            | LegEvent::AllowsRefer(_)
            | LegEvent::Locate { .. }
            | LegEvent::ReferAnswered { .. }
            | LegEvent::Notified { .. } => {}
        }
    }

    fn answered(&mut self, now: Now, number: usize, offer: Option<&Bytes>) {
        let line = &mut self.lines[number];
        line.up = true;
        line.answered = true;
        if self.sounds {
            self.agenda.add(now, (number, Act::Speak));
        }
        if !line.caller.late_offer {
            line.phone.accept(offer);
        } else {
            let command = match line.phone.answer(offer) {
                Some(sdp) => Command::Answer { sdp },
                None => Command::HangUp {
                    headers: Vec::new(),
                },
            };
            self.host.command(now, leg_of(number), command);
        }
        if let Some((from, long)) = self.lines[number].caller.hold {
            self.agenda.add(now + from, (number, Act::Hold));
            self.agenda.add(now + from + long, (number, Act::Resume));
        }
    }

    fn speak(&mut self, now: Now, number: usize) {
        let line = &mut self.lines[number];
        if !line.up {
            return;
        }
        if let Some(datagram) = line.phone.speak() {
            self.host.speak(datagram);
        }
        self.agenda.add(now + PTIME, (number, Act::Speak));
    }

    fn answer_refer(&mut self, now: Now, number: usize) {
        let line = &mut self.lines[number];
        let status = match line.refer {
            ReferPlan::Refuses(status) => status,
            ReferPlan::Succeeds { .. }
            | ReferPlan::Fails(_)
            | ReferPlan::FallsSilent
            | ReferPlan::HangsUp => 202,
        };
        let notify = |status, last, after| Notification {
            status,
            last,
            after: Duration::from_millis(after),
        };
        let trying = notify(100, false, 5);
        let ringing = notify(180, false, 300);
        line.notifications = match line.refer {
            ReferPlan::Succeeds { .. } => [trying, ringing, notify(200, true, 1_200)].into(),
            ReferPlan::Fails(status) => [trying, ringing, notify(status, true, 900)].into(),
            ReferPlan::FallsSilent => [trying].into(),
            ReferPlan::Refuses(_) | ReferPlan::HangsUp => VecDeque::new(),
        };
        if let ReferPlan::HangsUp = line.refer {
            let at = now + self.dice.millis(1, 500);
            self.agenda.add(at, (number, Act::HangUp));
        }
        let leg = leg_of(number);
        self.host.command(now, leg, Command::AnswerRefer { status });
        self.notify_next(now, number);
    }

    fn notify_next(&mut self, now: Now, number: usize) {
        let line = &mut self.lines[number];
        if let Some(next) = line.notifications.pop_front() {
            let at = now + next.after;
            self.agenda.add(at, (number, Act::Notify(next)));
        }
    }

    fn notify(&mut self, now: Now, number: usize, notification: Notification) {
        let reason = match notification.status {
            100 => "Trying",
            180 => "Ringing",
            200 => "OK",
            _ => "Failed",
        };
        let fragment = format!("SIP/2.0 {} {reason}", notification.status);
        let terminated = notification.last;
        let command = Command::Notify {
            fragment,
            terminated,
        };
        self.host.command(now, leg_of(number), command);
        if let (true, ReferPlan::Succeeds { bye: Some(after) }) =
            (terminated, self.lines[number].refer)
        {
            self.agenda.add(now + after, (number, Act::HangUp));
        }
    }
}

const fn leg_of(number: usize) -> LegId {
    LegId(number as u64 * 2 + 1)
}

const fn number_of(leg: LegId) -> usize {
    (leg.0 / 2) as usize
}
