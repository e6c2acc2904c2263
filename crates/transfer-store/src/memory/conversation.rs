//! The finished transfers of a conversation, in memory.

use std::collections::{HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};

use call_control::transfer::{AccountId, Status, Transfer, TransferId};

use super::{Key, Memory, Row};
use crate::conversation::Earlier;

/// Which transfers belong to a conversation, so that a call does not look through all there are.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    transfers: HashMap<(AccountId, String), HashSet<TransferId>>,
}

impl Conversations {
    pub(super) fn note(&mut self, transfer: &Transfer) {
        let transfers = self.transfers.entry(of(transfer)).or_default();
        transfers.insert(transfer.registered.id.clone());
    }

    pub(super) fn forget(&mut self, transfer: &Transfer) {
        let conversation = of(transfer);
        if let Some(transfers) = self.transfers.get_mut(&conversation) {
            transfers.remove(&transfer.registered.id);
            if transfers.is_empty() {
                self.transfers.remove(&conversation);
            }
        }
    }
}

fn of(transfer: &Transfer) -> (AccountId, String) {
    let registered = &transfer.registered;
    (
        registered.account.clone(),
        registered.external_conversation_id.clone(),
    )
}

impl Memory {
    /// Locked inside the lock of the rows, never around it.
    pub(super) fn conversations(&self) -> MutexGuard<'_, Conversations> {
        let lock = self.conversations.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn conversation(
        &self,
        account: &AccountId,
        conversation: &str,
        most: u32,
    ) -> Vec<Earlier> {
        let rows = self.rows();
        let conversations = self.conversations();
        let named = (account.clone(), conversation.to_owned());
        let transfers = conversations.transfers.get(&named);
        let finished = transfers.into_iter().flatten().filter_map(|id| {
            let row = rows.get(&(account.clone(), id.clone()))?;
            let tells = row.transfer.output.is_some() || row.transcript.is_some();
            (row.transfer.status == Status::Completed && tells).then_some(row)
        });
        let mut found: Vec<&Row> = finished.collect();
        found.sort_by_key(|row| std::cmp::Reverse(row.transfer.created_at));
        let latest = found
            .into_iter()
            .take(usize::try_from(most).unwrap_or(usize::MAX));
        let earlier = latest.map(|row| Earlier {
            transfer: row.transfer.clone(),
            transcript: row.transcript.clone(),
        });
        earlier.collect()
    }

    pub(crate) fn put_transcript(&self, key: &Key, transcript: String) {
        if let Some(row) = self.rows().get_mut(key) {
            row.transcript = Some(transcript);
        }
    }
}
