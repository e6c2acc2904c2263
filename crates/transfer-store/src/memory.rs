//! The store in memory: for tests and demonstrations; nothing survives the process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use call_control::transfer::{AccountId, NewTransfer, OutputContext, Status, Transfer, TransferId};
use timebase::UnixMillis;

mod conversation;
mod live;
mod records;

use crate::Times;
use crate::records::{CallFilter, CallRecord, TransferFilter};
use crate::types::{Claim, Completion, Fence, RegisterError, Release, Swept, Unavailable, active};
use conversation::Conversations;
use records::{Records, is};

/// Transfers held at most; with more, registering answers [`Unavailable`].
const MOST: usize = 1_000_000;

type Key = (AccountId, TransferId);

#[derive(Debug, Default)]
pub(crate) struct Memory {
    rows: Mutex<HashMap<Key, Row>>,
    conversations: Mutex<Conversations>,
    records: Mutex<Records>,
    live: Mutex<live::Live>,
}

#[derive(Debug)]
struct Row {
    transfer: Transfer,
    expires_at: UnixMillis,
    epoch: i64,
    fence: i64,
    closed: bool,
    over_at: Option<UnixMillis>,
    transcript: Option<String>,
}

impl Row {
    fn is_past(&self, now: UnixMillis) -> bool {
        self.transfer.status == Status::Active && now >= self.expires_at
    }

    fn read(&self, now: UnixMillis) -> Transfer {
        let mut transfer = self.transfer.clone();
        if self.is_past(now) {
            transfer.status = Status::Expired;
        }
        transfer
    }

    fn expire(&mut self) {
        self.transfer.status = Status::Expired;
        self.over_at = Some(self.expires_at);
    }

    fn complete(&mut self, now: UnixMillis) {
        self.transfer.status = Status::Completed;
        self.transfer.completed_at.get_or_insert(now);
        self.over_at.get_or_insert(now);
    }
}

impl Memory {
    /// A poisoned lock is taken all the same: no method can panic half way through a change.
    fn rows(&self) -> MutexGuard<'_, HashMap<Key, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(
        &self,
        new: NewTransfer,
        times: &Times,
    ) -> Result<Transfer, RegisterError> {
        let mut rows = self.rows();
        let key = (new.account.clone(), new.id.clone());
        if rows.contains_key(&key) {
            return Err(RegisterError::Duplicate);
        }
        if rows.len() >= MOST {
            return Err(RegisterError::Unavailable);
        }
        let now = times.now();
        let transfer = active(new, now);
        let row = Row {
            transfer: transfer.clone(),
            expires_at: times.expiry(now),
            epoch: 0,
            fence: 0,
            closed: false,
            over_at: None,
            transcript: None,
        };
        self.conversations().note(&transfer);
        rows.insert(key, row);
        Ok(transfer)
    }

    pub(crate) fn fetch(&self, key: &Key, now: UnixMillis) -> Option<Transfer> {
        let rows = self.rows();
        rows.get(key).map(|row| row.read(now))
    }

    pub(crate) fn claim(&self, key: &Key, now: UnixMillis) -> Claim {
        let epoch = self.live().epoch;
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(key) else {
            return Claim::Unknown;
        };
        match row.transfer.status {
            Status::Active if row.is_past(now) => Claim::Over,
            Status::Active => {
                row.transfer.status = Status::Ongoing;
                row.transfer.call_received_at = Some(now);
                row.epoch = epoch;
                row.fence += 1;
                Claim::Claimed {
                    transfer: Box::new(row.transfer.clone()),
                    fence: Fence(row.fence),
                }
            }
            Status::Ongoing => Claim::Ongoing,
            Status::Completed | Status::Expired => Claim::Over,
        }
    }

    pub(crate) fn release(&self, key: &Key, fence: Fence) -> Release {
        let mut rows = self.rows();
        match rows.get_mut(key) {
            Some(row) if row.fence == fence.0 && row.transfer.status == Status::Ongoing => {
                row.transfer.status = Status::Active;
                row.transfer.call_received_at = None;
                Release::Released
            }
            Some(_) | None => Release::Stale,
        }
    }

    pub(crate) fn complete(
        &self,
        key: &Key,
        fence: Fence,
        output: Option<OutputContext>,
        now: UnixMillis,
    ) -> Completion {
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(key).filter(|row| row.fence == fence.0) else {
            return Completion::Stale;
        };
        match row.transfer.status {
            Status::Active | Status::Expired => return Completion::Stale,
            Status::Ongoing | Status::Completed => {}
        }
        match output {
            Some(_) if row.closed => return Completion::Closed,
            Some(output) => row.transfer.output = Some(output),
            None => row.closed = true,
        }
        row.complete(now);
        Completion::Written
    }

    pub(crate) fn sweep(&self, now: UnixMillis, times: &Times) -> Swept {
        let mut rows = self.rows();
        let mut swept = Swept::default();
        for row in rows.values_mut().filter(|row| row.is_past(now)) {
            row.expire();
            swept.expired += 1;
        }
        let before = rows.len();
        let horizon = times.horizon(now);
        let mut conversations = self.conversations();
        rows.retain(|_, row| {
            let kept = row.over_at.is_none_or(|at| at > horizon);
            if !kept {
                conversations.forget(&row.transfer);
            }
            kept
        });
        drop(conversations);
        swept.deleted = (before - rows.len()) as u64;
        self.records().sweep(horizon);
        swept
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record_call(&self, record: CallRecord) -> Result<(), Unavailable> {
        self.live().forget(&record.call);
        self.records().keep(record);
        Ok(())
    }

    pub(crate) fn call(&self, id: &str) -> Option<CallRecord> {
        self.records().get(id)
    }

    pub(crate) fn calls(&self, filter: &CallFilter) -> Vec<CallRecord> {
        self.records().list(filter)
    }

    pub(crate) fn transfers(&self, filter: &TransferFilter, now: UnixMillis) -> Vec<Transfer> {
        let place = |transfer: &Transfer| {
            let registered = &transfer.registered;
            (
                transfer.created_at,
                registered.account.clone(),
                registered.id.clone(),
            )
        };
        let asked = |transfer: &Transfer| {
            let registered = &transfer.registered;
            is(filter.account.as_ref(), &registered.account)
                && is(
                    filter.conversation.as_ref(),
                    &registered.external_conversation_id,
                )
                && is(filter.status.as_ref(), &transfer.status)
                && filter
                    .after
                    .as_ref()
                    .is_none_or(|after| place(transfer) < *after)
        };
        let read = |row: &Row| row.read(now);
        let mut found: Vec<Transfer> = self
            .rows()
            .values()
            .map(read)
            .filter(|it| asked(it))
            .collect();
        found.sort_by_key(|transfer| std::cmp::Reverse(place(transfer)));
        found.truncate(usize::try_from(filter.limit).unwrap_or(usize::MAX));
        found
    }

    pub(crate) fn health(&self) -> Result<(), Unavailable> {
        if self.rows().len() < MOST {
            Ok(())
        } else {
            Err(Unavailable)
        }
    }
}
