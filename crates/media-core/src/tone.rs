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

    /// What comes next is the tone's beginning again.
    pub(crate) const fn restart(&mut self) {
        self.at = 0;
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

    /// The amplitude of one frequency in the first second.
    fn amplitude(tone: Tone, hertz: f64) -> f64 {
        let mut source = ToneSource::new(tone);
        let samples = (0..50)
            .flat_map(|_| source.next_frame())
            .map(|byte| f64::from(decode_ulaw(byte)));
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (at, sample) in (0..8000_u32).zip(samples) {
            let angle = TAU * hertz * f64::from(at) / 8000.0;
            sine += sample * angle.sin() / 4000.0;
            cosine += sample * angle.cos() / 4000.0;
        }
        sine.hypot(cosine)
    }

    #[test]
    fn european_ringback_is_425_hertz_for_one_second_in_five() {
        assert!(amplitude(Tone::RingbackEu, 425.0) > 3800.0);
        assert!(amplitude(Tone::RingbackEu, 440.0) < 100.0);
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
        assert!(amplitude(Tone::RingbackUs, 440.0) > 3800.0);
        assert!(amplitude(Tone::RingbackUs, 480.0) > 3800.0);
        assert!(amplitude(Tone::RingbackUs, 425.0) < 100.0);
    }
}
