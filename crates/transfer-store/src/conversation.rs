//! The finished transfers of a conversation, with what was said in their calls.

use call_control::transfer::{AccountId, Transfer, TransferId};

use crate::types::Unavailable;
use crate::{Backend, Store};

/// A finished transfer of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Earlier {
    /// The transfer.
    pub transfer: Transfer,
    /// What [`Store::put_transcript`] stored with it.
    pub transcript: Option<String>,
}

impl Store {
    /// The account's finished transfers of a conversation that have an output or a transcript, the
    /// latest registration first, at most `most`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn conversation(
        &self,
        account: &AccountId,
        conversation: &str,
        most: u32,
    ) -> Result<Vec<Earlier>, Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.conversation(account, conversation, most)),
            Backend::Database(database) => database.conversation(account, conversation, most).await,
        }
    }

    /// Keeps what was said in the call of a transfer, in the place of what was kept before; it goes
    /// when the transfer goes. Nothing happens to a transfer that is not there.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn put_transcript(
        &self,
        account: &AccountId,
        id: &TransferId,
        transcript: String,
    ) -> Result<(), Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => {
                memory.put_transcript(&(account.clone(), id.clone()), transcript);
                Ok(())
            }
            Backend::Database(database) => database.put_transcript(account, id, transcript).await,
        }
    }
}
