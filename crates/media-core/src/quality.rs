//! How good a stream sounds: where packets are missing (RFC 3611 §4.7.2), how loud it is, and the
//! E-model's estimate of what a listener says to it (ITU-T G.107, G.113).

use crate::{Codec, Frame};

/// Packets received in a row that end a burst of missing ones (RFC 3611 §4.7.2, Gmin).
pub(crate) const GMIN: u32 = 16;
/// Mean power from which a frame counts as speech, in dBm0.
const SPEECH: f32 = -45.0;

/// Missing packets, told apart into bursts and single ones in the gaps between bursts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Misses {
    /// Received since the last one that is missing.
    run: u32,
    /// The last ones that are missing, closer than Gmin: how many, and what was received among them.
    cluster: (u32, u32),
    gap: Tally,
    burst: Tally,
    bursts: u32,
    /// Times that a packet is missing behind one that is not.
    runs: u32,
}

/// Packets of one kind of time.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    received: u32,
    missing: u32,
}

impl Tally {
    const fn all(self) -> u32 {
        self.received + self.missing
    }

    fn density(self) -> f32 {
        ratio(self.missing, self.all())
    }
}

/// What RFC 3611 reports of bursts and gaps: shares from 0 to 1, lengths in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bursts {
    pub(crate) burst_density: f32,
    pub(crate) gap_density: f32,
    pub(crate) burst_length: f32,
    pub(crate) gap_length: f32,
}

impl Misses {
    /// Takes the next packet in order: missing, or received in time.
    pub(crate) const fn packet(&mut self, missing: bool) {
        if !missing {
            self.run = self.run.saturating_add(1);
            return;
        }
        if self.run > 0 || self.cluster.0 == 0 {
            self.runs += 1;
        }
        if self.run >= GMIN || self.cluster.0 == 0 {
            self.close_cluster();
            self.gap.received += self.run;
            self.cluster = (1, 0);
        } else {
            self.cluster.0 += 1;
            self.cluster.1 += self.run;
        }
        self.run = 0;
    }

    const fn close_cluster(&mut self) {
        match self.cluster {
            (0, _) => {}
            (1, _) => self.gap.missing += 1,
            (missing, received) => {
                self.bursts += 1;
                self.burst.missing += missing;
                self.burst.received += received;
            }
        }
    }

    pub(crate) fn bursts(&self) -> Bursts {
        let mut all = *self;
        all.close_cluster();
        all.gap.received += all.run;
        Bursts {
            burst_density: all.burst.density(),
            gap_density: all.gap.density(),
            burst_length: ratio(all.burst.all(), all.bursts),
            gap_length: ratio(all.gap.all(), all.bursts + 1),
        }
    }

    /// How much longer packets are missing in a row than they would be at random, at least 1
    /// (G.107 §3.5, BurstR).
    pub(crate) fn burst_ratio(&self) -> f32 {
        let mut all = *self;
        all.close_cluster();
        let missing = all.gap.missing + all.burst.missing;
        let received = all.gap.received + all.burst.received + all.run;
        let at_random = ratio(received, received + missing);
        (ratio(missing, self.runs) * at_random).max(1.0)
    }
}

#[allow(clippy::cast_precision_loss)]
fn ratio(part: u32, of: u32) -> f32 {
    if of == 0 {
        0.0
    } else {
        part as f32 / of as f32
    }
}

/// The rating factor R of a connection (ITU-T G.107): default values but for the codec, the share of
/// packets missing (0 to 1), how they come in bursts, and the delay in one direction. The delay's
/// part is the usual approximation for an echo path loss of 65 dB.
pub(crate) fn rating(codec: Codec, missing: f32, burst_ratio: f32, delay_ms: f32) -> f32 {
    const BASE: f32 = 93.2;
    let (impairment, robustness) = match codec {
        // G.113 Appendix I: G.711 with its own concealment, random loss
        Codec::Pcmu | Codec::Pcma => (0.0, 25.1),
    };
    let percent = missing.clamp(0.0, 1.0) * 100.0;
    let effective =
        impairment + (95.0 - impairment) * percent / (percent / burst_ratio.max(1.0) + robustness);
    let late = (delay_ms - 177.3).max(0.0);
    (BASE - effective - 0.024 * delay_ms.max(0.0) - 0.11 * late).clamp(0.0, 100.0)
}

/// The mean opinion that goes with a rating, 1 to 4.5 (G.107 Annex B).
pub(crate) fn opinion(rating: f32) -> f32 {
    let r = rating.clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

/// The levels of one direction: the mean of the frames that are speech, and of those that are not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    speech: (f64, u32),
    noise: (f64, u32),
}

impl Meter {
    /// Takes a frame; every fourth sample tells enough.
    pub(crate) fn take(&mut self, codec: Codec, frame: &Frame) {
        let squares = frame.iter().step_by(4).map(|byte| {
            let sample = i32::from(codec.decode(*byte));
            i64::from(sample * sample)
        });
        #[allow(clippy::cast_precision_loss)]
        let power = squares.sum::<i64>() as f64 / 40.0;
        let kind = if dbm0(power) >= SPEECH {
            &mut self.speech
        } else {
            &mut self.noise
        };
        kind.0 += power;
        kind.1 += 1;
    }

    /// The level of speech in dBm0; none while nobody has spoken.
    pub(crate) fn speech(&self) -> Option<f32> {
        Self::level(self.speech)
    }

    /// The level of the pauses in dBm0.
    pub(crate) fn noise(&self) -> Option<f32> {
        Self::level(self.noise)
    }

    fn level((sum, frames): (f64, u32)) -> Option<f32> {
        (frames > 0).then(|| dbm0(sum / f64::from(frames)))
    }
}

/// A mean square as dBm0: a sine at full scale of G.711 has +3.17, and silence no less than -96.
#[allow(clippy::cast_possible_truncation)]
fn dbm0(power: f64) -> f32 {
    let full_scale_sine = 32_124.0_f64.powi(2) / 2.0;
    (10.0 * (power.max(0.05) / full_scale_sine).log10() + 3.17).max(-96.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rating_and_opinion_are_those_of_g_107_and_g_113() {
        let mos = |missing, delay| opinion(rating(Codec::Pcmu, missing, 1.0, delay));
        assert!((mos(0.0, 0.0) - 4.41).abs() < 0.01);
        assert!(
            (mos(0.05, 100.0) - 3.8).abs() < 0.05,
            "{}",
            mos(0.05, 100.0)
        );
        assert!(mos(0.0, 400.0) < 3.5);
        assert!(rating(Codec::Pcma, 0.05, 2.0, 0.0) < rating(Codec::Pcma, 0.05, 1.0, 0.0));
        assert!((opinion(0.0) - 1.0).abs() < 0.01 && opinion(100.0) <= 4.5);
    }

    #[test]
    fn missing_packets_closer_than_16_are_a_burst_and_single_ones_belong_to_the_gap() {
        let mut misses = Misses::default();
        let mut run = |count: u32, missing: bool| (0..count).for_each(|_| misses.packet(missing));
        run(100, false);
        run(1, true);
        run(100, false);
        run(2, true);
        run(6, false);
        run(2, true);
        run(100, false);
        let bursts = misses.bursts();
        assert_eq!(bursts.burst_length, 10.0);
        assert_eq!(bursts.burst_density, 0.4);
        assert_eq!(bursts.gap_density, 1.0 / 301.0);
        assert_eq!(bursts.gap_length, 301.0 / 2.0);
        assert!((misses.burst_ratio() - 5.0 / 3.0 * 306.0 / 311.0).abs() < 0.001);
    }

    #[test]
    fn level_of_speech_leaves_out_the_pauses() {
        let tone = |amplitude: f64| -> Frame {
            std::array::from_fn(|at| {
                Codec::Pcmu.encode(((at as f64 * 0.7).sin() * amplitude) as i16)
            })
        };
        let mut meter = Meter::default();
        assert_eq!(meter.speech(), None);
        for _ in 0..50 {
            meter.take(Codec::Pcmu, &tone(32_124.0 / 10.0));
            meter.take(Codec::Pcmu, &[0xFF; 160]);
        }
        assert!((meter.speech().unwrap() - (3.17 - 20.0)).abs() < 0.5);
        assert!(meter.noise().unwrap() < -80.0);
    }
}
