//! One press, told once: some peers send every key by two ways.

use std::collections::VecDeque;
use std::time::Duration;

use timebase::Now;

/// How far apart the two reports of one press may be.
const APART: Duration = Duration::from_secs(1);
/// How many presses are remembered; more in a second is no finger.
const REMEMBERED: usize = 16;

/// The way that a key came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As a telephone event in RTP.
    Event,
    /// In signalling.
    Signalled,
}

/// The presses of one leg that may still come by the other way.
#[derive(Debug)]
pub(crate) struct Keys {
    told: VecDeque<(Now, char, Way)>,
}

impl Keys {
    pub(crate) const fn new() -> Self {
        Self {
            told: VecDeque::new(),
        }
    }

    /// Whether a key is a press of its own, rather than one that came by the other way before.
    pub(crate) fn is_new(&mut self, now: Now, key: char, way: Way) -> bool {
        self.told.retain(|(at, _, _)| now.since(*at) <= APART);
        let twin = |told: &(Now, char, Way)| told.1 == key && told.2 != way;
        if let Some(index) = self.told.iter().position(twin) {
            self.told.remove(index);
            return false;
        }
        if self.told.len() >= REMEMBERED {
            self.told.pop_front();
        }
        self.told.push_back((now, key, way));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(presses: &[(u64, char, Way)]) -> String {
        let mut keys = Keys::new();
        let new = presses
            .iter()
            .filter(|(at, key, way)| keys.is_new(Now::from_millis(*at), *key, *way));
        new.map(|(_, key, _)| key).collect()
    }

    use Way::{Event, Signalled};

    #[test]
    fn press_that_comes_by_both_ways_is_told_once() {
        assert_eq!(told(&[(0, '1', Event), (80, '1', Signalled)]), "1");
        let quick = [
            (0, '1', Signalled),
            (150, '2', Signalled),
            (160, '1', Event),
            (300, '2', Event),
            (310, '1', Signalled),
            (400, '1', Event),
        ];
        assert_eq!(told(&quick), "121");
    }

    #[test]
    fn presses_by_one_way_are_all_told() {
        assert_eq!(
            told(&[(0, '1', Event), (80, '1', Event), (90, '1', Event)]),
            "111"
        );
        assert_eq!(told(&[(0, '5', Signalled), (50, '5', Signalled)]), "55");
        assert_eq!(
            told(&[(0, '5', Signalled), (1001, '5', Event)]),
            "55",
            "too far apart"
        );
    }
}
