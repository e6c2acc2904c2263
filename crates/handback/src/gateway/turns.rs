//! Whether calls that were let in get their turn in time: how the door sees that the machine is overloaded.
//!
//! A call's task waits in the same queues as everything else that runs, so the time from its admission to its first step is
//! how far the process is behind. Calls that are refused then cost little, and those that were let in are answered before their
//! callers repeat themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A wait of this long means that the process is behind: setting up a call takes several such turns, and callers repeat an
/// INVITE after 500 ms (RFC 3261 §17.1.1.2).
const BEHIND: Duration = Duration::from_millis(40);

/// Fewer calls than this that wait are a machine that was busy with something else for a moment.
const CROWD: usize = 16;

/// The calls that wait for their first step, and how long the last one that got it had waited.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<State>);

#[derive(Debug, Default)]
struct State {
    waiting: AtomicUsize,
    last_micros: AtomicU64,
}

/// A call that waits.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    since: Instant,
}

impl Turns {
    /// Whether no further call is to be let in now. It is over as soon as those that wait have had their turn.
    pub(super) fn are_late(&self) -> bool {
        let last = Duration::from_micros(self.0.last_micros.load(Ordering::Relaxed));
        last > BEHIND && self.0.waiting.load(Ordering::Relaxed) > CROWD
    }

    /// A call that was let in.
    pub(super) fn wait(&self, now: Instant) -> Turn {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        Turn {
            turns: self.clone(),
            since: now,
        }
    }
}

impl Turn {
    /// The call's first step.
    pub(super) fn came(self, now: Instant) {
        let waited = now.saturating_duration_since(self.since).as_micros();
        let waited = u64::try_from(waited).unwrap_or(u64::MAX);
        self.turns.0.last_micros.store(waited, Ordering::Relaxed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn door_closes_while_many_wait_for_long_and_opens_when_they_had_their_turn() {
        let turns = Turns::default();
        let began = Instant::now();
        let mut waiting: Vec<Turn> = (0..CROWD + 2).map(|_| turns.wait(began)).collect();
        assert!(!turns.are_late(), "nobody has waited for long yet");
        waiting.pop().unwrap().came(began + BEHIND * 2);
        assert!(turns.are_late());
        waiting.pop().unwrap().came(began + BEHIND * 2);
        assert!(!turns.are_late(), "so few may wait for long");
        let more = turns.wait(began);
        assert!(turns.are_late());
        more.came(began + BEHIND / 2);
        waiting.extend((0..CROWD).map(|_| turns.wait(began)));
        assert!(!turns.are_late(), "they wait, but not for long");
    }
}
