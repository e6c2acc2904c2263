//! What is to happen later, in the order of its time, then of its entry.

use std::collections::BTreeMap;

use timebase::Now;

/// Things that are due at instants.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    items: BTreeMap<(Now, u64), T>,
    entries: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            entries: 0,
        }
    }
}

impl<T> Agenda<T> {
    pub(crate) fn add(&mut self, at: Now, item: T) {
        self.entries += 1;
        self.items.insert((at, self.entries), item);
    }

    /// Takes the first thing that is due.
    pub(crate) fn due(&mut self, now: Now) -> Option<T> {
        let first = self.items.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub(crate) fn poll_timeout(&self) -> Option<Now> {
        self.items.keys().next().map(|(at, _)| *at)
    }

    /// Drops what is not wanted.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        self.items.retain(|_, item| wanted(item));
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.items.clear();
    }
}
