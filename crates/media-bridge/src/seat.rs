//! One session in its shard: sockets, media machine, agent.

use std::time::Duration;

use agent_hook::{Agent, AgentEvent, AgentInput, AgentOutput, Phase, Track};
use media_core::{Input, Output, Session, Side};
use timebase::Now;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::barge_in::{BargeIn, Listener, Turn};
use crate::leg::LegSockets;
use crate::outbox::Outbox;
use crate::ports::{Pair, Right};
use crate::vocabulary::{MediaCommand, MediaEvent, MediaFigures};
use crate::watch::Watch;

/// Outputs taken from the agent at one time; the rest comes in the next slot.
const OUTPUTS_PER_SLOT: usize = 256;

/// Slots between two times that the figures are told: 1 s.
const FIGURES_EVERY: u8 = 50;

/// Audio queued for the caller at which the agent is asked to hold more back, and at which it may
/// go on.
const HOLD_ABOVE_MS: u64 = 30_000;
const RELEASE_BELOW_MS: u64 = 20_000;

/// Slots between two looks at how much the agent has queued: a second.
const LOOK_EVERY: u32 = 50;

/// What the handle posts.
#[derive(Debug)]
pub(crate) enum ToSeat {
    Command(MediaCommand),
    Attach(Box<dyn Agent>),
    Target(Pair, oneshot::Sender<std::io::Result<()>>),
    Figures(oneshot::Sender<MediaFigures>),
}

/// What opens a session.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) pair: Pair,
    pub(crate) right: Right,
    pub(crate) commands: mpsc::Receiver<Box<ToSeat>>,
    pub(crate) events: mpsc::Sender<MediaEvent>,
    pub(crate) figures: watch::Sender<MediaFigures>,
}

/// What a seat did, for the shard's counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) unsent: u64,
}

/// A session, visited once in 20 ms.
#[derive(Debug)]
pub(crate) struct Seat {
    session: Session,
    agent: Option<Box<dyn Agent>>,
    /// The agent has the caller: what it says is played. Not after its completion, nor while the
    /// call is handed back or bridged.
    agent_speaks: bool,
    /// The agent was told to hold its audio back.
    held_back: bool,
    /// Listens for a caller who begins to speak while the agent does.
    listener: Option<Listener>,
    slots: u32,
    caller: Leg,
    target: Leg,
    commands: mpsc::Receiver<Box<ToSeat>>,
    outbox: Outbox,
    /// The figures, for those who look.
    figures: watch::Sender<MediaFigures>,
    /// Slots until they are told again.
    untold: u8,
    watch: Watch,
    _right: Right,
}

#[derive(Debug, Default)]
struct Leg {
    sockets: Option<LegSockets>,
    /// A first packet was reported.
    heard: bool,
    /// The last RTP packet that the session counted.
    last: Option<Now>,
    /// The same of RTCP.
    last_control: Option<Now>,
}

impl Seat {
    /// Registers the sockets; must be called in the shard's runtime.
    pub(crate) fn new(opening: Opening) -> std::io::Result<Self> {
        let caller = Leg {
            sockets: Some(LegSockets::new(opening.pair)?),
            ..Leg::default()
        };
        Ok(Self {
            session: Session::new(Now::ZERO, 0),
            agent: None,
            agent_speaks: true,
            held_back: false,
            listener: None,
            slots: 0,
            caller,
            target: Leg::default(),
            commands: opening.commands,
            outbox: Outbox::new(opening.events),
            figures: opening.figures,
            untold: FIGURES_EVERY,
            watch: Watch::default(),
            _right: opening.right,
        })
    }

    /// Fixes the instants at which the session's slots fall; before its first one.
    pub(crate) fn begin(&mut self, origin: Now) {
        self.session = Session::new(origin, rand::random());
    }

    /// The session's slot. False when its call has let go of it.
    pub(crate) fn slot(&mut self, now: Now, buffer: &mut [u8], work: &mut Work) -> bool {
        if !self.take_commands(now) {
            for side in [Side::Caller, Side::Target] {
                self.disconnect(now, side);
            }
            return false;
        }
        for side in [Side::Caller, Side::Target] {
            self.receive(now, side, buffer, work);
        }
        self.hear_agent(now);
        // several are due after a stall
        while self.session.poll_timeout().is_some_and(|due| due <= now) {
            self.session.handle_timeout(now);
            self.carry_out(now, work);
            // what the agent says to what it just heard is queued for the next slot
            self.hear_agent(now);
        }
        self.carry_out(now, work);
        self.hold_agent_back(now);
        while let Some(side) = self.watch.expired(now) {
            self.outbox.push(MediaEvent::MediaTimeout(side));
        }
        self.outbox.flush();
        self.untold -= 1;
        if self.untold == 0 {
            self.tell_figures();
        }
        true
    }

    fn take_commands(&mut self, now: Now) -> bool {
        loop {
            let posted = match self.commands.try_recv() {
                Ok(posted) => posted,
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            };
            match *posted {
                ToSeat::Command(command) => self.command(now, command),
                ToSeat::Attach(agent) => {
                    self.stop_agent(now);
                    self.agent = Some(agent);
                    self.agent_speaks = true;
                    self.held_back = false;
                }
                ToSeat::Target(pair, opened) => {
                    let sockets =
                        LegSockets::new(pair).map(|sockets| self.target.sockets = Some(sockets));
                    let _ = opened.send(sockets);
                }
                ToSeat::Figures(asked) => {
                    let _ = asked.send(self.figures());
                }
            }
        }
    }

    fn command(&mut self, now: Now, command: MediaCommand) {
        match command {
            MediaCommand::Connect { side, media } => {
                self.watch.connected(now, side);
                self.session
                    .handle_input(now, Input::Connect { side, media });
            }
            MediaCommand::Disconnect(side) => self.disconnect(now, side),
            MediaCommand::Tone(tone) => self.session.handle_input(now, Input::Tone(tone)),
            MediaCommand::Bridge(bridged) => self.session.handle_input(now, Input::Bridge(bridged)),
            MediaCommand::Play(audio) => self.session.handle_input(now, Input::Play(audio)),
            MediaCommand::Clear => self.session.handle_input(now, Input::Clear),
            MediaCommand::Comfort(prompt) => {
                self.session.handle_input(now, Input::Comfort(prompt));
            }
            MediaCommand::BargeIn(wanted) => self.listener = Listener::new(wanted),
            MediaCommand::SendDtmf {
                side,
                digits,
                duration_ms,
            } => {
                self.session.handle_input(
                    now,
                    Input::SendDtmf {
                        side,
                        digits,
                        duration_ms,
                    },
                );
            }
            MediaCommand::Drain {
                skip_trailing_silence,
            } => self.drain(now, skip_trailing_silence),
            MediaCommand::Agent(AgentInput::Stop) => {
                // what it said before is still told
                self.hear_agent(now);
                self.stop_agent(now);
            }
            MediaCommand::Agent(input) => {
                if let AgentInput::Phase { phase, .. } = &input {
                    self.agent_speaks = *phase == Phase::Agent;
                }
                self.tell_agent(now, input);
            }
            MediaCommand::Pressed {
                side,
                digit,
                duration_ms,
            } => {
                let pressed = Input::Pressed {
                    side,
                    digit,
                    duration_ms,
                };
                self.session.handle_input(now, pressed);
            }
            MediaCommand::WatchTimeout(limit) => self.watch.set(now, limit),
        }
    }

    fn drain(&mut self, now: Now, skip_trailing_silence: bool) {
        // what the agent said before it was done belongs to what is drained
        self.hear_agent(now);
        self.agent_speaks = false;
        let drain = Input::Drain {
            skip_trailing_silence,
        };
        self.session.handle_input(now, drain);
    }

    fn disconnect(&mut self, now: Now, side: Side) {
        self.watch.disconnected(side);
        self.session.handle_input(now, Input::Disconnect { side });
        // its goodbye leaves while its ports are there
        self.carry_out(now, &mut Work::default());
        if side == Side::Target {
            self.target = Leg::default();
        }
    }

    fn receive(&mut self, now: Now, side: Side, buffer: &mut [u8], work: &mut Work) {
        let leg = match side {
            Side::Caller => &mut self.caller,
            Side::Target => &mut self.target,
        };
        let Some(sockets) = &leg.sockets else { return };
        let session = &mut self.session;
        work.received += sockets.receive(buffer, |from, data| {
            session.handle_input(now, Input::Packet { side, from, data });
        });
        sockets.receive_rtcp(buffer, |from, data| {
            session.handle_input(now, Input::Control { side, from, data });
        });
        let last = self.session.last_packet(side);
        let rtp = last != leg.last;
        leg.last = last;
        let last = self.session.last_control(side);
        let rtcp = last != leg.last_control;
        leg.last_control = last;
        if rtp && !std::mem::replace(&mut leg.heard, true) {
            self.outbox.push(MediaEvent::FirstPacket(side));
        }
        if rtp || rtcp {
            self.watch.alive(now, side);
        }
    }

    /// Lets the agent act, and feeds what it says to the session.
    fn hear_agent(&mut self, now: Now) {
        let Some(agent) = &mut self.agent else { return };
        if agent.poll_timeout().is_some_and(|due| due <= now) {
            agent.handle_timeout(now);
        }
        for _ in 0..OUTPUTS_PER_SLOT {
            let Some(output) = self.agent.as_mut().and_then(|agent| agent.poll_output()) else {
                return;
            };
            match output {
                AgentOutput::Audio(_) | AgentOutput::Clear if !self.agent_speaks => {}
                AgentOutput::Audio(audio) => self.session.handle_input(now, Input::Play(audio)),
                AgentOutput::Mark(name) => self.session.handle_input(now, Input::Mark(name)),
                AgentOutput::Clear => self.session.handle_input(now, Input::Clear),
                AgentOutput::Event(event) => self.agent_event(now, event),
            }
        }
    }

    /// Tells the agent when it has much queued, and when that is played.
    fn hold_agent_back(&mut self, now: Now) {
        let queued_ms = self.session.queued_ms();
        self.slots = (self.slots + 1) % LOOK_EVERY;
        if self.slots == 0 && self.agent.is_some() && self.agent_speaks {
            let queued = queued_ms as f64 / 1000.0;
            metrics::histogram!("handback_hook_playout_queue_seconds").record(queued);
        }
        let hold = match self.held_back {
            false if queued_ms >= HOLD_ABOVE_MS => true,
            true if queued_ms <= RELEASE_BELOW_MS => false,
            true | false => return,
        };
        self.held_back = hold;
        self.tell_agent(now, AgentInput::Flow { hold, queued_ms });
    }

    fn agent_event(&mut self, now: Now, event: AgentEvent) {
        match &event {
            AgentEvent::SendDtmf {
                digits,
                duration_ms,
            } => {
                let (side, digits, duration_ms) = (Side::Caller, digits.clone(), *duration_ms);
                self.session.handle_input(
                    now,
                    Input::SendDtmf {
                        side,
                        digits,
                        duration_ms,
                    },
                );
            }
            AgentEvent::Closed { .. } => self.agent = None,
            // What it had queued is its last words; Phase::Agent lets it speak again.
            AgentEvent::Complete { output: Ok(_), .. } => self.agent_speaks = false,
            AgentEvent::Update(_)
            | AgentEvent::Complete { .. }
            | AgentEvent::Transcript { .. }
            | AgentEvent::Hello { .. }
            | AgentEvent::Stalled => {}
        }
        self.outbox.push(MediaEvent::Agent(event));
    }

    fn carry_out(&mut self, now: Now, work: &mut Work) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Rtp { side, to, data } => {
                    let sent = self
                        .leg(side)
                        .sockets
                        .as_ref()
                        .is_some_and(|sockets| sockets.send(to, &data));
                    work.sent += u64::from(sent);
                    work.unsent += u64::from(!sent);
                }
                Output::Rtcp {
                    side,
                    to,
                    data,
                    muxed,
                } => {
                    if let Some(sockets) = &self.leg(side).sockets {
                        sockets.send_rtcp(to, &data, muxed);
                    }
                }
                Output::Heard {
                    side,
                    frame,
                    timestamp_ms,
                } => self.heard(now, side, &frame, timestamp_ms),
                Output::Dtmf {
                    side,
                    digit,
                    duration_ms,
                } => self.pressed(now, side, digit, duration_ms),
                Output::MarkPlayed {
                    name,
                    played,
                    sample,
                } => {
                    let mark = AgentInput::MarkPlayed {
                        name,
                        played,
                        sample,
                    };
                    self.tell_agent(now, mark);
                }
                Output::Drained => self.outbox.push(MediaEvent::Drained),
                Output::Underrun { silence_ms } => {
                    metrics::histogram!("handback_hook_underrun_seconds")
                        .record(f64::from(silence_ms) / 1000.0);
                }
                Output::QueueFull => {
                    tracing::warn!("play-out queue full: the agent's newest audio is dropped")
                }
            }
        }
    }

    fn heard(&mut self, now: Now, side: Side, frame: &[u8], timestamp_ms: u64) {
        let track = match side {
            Side::Caller => Track::Inbound,
            Side::Target => Track::Outbound,
        };
        let heard = AgentInput::Heard {
            track,
            timestamp_ms,
            frame,
        };
        self.tell_agent(now, heard);
        if side == Side::Caller {
            self.listen_for_barge_in(now, frame);
        }
    }

    fn listen_for_barge_in(&mut self, now: Now, frame: &[u8]) {
        let Some(listener) = &mut self.listener else {
            return;
        };
        let Some(turn) = listener.hears(frame) else {
            return;
        };
        let heard = self.agent_speaks && self.session.queued_ms() > 0;
        match (listener.wanted, turn) {
            (BargeIn::Clear, Turn::Begins) if heard => {
                metrics::counter!("handback_hook_barge_ins_total").increment(1);
                self.session.handle_input(now, Input::Clear);
            }
            (BargeIn::Duck, Turn::Begins) if heard => {
                metrics::counter!("handback_hook_barge_ins_total").increment(1);
                self.session.handle_input(now, Input::Duck(true));
            }
            (BargeIn::Duck, Turn::Ends) => self.session.handle_input(now, Input::Duck(false)),
            (BargeIn::Off | BargeIn::Clear | BargeIn::Duck, Turn::Begins | Turn::Ends) => {}
        }
    }

    fn pressed(&mut self, now: Now, side: Side, digit: char, duration_ms: u32) {
        if side == Side::Caller {
            self.tell_agent(now, AgentInput::Dtmf { digit });
        }
        self.outbox.push(MediaEvent::Dtmf {
            side,
            digit,
            duration_ms,
        });
    }

    fn tell_agent(&mut self, now: Now, input: AgentInput<'_>) {
        if let Some(agent) = &mut self.agent {
            agent.handle_input(now, input);
        }
    }

    fn stop_agent(&mut self, now: Now) {
        if let Some(mut agent) = self.agent.take() {
            agent.handle_input(now, AgentInput::Stop);
        }
    }

    fn tell_figures(&mut self) {
        self.untold = FIGURES_EVERY;
        self.figures.send_replace(self.figures());
    }

    fn figures(&self) -> MediaFigures {
        MediaFigures {
            caller: self.session.figures(Side::Caller),
            target: self.session.figures(Side::Target),
        }
    }

    fn leg(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Caller => &mut self.caller,
            Side::Target => &mut self.target,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.stop_agent(Now(Duration::MAX));
        self.tell_figures();
    }
}
