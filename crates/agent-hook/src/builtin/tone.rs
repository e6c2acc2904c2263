//! `builtin:tone`: a steady tone, for measuring what arrives.

use std::f32::consts::TAU;
use std::time::Duration;

use audio_codec_algorithms::encode_ulaw;
use bytes::Bytes;
use timebase::Now;

use super::BYTES_PER_MS;
use crate::agent::{Agent, AgentInput, AgentOutput};

/// 440 Hz is 11 periods in 200 samples, so that 200 ms of it repeat without a click.
const HZ: f32 = 440.0;

/// What one output holds.
const CHUNK: Duration = Duration::from_millis(200);

/// Amplitude: about −14 dBFS.
const AMPLITUDE: f32 = 6_500.0;

/// Plays 440 Hz, one chunk ahead of the time.
#[derive(Debug)]
pub(super) struct Tone {
    chunk: Bytes,
    /// How many chunks are to be handed out.
    owed: u32,
    next: Option<Now>,
}

impl Tone {
    pub(super) fn new() -> Self {
        let samples = CHUNK.as_millis() as usize * BYTES_PER_MS;
        let chunk = (0..samples)
            .map(|n| encode_ulaw((AMPLITUDE * (TAU * HZ * n as f32 / 8000.0).sin()) as i16));
        Self {
            chunk: chunk.collect(),
            owed: 0,
            next: Some(Now::ZERO),
        }
    }
}

impl Agent for Tone {
    fn handle_input(&mut self, _now: Now, input: AgentInput<'_>) {
        match input {
            AgentInput::Stop => {
                self.owed = 0;
                self.next = None;
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

    fn handle_timeout(&mut self, now: Now) {
        match self.next {
            Some(Now::ZERO) => {
                self.owed = 2;
                self.next = Some(now + CHUNK);
            }
            Some(next) if next <= now => {
                self.owed = 1;
                self.next = Some(next + CHUNK);
            }
            Some(_) | None => {}
        }
    }

    fn poll_output(&mut self) -> Option<AgentOutput> {
        self.owed = self.owed.checked_sub(1)?;
        Some(AgentOutput::Audio(self.chunk.clone()))
    }

    fn poll_timeout(&self) -> Option<Now> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::QUIET;

    #[test]
    fn tone_stays_one_chunk_ahead_of_the_time() {
        let mut tone = Tone::new();
        let mut heard = 0;
        for slot in 1..=500_u64 {
            let now = Now::from_millis(slot * 20);
            if tone.poll_timeout().is_some_and(|at| at <= now) {
                tone.handle_timeout(now);
            }
            while let Some(AgentOutput::Audio(audio)) = tone.poll_output() {
                heard += audio.len();
            }
            let needed = slot as usize * 160;
            assert!(
                (needed..=needed + 3200).contains(&heard),
                "slot {slot}: {heard}"
            );
        }
    }

    #[test]
    fn tone_repeats_without_a_click() {
        let chunk = Tone::new().chunk;
        let quiet = chunk.iter().filter(|byte| **byte == QUIET).count();
        assert!(quiet < 20, "{quiet} silent samples in a tone");
        assert_eq!(
            chunk[..200],
            chunk[1400..1600],
            "the wave does not repeat every 200 samples"
        );
    }
}
