//! The jitter buffer: samples stored by their timestamp, one frame out per slot.
//!
//! A packet of any size is written where its timestamp says; a slot reads the
//! next 160 samples. What is missing is made up. The play position runs with
//! the slots, so pauses of the sender (DTX) are pauses here too.

use crate::codec::{Audio, fade};
use crate::{Codec, FRAME, Frame};

/// Samples that the buffer holds: 512 ms.
const SIZE: usize = 4096;
const WORDS: usize = SIZE / 64;
/// Samples between arrival and play-out at the start: 40 ms.
const TARGET: u64 = 320;
/// Depth that is cut back at once: 240 ms.
const MAX_DEPTH: u64 = 1920;
/// Slots over which the smallest depth is watched: 2 s.
const WINDOW: u8 = 100;
/// Smallest depth in a window from which a frame is dropped: the sender's clock is fast.
const DEEP: u64 = TARGET + 2 * FRAME as u64;
/// Depth that is too small: the sender's clock is slow.
const SHALLOW: u64 = FRAME as u64;
/// Slots of a window at such a depth from which a frame is inserted; the end of a talk-spurt makes one.
const SHALLOW_SLOTS: u8 = 3;
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
    watched: u8,
    shallowest: u64,
    shallow_slots: u8,
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
            watched: 0,
            shallowest: u64::MAX,
            shallow_slots: 0,
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
        self.rewatch();
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
        match self.watch(position) {
            Correction::Insert => {
                self.corrections += 1;
                return Audio {
                    codec: self.codec,
                    frame: self.last,
                };
            }
            Correction::Drop => {
                self.corrections += 1;
                self.erase(position.head, FRAME as u64);
                position.head += FRAME as u64;
            }
            Correction::None => {}
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
        self.rewatch();
        *self.position.insert(Position::start(timestamp))
    }

    fn store(&mut self, mut position: Position, at: u64, end: u64, payload: &[u8], timestamp: u32) {
        let skipped = position.head.saturating_sub(at);
        let from = at + skipped;
        let fresh = payload
            .get(usize::try_from(skipped).unwrap_or(usize::MAX)..)
            .unwrap_or_default();
        let index = from as usize % SIZE;
        let (first, second) = fresh.split_at(fresh.len().min(SIZE - index));
        self.samples[index..index + first.len()].copy_from_slice(first);
        self.samples[..second.len()].copy_from_slice(second);
        spans(from, fresh.len() as u64, |word, mask| {
            self.present[word] |= mask
        });
        position.newest = position.newest.max(end);
        position.anchor = (timestamp, at);
        if position.newest - position.head > MAX_DEPTH {
            let head = position.newest - TARGET - FRAME as u64;
            self.corrections += (head - position.head) / FRAME as u64;
            self.erase(position.head, head - position.head);
            position.head = head;
        }
        self.position = Some(position);
    }

    /// Reads the frame at the head and makes up what is missing.
    fn read(&mut self, position: Position) -> Frame {
        let head = position.head;
        let mut frame = [0; FRAME];
        let index = head as usize % SIZE;
        let until_wrap = FRAME.min(SIZE - index);
        frame[..until_wrap].copy_from_slice(&self.samples[index..index + until_wrap]);
        frame[until_wrap..].copy_from_slice(&self.samples[..FRAME - until_wrap]);
        let mut found = 0;
        spans(head, FRAME as u64, |word, mask| {
            found += (self.present[word] & mask).count_ones() as usize
        });
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
        let starting = end <= position.begins;
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

    /// Watches the depth and says how to follow the sender's clock.
    fn watch(&mut self, position: Position) -> Correction {
        let depth = position.newest.saturating_sub(position.head);
        if depth == 0 || position.head < position.begins {
            self.rewatch();
            return Correction::None;
        }
        self.watched += 1;
        self.shallowest = self.shallowest.min(depth);
        self.shallow_slots += u8::from(depth <= SHALLOW);
        if self.watched < WINDOW {
            return Correction::None;
        }
        let (shallowest, shallow_slots) = (self.shallowest, self.shallow_slots);
        self.rewatch();
        if shallow_slots >= SHALLOW_SLOTS {
            Correction::Insert
        } else if shallowest >= DEEP {
            Correction::Drop
        } else {
            Correction::None
        }
    }

    const fn rewatch(&mut self) {
        self.watched = 0;
        self.shallowest = u64::MAX;
        self.shallow_slots = 0;
    }

    fn erase(&mut self, from: u64, length: u64) {
        spans(from, length.min(SIZE as u64), |word, mask| {
            self.present[word] &= !mask
        });
    }
}

/// How to follow the sender's clock in this slot.
enum Correction {
    None,
    Drop,
    Insert,
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
mod tests;
