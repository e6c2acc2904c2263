//! Where play-out stands in a stream of timestamps.

use crate::FRAME;
use crate::delay::TARGET;

/// Where play-out stands, in samples extended from 32-bit timestamps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    /// The next sample to play.
    pub(crate) head: u64,
    /// One past the newest sample stored.
    pub(crate) newest: u64,
    /// The first sample after the last start.
    pub(crate) begins: u64,
    /// A timestamp and its position, from which others are extended.
    pub(crate) anchor: (u32, u64),
}

impl Position {
    /// Before the first packet is played.
    pub(crate) const fn start(timestamp: u32) -> Self {
        let begins = 1 << 40;
        Self {
            head: begins - TARGET,
            newest: begins,
            begins,
            anchor: (timestamp, begins),
        }
    }

    /// The place of a timestamp.
    pub(crate) const fn of(&self, timestamp: u32) -> u64 {
        let distance = timestamp.wrapping_sub(self.anchor.0).cast_signed() as i64;
        self.anchor.1.saturating_add_signed(distance)
    }

    /// Samples between the play position and the newest.
    pub(crate) const fn depth(&self) -> u64 {
        self.newest.saturating_sub(self.head)
    }

    /// Whether nothing has been played since the last start.
    pub(crate) const fn is_starting(&self) -> bool {
        self.head <= self.begins
    }

    /// Takes in what has come. Packets that come at once at the start are followed: only the
    /// silence before them gets shorter. What follows a hole may be early, not many at once.
    pub(crate) fn extend(&mut self, from: u64, end: u64) {
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
