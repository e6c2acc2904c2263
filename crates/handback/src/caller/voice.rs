//! The voice of a test caller: says its piece, presses its keys, keeps what it hears.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use agent_hook::{Agent, AgentEvent, AgentInput, AgentOutput};
use bytes::Bytes;
use timebase::Now;

use super::order::Script;

/// The most audio kept: ten minutes of µ-law.
const LONGEST: usize = 600 * 8000;
/// How long each key is held.
const KEY_MS: u32 = 100;
const SAID: &str = "said";

/// What was heard so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Recording(Arc<Mutex<Vec<u8>>>);

impl Recording {
    fn add(&self, frame: &[u8]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LONGEST.saturating_sub(heard.len());
        heard.extend_from_slice(&frame[..frame.len().min(room)]);
    }

    /// Takes what was heard; nothing is left.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Speaks and listens on one call.
#[derive(Debug)]
pub(super) struct Voice {
    say: Option<Bytes>,
    digits: Option<String>,
    then_say: Bytes,
    heard: Recording,
    outputs: VecDeque<AgentOutput>,
}

impl Voice {
    pub(super) fn new(script: &Script, heard: Recording) -> Self {
        Self {
            say: Some(script.say.clone()),
            digits: script.digits.clone(),
            then_say: script.then_say.clone(),
            heard,
            outputs: VecDeque::new(),
        }
    }
}

impl Agent for Voice {
    fn handle_input(&mut self, _now: Now, input: AgentInput<'_>) {
        match input {
            AgentInput::Heard { frame, .. } => self.heard.add(frame),
            AgentInput::MarkPlayed { .. } => {
                if let Some(digits) = self.digits.take() {
                    let event = AgentEvent::SendDtmf {
                        digits,
                        duration_ms: KEY_MS,
                    };
                    self.outputs.push_back(AgentOutput::Event(event));
                }
                let then_say = std::mem::take(&mut self.then_say);
                if !then_say.is_empty() {
                    self.outputs.push_back(AgentOutput::Audio(then_say));
                }
            }
            AgentInput::Dtmf { .. }
            | AgentInput::Phase { .. }
            | AgentInput::TransferResult { .. }
            | AgentInput::Completed { .. }
            | AgentInput::Flow { .. }
            | AgentInput::Stop => {}
        }
    }

    fn handle_timeout(&mut self, _now: Now) {
        let Some(say) = self.say.take() else { return };
        if !say.is_empty() {
            self.outputs.push_back(AgentOutput::Audio(say));
        }
        self.outputs.push_back(AgentOutput::Mark(SAID.to_owned()));
    }

    fn poll_output(&mut self) -> Option<AgentOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Now> {
        self.say.is_some().then_some(Now::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_hook::Track;

    #[test]
    fn keys_are_pressed_once_after_the_last_word() {
        let script = Script {
            say: Bytes::from_static(b"abc"),
            digits: Some("12".to_owned()),
            then_say: Bytes::from_static(b"def"),
            ..Script::default()
        };
        let mut voice = Voice::new(&script, Recording::default());
        assert_eq!(voice.poll_output(), None);
        voice.handle_timeout(Now::ZERO);
        voice.handle_timeout(Now::ZERO);
        assert_eq!(
            voice.poll_output(),
            Some(AgentOutput::Audio(Bytes::from_static(b"abc")))
        );
        assert_eq!(
            voice.poll_output(),
            Some(AgentOutput::Mark(SAID.to_owned()))
        );
        assert_eq!(voice.poll_output(), None);
        for _ in 0..2 {
            voice.handle_input(
                Now::ZERO,
                AgentInput::MarkPlayed {
                    name: SAID.to_owned(),
                    played: true,
                    sample: 3,
                },
            );
        }
        let keys = AgentEvent::SendDtmf {
            digits: "12".to_owned(),
            duration_ms: KEY_MS,
        };
        assert_eq!(voice.poll_output(), Some(AgentOutput::Event(keys)));
        assert_eq!(
            voice.poll_output(),
            Some(AgentOutput::Audio(Bytes::from_static(b"def")))
        );
        assert_eq!((voice.poll_output(), voice.poll_timeout()), (None, None));
    }

    #[test]
    fn what_is_heard_is_kept_up_to_ten_minutes() {
        let heard = Recording::default();
        let mut voice = Voice::new(&Script::default(), heard.clone());
        let frame = vec![7; LONGEST];
        for _ in 0..2 {
            voice.handle_input(
                Now::ZERO,
                AgentInput::Heard {
                    track: Track::Inbound,
                    timestamp_ms: 0,
                    frame: &frame,
                },
            );
        }
        assert_eq!(heard.take().len(), LONGEST);
        assert!(heard.take().is_empty());
    }
}
