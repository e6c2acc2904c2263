//! One call of a phone: its leg, its media, its script.

mod referred;
mod session;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use media_bridge::{MediaEvent, MediaHandle};
use media_core::Side;
use sdp::{Direction, Local};
use sip_core::{Command, Ended, Header, LegEvent, LegId, Place, ReasonValue, Response, Transport};
use timebase::{Now, earliest};
use tokio::sync::mpsc;

use super::order::{Order, Script, TRANSFER_HEADER};
use super::phone::{Arrival, CallEvents, Phone};
use super::report::{CallEvent, Report, What};
use super::resolve::resolve;
use super::voice::Recording;
use referred::{Returned, finish, news_of};

const PTIME_MS: u16 = 20;
const MAX_FORWARDS: u8 = 70;
/// How long a hold lasts.
const HOLD: Duration = Duration::from_secs(1);
/// Media events that may wait.
const MEDIA_EVENTS: usize = 64;

/// A call that stands or is about to.
pub(super) struct Line {
    phone: Phone,
    leg: LegId,
    script: Script,
    media: MediaHandle,
    leg_events: mpsc::Receiver<(LegId, LegEvent)>,
    media_events: mpsc::Receiver<MediaEvent>,
    events: CallEvents,
    /// What our session descriptions say.
    local: Local,
    /// The direction that we last asked for.
    direction: Direction,
    /// When hold begins or ends.
    hold_at: Option<Now>,
    hang_up_at: Option<Now>,
    heard: Recording,
    /// NOTIFYs that wait for the one before them to be answered.
    notifications: VecDeque<(String, bool)>,
    notifying: bool,
    returned: Option<Returned>,
    over: bool,
    report: Report,
}

impl Line {
    /// Sends the INVITE.
    pub(super) async fn place(
        phone: Phone,
        order: Order,
        events: CallEvents,
    ) -> Result<Self, String> {
        let (transport, remote) = resolve(&order.to, order.transport)
            .await
            .map_err(|error| error.to_string())?;
        let (leg_sender, leg_events) = Phone::leg_channel();
        let leg = phone.sip.new_leg();
        let line = Self::new(phone, leg, leg_events, order.script.clone(), events)?;
        let offer = sdp::offer(&line.local, Direction::SendRecv);
        let place = invite(&line.phone, leg, (transport, remote), &order, offer);
        line.tell(What::Calling(order.to));
        line.phone
            .sip
            .place(place, leg_sender)
            .await
            .map_err(|error| error.to_string())?;
        Ok(line)
    }

    /// Rings and answers.
    pub(super) fn take(
        phone: Phone,
        arrival: Arrival,
        script: Script,
        events: CallEvents,
    ) -> Result<Self, String> {
        let Arrival {
            invitation,
            events: leg_events,
        } = arrival;
        let mut line = Self::new(phone, invitation.leg, leg_events, script, events)?;
        line.tell(What::Arrived(
            String::from_utf8_lossy(&invitation.caller.from_uri).into_owned(),
        ));
        line.command(Command::Ring {
            status: 180,
            sdp: None,
        });
        match line.answer_to(invitation.offer.as_ref()) {
            Ok((sdp, agreement)) => {
                line.command(Command::Accept {
                    sdp: Some(sdp),
                    headers: Vec::new(),
                });
                line.talk(agreement);
            }
            Err(problem) => {
                line.problem(problem);
                line.command(Command::Refuse(Response::new(488)));
            }
        }
        Ok(line)
    }

    fn new(
        phone: Phone,
        leg: LegId,
        leg_events: mpsc::Receiver<(LegId, LegEvent)>,
        script: Script,
        events: CallEvents,
    ) -> Result<Self, String> {
        let (media_sender, media_events) = mpsc::channel(MEDIA_EVENTS);
        let media = phone
            .media
            .open(None, media_sender)
            .map_err(|error| error.to_string())?;
        let rtp = media.address(Side::Caller).ok_or("no media address")?;
        let local = Local {
            address: rtp.ip(),
            port: rtp.port(),
            codecs: vec![sdp::Codec::Pcmu, sdp::Codec::Pcma],
            session_id: leg.0 + 1,
            version: 1,
            ptime_ms: PTIME_MS,
            keys: script.srtp.then(keys),
        };
        Ok(Self {
            phone,
            leg,
            script,
            media,
            leg_events,
            media_events,
            events,
            local,
            direction: Direction::SendRecv,
            hold_at: None,
            hang_up_at: None,
            heard: Recording::default(),
            notifications: VecDeque::new(),
            notifying: false,
            returned: None,
            over: false,
            report: Report::default(),
        })
    }

    /// Stays with the call to its end, and with the call that a REFER led to.
    pub(super) async fn run(mut self) -> Report {
        let mut stopped = self.phone.stopped();
        let mut stopping = false;
        while !self.over {
            let deadline = earliest(self.hold_at, self.hang_up_at);
            tokio::select! {
                event = self.leg_events.recv() => self.on_leg(event.map(|(_, event)| event)),
                Some(event) = self.media_events.recv() => self.on_media(&event),
                Some(news) = news_of(&mut self.returned) => self.on_news(news),
                () = sleep_until(&self.phone, deadline) => self.on_time(),
                _ = stopped.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    self.hang_up();
                }
            }
        }
        if let Some(returned) = self.returned.take() {
            let report = finish(returned, &self.events).await;
            self.report.returned = Some(Box::new(report));
        }
        self.report.heard = self.heard.take();
        self.report
    }

    fn on_leg(&mut self, event: Option<LegEvent>) {
        match event {
            None => self.over = true,
            Some(LegEvent::Progress { status, .. }) => self.tell(What::Progress(status)),
            Some(LegEvent::Answered { sdp, .. }) => self.answered(sdp.as_ref()),
            Some(LegEvent::Refused { status, reason, .. }) => {
                self.tell(What::Refused(status, reason.clone()));
                self.report.refused = Some((status, reason));
            }
            Some(LegEvent::Reoffered { sdp }) => self.reoffered(sdp.as_ref()),
            Some(LegEvent::OfferAnswered { sdp: Some(answer) }) => self.offer_answered(&answer),
            Some(LegEvent::OfferRefused { status }) => {
                self.problem(format!("our re-INVITE was refused: {status}"))
            }
            Some(LegEvent::Referred { uri, .. }) => self.referred(&uri),
            Some(LegEvent::NotifyAnswered { .. }) => {
                self.notifying = false;
                self.notify_next();
            }
            Some(LegEvent::HungUp { reasons }) => {
                self.tell(What::PeerHungUp(reasons.iter().map(reason_text).collect()));
                self.report.peer_hung_up = Some(reasons);
            }
            Some(LegEvent::Cancelled { .. }) => self.command(Command::Refuse(Response::new(487))),
            Some(LegEvent::NoPrack) => self.command(Command::Refuse(Response::new(504))),
            Some(LegEvent::Ended { why }) => self.ended(why),
            Some(
                LegEvent::Confirmed { .. }
                | LegEvent::ReofferCancelled
                | LegEvent::OfferAnswered { sdp: None }
                | LegEvent::Pressed { .. }
                | LegEvent::AllowsRefer(_)
                | LegEvent::Locate { .. }
                | LegEvent::ReferAnswered { .. }
                | LegEvent::Notified { .. },
            ) => {}
        }
    }

    fn on_media(&mut self, event: &MediaEvent) {
        match event {
            MediaEvent::Dtmf { digit, .. } => {
                self.report.keys.push(*digit);
                self.tell(What::Key(*digit));
            }
            MediaEvent::Lost(events) => self.problem(format!("{events} media events were lost")),
            MediaEvent::Agent(_)
            | MediaEvent::MediaTimeout(_)
            | MediaEvent::Drained
            | MediaEvent::FirstPacket(_) => {}
        }
    }

    fn on_time(&mut self) {
        let now = self.phone.clock.now();
        if self.hang_up_at.is_some_and(|at| at <= now) {
            self.hang_up();
        }
        if self.hold_at.is_some_and(|at| at <= now) {
            let holding = self.direction == Direction::SendRecv;
            self.direction = if holding {
                Direction::SendOnly
            } else {
                Direction::SendRecv
            };
            self.hold_at = holding.then(|| now + HOLD);
            self.local.version += 1;
            self.command(Command::Reoffer {
                sdp: sdp::offer(&self.local, self.direction),
            });
            self.tell(What::Held(holding));
        }
    }

    fn ended(&mut self, why: Ended) {
        self.tell(What::Ended(why));
        self.report.ended = Some(why);
        self.over = true;
    }

    fn hang_up(&mut self) {
        self.hang_up_at = None;
        self.hold_at = None;
        if self.report.peer_hung_up.is_none() {
            self.tell(What::HungUp);
        }
        self.command(Command::HangUp {
            headers: Vec::new(),
        });
    }

    fn command(&mut self, command: Command) {
        if let Err(error) = self.phone.sip.command(self.leg, command) {
            self.problem(error.to_string());
            self.over = true;
        }
    }

    fn problem(&mut self, problem: impl Into<String>) {
        let problem = problem.into();
        self.tell(What::Problem(problem.clone()));
        self.report.problems.push(problem);
    }

    fn tell(&self, what: What) {
        forward(
            &self.events,
            CallEvent {
                at: self.phone.clock.now(),
                party: self.phone.name,
                what,
            },
        );
    }
}

fn invite(
    phone: &Phone,
    leg: LegId,
    next: (Transport, std::net::SocketAddr),
    order: &Order,
    offer: Bytes,
) -> Place {
    let (transport, remote) = next;
    let transfer = order
        .transfer
        .iter()
        .map(|id| Header::new(TRANSFER_HEADER, id.clone()));
    Place {
        leg,
        flow: phone.sip.flow_to(transport, remote),
        uri: Bytes::from(order.to.clone()),
        from: Bytes::from(format!("<{}>", order.from)),
        to: Bytes::from(format!("<{}>", order.to)),
        headers: transfer.collect(),
        sdp: Some(offer),
        credentials: order.credentials.clone(),
        trunk: None,
        max_forwards: MAX_FORWARDS,
        route: None,
        sources: vec![remote.ip()],
        patience: None,
    }
}

/// News are for those who look; nobody waits for them.
fn forward(events: &CallEvents, event: CallEvent) {
    if events.try_send(event).is_err() {
        tracing::trace!("nobody takes the news of this call");
    }
}

async fn sleep_until(phone: &Phone, deadline: Option<Now>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(phone.clock.instant(at).into()).await,
        None => std::future::pending().await,
    }
}

/// A Reason value as a person reads it.
fn reason_text(reason: &ReasonValue) -> String {
    let cause = reason
        .cause
        .map_or_else(String::new, |cause| format!(" {cause}"));
    let text = reason
        .text
        .as_ref()
        .map_or_else(String::new, |text| format!(" {text}"));
    format!("{}{cause}{text}", reason.protocol)
}

/// Keys of SRTP that nobody can guess.
fn keys() -> sdp::Keys {
    let mut material = [0; sdp::Keys::MATERIAL];
    rand::fill(&mut material);
    sdp::Keys::new(true, &material)
}
