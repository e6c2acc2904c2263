//! Live calls in memory: nobody else is there to take them over, but a process that joins again.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use call_control::transfer::Status;
use timebase::UnixMillis;

use super::Memory;
use crate::live::{Checkpoint, Orphan, TakenOver};
use crate::types::Fence;

#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) epoch: i64,
    calls: HashMap<String, Call>,
}

#[derive(Debug)]
struct Call {
    checkpoint: Checkpoint,
    stored_at: UnixMillis,
    epoch: i64,
}

impl Live {
    pub(super) fn forget(&mut self, call: &str) {
        self.calls.remove(call);
    }
}

impl Memory {
    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn join(&self) {
        self.live().epoch += 1;
    }

    pub(crate) fn checkpoint(&self, checkpoint: Checkpoint, now: UnixMillis) -> bool {
        let key = (checkpoint.account.clone(), checkpoint.transfer.clone());
        let rows = self.rows();
        if rows
            .get(&key)
            .is_none_or(|row| row.fence != checkpoint.fence.0)
        {
            return false;
        }
        let mut live = self.live();
        let call = Call {
            stored_at: now,
            epoch: live.epoch,
            checkpoint,
        };
        live.calls.insert(call.checkpoint.call.clone(), call);
        true
    }

    pub(crate) fn take_over(&self, now: UnixMillis) -> TakenOver {
        let mut rows = self.rows();
        let mut live = self.live();
        let epoch = live.epoch;
        let mut taken = TakenOver::default();
        for call in live.calls.values_mut().filter(|call| call.epoch != epoch) {
            call.epoch = epoch;
            let at = &call.checkpoint;
            let row = rows.get_mut(&(at.account.clone(), at.transfer.clone()));
            let row = row.filter(|row| row.transfer.status != Status::Active);
            let mut checkpoint = at.clone();
            checkpoint.fence = Fence(0);
            let transfer = row.map(|row| {
                row.fence += 1;
                row.epoch = epoch;
                checkpoint.fence = Fence(row.fence);
                row.transfer.clone()
            });
            taken.calls.push(Orphan {
                checkpoint,
                stored_at: call.stored_at,
                transfer,
            });
        }
        let ongoing =
            |row: &&mut super::Row| row.transfer.status == Status::Ongoing && row.epoch != epoch;
        for row in rows.values_mut().filter(ongoing) {
            row.fence += 1;
            row.closed = true;
            row.complete(now);
            taken.lost.push(row.transfer.clone());
        }
        taken
    }
}
