//! Ringback tones (ITU-T E.180 supplement 2), one period computed at the start.

use crate::codec::ulaw;
use crate::{FRAME, Frame, Tone};
use std::f64::consts::TAU;

/// Amplitude of one component, about -17 dBm0.
const AMPLITUDE: f64 = 4000.0;

/// A tone being played.
#[derive(Debug)]
pub(crate) struct ToneSource {
    period: Vec<u8>,
    on: usize,
    cycle: usize,
    at: usize,
}

impl ToneSource {
    /// The tone from its beginning.
    pub(crate) fn new(tone: Tone) -> Self {
        // The periods are the shortest whole numbers of samples that hold whole cycles.
        let (frequencies, period, on): (&[f64], usize, usize) = match tone {
            Tone::RingbackEu => (&[425.0], 320, 8_000),
            Tone::RingbackUs => (&[440.0, 480.0], 200, 16_000),
        };
        Self {
            period: (0..period).map(|at| sample(frequencies, at)).collect(),
            on,
            cycle: on + 32_000,
            at: 0,
        }
    }

    /// The next 20 ms.
    pub(crate) fn next_frame(&mut self) -> Frame {
        let mut frame = [0xFF; FRAME];
        if self.at < self.on {
            let phase = self.at % self.period.len();
            for (byte, tone) in frame.iter_mut().zip(self.period.iter().cycle().skip(phase)) {
                *byte = *tone;
            }
        }
        self.at = (self.at + FRAME) % self.cycle;
        frame
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn sample(frequencies: &[f64], at: usize) -> u8 {
    let sum: f64 = frequencies
        .iter()
        .map(|hertz| (TAU * hertz * at as f64 / 8000.0).sin())
        .sum();
    ulaw((AMPLITUDE * sum) as i16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio_codec_algorithms::decode_ulaw;

    fn crossings(tone: Tone, frames: usize) -> usize {
        let mut source = ToneSource::new(tone);
        let samples: Vec<i16> = (0..frames)
            .flat_map(|_| source.next_frame())
            .map(decode_ulaw)
            .collect();
        samples
            .windows(2)
            .filter(|pair| pair[0] < 0 && pair[1] >= 0)
            .count()
    }

    #[test]
    fn european_ringback_is_425_hertz_for_one_second_in_five() {
        assert!((420..=430).contains(&crossings(Tone::RingbackEu, 50)));
        let mut source = ToneSource::new(Tone::RingbackEu);
        let sounding: Vec<bool> = (0..500)
            .map(|_| source.next_frame() != [0xFF; FRAME])
            .collect();
        let expected: Vec<bool> = (0..500).map(|frame| frame % 250 < 50).collect();
        assert_eq!(sounding, expected);
    }

    #[test]
    fn american_ringback_sounds_for_two_seconds_in_six() {
        let mut source = ToneSource::new(Tone::RingbackUs);
        let sounding = (0..300)
            .filter(|_| source.next_frame() != [0xFF; FRAME])
            .count();
        assert_eq!(sounding, 100);
        assert!((900..=940).contains(&crossings(Tone::RingbackUs, 100)));
    }
}
