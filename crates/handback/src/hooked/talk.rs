//! The call itself, slot by slot.

mod events;
mod script;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use agent_hook::{Agent, AgentInput, AgentOutput, CallFacts, Hooks, Phase, TransferOutcome};
use bytes::Bytes;
use media_core::{Codec, Control, FRAME, Input, LegMedia, Output, Session, Side};
use timebase::{Clock, Now};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::cue::Moment;
use super::outcome::{Closed, Outcome};
use super::recording::Recording;

/// A slot.
const SLOT: Duration = Duration::from_millis(20);

/// The longest drain.
const DRAIN: Duration = Duration::from_secs(10);

/// A pause that ends a spurt of the agent.
const SPURT_MS: u64 = 500;

/// How soft telephone audio is called silence: the two or three softest steps of µ-law.
const SOFT: u8 = 0x70;

/// How long a hook may take to be connected again, and the pauses between the tries.
const AGAIN: Duration = Duration::from_secs(5);

/// Something that is done to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is cut, and the hook connected again as the gateway does.
    Drop,
    /// For so long nothing is read or written.
    Stall(Duration),
}

/// What the caller and the line will do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Sounds, and when they are made.
    pub say: Vec<(Bytes, Moment)>,
    /// Keys, and when they are pressed.
    pub keys: Vec<(String, Moment)>,
    /// What is done to the connection.
    pub faults: Vec<(Duration, Fault)>,
    /// After the result the caller is bridged, and the party reached says this.
    pub far: Option<Bytes>,
    /// The caller hangs up then.
    pub hang_up: Option<Duration>,
}

/// What is told while the call stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Since the stream began.
    pub at: Duration,
    /// What happened.
    pub what: String,
}

/// A call with a hook.
#[derive(Debug)]
pub struct Talk {
    hooks: Hooks,
    facts: CallFacts,
    plan: Plan,
    agent: Option<Box<dyn Agent>>,
    session: Session,
    clock: Clock,
    began: Now,
    /// What the caller is saying.
    voice: Bytes,
    packets: u16,
    /// Where the caller's track is.
    position_ms: u64,
    ears: Ears,
    stage: Stage,
    outcome: Outcome,
    recording: Recording,
    news: mpsc::Sender<News>,
    faults: Option<mpsc::Sender<Fault>>,
    /// The connection was cut by us, and is made again when it is gone.
    cut: bool,
    reconnects: bool,
    /// The agent opted in to both tracks on its socket.
    tracks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Talking,
    /// The agent is done; what it said is played.
    Draining {
        until: Now,
    },
    /// The caller is bridged, and the agent listens.
    Bridged {
        slots: usize,
    },
    Over,
}

/// What is known of who spoke when.
#[derive(Clone, Copy, Debug, Default)]
struct Ears {
    /// When the agent was heard last, and since when without a longer pause.
    agent: Option<Now>,
    spurt: Option<Now>,
    /// The agent was heard while the caller was silent, and since he last did anything.
    replied: bool,
    /// A cue used up this spurt.
    spurt_used: bool,
    /// When the caller was heard last, while the agent has not answered.
    unanswered: Option<Now>,
    /// When anybody was heard.
    anybody: Option<Now>,
}

impl Talk {
    /// Connects the hook.
    ///
    /// # Errors
    /// When the hook cannot be connected in time.
    pub async fn begin(
        hooks: Hooks,
        facts: CallFacts,
        plan: Plan,
        within: Duration,
        news: mpsc::Sender<News>,
    ) -> Result<Self, String> {
        let agent = hooks
            .connect(&facts, within)
            .await
            .map_err(|error| error.to_string())?;
        let clock = Clock::start();
        let now = clock.now();
        let mut session = Session::new(now, 1);
        session.handle_input(
            now,
            Input::Connect {
                side: Side::Caller,
                media: leg(),
            },
        );
        Ok(Self {
            hooks,
            facts,
            plan,
            agent: Some(agent),
            session,
            clock,
            began: now,
            voice: Bytes::new(),
            packets: 0,
            position_ms: 0,
            ears: Ears::default(),
            stage: Stage::Talking,
            outcome: Outcome::default(),
            recording: Recording::default(),
            news,
            faults: None,
            cut: false,
            reconnects: false,
            tracks: false,
        })
    }

    /// Where faults are carried out.
    pub fn faults_to(&mut self, faults: mpsc::Sender<Fault>) {
        self.faults = Some(faults);
    }

    /// Runs the call to its end.
    pub async fn run(mut self) -> (Outcome, Recording) {
        let mut slot = self.began;
        while self.stage != Stage::Over {
            slot += SLOT;
            sleep_until(self.clock.instant(slot).into()).await;
            let now = self.clock.now();
            self.cues(now);
            self.faults(now).await;
            self.slot(now);
            self.move_on(now);
            if std::mem::take(&mut self.reconnects) {
                self.resume().await;
            }
        }
        if let Some(mut agent) = self.agent.take() {
            let (phase, method) = (Phase::Ended, None);
            agent.handle_input(self.clock.now(), AgentInput::Phase { phase, method });
            agent.handle_input(self.clock.now(), AgentInput::Stop);
            // the good-bye is said by the connection's own task
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        (self.outcome, self.recording)
    }

    fn since(&self, now: Now) -> Duration {
        now.since(self.began)
    }

    fn tell(&self, now: Now, what: impl Into<String>) {
        let (at, what) = (self.since(now), what.into());
        // who does not read the news misses some
        let _ = self.news.try_send(News { at, what });
    }

    /// 20 ms of the call, in the order in which the gateway does them.
    fn slot(&mut self, now: Now) {
        let said = self.speak(now);
        self.hear_agent(now);
        while self.session.poll_timeout().is_some_and(|due| due <= now) {
            self.session.handle_timeout(now);
            let mut heard = [0xff; FRAME];
            while let Some(output) = self.session.poll_output() {
                self.carry_out(now, output, &mut heard);
            }
            self.far_speaks(now);
            self.listen(now, &heard);
            self.recording.add(&said, &heard);
            self.hear_agent(now);
        }
    }

    /// The caller's next 20 ms, as a packet.
    fn speak(&mut self, now: Now) -> [u8; FRAME] {
        let mut frame = [0xff; FRAME];
        let length = self.voice.len().min(FRAME);
        let spoken = self.voice.split_to(length);
        frame[..length].copy_from_slice(&spoken);
        if frame.iter().any(|byte| is_loud(*byte)) {
            self.ears.unanswered = Some(now);
            self.ears.replied = false;
            self.ears.anybody = Some(now);
        }
        let mut packet = vec![0x80, 0];
        packet.extend(self.packets.to_be_bytes());
        packet.extend((u32::from(self.packets) * FRAME as u32).to_be_bytes());
        packet.extend(0x0bad_cafe_u32.to_be_bytes());
        packet.extend(frame);
        self.packets = self.packets.wrapping_add(1);
        let (side, from) = (Side::Caller, leg().remote);
        self.session.handle_input(
            now,
            Input::Packet {
                side,
                from,
                data: &packet,
            },
        );
        frame
    }

    fn hear_agent(&mut self, now: Now) {
        let Some(agent) = &mut self.agent else { return };
        if agent.poll_timeout().is_some_and(|due| due <= now) {
            agent.handle_timeout(now);
        }
        while let Some(output) = self.agent.as_mut().and_then(|agent| agent.poll_output()) {
            let talking = self.stage == Stage::Talking;
            match output {
                AgentOutput::Audio(audio) if talking => {
                    self.session.handle_input(now, Input::Play(audio))
                }
                AgentOutput::Mark(name) if talking => {
                    self.session.handle_input(now, Input::Mark(name))
                }
                AgentOutput::Clear if talking => {
                    self.outcome.clears += 1;
                    self.tell(now, "agent clears");
                    self.session.handle_input(now, Input::Clear);
                }
                AgentOutput::Audio(_) | AgentOutput::Mark(_) | AgentOutput::Clear => {}
                AgentOutput::Event(event) => self.event(now, event),
            }
        }
    }

    fn carry_out(&mut self, now: Now, output: Output, heard: &mut [u8; FRAME]) {
        match output {
            Output::Rtp { data, .. } => {
                if let Some(audio) = data.get(12..12 + FRAME) {
                    heard.copy_from_slice(audio);
                }
            }
            Output::Rtcp { .. } => {}
            Output::Heard {
                frame,
                timestamp_ms,
                ..
            } => {
                self.position_ms = timestamp_ms;
                let (track, frame) = (agent_hook::Track::Inbound, &frame[..]);
                self.input(
                    now,
                    AgentInput::Heard {
                        track,
                        timestamp_ms,
                        frame,
                    },
                );
            }
            Output::MarkPlayed {
                name,
                played,
                sample,
            } => {
                let count = if played {
                    &mut self.outcome.marks.played
                } else {
                    &mut self.outcome.marks.cleared
                };
                *count += 1;
                self.input(
                    now,
                    AgentInput::MarkPlayed {
                        name,
                        played,
                        sample,
                    },
                );
            }
            Output::Drained => self.drained(now),
            Output::QueueFull => self.tell(now, "ten minutes are queued: the newest is dropped"),
            Output::Dtmf { .. } => {}
            Output::Underrun { silence_ms } => {
                self.outcome.heard.underruns += 1;
                self.tell(now, format!("the agent's audio is late by {silence_ms} ms"));
            }
        }
    }

    fn input(&mut self, now: Now, input: AgentInput<'_>) {
        if let Some(agent) = &mut self.agent {
            agent.handle_input(now, input);
        }
    }

    /// Notes who was heard.
    fn listen(&mut self, now: Now, heard: &[u8]) {
        if !heard.iter().any(|byte| is_loud(*byte)) {
            return;
        }
        let ears = &mut self.ears;
        let pause = ears.agent.map(|last| now.since(last).as_millis() as u64);
        match pause {
            Some(pause) if pause < SPURT_MS => {}
            Some(_) | None => {
                ears.spurt = Some(now);
                ears.spurt_used = false;
                if let Some(asked) = ears.unanswered.take() {
                    self.outcome
                        .heard
                        .answers_ms
                        .push(now.since(asked).as_millis() as u64);
                }
            }
        }
        ears.agent = Some(now);
        ears.anybody = Some(now);
        ears.replied |= self.voice.is_empty();
        self.outcome.heard.ms += 20;
        if self.outcome.heard.first_audio_ms.is_none() {
            let first = now.since(self.began);
            self.outcome.heard.first_audio_ms = Some(first.as_millis() as u64);
            self.tell(now, "agent is heard");
        }
    }

    fn drained(&mut self, now: Now) {
        if !matches!(self.stage, Stage::Draining { .. }) {
            return;
        }
        if self.plan.far.is_none() || self.outcome.complete.is_none() {
            self.stage = Stage::Over;
            return;
        }
        let method = Some("INVITE");
        if self.agent.is_none() || !self.tracks {
            self.listen_beside(now);
        }
        let phase = Phase::HandingBack;
        self.input(now, AgentInput::Phase { phase, method });
        let (outcome, code) = (TransferOutcome::Answered, Some(200));
        self.input(now, AgentInput::TransferResult { outcome, code });
        let phase = Phase::Bridged;
        self.input(now, AgentInput::Phase { phase, method });
        self.tell(now, "caller is bridged");
        self.stage = Stage::Bridged { slots: 0 };
    }

    /// An agent that did not opt in to both tracks is done, and a second socket only listens, as
    /// the gateway does it.
    fn listen_beside(&mut self, now: Now) {
        let parent = self.agent.take().and_then(|mut agent| {
            let stream = agent.stream().map(str::to_owned);
            agent.handle_input(now, AgentInput::Stop);
            stream
        });
        self.tell(now, "a second socket listens");
        self.agent = Some(self.hooks.listen(&self.facts, parent));
    }

    /// The other party's 20 ms, while the caller is bridged.
    fn far_speaks(&mut self, now: Now) {
        let Stage::Bridged { slots } = &mut self.stage else {
            return;
        };
        let far = self.plan.far.clone().unwrap_or_default();
        let rest = far.get(*slots * FRAME..).unwrap_or_default();
        if rest.is_empty() {
            self.stage = Stage::Over;
            return;
        }
        *slots += 1;
        let mut frame = [0xff; FRAME];
        let length = rest.len().min(FRAME);
        frame[..length].copy_from_slice(&rest[..length]);
        // both parties are on one timeline
        let (track, timestamp_ms) = (agent_hook::Track::Outbound, self.position_ms);
        let frame = &frame;
        let heard = AgentInput::Heard {
            track,
            timestamp_ms,
            frame,
        };
        self.input(now, heard);
    }

    /// Connects the hook again, as the gateway does when it lost it.
    async fn resume(&mut self) {
        self.facts.resume = true;
        let agent = self.hooks.connect(&self.facts, AGAIN).await;
        let now = self.clock.now();
        match agent {
            Ok(agent) => {
                self.tell(now, "the hook is connected again");
                self.agent = Some(agent);
                self.outcome.reconnects += 1;
            }
            Err(error) => self.closed(
                now,
                Closed {
                    code: None,
                    clean: false,
                    reason: error.to_string(),
                },
            ),
        }
    }
}

/// The caller's leg.
fn leg() -> LegMedia {
    LegMedia {
        remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 9)),
        codec: Codec::Pcmu,
        payload_type: 0,
        dtmf: None,
        ptime_ms: 20,
        send: true,
        receive: true,
        control: Control::default(),
        latch: false,
        protection: None,
    }
}

/// Whether a µ-law byte is more than the noise of a quiet line.
const fn is_loud(byte: u8) -> bool {
    byte & 0x7f < SOFT
}
