//! The finished transfers of a conversation, in memory.

use call_control::transfer::{AccountId, Status};

use super::{Key, Memory};
use crate::conversation::Earlier;

impl Memory {
    pub(crate) fn conversation(
        &self,
        account: &AccountId,
        conversation: &str,
        most: u32,
    ) -> Vec<Earlier> {
        let rows = self.rows();
        let finished = rows.values().filter(|row| {
            let registered = &row.transfer.registered;
            row.transfer.status == Status::Completed
                && registered.account == *account
                && registered.external_conversation_id == conversation
                && (row.transfer.output.is_some() || row.transcript.is_some())
        });
        let mut found: Vec<Earlier> = finished
            .map(|row| Earlier {
                transfer: row.transfer.clone(),
                transcript: row.transcript.clone(),
            })
            .collect();
        found.sort_by_key(|earlier| std::cmp::Reverse(earlier.transfer.created_at));
        found.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        found
    }

    pub(crate) fn put_transcript(&self, key: &Key, transcript: String) {
        if let Some(row) = self.rows().get_mut(key) {
            row.transcript = Some(transcript);
        }
    }
}
