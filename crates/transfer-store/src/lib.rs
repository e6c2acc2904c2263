//! Transfers, stored so that a 200 is a promise.
//!
//! One interface over several back ends: SQLite (`sqlite://path`) for a node of its own, PostgreSQL
//! 13 or later (`postgres://user@host/database`) for several nodes, memory (`memory://`) for tests. The
//! rules of a transfer's life are the same on all of them, and one suite of tests runs on each.

mod conversation;
mod database;
mod live;
mod memory;
mod postgres;
mod records;
mod sql;
mod sqlite;
mod types;
mod vault;

use std::sync::Arc;
use std::time::Duration;

use call_control::transfer::{AccountId, NewTransfer, OutputContext, Transfer, TransferId};
use timebase::UnixMillis;

pub use conversation::Earlier;
use database::Database;
pub use live::{Checkpoint, Orphan, TakenOver};
use memory::Memory;
pub use records::{CallFilter, CallRecord, TransferFilter};
pub use types::{
    Claim, Completion, Fence, RegisterError, Release, StoreError, StoreOptions, Swept, Unavailable,
    Wall,
};
pub use vault::EncryptionKey;

/// Transfers and what became of them. A clone is another handle to the same store.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Backend,
    times: Times,
}

#[derive(Clone, Debug)]
enum Backend {
    Memory(Arc<Memory>),
    Database(Arc<Database>),
}

impl Store {
    /// Opens the store that the URL names and brings its schema to this version.
    ///
    /// # Errors
    /// [`StoreError`], when the URL names no store of ours or the store cannot be used.
    pub async fn open(url: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let times = Times {
            wall: options.wall.clone(),
            time_to_live: options.time_to_live,
            keep: options.keep,
        };
        let backend = if url.starts_with("memory:") {
            Backend::Memory(Arc::default())
        } else if let Some(file) = url.strip_prefix("sqlite:") {
            let file = file.strip_prefix("//").unwrap_or(file);
            Backend::Database(Arc::new(Database::sqlite(file, &options).await?))
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Backend::Database(Arc::new(Database::postgres(url, &options).await?))
        } else {
            return Err(StoreError::UnknownScheme(url.to_owned()));
        };
        Ok(Self { backend, times })
    }

    /// Stores a new transfer, ACTIVE. When this returns, it survives a crash of the machine.
    ///
    /// # Errors
    /// [`RegisterError::Duplicate`] when the account has the id already.
    pub async fn register(&self, new: NewTransfer) -> Result<Transfer, RegisterError> {
        match &self.backend {
            Backend::Memory(memory) => memory.register(new, &self.times),
            Backend::Database(database) => database.register(new, &self.times).await,
        }
    }

    /// The account's transfer of that id. One past its time to live reads EXPIRED, swept or not.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn fetch(
        &self,
        account: &AccountId,
        id: &TransferId,
    ) -> Result<Option<Transfer>, Unavailable> {
        let now = self.times.now();
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.fetch(&(account.clone(), id.clone()), now)),
            Backend::Database(database) => database.fetch(account, id, &self.times).await,
        }
    }

    /// Claims the transfer for a call, ACTIVE → ONGOING, in one atomic step: of any number of racing
    /// claims exactly one is answered [`Claim::Claimed`].
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn claim(&self, account: &AccountId, id: &TransferId) -> Result<Claim, Unavailable> {
        let now = self.times.now();
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.claim(&(account.clone(), id.clone()), now)),
            Backend::Database(database) => database.claim(account, id, &self.times).await,
        }
    }

    /// Undoes a claim: ACTIVE again, no `callReceivedAt`; the time to live still counts from the registration.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn release(
        &self,
        account: &AccountId,
        id: &TransferId,
        fence: Fence,
    ) -> Result<Release, Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.release(&(account.clone(), id.clone()), fence)),
            Backend::Database(database) => database.release(account, id, fence).await,
        }
    }

    /// Completes the transfer: with the agent's output before the hand-back's first byte, or without
    /// one when the caller hung up or the call failed. The first completion sets COMPLETED and
    /// `completedAt` for good; a later output replaces the earlier one, until a completion without
    /// output closes the transfer.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn complete(
        &self,
        account: &AccountId,
        id: &TransferId,
        fence: Fence,
        output: Option<OutputContext>,
    ) -> Result<Completion, Unavailable> {
        let now = self.times.now();
        match &self.backend {
            Backend::Memory(memory) => {
                Ok(memory.complete(&(account.clone(), id.clone()), fence, output, now))
            }
            Backend::Database(database) => {
                database
                    .complete(account, id, fence, output, &self.times)
                    .await
            }
        }
    }

    /// Stores EXPIRED for transfers past their time to live and deletes those past their keep time;
    /// to be called every few seconds. Reads do not depend on it.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn sweep(&self) -> Result<Swept, Unavailable> {
        let now = self.times.now();
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.sweep(now, &self.times)),
            Backend::Database(database) => database.sweep(&self.times).await,
        }
    }

    /// Keeps what became of a call; a second record of the same call replaces the first, and its
    /// checkpoint goes. Nothing is kept of a call that another process has taken over.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn record_call(&self, record: CallRecord) -> Result<(), Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => memory.record_call(record),
            Backend::Database(database) => database.record_call(record).await,
        }
    }

    /// The record of a call that is over.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn call(&self, id: &str) -> Result<Option<CallRecord>, Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.call(id)),
            Backend::Database(database) => database.call(id).await,
        }
    }

    /// The records that a filter asks for, the latest end first.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn calls(&self, filter: &CallFilter) -> Result<Vec<CallRecord>, Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.calls(filter)),
            Backend::Database(database) => database.calls(filter).await,
        }
    }

    /// The transfers that a filter asks for, the latest registration first.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn transfers(&self, filter: &TransferFilter) -> Result<Vec<Transfer>, Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.transfers(filter, self.times.now())),
            Backend::Database(database) => database.transfers(filter, &self.times).await,
        }
    }

    /// Whether the store can take a write at this moment.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn health(&self) -> Result<(), Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => memory.health(),
            Backend::Database(database) => database.health().await,
        }
    }

    /// Ends the store after the writes that wait; later operations answer [`Unavailable`].
    pub async fn close(&self) {
        match &self.backend {
            Backend::Memory(_) => {}
            Backend::Database(database) => database.close().await,
        }
    }
}

/// The clock and the spans counted on it.
#[derive(Clone)]
pub(crate) struct Times {
    wall: Wall,
    time_to_live: Duration,
    keep: Duration,
}

impl Times {
    pub(crate) fn now(&self) -> UnixMillis {
        (self.wall)()
    }

    /// When a transfer registered at `created` is past its time to live.
    pub(crate) fn expiry(&self, created: UnixMillis) -> UnixMillis {
        UnixMillis(created.0.saturating_add(millis(self.time_to_live)))
    }

    /// What was over at this time or before it is past its keep time.
    pub(crate) fn horizon(&self, now: UnixMillis) -> UnixMillis {
        UnixMillis(now.0.saturating_sub(millis(self.keep)))
    }
}

impl std::fmt::Debug for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Times(time to live {:?}, keep {:?})",
            self.time_to_live, self.keep
        )
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
