//! What the media shard holds of an agent behind a socket.

use std::collections::VecDeque;
use std::time::Instant;

use timebase::Now;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::{mpsc, watch};

use super::task::Ends;
use super::{FRAME, ToAgent};
use crate::agent::{Agent, AgentEvent, AgentInput, AgentOutput, Phase, Track};

/// Messages between shard and link: more than a slot brings, so that it is full only when the
/// link's task does not run.
const TO_LINK: usize = 128;

/// Messages of the agent that wait for the shard's next slot.
const FROM_LINK: usize = 64;

/// Messages other than audio that are kept while the link's task does not run.
const KEPT: usize = 256;

/// The near end of a [`super::Link`].
#[derive(Debug)]
pub(crate) struct WireAgent {
    to_link: mpsc::Sender<ToAgent>,
    from_link: mpsc::Receiver<Said>,
    /// What must not be lost and found no room.
    kept: VecDeque<ToAgent>,
    timeline: Timeline,
    state: State,
    stream: String,
    progress: watch::Receiver<Progress>,
}

/// What the agent said, and when it was read.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) output: AgentOutput,
    pub(crate) at: Instant,
}

impl Said {
    pub(crate) fn now(output: AgentOutput) -> Self {
        let at = Instant::now();
        Self { output, at }
    }
}

/// What an agent has shown of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// It said hello.
    pub(crate) hello: bool,
    /// It spoke.
    pub(crate) media: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The agent talks with the caller.
    Talking,
    /// The agent may listen; what it plays is discarded.
    Listening,
    /// Stopped, or gone and reported so.
    Over,
}

impl WireAgent {
    /// The agent and the link's ends of its queues.
    pub(crate) fn new(stream: &str) -> (Self, Ends) {
        let (shown, progress) = watch::channel(Progress::default());
        let (to_link, from_shard) = mpsc::channel(TO_LINK);
        let (to_shard, from_link) = mpsc::channel(FROM_LINK);
        let agent = Self {
            to_link,
            from_link,
            kept: VecDeque::new(),
            timeline: Timeline::default(),
            state: State::Talking,
            stream: stream.to_owned(),
            progress,
        };
        (
            agent,
            Ends {
                from_shard,
                to_shard,
                shown,
            },
        )
    }

    /// As [`WireAgent::new`], for a link that only listens.
    pub(crate) fn listening(stream: &str) -> (Self, Ends) {
        let (mut agent, ends) = Self::new(stream);
        agent.state = State::Listening;
        (agent, ends)
    }

    /// Waits until the agent has shown what is wanted of it; false when its link ended before.
    pub(crate) async fn shows(&mut self, wanted: impl Fn(Progress) -> bool) -> bool {
        let shown = self.progress.wait_for(|progress| wanted(*progress)).await;
        shown.is_ok()
    }

    fn post(&mut self, message: ToAgent) {
        self.post_kept();
        if self.kept.is_empty() {
            match self.to_link.try_send(message) {
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(message)) => self.keep(message),
            }
        } else {
            self.keep(message);
        }
    }

    fn post_kept(&mut self) {
        while !self.kept.is_empty() {
            let Ok(room) = self.to_link.try_reserve() else {
                return;
            };
            if let Some(message) = self.kept.pop_front() {
                room.send(message);
            }
        }
    }

    fn keep(&mut self, message: ToAgent) {
        let is_media = matches!(message, ToAgent::Media { .. });
        if is_media || self.kept.len() >= KEPT {
            metrics::counter!("handback_hook_media_dropped_total").increment(1);
        } else {
            self.kept.push_back(message);
        }
    }

    fn heard(&mut self, track: Track, timestamp_ms: u64, audio: &[u8]) {
        let mut frame = [0xff; FRAME];
        let len = audio.len().min(FRAME);
        frame[..len].copy_from_slice(&audio[..len]);
        let timestamp_ms = self.timeline.place(timestamp_ms);
        self.post(ToAgent::Media {
            track,
            timestamp_ms,
            frame,
            at: Instant::now(),
        });
    }

    fn phase(&mut self, phase: Phase, method: Option<&'static str>) {
        self.state = match phase {
            Phase::Agent => State::Talking,
            Phase::HandingBack | Phase::Bridged | Phase::Ended => State::Listening,
        };
        self.post(ToAgent::Phase { phase, method });
    }
}

impl Agent for WireAgent {
    fn handle_input(&mut self, _now: Now, input: AgentInput<'_>) {
        if self.state == State::Over {
            return;
        }
        match input {
            AgentInput::Heard {
                track,
                timestamp_ms,
                frame,
            } => self.heard(track, timestamp_ms, frame),
            AgentInput::Dtmf { digit } => self.post(ToAgent::Dtmf { digit }),
            AgentInput::MarkPlayed {
                name,
                played,
                sample,
            } => self.post(ToAgent::Mark {
                name,
                played,
                sample,
            }),
            AgentInput::Phase { phase, method } => self.phase(phase, method),
            AgentInput::TransferResult { outcome, code } => {
                self.post(ToAgent::TransferResult { outcome, code })
            }
            AgentInput::Completed {
                id,
                accepted,
                error,
            } => self.post(ToAgent::Completed {
                id,
                accepted,
                error,
            }),
            AgentInput::Flow { hold, queued_ms } => self.post(ToAgent::Flow { hold, queued_ms }),
            AgentInput::Stop => {
                self.post(ToAgent::Stop);
                self.state = State::Over;
            }
        }
    }

    fn handle_timeout(&mut self, _now: Now) {
        self.post_kept();
    }

    fn poll_output(&mut self) -> Option<AgentOutput> {
        while self.state != State::Over {
            match self.from_link.try_recv() {
                Ok(Said {
                    output: AgentOutput::Audio(_) | AgentOutput::Mark(_) | AgentOutput::Clear,
                    ..
                }) if self.state == State::Listening => {}
                Ok(Said { output, at }) => {
                    if output == AgentOutput::Clear {
                        // the slot that takes it is silent
                        clear_to_silence().record(at.elapsed());
                    }
                    if matches!(output, AgentOutput::Event(AgentEvent::Closed { .. })) {
                        self.state = State::Over;
                    }
                    return Some(output);
                }
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => {
                    self.state = State::Over;
                    let reason = "the connection's task ended".to_owned();
                    return Some(AgentOutput::Event(AgentEvent::Closed {
                        code: None,
                        clean: false,
                        reason,
                    }));
                }
            }
        }
        None
    }

    fn stream(&self) -> Option<&str> {
        Some(&self.stream)
    }

    fn poll_timeout(&self) -> Option<Now> {
        self.kept.front().map(|_| Now::ZERO)
    }
}

fn clear_to_silence() -> metrics::Histogram {
    metrics::histogram!("handback_hook_clear_to_silence_seconds")
}

/// The stream's timeline, the same for both tracks: it begins with the first frame heard.
#[derive(Debug, Default)]
struct Timeline {
    base: Option<u64>,
}

impl Timeline {
    fn place(&mut self, timestamp_ms: u64) -> u64 {
        let base = *self.base.get_or_insert(timestamp_ms);
        timestamp_ms.saturating_sub(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_begins_at_zero_and_both_tracks_stand_at_the_same_sample() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.place(340), 0, "inbound");
        assert_eq!(timeline.place(360), 20, "inbound");
        assert_eq!(timeline.place(360), 20, "outbound joins");
        assert_eq!(timeline.place(400), 60, "inbound after a gap");
        assert_eq!(timeline.place(400), 60, "outbound");
    }

    #[test]
    fn audio_is_dropped_and_keys_are_kept_while_the_link_does_not_run() {
        let (mut agent, mut ends) = WireAgent::new("MZ1");
        for n in 0..TO_LINK as u64 + 50 {
            let frame = &[0; FRAME];
            agent.handle_input(
                Now::ZERO,
                AgentInput::Heard {
                    track: Track::Inbound,
                    timestamp_ms: n * 20,
                    frame,
                },
            );
        }
        agent.handle_input(Now::ZERO, AgentInput::Dtmf { digit: '7' });
        for _ in 0..TO_LINK {
            assert!(matches!(
                ends.from_shard.try_recv(),
                Ok(ToAgent::Media { .. })
            ));
        }
        assert!(agent.poll_timeout().is_some());
        agent.handle_timeout(Now::ZERO);
        assert!(matches!(
            ends.from_shard.try_recv(),
            Ok(ToAgent::Dtmf { digit: '7' })
        ));
        assert_eq!(agent.poll_timeout(), None);
    }

    #[test]
    fn audio_of_an_agent_that_only_listens_is_discarded_and_its_events_are_not() {
        let (mut agent, ends) = WireAgent::new("MZ1");
        agent.handle_input(
            Now::ZERO,
            AgentInput::Phase {
                phase: Phase::Bridged,
                method: None,
            },
        );
        let update = AgentOutput::Event(AgentEvent::Update(Default::default()));
        ends.to_shard
            .try_send(Said::now(AgentOutput::Audio(vec![0; 160].into())))
            .unwrap();
        ends.to_shard.try_send(Said::now(update.clone())).unwrap();
        assert_eq!(agent.poll_output(), Some(update));
        assert_eq!(agent.poll_output(), None);
    }

    #[test]
    fn agent_whose_link_vanished_is_closed_once() {
        let (mut agent, ends) = WireAgent::new("MZ1");
        drop(ends);
        assert!(matches!(
            agent.poll_output(),
            Some(AgentOutput::Event(AgentEvent::Closed { clean: false, .. }))
        ));
        assert_eq!(agent.poll_output(), None);
    }
}
