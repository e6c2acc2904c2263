//! A target of returned calls: it rings, answers, refuses, redirects, or rings for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call_control::TRANSFER_HEADER;
use sdp::Direction;
use sip_core::{
    Algorithm, Command, DigestUser, EndpointConfig, Header, Invitation, LegEvent, LegId, Response,
};
use sip_message::Uri;
use timebase::{Now, earliest};

use crate::agenda::Agenda;
use crate::dice::Dice;
use crate::gateway::USER;
use crate::host::{Host, HostEvent, Machine, trunk};
use crate::phone::Phone;
use crate::plan::{CallPlan, GATEWAY, GUARDED, GUARDED_REALM, RunPlan, TargetPlan};
use crate::voice::PTIME;

/// A target.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) host: Host,
    plans: Vec<CallPlan>,
    guests: BTreeMap<LegId, Guest>,
    agenda: Agenda<(LegId, Act)>,
    /// When it ends a call of itself, where the gateway's BYE or CANCEL may never come.
    rescue: Option<Duration>,
    config: EndpointConfig,
    /// What the next process is seeded with.
    seed: [u8; 32],
    sounds: bool,
}

#[derive(Debug)]
struct Guest {
    transfer: String,
    offer: Option<Bytes>,
    phone: Phone,
    talks: Duration,
    up: bool,
    speaks: bool,
    /// From its hold to its resumption, after the answer.
    hold: Option<(Duration, Duration)>,
}

#[derive(Debug)]
enum Act {
    Ring {
        early_media: bool,
    },
    Answer,
    Refuse(Response),
    HangUp,
    /// A re-INVITE with this direction.
    Turn(Direction),
    /// The next packet.
    Speak,
}

impl Machine for Target {
    fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    fn address(&self) -> SocketAddr {
        self.host.address
    }

    fn settle(&mut self, now: Now) {
        while let Some(event) = self.host.event() {
            match event {
                HostEvent::Invited(invitation) => self.invited(now, invitation),
                HostEvent::Leg(leg, event) => self.leg_event(now, leg, event),
            }
        }
    }

    fn restart(&mut self, _now: Now) {
        self.host.restart(self.config.clone(), self.seed);
        self.guests.clear();
        self.agenda.clear();
        self.seed[0] ^= 1;
    }

    fn poll_timeout(&self) -> Option<Now> {
        earliest(
            self.agenda.poll_timeout(),
            self.host.endpoint.poll_timeout(),
        )
    }

    fn handle_timeout(&mut self, now: Now) {
        match self.agenda.due(now) {
            Some((leg, act)) => self.act(now, leg, act),
            None => self.host.handle_timeout(now),
        }
        self.settle(now);
    }
}

impl Target {
    pub(crate) fn new(address: SocketAddr, plan: &RunPlan, dice: &mut Dice) -> Self {
        let mut rule = trunk(&[GATEWAY]);
        if address == GUARDED {
            rule.require_all = true;
            rule.digest = Some(DigestUser {
                username: USER.0.to_owned(),
                password: USER.1.to_owned().into(),
                algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            });
        }
        let mut config = EndpointConfig {
            trunks: vec![rule],
            realm: GUARDED_REALM.to_owned(),
            user_agent: "target".to_owned(),
            ..EndpointConfig::default()
        };
        if let Some([_, _, interval]) = plan.intervals {
            config.session_expires = interval;
        }
        Self {
            host: Host::new(address, config.clone(), dice.seed()),
            config,
            seed: dice.seed(),
            plans: plan.transfers.clone(),
            guests: BTreeMap::new(),
            agenda: Agenda::default(),
            sounds: plan.sounds,
            rescue: plan.loses_ends().then(|| plan.rescue()),
        }
    }

    /// Every call ends at this instant.
    pub(crate) fn hang_up(&mut self, at: Now) {
        for leg in self.guests.keys() {
            self.agenda.add(at, (*leg, Act::HangUp));
        }
    }

    /// The transfers whose targets can be heard.
    pub(crate) fn audible(&self) -> BTreeSet<String> {
        let heard = self.guests.values().filter(|guest| guest.up);
        heard.map(|guest| guest.transfer.clone()).collect()
    }

    fn invited(&mut self, now: Now, invitation: Box<Invitation>) {
        let headers = &invitation.caller.x_headers;
        let id = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(TRANSFER_HEADER))
            .map(|(_, value)| value.clone())
            .unwrap_or_default();
        let Some(plan) = self.plans.iter().find(|plan| plan.transfer == id) else {
            return self.host.refuse(now, invitation, Response::new(404));
        };
        // Where the caller holds, so does the target, and some holds meet.
        let hold = plan.caller.hold.map(|(from, long)| (from / 8, long / 4));
        let (plan, leg) = (plan.target, invitation.leg);
        let again = was_redirected(&invitation);
        if let Some(rescue) = self.rescue {
            self.agenda.add(now + rescue, (leg, Act::HangUp));
        }
        let guest = Guest {
            transfer: id,
            offer: invitation.offer.clone(),
            phone: Phone::new(self.host.address, leg.0),
            talks: Duration::from_secs(2),
            up: false,
            speaks: false,
            hold,
        };
        self.guests.insert(leg, guest);
        self.host.admit(now, invitation);
        self.intend(now, leg, plan, again);
    }

    fn intend(&mut self, now: Now, leg: LegId, plan: TargetPlan, again: bool) {
        let soon = now + Duration::from_millis(20);
        let ring = Act::Ring { early_media: false };
        match plan {
            TargetPlan::Answers {
                early_media,
                rings,
                talks,
                ..
            } => {
                self.agenda.add(soon, (leg, Act::Ring { early_media }));
                self.agenda.add(soon + rings, (leg, Act::Answer));
                if let Some(guest) = self.guests.get_mut(&leg) {
                    guest.talks = talks;
                }
            }
            TargetPlan::Redirects(_) if again => self.agenda.add(soon, (leg, Act::Answer)),
            TargetPlan::Redirects(after) => {
                let contact = format!("<sip:again@{}>", self.host.address);
                let response = Response::new(302).with_header("Contact", contact);
                self.agenda.add(now + after, (leg, Act::Refuse(response)));
            }
            TargetPlan::Refuses(status, after) => {
                self.agenda.add(soon, (leg, ring));
                let refuse = Act::Refuse(Response::new(status));
                self.agenda.add(soon + after, (leg, refuse));
            }
            TargetPlan::RingsForEver => self.agenda.add(soon, (leg, ring)),
            TargetPlan::SecondAddress
            | TargetPlan::NotThere
            | TargetPlan::Unresolved
            | TargetPlan::Forks
            | TargetPlan::Unruly => {
                self.agenda.add(soon, (leg, Act::Answer));
            }
        }
    }

    fn act(&mut self, now: Now, leg: LegId, act: Act) {
        let Some(guest) = self.guests.get_mut(&leg) else {
            return;
        };
        if let Act::Speak = act {
            let datagram = guest.phone.speak();
            self.agenda.add(now + PTIME, (leg, Act::Speak));
            return datagram.map_or((), |datagram| self.host.speak(datagram));
        }
        if let Act::Turn(direction) = act {
            let sdp = guest.phone.reoffer(direction);
            return self.host.command(now, leg, Command::Reoffer { sdp });
        }
        let speaks = self.sounds && matches!(act, Act::Ring { early_media: true } | Act::Answer);
        if speaks && !std::mem::replace(&mut guest.speaks, true) {
            self.agenda.add(now + PTIME, (leg, Act::Speak));
        }
        let answer = guest.phone.answer(guest.offer.as_ref());
        let command = match (act, answer) {
            (Act::Ring { early_media: true }, Some(answer)) => Command::Ring {
                status: 183,
                sdp: Some(answer),
            },
            (Act::Ring { .. }, _) => Command::Ring {
                status: 180,
                sdp: None,
            },
            (Act::Answer, Some(sdp)) => Command::Accept {
                sdp: Some(sdp),
                headers: Vec::new(),
            },
            (Act::Answer, None) => Command::Refuse(Response::new(488)),
            (Act::Refuse(response), _) => Command::Refuse(response),
            (Act::Speak | Act::Turn(_), _) => return,
            (Act::HangUp, _) => Command::HangUp {
                headers: vec![Header::new("Reason", "Q.850;cause=16;text=\"bye\"")],
            },
        };
        self.host.command(now, leg, command);
    }

    fn leg_event(&mut self, now: Now, leg: LegId, event: LegEvent) {
        let Some(guest) = self.guests.get_mut(&leg) else {
            return;
        };
        match event {
            LegEvent::Confirmed { .. } => {
                guest.up = true;
                let at = now + guest.talks;
                self.agenda.add(at, (leg, Act::HangUp));
                if let Some((from, long)) = guest.hold {
                    let turn = |direction| (leg, Act::Turn(direction));
                    self.agenda.add(now + from, turn(Direction::SendOnly));
                    self.agenda
                        .add(now + from + long, turn(Direction::SendRecv));
                }
            }
            LegEvent::Reoffered { sdp } => {
                let command = match guest.phone.answer(sdp.as_ref()) {
                    Some(sdp) => Command::Answer { sdp },
                    None => Command::RefuseOffer { status: 488 },
                };
                self.host.command(now, leg, command);
            }
            LegEvent::OfferAnswered { sdp } => guest.phone.accept(sdp.as_ref()),
            LegEvent::Ended { .. } => {
                self.guests.remove(&leg);
            }
            LegEvent::HungUp { .. } => guest.up = false,
            LegEvent::Referred { .. } => {
                self.host
                    .command(now, leg, Command::AnswerRefer { status: 603 });
            }
            LegEvent::Cancelled { .. } => {
                let refusal = Command::Refuse(Response::new(487));
                self.host.command(now, leg, refusal);
            }
            LegEvent::NoPrack => {
                let refusal = Command::Refuse(Response::new(504));
                self.host.command(now, leg, refusal);
            }
            LegEvent::Progress { .. }
            | LegEvent::Answered { .. }
            | LegEvent::Refused { .. }
            | LegEvent::OfferRefused { .. }
            | LegEvent::ReofferCancelled
            | LegEvent::Pressed { .. }
            | LegEvent::AllowsRefer(_)
            | LegEvent::Locate { .. }
            | LegEvent::ReferAnswered { .. }
            | LegEvent::Notified { .. }
            | LegEvent::NotifyAnswered { .. } => {}
        }
    }
}

/// Whether the INVITE is the one that a redirection asked for.
fn was_redirected(invitation: &Invitation) -> bool {
    let uri = invitation
        .request
        .request_uri()
        .and_then(|uri| Uri::parse(uri).ok());
    uri.is_some_and(|uri| uri.user() == Some(b"again"))
}
