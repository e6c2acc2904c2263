//! `builtin:echo`: says what it hears.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use timebase::Now;

use super::{BYTES_PER_MS, QUIET};
use crate::agent::{Agent, AgentInput, AgentOutput, Track};

/// Gives every frame back as it came, bit for bit, behind as much silence as the delay asks for.
#[derive(Debug)]
pub(super) struct Echo {
    /// Silence still owed before the first frame.
    lead: usize,
    outputs: VecDeque<AgentOutput>,
    stopped: bool,
}

impl Echo {
    pub(super) fn new(delay: Duration) -> Self {
        let lead = delay.as_millis() as usize * BYTES_PER_MS;
        Self {
            lead,
            outputs: VecDeque::new(),
            stopped: false,
        }
    }

    fn repeat(&mut self, frame: &[u8]) {
        if self.lead > 0 {
            let silence = vec![QUIET; std::mem::take(&mut self.lead)];
            self.outputs.push_back(AgentOutput::Audio(silence.into()));
        }
        self.outputs
            .push_back(AgentOutput::Audio(Bytes::copy_from_slice(frame)));
    }
}

impl Agent for Echo {
    fn handle_input(&mut self, _now: Now, input: AgentInput<'_>) {
        match input {
            AgentInput::Heard {
                track: Track::Inbound,
                frame,
                ..
            } if !self.stopped => self.repeat(frame),
            AgentInput::Stop => {
                self.stopped = true;
                self.outputs.clear();
            }
            AgentInput::Heard { .. }
            | AgentInput::Dtmf { .. }
            | AgentInput::MarkPlayed { .. }
            | AgentInput::Phase { .. }
            | AgentInput::TransferResult { .. }
            | AgentInput::Completed { .. }
            | AgentInput::Flow { .. } => {}
        }
    }

    fn handle_timeout(&mut self, _now: Now) {}

    fn poll_output(&mut self) -> Option<AgentOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Now> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(echo: &mut Echo, track: Track, fill: u8) {
        echo.handle_input(
            Now::ZERO,
            AgentInput::Heard {
                track,
                timestamp_ms: 0,
                frame: &[fill; 160],
            },
        );
    }

    #[test]
    fn frames_come_back_bit_for_bit_in_the_slot_they_were_heard_in() {
        let mut echo = Echo::new(Duration::ZERO);
        for fill in 0..=255 {
            hear(&mut echo, Track::Inbound, fill);
            assert_eq!(
                echo.poll_output(),
                Some(AgentOutput::Audio(Bytes::from(vec![fill; 160])))
            );
            assert_eq!(echo.poll_output(), None);
        }
    }

    #[test]
    fn delay_is_silence_before_the_first_frame_and_nowhere_else() {
        let mut echo = Echo::new(Duration::from_millis(100));
        hear(&mut echo, Track::Inbound, 1);
        hear(&mut echo, Track::Inbound, 2);
        assert_eq!(
            echo.poll_output(),
            Some(AgentOutput::Audio(vec![QUIET; 800].into()))
        );
        assert_eq!(
            echo.poll_output(),
            Some(AgentOutput::Audio(vec![1; 160].into()))
        );
        assert_eq!(
            echo.poll_output(),
            Some(AgentOutput::Audio(vec![2; 160].into()))
        );
    }

    #[test]
    fn the_other_party_is_not_echoed_and_a_stopped_echo_is_silent() {
        let mut echo = Echo::new(Duration::ZERO);
        hear(&mut echo, Track::Outbound, 1);
        assert_eq!(echo.poll_output(), None);
        hear(&mut echo, Track::Inbound, 1);
        echo.handle_input(Now::ZERO, AgentInput::Stop);
        hear(&mut echo, Track::Inbound, 1);
        assert_eq!(echo.poll_output(), None);
    }
}
