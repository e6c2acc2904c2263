//! The planes around a call: media that only counts ports, an agent that follows its plan, and names.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call_control::transfer::{Checkpoint, OutputContext, TransferType, Variables};
use call_control::{AgentPhase, AgentRequest, AgentSaid, Hop, Input, MediaRequest, MediaSaid};
use media_core::Side;
use sip_core::{LegId, Transport};
use sip_message::Uri;
use timebase::Now;

use super::media::Sounding;
use super::{Due, Gateway};
use crate::host::Fact;
use crate::plan::{AgentThen, Connects, NOBODY, TargetPlan};

/// How long news of an agent still comes after its link was told to close.
const LAST_WORDS: Duration = Duration::from_millis(10);
/// How long a connection attempt to a lost agent takes at most.
const RECONNECT: Duration = Duration::from_secs(5);

/// The range of media ports.
#[derive(Debug)]
pub(super) struct Ports {
    free: BTreeSet<u16>,
    all: usize,
}

impl Ports {
    pub(super) fn new(count: u16) -> Self {
        let free: BTreeSet<u16> = (0..count).map(|n| 20_000 + 2 * n).collect();
        let all = free.len();
        Self { free, all }
    }

    pub(super) fn in_use(&self) -> usize {
        self.all - self.free.len()
    }
}

/// One call's media.
#[derive(Debug, Default)]
pub(super) struct Media {
    pub(super) caller: Option<u16>,
    pub(super) target: Option<u16>,
    closed: bool,
    bridged: bool,
    watch: Option<Duration>,
    watches: u32,
    /// Real packets, where the run has them.
    pub(super) sounding: Option<Sounding>,
}

/// One call's agent.
#[derive(Debug, Default)]
pub(super) struct Agent {
    /// Rises with every link that is opened.
    link: u32,
    attached: u32,
    stopped: Option<Now>,
    /// Its link closed by itself, and it was not called back since.
    gone: bool,
}

impl Gateway {
    pub(super) fn media_request(&mut self, now: Now, seat: usize, request: &MediaRequest) {
        let sounds = self.seats[seat].media.sounding.is_some();
        let media = &mut self.seats[seat].media;
        match request {
            MediaRequest::Drain if sounds => {}
            MediaRequest::Open { side } => {
                let at = now + self.dice.millis(1, 20);
                self.agenda.add(at, Due::Port(seat, *side));
            }
            MediaRequest::Close => {
                media.closed = true;
                let ports = [media.caller.take(), media.target.take()];
                self.ports.free.extend(ports.into_iter().flatten());
            }
            MediaRequest::Drain => {
                let at = now + self.dice.millis(0, 3_000);
                let drained = Box::new(Input::Media(MediaSaid::Drained));
                self.agenda.add(at, Due::Tell(seat, drained));
            }
            MediaRequest::Watch(limit) => {
                media.watch = *limit;
                media.watches += 1;
                let watches = media.watches;
                if let Some(limit) = limit {
                    self.agenda.add(now + *limit, Due::Listen(seat, watches));
                }
            }
            MediaRequest::Bridge(on) => media.bridged = *on,
            MediaRequest::Ask => {
                let heard = self.hears_caller(now, seat).unwrap_or(true);
                let heard = Box::new(Input::Media(MediaSaid::Heard(heard)));
                self.agenda
                    .add(now + self.dice.millis(1, 1_000), Due::Tell(seat, heard));
            }
            MediaRequest::Connect { .. }
            | MediaRequest::Disconnect { .. }
            | MediaRequest::Clear
            | MediaRequest::Pressed { .. }
            | MediaRequest::Comfort
            | MediaRequest::Tone(_) => {}
        }
        self.sound(now, seat, request);
    }

    pub(super) fn open_port(&mut self, now: Now, seat: usize, side: Side) {
        let media = &mut self.seats[seat].media;
        if media.closed && !self.late_ports {
            return;
        }
        let kept = match side {
            Side::Caller => &mut media.caller,
            Side::Target => &mut media.target,
        };
        if kept.is_none() && !media.closed {
            *kept = self.ports.free.pop_first();
        }
        if side == Side::Caller && kept.is_some() && self.sounds {
            media.sounding = Some(Sounding::new(now, self.dice.roll()));
        }
        let said = match *kept {
            Some(port) => {
                let address = SocketAddr::new(self.host.address.ip(), port);
                MediaSaid::Opened { side, address }
            }
            None => MediaSaid::NoPort { side },
        };
        self.feed(now, seat, Input::Media(said));
    }

    /// Silence is told once; where there was media, the watch goes on.
    pub(super) fn listen(&mut self, now: Now, seat: usize, watch: u32) {
        let id = &self.plan(seat).transfer;
        let caller = self.audible.callers.contains(id);
        let target = self.audible.targets.contains(id);
        let media = &self.seats[seat].media;
        let Some(limit) = media
            .watch
            .filter(|_| media.watches == watch && !media.closed)
        else {
            return;
        };
        let again = match self.quiet_since(seat) {
            Some(since) => Some(since + limit).filter(|at| *at > now),
            None => (caller && (target || !media.bridged)).then_some(now + limit),
        };
        if let Some(again) = again {
            self.agenda.add(again, Due::Listen(seat, watch));
        } else {
            self.host.note("no media");
            let side = if caller { Side::Target } else { Side::Caller };
            self.feed(now, seat, Input::Media(MediaSaid::Silent { side }));
        }
    }

    pub(super) fn agent_request(&mut self, now: Now, seat: usize, request: AgentRequest) {
        match request {
            AgentRequest::Connect { resume, .. } => self.connect_agent(now, seat, resume.as_ref()),
            AgentRequest::Attach => self.attach_agent(now, seat),
            AgentRequest::Completed { error: None, .. } => {
                self.host.tell(Fact::Completion { seat });
            }
            AgentRequest::Completed {
                error: Some(_), id, ..
            } => {
                if id.as_deref() == Some("stammered") {
                    self.says(now + Duration::from_millis(500), seat, completion(true));
                }
            }
            AgentRequest::Phase(AgentPhase::Agent, _) => {
                self.host.note("agent has the call again");
                self.host.tell(Fact::Agent { seat, lost: false });
                self.says(now + Duration::from_secs(1), seat, completion(true));
            }
            AgentRequest::TransferResult { .. }
            | AgentRequest::Listen
            | AgentRequest::Phase(
                AgentPhase::HandingBack | AgentPhase::Bridged | AgentPhase::Ended,
                _,
            ) => {}
            AgentRequest::Stop => {
                self.host.tell(Fact::Agent { seat, lost: false });
                self.seats[seat].agent.stopped.get_or_insert(now);
            }
        }
    }

    fn connect_agent(&mut self, now: Now, seat: usize, resume: Option<&Checkpoint>) {
        let plan = self.plan(seat).agent;
        let connects = match (resume, plan.back) {
            (None, _) => plan.connects,
            (Some(_), Some(after)) if after < RECONNECT => Connects::After(after),
            (Some(_), Some(_) | None) => Connects::FailsAfter(RECONNECT),
        };
        let agent = &mut self.seats[seat].agent;
        agent.link += 1;
        // Called back after its link was closed with a hand-back: if it is not reached, the call
        // makes a result of its own.
        agent.stopped = None;
        let called_back = !std::mem::take(&mut agent.gone) && resume.is_some();
        if called_back && !matches!(connects, Connects::After(_)) {
            self.host.tell(Fact::Completion { seat });
        }
        match connects {
            Connects::After(after) => self.says(now + after, seat, AgentSaid::Connected),
            Connects::FailsAfter(after) => {
                let said = AgentSaid::NotReached("refused".to_owned());
                self.says(now + after, seat, said);
            }
            Connects::Never => {}
        }
    }

    fn attach_agent(&mut self, now: Now, seat: usize) {
        let plan = self.plan(seat).agent;
        self.host.tell(Fact::Agent { seat, lost: false });
        self.speak(now, seat);
        let agent = &mut self.seats[seat].agent;
        agent.attached += 1;
        if agent.attached > 1 {
            let at = now + Duration::from_millis(1_500);
            return self.says(at, seat, completion(plan.drain));
        }
        match plan.then {
            AgentThen::Completes(after) => self.says(now + after, seat, completion(plan.drain)),
            AgentThen::Stammers(after) => self.says(now + after, seat, stammer()),
            AgentThen::Closes(after) => self.says(now + after, seat, closed(true)),
            AgentThen::Crashes(after) => self.says(now + after, seat, closed(false)),
            AgentThen::Stays => {}
        }
    }

    fn says(&mut self, at: Now, seat: usize, said: AgentSaid) {
        let link = self.seats[seat].agent.link;
        self.agenda.add(at, Due::Agent(seat, link, Box::new(said)));
    }

    pub(super) fn agent_said(&mut self, now: Now, seat: usize, link: u32, said: AgentSaid) {
        let agent = &self.seats[seat].agent;
        let silenced = agent.stopped.is_some_and(|at| now > at + LAST_WORDS);
        let (note, attempt) = match &said {
            AgentSaid::Connected => ("agent connected", true),
            AgentSaid::NotReached(_) => ("agent not reached", true),
            AgentSaid::Update(_) => ("agent updates", false),
            AgentSaid::Complete { .. } => ("agent completes", false),
            AgentSaid::Press { .. } => ("agent presses keys", false),
            AgentSaid::Closed { .. } | AgentSaid::HungUp => ("agent gone", false),
            AgentSaid::Refused(_) => ("agent refuses", true),
            AgentSaid::Hello { .. } => ("agent says hello", false),
            AgentSaid::Stalled => ("agent stalls", false),
        };
        if link != agent.link || silenced && !attempt {
            return;
        }
        self.host.note(note);
        if let AgentSaid::Closed { .. } = said {
            // The call makes a result of its own.
            self.host.tell(Fact::Completion { seat });
        }
        if let AgentSaid::Closed { clean: false, .. } = said {
            let lost = self.seats[seat].agent.stopped.is_none();
            self.host.tell(Fact::Agent { seat, lost });
            self.seats[seat].agent.gone = true;
        }
        self.feed(now, seat, Input::Agent(said));
    }

    pub(super) fn resolve(&mut self, now: Now, seat: usize, uri: &Bytes) {
        let hops = self.hops(seat, uri);
        let at = now + self.dice.millis(1, 50);
        let input = Box::new(Input::Resolved(Ok(hops)));
        self.agenda.add(at, Due::Tell(seat, input));
    }

    fn hops(&mut self, seat: usize, uri: &Bytes) -> Vec<Hop> {
        let Ok(uri) = Uri::from_bytes(uri.clone()) else {
            return Vec::new();
        };
        let Some(ip) = uri.host_ip() else {
            return Vec::new();
        };
        let stream = uri.param("transport") == Some(b"tcp");
        let transport = if stream {
            Transport::Tcp
        } else {
            Transport::Udp
        };
        let there = SocketAddr::new(ip, uri.port().unwrap_or(5060));
        let addresses = match self.plan(seat).target {
            TargetPlan::SecondAddress => vec![NOBODY, there],
            TargetPlan::Answers { .. }
            | TargetPlan::Refuses(..)
            | TargetPlan::Redirects(_)
            | TargetPlan::RingsForEver
            | TargetPlan::NotThere
            | TargetPlan::Unresolved => vec![there],
        };
        let hop = |address| Hop {
            doubtful: false,
            leg: self.new_leg(),
            flow: self.host.flow_to(address, transport),
            route: None,
        };
        addresses.into_iter().map(hop).collect()
    }

    const fn new_leg(&mut self) -> LegId {
        self.placed += 1;
        LegId(self.placed * 2 - 1)
    }
}

fn output() -> Box<OutputContext> {
    Box::new(OutputContext {
        transfer_type: TransferType::System,
        current_task_name: Some("done".to_owned()),
        reference_variables: Variables::new(),
        transfer_variables: Variables::new(),
    })
}

fn completion(drain: bool) -> AgentSaid {
    AgentSaid::Complete {
        id: None,
        output: Ok(output()),
        drain,
    }
}

fn stammer() -> AgentSaid {
    AgentSaid::Complete {
        id: Some("stammered".to_owned()),
        output: Err("transferType is missing".to_owned()),
        drain: true,
    }
}

fn closed(clean: bool) -> AgentSaid {
    AgentSaid::Closed {
        clean,
        reason: "closed".to_owned(),
    }
}
