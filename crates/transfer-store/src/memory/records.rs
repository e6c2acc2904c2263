//! Records of calls that are over, in memory.

use std::collections::{BTreeMap, HashMap};

use timebase::UnixMillis;

use crate::records::{CallFilter, CallRecord};

/// Records held at most; with more, the oldest goes.
const MOST: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Records {
    by_end: BTreeMap<(UnixMillis, String), CallRecord>,
    ends: HashMap<String, UnixMillis>,
}

impl Records {
    pub(super) fn keep(&mut self, record: CallRecord) {
        let place = (record.ended_at, record.call.clone());
        if let Some(ended) = self.ends.insert(record.call.clone(), record.ended_at) {
            self.by_end.remove(&(ended, record.call.clone()));
        }
        self.by_end.insert(place, record);
        while self.by_end.len() > MOST {
            self.drop_first();
        }
    }

    pub(super) fn get(&self, call: &str) -> Option<CallRecord> {
        let ended = *self.ends.get(call)?;
        self.by_end.get(&(ended, call.to_owned())).cloned()
    }

    pub(super) fn list(&self, filter: &CallFilter) -> Vec<CallRecord> {
        let asked = |record: &&CallRecord| {
            is(filter.account.as_ref(), &record.account)
                && is(filter.transfer.as_ref(), &record.transfer)
                && is(filter.trunk.as_ref(), &record.trunk)
                && is(filter.outcome.as_ref(), &record.outcome)
        };
        let before = |(place, _): &(&(UnixMillis, String), &CallRecord)| {
            filter.after.as_ref().is_none_or(|after| *place < after)
        };
        let latest_first = self.by_end.iter().rev().filter(before).map(|(_, it)| it);
        let most = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        latest_first.filter(asked).take(most).cloned().collect()
    }

    /// Drops those that ended at `horizon` or before.
    pub(super) fn sweep(&mut self, horizon: UnixMillis) {
        while self
            .by_end
            .first_key_value()
            .is_some_and(|(place, _)| place.0 <= horizon)
        {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(((_, call), _)) = self.by_end.pop_first() {
            self.ends.remove(&call);
        }
    }
}

/// Whether a value is the one asked for, if one is.
pub(super) fn is<T: PartialEq>(asked: Option<&T>, value: &T) -> bool {
    asked.is_none_or(|asked| asked == value)
}
