//! Playing a frame a little faster or slower without a click: one period of the voice is left out
//! or put in, and the two ends are laid over each other.

use crate::pitch::{best_lag, crossed};
use crate::{Codec, FRAME, Frame};

/// Periods that may be left out or put in: 2.5 to 15 ms.
const SHORTEST: usize = 20;
const LONGEST: usize = 120;

/// A frame played at another pace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretched {
    pub(crate) frame: Frame,
    /// Samples that are used up with it.
    pub(crate) consumed: usize,
    /// How alike the two ends were, up to 1.
    pub(crate) likeness: f32,
}

impl Stretched {
    /// The second of two frames of silence in place of both.
    pub(crate) const fn without(second: Frame) -> Self {
        Self {
            frame: second,
            consumed: 2 * FRAME,
            likeness: 1.0,
        }
    }

    /// A frame of silence that is played again next.
    pub(crate) const fn twice(frame: Frame) -> Self {
        Self {
            frame,
            consumed: 0,
            likeness: 1.0,
        }
    }
}

/// The first of two frames with a period left out, at most `most` samples.
pub(crate) fn shortened(codec: Codec, first: &Frame, second: &Frame, most: usize) -> Stretched {
    let mut said = [0; 2 * FRAME];
    decode(codec, first, &mut said[..FRAME]);
    decode(codec, second, &mut said[FRAME..]);
    // the longer, the fewer joints
    let lags = (SHORTEST..most.clamp(SHORTEST, LONGEST) + 1).rev();
    let (by, likeness) = best_lag(lags, |lag| (&said[..FRAME], &said[lag..lag + FRAME]));
    let frame = std::array::from_fn(|at| {
        let sample = if at < by {
            crossed(said[at], said[at + by], at + 1, by)
        } else {
            said[at + by]
        };
        codec.encode(sample)
    });
    Stretched {
        frame,
        consumed: FRAME + by,
        likeness,
    }
}

/// A frame with a period put in; its last samples, as many as were put in, are played again next.
pub(crate) fn lengthened(codec: Codec, frame: &Frame) -> Stretched {
    const COMPARED: usize = 80;
    let mut said = [0; FRAME];
    decode(codec, frame, &mut said);
    let (by, likeness) = best_lag((SHORTEST..FRAME - COMPARED + 1).rev(), |lag| {
        (&said[..COMPARED], &said[lag..lag + COMPARED])
    });
    let overlap = by.min(FRAME - by);
    let frame = std::array::from_fn(|at| {
        let sample = match at {
            at if at < by => said[at],
            at if at < by + overlap => crossed(said[at], said[at - by], at - by + 1, overlap),
            at => said[at - by],
        };
        codec.encode(sample)
    });
    Stretched {
        frame,
        consumed: FRAME - by,
        likeness,
    }
}

fn decode(codec: Codec, frame: &[u8], samples: &mut [i16]) {
    for (sample, byte) in samples.iter_mut().zip(frame) {
        *sample = codec.decode(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(at: usize) -> i16 {
        let phase = at as f64 * std::f64::consts::TAU / 61.0;
        (phase.sin() * 6000.0 + (3.0 * phase).sin() * 3000.0) as i16
    }

    fn frame(from: usize) -> Frame {
        std::array::from_fn(|at| Codec::Pcmu.encode(voice(from + at)))
    }

    fn steepest(samples: &[u8]) -> u32 {
        let level = |byte: u8| i32::from(Codec::Pcmu.decode(byte));
        let steps = samples
            .windows(2)
            .map(|pair| level(pair[0]).abs_diff(level(pair[1])));
        steps.max().unwrap()
    }

    #[test]
    fn period_is_left_out_or_put_in_and_both_joints_are_smooth() {
        let plain = steepest(&[frame(0), frame(160), frame(320)].concat());
        let short = shortened(Codec::Pcmu, &frame(160), &frame(320), 160);
        assert_eq!(short.consumed, FRAME + 61);
        assert!(short.likeness > 0.99);
        let heard = [frame(0), short.frame, frame(320 + 61)].concat();
        assert!(steepest(&heard) <= plain + plain / 8);
        let long = lengthened(Codec::Pcmu, &frame(160));
        assert_eq!(long.consumed, FRAME - 61);
        let heard = [frame(0), long.frame, frame(320 - 61)].concat();
        assert!(steepest(&heard) <= plain + plain / 8);
    }
}
