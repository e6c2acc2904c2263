//! One call of a phone: its leg, its media, its script.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use media_bridge::{MediaCommand, MediaEvent, MediaHandle};
use media_core::{LegMedia, Side};
use sdp::{Agreement, Description, Direction, Local};
use sip_core::{Command, Ended, Header, LegEvent, LegId, Place, ReasonValue, Response, Transport};
use timebase::{Now, earliest};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::order::{OnRefer, Order, Script, TRANSFER_HEADER};
use super::phone::{Arrival, CallEvents, Phone};
use super::report::{CallEvent, Report, What};
use super::resolve::resolve;
use super::voice::{Recording, Voice};

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

/// The call that a REFER led to.
struct Returned {
    news: mpsc::Receiver<CallEvent>,
    call: JoinHandle<Report>,
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
        let line = Self::new(phone, leg, leg_events, order.script.clone(), events).await?;
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
    pub(super) async fn take(
        phone: Phone,
        arrival: Arrival,
        script: Script,
        events: CallEvents,
    ) -> Result<Self, String> {
        let Arrival {
            invitation,
            events: leg_events,
        } = arrival;
        let mut line = Self::new(phone, invitation.leg, leg_events, script, events).await?;
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
                    sdp,
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

    async fn new(
        phone: Phone,
        leg: LegId,
        leg_events: mpsc::Receiver<(LegId, LegEvent)>,
        script: Script,
        events: CallEvents,
    ) -> Result<Self, String> {
        let (media_sender, media_events) = mpsc::channel(MEDIA_EVENTS);
        let media = phone
            .media
            .open(media_sender)
            .await
            .map_err(|error| error.to_string())?;
        let rtp = media.address(Side::Caller).ok_or("no media address")?;
        let local = Local {
            address: rtp.ip(),
            port: rtp.port(),
            codecs: vec![sdp::Codec::Pcmu, sdp::Codec::Pcma],
            session_id: leg.0 + 1,
            version: 1,
            ptime_ms: PTIME_MS,
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
            Some(LegEvent::Ended { why }) => self.ended(why),
            Some(
                LegEvent::Confirmed { .. }
                | LegEvent::Cancelled { .. }
                | LegEvent::OfferAnswered { sdp: None }
                | LegEvent::Info { .. }
                | LegEvent::AllowsRefer(_)
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

    /// What the call that a REFER led to does is told to the one who referred (RFC 3515 §2.4.4).
    fn on_news(&mut self, news: CallEvent) {
        match &news.what {
            What::Progress(status) => self.notify(format!("SIP/2.0 {status} Ringing"), false),
            What::Answered => self.notify("SIP/2.0 200 OK".to_owned(), true),
            What::Refused(status, reason) => {
                self.notify(format!("SIP/2.0 {status} {reason}"), true)
            }
            What::Problem(_) => self.notify("SIP/2.0 503 Service Unavailable".to_owned(), true),
            What::Calling(_)
            | What::Arrived(_)
            | What::Key(_)
            | What::Held(_)
            | What::Referred(_)
            | What::PeerHungUp(_)
            | What::HungUp
            | What::Ended(_) => {}
        }
        forward(&self.events, news);
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

    fn answered(&mut self, answer: Option<&Bytes>) {
        let agreement = match answer {
            Some(answer) => self.agreement(answer),
            None => Err("the answer has no session description".to_owned()),
        };
        match agreement {
            Ok(agreement) => self.talk(agreement),
            Err(problem) => {
                self.problem(problem);
                self.hang_up();
            }
        }
    }

    /// The call stands: connect, say the piece, set the clocks.
    fn talk(&mut self, agreement: Agreement) {
        let now = self.phone.clock.now();
        self.report.answered = Some(now);
        self.tell(What::Answered);
        self.connect(agreement);
        let voice = Voice::new(&self.script, self.heard.clone());
        if self.media.attach(Box::new(voice)).is_err() {
            self.problem("the media loop is busy");
        }
        self.hold_at = self.script.hold_after.map(|after| now + after);
        self.hang_up_at = self.script.hangup_after.map(|after| now + after);
    }

    fn reoffered(&mut self, offer: Option<&Bytes>) {
        self.local.version += 1;
        let Some(offer) = offer else {
            self.direction = Direction::SendRecv;
            let sdp = sdp::offer(&self.local, self.direction);
            self.command(Command::Answer { sdp });
            return;
        };
        match self.answer_to(Some(offer)) {
            Ok((sdp, agreement)) => {
                self.command(Command::Answer { sdp });
                self.connect(agreement);
            }
            Err(problem) => {
                self.problem(problem);
                self.command(Command::RefuseOffer { status: 488 });
            }
        }
    }

    fn offer_answered(&mut self, answer: &Bytes) {
        match self.agreement(answer) {
            Ok(agreement) => self.connect(agreement),
            Err(problem) => self.problem(problem),
        }
    }

    fn referred(&mut self, uri: &Bytes) {
        let target = String::from_utf8_lossy(uri).into_owned();
        self.tell(What::Referred(target.clone()));
        self.report.referred.push(target.clone());
        self.command(Command::AnswerRefer { status: 202 });
        self.notify("SIP/2.0 100 Trying".to_owned(), false);
        match std::mem::take(&mut self.script.on_refer) {
            OnRefer::Pretend => {
                self.notify("SIP/2.0 180 Ringing".to_owned(), false);
                self.notify("SIP/2.0 200 OK".to_owned(), true);
            }
            OnRefer::Call(script) => self.returned = Some(self.follow(target, *script)),
        }
    }

    /// Calls the target of a REFER.
    fn follow(&self, to: String, script: Script) -> Returned {
        let (sender, news) = mpsc::channel(MEDIA_EVENTS);
        let order = Order {
            from: format!("sip:{}@{}", self.phone.name, host(self.local.address)),
            to,
            transport: Transport::Udp,
            transfer: None,
            credentials: None,
            script,
        };
        Returned {
            news,
            call: tokio::spawn(self.phone.call(order, sender)),
        }
    }

    fn notify(&mut self, fragment: String, terminated: bool) {
        self.notifications.push_back((fragment, terminated));
        self.notify_next();
    }

    /// One NOTIFY at a time, so that none overtakes another.
    fn notify_next(&mut self) {
        if self.notifying {
            return;
        }
        if let Some((fragment, terminated)) = self.notifications.pop_front() {
            self.notifying = true;
            self.command(Command::Notify {
                fragment,
                terminated,
            });
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

    fn answer_to(&self, offer: Option<&Bytes>) -> Result<(Bytes, Agreement), String> {
        let offer = offer.ok_or("an INVITE without an offer is not taken here")?;
        let offer = Description::parse(offer).map_err(|error| error.to_string())?;
        sdp::answer(&offer, &self.local).map_err(|why| why.to_string())
    }

    fn agreement(&self, answer: &Bytes) -> Result<Agreement, String> {
        let answer = Description::parse(answer).map_err(|error| error.to_string())?;
        sdp::accept(&self.local, self.direction, &answer).map_err(|why| why.to_string())
    }

    fn connect(&mut self, agreement: Agreement) {
        let media = LegMedia {
            remote: agreement.remote,
            codec: match agreement.codec {
                sdp::Codec::Pcmu => media_core::Codec::Pcmu,
                sdp::Codec::Pcma => media_core::Codec::Pcma,
            },
            payload_type: agreement.payload_type,
            dtmf: agreement.dtmf,
            ptime_ms: agreement.ptime_ms,
            send: agreement.direction.sends(),
            receive: agreement.direction.receives(),
        };
        if self
            .media
            .send(MediaCommand::Connect {
                side: Side::Caller,
                media,
            })
            .is_err()
        {
            self.problem("the media loop is busy");
        }
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
        max_forwards: MAX_FORWARDS,
        route: None,
        sources: vec![remote.ip()],
    }
}

/// News are for those who look; nobody waits for them.
fn forward(events: &CallEvents, event: CallEvent) {
    if events.try_send(event).is_err() {
        tracing::trace!("nobody takes the news of this call");
    }
}

async fn news_of(returned: &mut Option<Returned>) -> Option<CallEvent> {
    match returned {
        Some(returned) => returned.news.recv().await,
        None => None,
    }
}

/// Waits for the end of the call that a REFER led to.
async fn finish(mut returned: Returned, events: &CallEvents) -> Report {
    while let Some(news) = returned.news.recv().await {
        forward(events, news);
    }
    returned
        .call
        .await
        .unwrap_or_else(|error| Report::failed(error.to_string()))
}

async fn sleep_until(phone: &Phone, deadline: Option<Now>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(phone.clock.instant(at).into()).await,
        None => std::future::pending().await,
    }
}

/// An address as the host of a URI.
fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
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
