//! The jitter buffer: samples stored by their timestamp, one frame out per slot.
//!
//! A packet of any size is written where its timestamp says; a slot reads the
//! next 160 samples. What is missing is made up. The play position runs with
//! the slots, so pauses of the sender (DTX) are pauses here too.

use crate::codec::{Audio, blend, fade, loudness};
use crate::skew::{Correction, QUIET, Skew, TARGET};
use crate::{Codec, FRAME, Frame};

/// Samples that the buffer holds: 1 s.
const SIZE: usize = 8192;
const WORDS: usize = SIZE / 64;
/// Depth that is cut back: 240 ms.
const MAX_DEPTH: u64 = 1920;
/// Slots in a row above that depth that are borne: a stall of our own is made up for in as many.
const CATCHING_UP: u8 = 10;
/// Depth that is cut back even then.
const LIMIT: u64 = MAX_DEPTH + CATCHING_UP as u64 * FRAME as u64;
/// Late packets in a row after which the play position follows them.
const LATE_RUN: u8 = 5;
/// Made-up frames that still sound; then silence.
const FADES: u8 = 3;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It will be played.
    InTime,
    /// Its turn was over when it came.
    Late,
}

/// Where play-out stands, in samples extended from 32-bit timestamps.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// The next sample to play.
    head: u64,
    /// One past the newest sample stored.
    newest: u64,
    /// The first sample after the last start.
    begins: u64,
    /// A timestamp and its position, from which others are extended.
    anchor: (u32, u64),
}

impl Position {
    const fn start(timestamp: u32) -> Self {
        let begins = 1 << 40;
        Self {
            head: begins - TARGET,
            newest: begins,
            begins,
            anchor: (timestamp, begins),
        }
    }

    const fn of(&self, timestamp: u32) -> u64 {
        let distance = timestamp.wrapping_sub(self.anchor.0).cast_signed() as i64;
        self.anchor.1.saturating_add_signed(distance)
    }

    /// Samples between the play position and the newest.
    const fn depth(&self) -> u64 {
        self.newest.saturating_sub(self.head)
    }

    /// Whether nothing has been played since the last start.
    const fn is_starting(&self) -> bool {
        self.head <= self.begins
    }

    /// Takes in what has come. Packets that come at once at the start are followed: only the
    /// silence before them gets shorter. What follows a hole may be early, not many at once.
    fn extend(&mut self, from: u64, end: u64) {
        let appended = from == self.newest;
        self.newest = self.newest.max(end);
        if self.is_starting() {
            self.begins = self.begins.min(from);
            if appended {
                let settled = self.newest - TARGET - (end - from).max(FRAME as u64);
                self.head = settled.clamp(self.head, self.begins);
            }
        }
    }
}

/// The jitter buffer of one leg.
#[derive(Debug)]
pub(crate) struct JitterBuffer {
    codec: Codec,
    samples: Box<[u8; SIZE]>,
    present: [u64; WORDS],
    position: Option<Position>,
    /// The last frame played, from which missing ones are made up.
    last: Frame,
    fades: u8,
    /// Where the sender said that it falls silent.
    quiet_from: Option<u64>,
    late_run: u8,
    skew: Skew,
    /// Slots in a row above the depth that is cut back.
    too_deep: u8,
    /// Frames made up.
    pub(crate) concealed: u64,
    /// Frames dropped or inserted to follow the sender's clock.
    pub(crate) corrections: u64,
}

impl JitterBuffer {
    /// An empty buffer.
    pub(crate) fn new(codec: Codec) -> Self {
        Self {
            codec,
            samples: Box::new([0; SIZE]),
            present: [0; WORDS],
            position: None,
            last: [codec.silence(); FRAME],
            fades: FADES,
            quiet_from: None,
            late_run: 0,
            skew: Skew::new(),
            too_deep: 0,
            concealed: 0,
            corrections: 0,
        }
    }

    /// Forgets the stream: the next packet starts a new one.
    pub(crate) fn reset(&mut self, codec: Codec) {
        self.codec = codec;
        self.present = [0; WORDS];
        self.position = None;
        self.quiet_from = None;
        self.last = [codec.silence(); FRAME];
        self.fades = FADES;
        self.late_run = 0;
        self.too_deep = 0;
        self.skew = Skew::new();
    }

    /// Whether anything has come since the start or the last reset.
    pub(crate) const fn is_running(&self) -> bool {
        self.position.is_some()
    }

    /// Stores a payload at its timestamp.
    pub(crate) fn put(&mut self, timestamp: u32, payload: &[u8]) -> Stored {
        let position = self.located(timestamp);
        let (at, end) = (
            position.of(timestamp),
            position.of(timestamp) + payload.len() as u64,
        );
        if end > position.head {
            self.late_run = 0;
            self.store(position, at, end, payload, timestamp);
            return Stored::InTime;
        }
        self.late_run += 1;
        if position.newest <= position.head || self.late_run >= LATE_RUN {
            // Nothing else to play, or all packets come late: the path has become longer.
            self.restart(timestamp);
            if let Some(position) = self.position {
                self.store(
                    position,
                    position.begins,
                    position.begins + payload.len() as u64,
                    payload,
                    timestamp,
                );
            }
        }
        Stored::Late
    }

    /// The sender says that it falls silent from this timestamp on (RFC 3389, RFC 4733);
    /// one that has nothing to do with the audio's is ignored.
    pub(crate) fn quiet(&mut self, timestamp: u32) {
        let position = match self.position {
            Some(position) => position,
            None => self.restart(timestamp),
        };
        let at = position.of(timestamp);
        if Self::reaches(position, at) {
            self.quiet_from = Some(at);
        }
    }

    /// The next 20 ms.
    pub(crate) fn pull(&mut self) -> Audio {
        let Some(mut position) = self.position else {
            return Audio::silence(self.codec);
        };
        if let Some(inserted) = self.follow(&mut position) {
            return Audio {
                codec: self.codec,
                frame: inserted,
            };
        }
        let frame = self.read(position);
        self.erase(position.head, FRAME as u64);
        position.head += FRAME as u64;
        self.position = Some(position);
        Audio {
            codec: self.codec,
            frame,
        }
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
        self.quiet_from = None;
        self.late_run = 0;
        self.skew = Skew::new();
        *self.position.insert(Position::start(timestamp))
    }

    fn store(&mut self, mut position: Position, at: u64, end: u64, payload: &[u8], timestamp: u32) {
        let skipped = position.head.saturating_sub(at);
        let from = at + skipped;
        let fresh = payload
            .get(usize::try_from(skipped).unwrap_or(usize::MAX)..)
            .unwrap_or_default();
        self.write(from, fresh);
        position.extend(from, end);
        position.anchor = (timestamp, at);
        let bound = if position.is_starting() {
            MAX_DEPTH
        } else {
            LIMIT
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

    /// Goes back to the depth of the start.
    fn cut(&mut self, position: &mut Position) {
        let head = position.newest - TARGET - FRAME as u64;
        self.corrections += (head - position.head) / FRAME as u64;
        self.erase(position.head, head - position.head);
        position.head = head;
        self.skew = Skew::new();
    }

    /// Reads the frame at the head and makes up what is missing.
    fn read(&mut self, position: Position) -> Frame {
        let head = position.head;
        let (mut frame, found) = self.stored(head);
        if found < FRAME {
            let made_up = self.made_up(position, found == 0);
            for (at, byte) in frame.iter_mut().enumerate() {
                let bit = (head as usize + at) % SIZE;
                if self.present[bit / 64] >> (bit % 64) & 1 == 0 {
                    *byte = made_up[at];
                }
            }
        }
        if found > 0 {
            self.last = frame;
            self.fades = 0;
            self.quiet_from = self.quiet_from.filter(|quiet| *quiet > head);
        }
        frame
    }

    /// The last frame at falling loudness, or silence where silence is due.
    fn made_up(&mut self, position: Position, all_missing: bool) -> Frame {
        let end = position.head + FRAME as u64;
        let silence = [self.codec.silence(); FRAME];
        let starting = position.head < position.begins;
        let announced = self
            .quiet_from
            .is_some_and(|quiet| all_missing && end > quiet);
        if starting || announced {
            return silence;
        }
        if self.fades < FADES {
            self.concealed += 1;
            self.fades += 1;
            let (codec, halvings) = (self.codec, self.fades);
            return self.last.map(|byte| fade(codec, byte, halvings));
        }
        if position.newest > position.head {
            self.concealed += 1;
        }
        silence
    }

    /// Follows the sender's clock; gives the frame that is inserted here.
    fn follow(&mut self, position: &mut Position) -> Option<Frame> {
        let depth = position.depth();
        self.too_deep = if depth > MAX_DEPTH {
            self.too_deep + 1
        } else {
            0
        };
        if self.too_deep > CATCHING_UP {
            self.too_deep = 0;
            self.cut(position);
            return None;
        }
        if depth == 0 || position.head < position.begins {
            self.skew = Skew::new();
            return None;
        }
        match self.skew.observe(depth)? {
            Correction::Drop => {
                self.drop_frame(position);
                None
            }
            Correction::Insert => self.inserted(position.head),
        }
    }

    /// Drops the next frame when it may go; one that is heard is blended into the one behind it.
    fn drop_frame(&mut self, position: &mut Position) {
        let behind = position.head + FRAME as u64;
        let (Some(dropped), Some(next)) = (self.whole(position.head), self.whole(behind)) else {
            return;
        };
        let loudness = loudness(self.codec, &dropped);
        if !self.skew.accepts(loudness) {
            return;
        }
        if loudness > QUIET {
            self.write(behind, &blend(self.codec, &dropped, &next));
        }
        self.corrections += 1;
        self.erase(position.head, FRAME as u64);
        position.head = behind;
    }

    /// A frame between the last and the next when one may be put there: it begins as the next and
    /// ends as the last one, so that both joints are as smooth as the one between them.
    fn inserted(&mut self, head: u64) -> Option<Frame> {
        let next = self.whole(head).filter(|_| self.fades == 0)?;
        let loudness = loudness(self.codec, &self.last);
        if !self.skew.accepts(loudness) {
            return None;
        }
        self.corrections += 1;
        Some(if loudness > QUIET {
            blend(self.codec, &next, &self.last)
        } else {
            self.last
        })
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
