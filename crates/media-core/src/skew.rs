//! Following the sender's clock: when to drop or insert a frame, and which one.
//!
//! The depth of the jitter buffer is watched over windows. A correction that is
//! due waits for a frame that is next to silence. Where a party speaks without
//! pause and the correction presses, the first frame as quiet as the quietest of
//! the last two seconds is taken.

use crate::FRAME;

/// Samples between arrival and play-out at the start: 40 ms.
pub(crate) const TARGET: u64 = 320;
/// Slots over which the smallest depth is watched: 2 s.
const WINDOW: u8 = 100;
/// Smallest depth in a window from which a frame is dropped: the sender's clock is fast.
const DEEP: u64 = TARGET + 2 * FRAME as u64;
/// Smallest depth in a window from which this presses.
const TOO_DEEP: u64 = DEEP + FRAME as u64;
/// Depth that is too small: the sender's clock is slow.
const SHALLOW: u64 = FRAME as u64;
/// Slots of a window at such a depth from which a frame is inserted; the end of a talk-spurt makes one.
const SHALLOW_SLOTS: u8 = 3;
/// Mean amplitude that nobody misses: -58 dB of full scale.
pub(crate) const QUIET: u32 = 40;
/// Slots in which a pressing correction waits for silence and learns how quiet it gets: 2 s.
const LISTEN: u8 = 100;
/// Slots in which it then waits for a frame as quiet as the quietest before: 2 s.
const PATIENCE: u8 = 100;

/// How to follow the sender's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Correction {
    /// The buffer stands too deep.
    Drop,
    /// The buffer runs empty.
    Insert,
}

/// A correction that waits for its frame.
#[derive(Clone, Copy, Debug)]
struct Due {
    correction: Correction,
    /// Whether it waits for silence within bounds only.
    presses: bool,
    /// Slots waited since it presses.
    waited: u8,
    quietest: u32,
}

impl Due {
    /// Whether a frame that is heard is taken, after all the others that were offered.
    fn settles_for(&mut self, loudness: u32) -> bool {
        let waited = self.waited;
        self.waited += 1;
        if waited < LISTEN {
            self.quietest = self.quietest.min(loudness);
            return false;
        }
        loudness <= self.quietest || waited >= LISTEN + PATIENCE
    }
}

/// The watch over the depth.
#[derive(Debug)]
pub(crate) struct Skew {
    watched: u8,
    shallowest: u64,
    shallow_slots: u8,
    due: Option<Due>,
}

impl Skew {
    /// A watch that begins.
    pub(crate) const fn new() -> Self {
        Self {
            watched: 0,
            shallowest: u64::MAX,
            shallow_slots: 0,
            due: None,
        }
    }

    /// Takes the depth of a slot; says which correction is due.
    pub(crate) fn observe(&mut self, depth: u64) -> Option<Correction> {
        self.watched += 1;
        self.shallowest = self.shallowest.min(depth);
        self.shallow_slots += u8::from(depth <= SHALLOW);
        if depth < DEEP {
            self.due = self.due.filter(|due| due.correction != Correction::Drop);
        }
        if self.watched >= WINDOW {
            let wanted = self.verdict();
            *self = Self {
                due: self.still_due(wanted),
                ..Self::new()
            };
        }
        self.due.map(|due| due.correction)
    }

    /// Whether the due correction is made at a frame of this mean amplitude.
    pub(crate) fn accepts(&mut self, loudness: u32) -> bool {
        let Some(due) = &mut self.due else {
            return false;
        };
        let accepted = loudness <= QUIET || due.presses && due.settles_for(loudness);
        if accepted {
            *self = Self::new();
        }
        accepted
    }

    const fn verdict(&self) -> Option<Correction> {
        if self.shallow_slots >= SHALLOW_SLOTS {
            Some(Correction::Insert)
        } else if self.shallowest >= DEEP {
            Some(Correction::Drop)
        } else {
            None
        }
    }

    /// What waits after a window: a correction that is still wanted goes on waiting.
    fn still_due(&self, wanted: Option<Correction>) -> Option<Due> {
        let correction = wanted?;
        let presses = match correction {
            Correction::Drop => self.shallowest >= TOO_DEEP,
            Correction::Insert => true,
        };
        let before = self.due.filter(|due| due.correction == correction);
        let (waited, quietest) = before.map_or((0, u32::MAX), |due| (due.waited, due.quietest));
        Some(Due {
            correction,
            presses,
            waited,
            quietest,
        })
    }
}
