//! Packet loss concealment as ITU-T G.711 Appendix I describes it: the last periods of the voice are
//! repeated, ever more of them, and fade out within 60 ms; what comes after is laid over the end.
//!
//! In place of the 3.75 ms of delay that the appendix spends on the joint before a loss, the step
//! between the last sample and the repetition is taken out by a ramp over a quarter of a period.

use crate::pitch::{best_lag, crossed};
use crate::{Codec, FRAME, Frame};

/// Samples of the past from which the missing ones are made: 60 ms.
const PAST: usize = 3 * FRAME;
/// Periods that are looked for: 5 to 15 ms.
const SHORTEST: usize = 40;
const LONGEST: usize = 120;
/// Samples that are compared: 20 ms.
const COMPARED: usize = 160;
/// Samples of 10 ms: one more period is repeated, and from the second on it becomes quieter.
const STEP: usize = 80;
/// Made-up samples that still sound: 60 ms.
pub(crate) const SOUNDS: usize = 480;
/// Samples over which the first that come are laid over the repetition, at most: 10 ms.
const LONGEST_JOINT: usize = 80;

/// What was played last, and what is being made up.
#[derive(Debug)]
pub(crate) struct Concealer {
    codec: Codec,
    past: [u8; PAST],
    state: State,
    repetition: Repetition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// All came.
    Whole,
    /// Samples are missing.
    Missing,
    /// They come again: the repetition goes on underneath.
    Joining { done: usize, steps: usize },
}

impl Concealer {
    /// Nothing was played.
    pub(crate) const fn new(codec: Codec) -> Self {
        Self {
            codec,
            past: [codec.silence(); PAST],
            state: State::Whole,
            repetition: Repetition::new(),
        }
    }

    /// Whether what is made up has faded out.
    pub(crate) fn is_silent(&self) -> bool {
        self.state == State::Missing && self.repetition.made >= SOUNDS
    }

    /// Whether the last sample played had come.
    pub(crate) fn is_whole(&self) -> bool {
        self.state != State::Missing
    }

    /// Takes a frame all of which has come; gives what is played of it.
    pub(crate) fn came(&mut self, frame: Frame) -> Frame {
        if self.state != State::Whole {
            return self.fill(frame, |_| true);
        }
        self.remember(&frame);
        frame
    }

    /// Takes a frame of which samples are missing; makes them up.
    pub(crate) fn fill(&mut self, mut frame: Frame, came: impl Fn(usize) -> bool) -> Frame {
        for at in 0..FRAME {
            if came(at) {
                frame[at] = self.join(frame[at]);
                continue;
            }
            if self.state != State::Missing {
                self.begin(&frame[..at]);
                self.state = State::Missing;
            }
            frame[at] = self.codec.encode(self.repetition.next());
        }
        self.remember(&frame);
        frame
    }

    /// Takes a frame that is not the stream's: silence that was announced, or a start.
    pub(crate) fn paused(&mut self, frame: &Frame) {
        self.state = State::Whole;
        self.remember(frame);
    }

    /// What is played of a sample that has come.
    fn join(&mut self, byte: u8) -> u8 {
        let (done, steps) = match self.state {
            State::Whole => return byte,
            State::Missing => (0, self.repetition.joint()),
            State::Joining { done, steps } => (done, steps),
        };
        let done = done + 1;
        self.state = if done < steps {
            State::Joining { done, steps }
        } else {
            State::Whole
        };
        let below = self.repetition.next();
        let crossed = crossed(below, self.codec.decode(byte), done, steps);
        self.codec.encode(crossed)
    }

    /// Begins to repeat what was played up to here.
    fn begin(&mut self, of_this_frame: &[u8]) {
        let mut said = [0; PAST];
        let kept = &self.past[of_this_frame.len()..];
        for (sample, byte) in said.iter_mut().zip(kept.iter().chain(of_this_frame)) {
            *sample = self.codec.decode(*byte);
        }
        self.repetition = Repetition::of(said);
    }

    fn remember(&mut self, frame: &Frame) {
        self.past.copy_within(FRAME.., 0);
        self.past[PAST - FRAME..].copy_from_slice(frame);
    }
}

/// The last periods of the voice, repeated.
#[derive(Debug)]
struct Repetition {
    /// The end of what was played.
    said: [i16; PAST],
    period: usize,
    /// Periods that are repeated: 1 to 3.
    periods: usize,
    /// The next sample of them.
    at: usize,
    /// What goes over into the present periods: how many, and the next sample of them.
    from: Option<(usize, usize)>,
    crossing: usize,
    /// Samples made.
    made: usize,
    /// The step at the beginning, which a ramp takes out.
    step: i32,
}

impl Repetition {
    const fn new() -> Self {
        Self {
            said: [0; PAST],
            period: LONGEST,
            periods: 1,
            at: 0,
            from: None,
            crossing: 0,
            made: SOUNDS,
            step: 0,
        }
    }

    fn of(said: [i16; PAST]) -> Self {
        let last = &said[PAST - COMPARED..];
        let (period, _) = best_lag(SHORTEST..LONGEST + 1, |lag| {
            (last, &said[PAST - COMPARED - lag..PAST - lag])
        });
        let step = i32::from(said[PAST - 1]) - i32::from(said[PAST - 1 - period]);
        Self {
            said,
            period,
            step,
            made: 0,
            ..Self::new()
        }
    }

    const fn quarter(&self) -> usize {
        self.period / 4
    }

    /// Samples over which what comes again is laid over: a quarter of a period, and 4 ms more for
    /// each further 10 ms of loss.
    fn joint(&self) -> usize {
        let further = (self.made / STEP).saturating_sub(1);
        (self.quarter() + 32 * further).clamp(1, LONGEST_JOINT)
    }

    /// The next sample.
    fn next(&mut self) -> i16 {
        if self.made >= SOUNDS {
            return 0;
        }
        if self.made > 0 && self.made.is_multiple_of(STEP) && self.periods < 3 {
            self.from = Some((self.periods, self.at));
            self.crossing = 0;
            self.periods += 1;
            // the same phase, in the oldest period
            self.at %= self.period;
        }
        let sample = self.crossed();
        let ramp = self.quarter().saturating_sub(self.made) as i32;
        let level = i32::from(sample) + self.step * ramp / (self.quarter() as i32 + 1);
        let full = (SOUNDS - STEP) as i32;
        let level = level * (full - self.made.saturating_sub(STEP) as i32) / full;
        self.made += 1;
        level.clamp(i16::MIN.into(), i16::MAX.into()) as i16
    }

    /// The sample of the repeated periods, while they change crossed with that of the ones before.
    fn crossed(&mut self) -> i16 {
        let sample = self.sample(self.periods, self.at);
        self.at = (self.at + 1) % (self.periods * self.period);
        let Some((periods, at)) = self.from else {
            return sample;
        };
        let before = self.sample(periods, at);
        self.crossing += 1;
        self.from = (self.crossing < self.quarter())
            .then_some((periods, (at + 1) % (periods * self.period)));
        crossed(before, sample, self.crossing, self.quarter())
    }

    /// A sample of so many last periods, whose last quarter goes over into what is before them, so
    /// that their end fits their beginning.
    fn sample(&self, periods: usize, at: usize) -> i16 {
        let length = periods * self.period;
        let from = PAST - length;
        let sample = self.said[from + at];
        let Some(crossing) = (at + self.quarter()).checked_sub(length) else {
            return sample;
        };
        let before = self.said[from + at - length];
        crossed(sample, before, crossing + 1, self.quarter())
    }
}

#[cfg(test)]
mod tests;
