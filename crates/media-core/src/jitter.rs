//! The jitter buffer: samples stored by their timestamp, one frame out per slot.
//!
//! A packet of any size is written where its timestamp says; a slot reads the
//! next 160 samples. What is missing is made up. The play position runs with
//! the slots, so pauses of the sender (DTX) are pauses here too. How far it stays
//! behind follows the delays that packets have: it is made to run a little faster
//! or slower, in silence by whole frames, in speech by periods of the voice.

use crate::codec::{Audio, loudness};
use crate::comfort::Noise;
use crate::conceal::Concealer;
use crate::delay::{Change, Delays, TARGET};
use crate::position::Position;
use crate::stretch::{Stretched, lengthened, shortened};
use crate::{Codec, FRAME, Frame};
use std::ops::Range;

/// Samples that the buffer holds: 1 s.
const SIZE: usize = 8192;
const WORDS: usize = SIZE / 64;
/// Depth that is cut back: 240 ms, and what the packets' delays differ by.
const MAX_DEPTH: u64 = 1920;
/// Slots in a row above that depth that are borne: a stall of our own is made up for in as many.
const CATCHING_UP: u8 = 10;
/// Late packets in a row after which the play position follows them.
const LATE_RUN: u8 = 5;
/// Mean amplitude that nobody misses: -58 dB of full scale.
const QUIET: u32 = 40;
/// Likeness of two periods from which one may be left out, or put in, unheard.
const ALIKE: f32 = 0.8;
/// Slots between two changes of the pace: 200 ms where it is played faster, 60 ms where packets are about to be late.
const REST_AFTER_SHRINKING: u8 = 10;
const REST_AFTER_GROWING: u8 = 3;
/// Slots for which a change awaits a pause, before a period is left out or put in: 4 s, and 2 s
/// where the delay is too long by more than two frames.
const AWAITS_PAUSE: u8 = 200;
const AWAITS_PAUSE_WHEN_LONG: u8 = 100;
/// Slots after that for which it awaits two periods that are alike: 1 s, and 100 ms where packets
/// come too late.
const PATIENCE: u8 = 50;
const PATIENCE_WHEN_LATE: u8 = 5;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It will be played.
    InTime,
    /// Its turn was over when it came, and others are there to be played.
    Late,
}

/// The jitter buffer of one leg.
#[derive(Debug)]
pub(crate) struct JitterBuffer {
    codec: Codec,
    samples: Box<[u8; SIZE]>,
    present: [u64; WORDS],
    position: Option<Position>,
    conceal: Concealer,
    /// Where the sender said that it falls silent, until where it speaks again.
    quiet: Option<Range<u64>>,
    /// The noise of that silence (RFC 3389).
    noise: Noise,
    late_run: u8,
    /// Samples of slots since the last start: the clock that delays are measured on.
    clock: i64,
    delays: Delays,
    /// Samples of the last packet.
    packet: usize,
    /// Slots until the pace may change again.
    rest: u8,
    /// Slots that a change has waited for a frame that it suits.
    waited: u8,
    /// Slots in a row above the depth that is cut back.
    too_deep: u8,
    /// Samples made up.
    made_up: u64,
    /// Times that the pace was changed.
    pub(crate) corrections: u64,
    /// Frames' worth of samples thrown away unplayed.
    pub(crate) discarded: u64,
}

impl JitterBuffer {
    /// An empty buffer.
    pub(crate) fn new(codec: Codec) -> Self {
        Self {
            codec,
            samples: Box::new([0; SIZE]),
            present: [0; WORDS],
            position: None,
            conceal: Concealer::new(codec),
            quiet: None,
            noise: Noise::new(),
            late_run: 0,
            clock: 0,
            delays: Delays::new(),
            packet: FRAME,
            rest: 0,
            waited: 0,
            too_deep: 0,
            made_up: 0,
            corrections: 0,
            discarded: 0,
        }
    }

    /// Forgets the stream: the next packet starts a new one.
    pub(crate) fn reset(&mut self, codec: Codec) {
        self.codec = codec;
        self.present = [0; WORDS];
        self.position = None;
        self.conceal = Concealer::new(codec);
        self.begin_anew();
    }

    /// Frames' worth of samples made up.
    pub(crate) const fn concealed(&self) -> u64 {
        self.made_up.div_ceil(FRAME as u64)
    }

    /// Whether anything has come since the start or the last reset.
    pub(crate) const fn is_running(&self) -> bool {
        self.position.is_some()
    }

    /// Milliseconds that a usual packet waits before it is played.
    pub(crate) fn waits_ms(&self) -> u32 {
        let behind = self.position.map(|position| self.behind(position.head));
        let waits = behind.zip(self.delays.usual());
        let waits = waits.map_or(0, |(behind, usual)| behind - usual);
        u32::try_from(waits / 8).unwrap_or(0)
    }

    /// Stores a payload at its timestamp.
    pub(crate) fn put(&mut self, timestamp: u32, payload: &[u8]) -> Stored {
        let mut position = self.located(timestamp);
        let at = position.of(timestamp);
        let end = at + payload.len() as u64;
        self.packet = payload.len();
        self.measure(&position, at);
        if end > position.head {
            self.late_run = 0;
            self.store(position, at, payload, timestamp);
            return Stored::InTime;
        }
        self.late_run += 1;
        if position.newest > position.head && self.late_run < LATE_RUN {
            return Stored::Late;
        }
        // Nothing else to play, or all packets come late: the path has become longer.
        if self.delays.allows(self.behind(at)) {
            self.erase(at, position.head - at);
            position.head = at;
            self.late_run = 0;
            self.store(position, at, payload, timestamp);
        } else {
            let position = self.restart(timestamp);
            self.measure(&position, position.begins);
            self.store(position, position.begins, payload, timestamp);
        }
        Stored::InTime
    }

    /// The sender says that it falls silent from this timestamp on (RFC 3389, with the level of the
    /// noise, or RFC 4733); one that has nothing to do with the audio's is ignored.
    pub(crate) fn quiet(&mut self, timestamp: u32, noise: Option<u8>) {
        let position = match self.position {
            Some(position) => position,
            None => self.restart(timestamp),
        };
        let at = position.of(timestamp);
        // one that goes on sending is not silent
        if Self::reaches(position, at) && position.newest <= at {
            self.quiet = Some(at..u64::MAX);
            self.noise.set(noise);
        }
    }

    /// The next 20 ms.
    pub(crate) fn pull(&mut self) -> Audio {
        let codec = self.codec;
        let Some(mut position) = self.position else {
            return Audio::silence(codec);
        };
        self.bound(&mut position);
        let frame = match self.at_another_pace(&mut position) {
            Some(frame) => frame,
            None => {
                let frame = self.read(&position);
                self.pass(&mut position, FRAME);
                frame
            }
        };
        self.clock += FRAME as i64;
        self.position = Some(position);
        Audio { codec, frame }
    }

    /// How far behind the clock a place is.
    const fn behind(&self, at: u64) -> i64 {
        self.clock - at.cast_signed()
    }

    /// Measures the delay of a packet. At the start, those that come at once show only when we began
    /// to listen: the last of them counts.
    fn measure(&mut self, position: &Position, at: u64) {
        let delay = self.behind(at);
        if position.is_starting() && self.delays.slow().is_some_and(|slow| delay < slow) {
            self.delays = Delays::new();
        }
        self.delays.observe(delay);
    }

    /// The position, started anew when there is none or the timestamp is out of reach.
    fn located(&mut self, timestamp: u32) -> Position {
        match self.position {
            Some(position) if Self::reaches(position, position.of(timestamp)) => position,
            Some(_) | None => self.restart(timestamp),
        }
    }

    /// Whether a sample is near the play position.
    const fn reaches(position: Position, at: u64) -> bool {
        const REACH: u64 = SIZE as u64 / 2;
        at < position.head + REACH && at + REACH > position.head
    }

    fn restart(&mut self, timestamp: u32) -> Position {
        self.present = [0; WORDS];
        self.begin_anew();
        *self.position.insert(Position::start(timestamp))
    }

    const fn begin_anew(&mut self) {
        self.quiet = None;
        self.late_run = 0;
        self.delays = Delays::new();
        self.rest = 0;
        self.waited = 0;
        self.too_deep = 0;
    }

    fn store(&mut self, mut position: Position, at: u64, payload: &[u8], timestamp: u32) {
        let skipped = position.head.saturating_sub(at);
        let from = at + skipped;
        let fresh = payload
            .get(usize::try_from(skipped).unwrap_or(usize::MAX)..)
            .unwrap_or_default();
        self.write(from, fresh);
        position.extend(from, at + payload.len() as u64);
        position.anchor = (timestamp, at);
        if let Some(quiet) = self.quiet.as_mut().filter(|quiet| quiet.start <= at) {
            quiet.end = quiet.end.min(at);
        }
        let usual = self.max_depth();
        let bound = if position.is_starting() {
            usual
        } else {
            usual + u64::from(CATCHING_UP) * FRAME as u64
        };
        if position.depth() > bound {
            self.cut(&mut position);
        }
        self.position = Some(position);
    }

    /// Writes samples at their place.
    fn write(&mut self, from: u64, samples: &[u8]) {
        let index = from as usize % SIZE;
        let (first, second) = samples.split_at(samples.len().min(SIZE - index));
        self.samples[index..index + first.len()].copy_from_slice(first);
        self.samples[..second.len()].copy_from_slice(second);
        spans(from, samples.len() as u64, |word, mask| {
            self.present[word] |= mask
        });
    }

    /// The frame at a place as it is stored, and how many of its samples have come.
    fn stored(&self, from: u64) -> (Frame, usize) {
        let mut frame = [0; FRAME];
        let index = from as usize % SIZE;
        let until_wrap = FRAME.min(SIZE - index);
        frame[..until_wrap].copy_from_slice(&self.samples[index..index + until_wrap]);
        frame[until_wrap..].copy_from_slice(&self.samples[..FRAME - until_wrap]);
        let mut found = 0;
        spans(from, FRAME as u64, |word, mask| {
            found += (self.present[word] & mask).count_ones() as usize
        });
        (frame, found)
    }

    /// The frame at a place if all of it has come.
    fn whole(&self, from: u64) -> Option<Frame> {
        let (frame, found) = self.stored(from);
        (found == FRAME).then_some(frame)
    }

    const fn max_depth(&self) -> u64 {
        let spread = self.delays.spread();
        MAX_DEPTH + if spread > 320 { 320 } else { spread }
    }

    /// Bounds the depth; a stall of our own is made up for before.
    fn bound(&mut self, position: &mut Position) {
        if position.depth() <= self.max_depth() {
            self.too_deep = 0;
            return;
        }
        self.too_deep += 1;
        if self.too_deep > CATCHING_UP {
            self.cut(position);
        }
    }

    /// Goes back to the depth of the start.
    fn cut(&mut self, position: &mut Position) {
        let head = position.newest - TARGET - FRAME as u64;
        self.discarded += (head - position.head) / FRAME as u64;
        self.corrections += 1;
        self.erase(position.head, head - position.head);
        position.head = head;
        self.delays = Delays::new();
        self.too_deep = 0;
    }

    /// Moves on by samples that have been played.
    fn pass(&mut self, position: &mut Position, samples: usize) {
        self.erase(position.head, samples as u64);
        position.head += samples as u64;
    }

    /// Reads the frame at the head and makes up what is missing.
    fn read(&mut self, position: &Position) -> Frame {
        let head = position.head;
        let (mut frame, found) = self.stored(head);
        if found == FRAME {
            return self.conceal.came(frame);
        }
        let present = self.present;
        let came = |at: usize| {
            let bit = (head as usize + at) % SIZE;
            present[bit / 64] >> (bit % 64) & 1 != 0
        };
        if let Some(noise) = self.paused(position, found == 0) {
            for (at, byte) in frame.iter_mut().enumerate().filter(|(at, _)| !came(*at)) {
                *byte = noise[at];
            }
            self.conceal.paused(&frame);
            return frame;
        }
        if !self.conceal.is_silent() || position.newest > head {
            self.made_up += (FRAME - found) as u64;
        }
        self.conceal.fill(frame, came)
    }

    /// What is played where nothing is missing though it has not come: before the start, and in a
    /// pause that was announced.
    fn paused(&mut self, position: &Position, all_missing: bool) -> Option<Frame> {
        if position.head < position.begins {
            return Some([self.codec.silence(); FRAME]);
        }
        let end = position.head + FRAME as u64;
        let quiet = self.quiet.clone().filter(|_| all_missing)?;
        let overlaps = quiet.start < end && position.head < quiet.end;
        overlaps.then(|| self.noise.next_frame(self.codec))
    }

    /// Follows the delay of the packets and the sender's clock: the next frame with something left
    /// out or put in, when that is due and this frame is one to do it in.
    fn at_another_pace(&mut self, position: &mut Position) -> Option<Frame> {
        self.rest = self.rest.saturating_sub(1);
        if self.rest > 0 || position.is_starting() {
            return None;
        }
        let behind = self.behind(position.head);
        let Some(change) = self.delays.wanted(behind, self.packet) else {
            self.waited = 0;
            return None;
        };
        let Some(first) = self.whole(position.head) else {
            return self.held_up(position, change);
        };
        let second = self.whole(position.head + FRAME as u64);
        let quiet = loudness(self.codec, &first) <= QUIET;
        let (patience, rest) = match change {
            Change::Shrink(0..=320) => (AWAITS_PAUSE, REST_AFTER_SHRINKING),
            Change::Shrink(_) => (AWAITS_PAUSE_WHEN_LONG, REST_AFTER_SHRINKING),
            Change::Grow => (AWAITS_PAUSE, REST_AFTER_GROWING),
            Change::GrowAtOnce => (0, REST_AFTER_GROWING),
        };
        if !quiet && self.waited < patience {
            self.waited += 1;
            return None;
        }
        let changed = match change {
            Change::Shrink(_) if quiet => Stretched::without(second?),
            Change::Shrink(most) => shortened(self.codec, &first, &second?, most as usize),
            Change::Grow | Change::GrowAtOnce if quiet => Stretched::twice(first),
            Change::Grow | Change::GrowAtOnce => lengthened(self.codec, &first),
        };
        let longest = if change == Change::GrowAtOnce {
            PATIENCE_WHEN_LATE
        } else {
            patience + PATIENCE
        };
        let smooth = changed.likeness >= ALIKE || self.waited >= longest;
        if !smooth || !self.conceal.is_whole() {
            self.waited = self.waited.saturating_add(1);
            return None;
        }
        self.corrections += 1;
        self.rest = rest;
        // where no pause has come, none is awaited for the next change
        self.waited = if quiet { 0 } else { patience };
        self.pass(position, changed.consumed);
        Some(self.conceal.came(changed.frame))
    }

    /// Where the stream is about to be cut because packets come too late, 20 ms are made up and the
    /// packets are awaited.
    fn held_up(&mut self, position: &Position, change: Change) -> Option<Frame> {
        let late = change == Change::GrowAtOnce && position.depth() < FRAME as u64;
        let quiet = self.paused(position, true).is_some();
        if quiet || !late || self.conceal.is_silent() {
            return None;
        }
        self.made_up += FRAME as u64;
        self.corrections += 1;
        self.rest = REST_AFTER_GROWING;
        Some(self.conceal.fill([0; FRAME], |_| false))
    }

    fn erase(&mut self, from: u64, length: u64) {
        spans(from, length.min(SIZE as u64), |word, mask| {
            self.present[word] &= !mask
        });
    }
}

/// Calls `each` with the words and masks of the presence bits of a range.
fn spans(from: u64, length: u64, mut each: impl FnMut(usize, u64)) {
    let (mut at, end) = (from, from + length);
    while at < end {
        let bit = at % 64;
        let count = (64 - bit).min(end - at);
        each(
            (at / 64) as usize % WORDS,
            (u64::MAX >> (64 - count)) << bit,
        );
        at += count;
    }
}

#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod tests;
