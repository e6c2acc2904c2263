//! Dialogs of ended legs, remembered for what still arrives for them.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use timebase::Now;

use crate::dialog::Dialog;

/// How many are remembered; of more, the oldest is forgotten.
const MAX_GRAVES: usize = 100_000;

/// The dialogs that ended lately.
#[derive(Debug, Default)]
pub(super) struct Graves {
    by_tag: HashMap<Bytes, Grave>,
    order: VecDeque<(Now, Bytes)>,
}

#[derive(Debug)]
struct Grave {
    call_id: Bytes,
    remote_tag: Bytes,
}

impl Graves {
    pub(super) fn bury(&mut self, until: Now, dialog: &Dialog) {
        while self.order.len() >= MAX_GRAVES {
            self.forget_first();
        }
        let grave = Grave {
            call_id: dialog.call_id.clone(),
            remote_tag: dialog.remote_tag.clone(),
        };
        self.by_tag.insert(dialog.local_tag.clone(), grave);
        self.order.push_back((until, dialog.local_tag.clone()));
    }

    /// Whether the dialog with these identifiers ended lately.
    pub(super) fn holds(&self, call_id: &[u8], local_tag: &[u8], remote_tag: &[u8]) -> bool {
        self.by_tag
            .get(local_tag)
            .is_some_and(|grave| grave.call_id == call_id && grave.remote_tag == remote_tag)
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_first();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Now> {
        self.order.front().map(|(until, _)| *until)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    fn forget_first(&mut self) {
        if let Some((_, tag)) = self.order.pop_front() {
            self.by_tag.remove(&tag);
        }
    }
}
