//! Whether somebody speaks: earshot on telephone audio, and utterances made of it.

use std::fmt;

use audio_codec_algorithms::decode_ulaw;
use earshot::Detector;

/// Samples that the detector takes at once: 16 ms at 16 kHz.
const WINDOW: usize = 256;

/// The score that counts as a voice. White noise stays below 0.6, speech over the telephone is
/// above 0.9 most of the time.
const THRESHOLD: f32 = 0.65;

/// The root mean square below which nobody speaks on a telephone: −54 dBFS.
const FLOOR: f32 = 65.0;

/// The share of a frame's power that four predictors leave of a steady tone; speech leaves more.
const TONE: f32 = 0.0006;

/// A pause that belongs to an utterance that is not certain yet.
const GAP_MS: u64 = 200;

/// Milliseconds in a frame.
const FRAME_MS: u64 = 20;

/// A half-band interpolator from 8 to 16 kHz: the weights of the samples around a new one.
const HALF_BAND: [f32; 4] = [0.617, -0.166, 0.061, -0.012];

/// Hears voices.
pub struct Ear {
    detector: Box<Detector>,
    /// The last samples at 8 kHz, as the interpolator needs them.
    history: [f32; 8],
    window: Vec<i16>,
    last: bool,
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear")
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Default for Ear {
    fn default() -> Self {
        Self::new()
    }
}

impl Ear {
    /// One that has heard nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            detector: Box::new(Detector::default()),
            history: [0.0; 8],
            window: Vec::with_capacity(WINDOW),
            last: false,
        }
    }

    /// Takes 20 ms of µ-law; whether there is a voice in it.
    pub fn hears(&mut self, frame: &[u8]) -> bool {
        let samples: Vec<f32> = frame
            .iter()
            .map(|byte| f32::from(decode_ulaw(*byte)))
            .collect();
        let mut best: Option<f32> = None;
        for &sample in &samples {
            for new in self.interpolate(sample) {
                self.window.push(new);
                if self.window.len() == WINDOW {
                    let score = self.detector.predict_i16(&self.window);
                    best = Some(best.map_or(score, |best| best.max(score)));
                    self.window.clear();
                }
            }
        }
        if let Some(score) = best {
            self.last = score >= THRESHOLD;
        }
        let energy: f32 = samples.iter().map(|sample| sample * sample).sum();
        let loud = (energy / frame.len().max(1) as f32).sqrt() >= FLOOR;
        self.last && loud && unpredictable(&samples) >= TONE
    }

    /// Two samples at 16 kHz for one at 8 kHz, four samples late.
    fn interpolate(&mut self, sample: f32) -> [i16; 2] {
        self.history.rotate_left(1);
        self.history[7] = sample;
        let between: f32 = (0..4)
            .map(|n| HALF_BAND[n] * (self.history[3 - n] + self.history[4 + n]))
            .sum();
        [self.history[3] as i16, between as i16]
    }
}

/// The share of the power that a linear predictor of order 4 leaves (Burg's recursion). The
/// detector takes steady tones for voices, and of these next to nothing is left.
fn unpredictable(samples: &[f32]) -> f32 {
    let (mut forward, mut backward) = (samples.to_vec(), samples.to_vec());
    let mut left = 1.0;
    for order in 1..=4.min(samples.len().saturating_sub(1)) {
        let (mut product, mut power) = (0.0, 0.0);
        for n in order..samples.len() {
            product += 2.0 * forward[n] * backward[n - 1];
            power += forward[n] * forward[n] + backward[n - 1] * backward[n - 1];
        }
        if power <= 0.0 {
            return 0.0;
        }
        let reflection = product / power;
        left *= 1.0 - reflection * reflection;
        for n in (order..samples.len()).rev() {
            let (ahead, behind) = (forward[n], backward[n - 1]);
            forward[n] = ahead - reflection * behind;
            backward[n] = behind - reflection * ahead;
        }
    }
    left
}

/// When somebody has spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpeechRule {
    /// This much voice is an utterance.
    pub(crate) min_ms: u64,
    /// This much silence ends it.
    pub(crate) end_ms: u64,
    /// It is over after this in any case.
    pub(crate) max_ms: u64,
}

/// An utterance as far as it has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Utterance {
    voice_ms: u64,
    silence_ms: u64,
    length_ms: u64,
    certain: bool,
}

impl Utterance {
    /// Takes the next 20 ms; true when the utterance is over.
    pub(crate) fn goes_on(&mut self, voice: bool, rule: SpeechRule) -> bool {
        if voice {
            self.voice_ms += FRAME_MS;
            self.silence_ms = 0;
        } else {
            self.silence_ms += FRAME_MS;
        }
        if self.voice_ms == 0 {
            return false;
        }
        self.length_ms += FRAME_MS;
        self.certain |= self.voice_ms >= rule.min_ms;
        if !self.certain {
            if self.silence_ms > GAP_MS {
                *self = Self::default();
            }
            return false;
        }
        self.silence_ms >= rule.end_ms || self.length_ms >= rule.max_ms
    }

    /// Whether somebody speaks beyond doubt.
    pub(crate) const fn is_certain(&self) -> bool {
        self.certain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::wav;
    use audio_codec_algorithms::encode_ulaw;

    const RULE: SpeechRule = SpeechRule {
        min_ms: 250,
        end_ms: 700,
        max_ms: 8000,
    };

    fn share_of_voice(audio: &[u8]) -> f32 {
        let mut ear = Ear::new();
        let frames = audio.chunks(160);
        let count = frames.len() as f32;
        frames
            .map(|frame| ear.hears(frame))
            .filter(|voice| *voice)
            .count() as f32
            / count
    }

    #[test]
    fn speech_is_a_voice_and_tones_noise_and_silence_are_not() {
        let speech = share_of_voice(&wav::greeting());
        assert!(speech > 0.5, "{speech}");
        let samples = 0..40_000_u32;
        let tone: Vec<u8> = samples
            .clone()
            .map(|n| encode_ulaw(((n as f32 * 0.34).sin() * 8000.0) as i16))
            .collect();
        let noise: Vec<u8> = samples
            .map(|n| encode_ulaw((n.wrapping_mul(2_654_435_761) >> 18) as i16 - 8192))
            .collect();
        for (name, sound) in [
            ("tone", tone),
            ("noise", noise),
            ("silence", vec![0xff; 40_000]),
        ] {
            let share = share_of_voice(&sound);
            assert!(share < 0.05, "{name}: {share}");
        }
    }

    fn run(sounds: &[(u64, bool)]) -> Option<u64> {
        let mut utterance = Utterance::default();
        let mut at = 0;
        for &(millis, voice) in sounds {
            for _ in 0..millis / FRAME_MS {
                at += FRAME_MS;
                if utterance.goes_on(voice, RULE) {
                    return Some(at);
                }
            }
        }
        None
    }

    #[test]
    fn utterance_is_over_after_the_pause_that_ends_it() {
        assert_eq!(
            run(&[(1000, false), (500, true), (2000, false)]),
            Some(2200)
        );
        assert_eq!(
            run(&[(300, true), (600, false), (300, true), (1000, false)]),
            Some(1900)
        );
    }

    #[test]
    fn cough_is_no_utterance_and_a_long_speech_is_cut() {
        assert_eq!(run(&[(120, true), (3000, false)]), None);
        assert_eq!(
            run(&[(120, true), (400, false), (140, true), (3000, false)]),
            None
        );
        assert_eq!(run(&[(20_000, true)]), Some(8000));
    }
}
