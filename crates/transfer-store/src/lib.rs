//! Transfers, stored so that a 200 is a promise.
//!
//! One interface over several back ends: SQLite (`sqlite://path`) for a node of its own, memory
//! (`memory://`) for tests. The rules of a transfer's life are the same on all of them, and one suite
//! of tests runs on each. The SQL is written for PostgreSQL as well.

mod conversation;
mod memory;
mod records;
mod sqlite;
mod types;
mod vault;

use std::sync::Arc;
use std::time::Duration;

use call_control::transfer::{AccountId, NewTransfer, OutputContext, Transfer, TransferId};
use timebase::UnixMillis;

pub use conversation::Earlier;
use memory::Memory;
pub use records::{CallFilter, CallRecord, TransferFilter};
use sqlite::Sqlite;
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
    node: Arc<str>,
}

#[derive(Clone, Debug)]
enum Backend {
    Memory(Arc<Memory>),
    Sqlite(Arc<Sqlite>),
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
        let node = Arc::from(options.node.as_str());
        let backend = if url.starts_with("memory:") {
            Backend::Memory(Arc::default())
        } else if let Some(file) = url.strip_prefix("sqlite:") {
            let file = file.strip_prefix("//").unwrap_or(file);
            Backend::Sqlite(Arc::new(Sqlite::open(file, &options).await?))
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return Err(StoreError::PostgresNotYet);
        } else {
            return Err(StoreError::UnknownScheme(url.to_owned()));
        };
        Ok(Self {
            backend,
            times,
            node,
        })
    }

    /// Stores a new transfer, ACTIVE. When this returns, it survives a crash of the machine.
    ///
    /// # Errors
    /// [`RegisterError::Duplicate`] when the account has the id already.
    pub async fn register(&self, new: NewTransfer) -> Result<Transfer, RegisterError> {
        match &self.backend {
            Backend::Memory(memory) => memory.register(new, &self.times),
            Backend::Sqlite(sqlite) => sqlite.register(new, &self.times).await,
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
            Backend::Sqlite(sqlite) => sqlite.fetch(account, id, &self.times).await,
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
            Backend::Memory(memory) => {
                Ok(memory.claim(&(account.clone(), id.clone()), &self.node, now))
            }
            Backend::Sqlite(sqlite) => sqlite.claim(account, id, &self.node, &self.times).await,
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
            Backend::Sqlite(sqlite) => sqlite.release(account, id, fence).await,
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
            Backend::Sqlite(sqlite) => {
                sqlite
                    .complete(account, id, fence, output, &self.times)
                    .await
            }
        }
    }

    /// Completes, without output, every transfer that `node` had ONGOING when it died; to be called at
    /// its start, before any claim. Returns them.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn recover(&self, node: &str) -> Result<Vec<Transfer>, Unavailable> {
        let now = self.times.now();
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.recover(node, now)),
            Backend::Sqlite(sqlite) => sqlite.recover(node, &self.times).await,
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
            Backend::Sqlite(sqlite) => sqlite.sweep(&self.times).await,
        }
    }

    /// Keeps what became of a call; a second record of the same call replaces the first.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn record_call(&self, record: CallRecord) -> Result<(), Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => memory.record_call(record),
            Backend::Sqlite(sqlite) => sqlite.record_call(record).await,
        }
    }

    /// The record of a call that is over.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn call(&self, id: &str) -> Result<Option<CallRecord>, Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.call(id)),
            Backend::Sqlite(sqlite) => sqlite.call(id).await,
        }
    }

    /// The records that a filter asks for, the latest end first.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn calls(&self, filter: &CallFilter) -> Result<Vec<CallRecord>, Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.calls(filter)),
            Backend::Sqlite(sqlite) => sqlite.calls(filter).await,
        }
    }

    /// The transfers that a filter asks for, the latest registration first.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn transfers(&self, filter: &TransferFilter) -> Result<Vec<Transfer>, Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.transfers(filter, self.times.now())),
            Backend::Sqlite(sqlite) => sqlite.transfers(filter, &self.times).await,
        }
    }

    /// Whether the store can take a write at this moment.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn health(&self) -> Result<(), Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => memory.health(),
            Backend::Sqlite(sqlite) => sqlite.health().await,
        }
    }

    /// Ends the store after the writes that wait; later operations answer [`Unavailable`].
    pub async fn close(&self) {
        match &self.backend {
            Backend::Memory(_) => {}
            Backend::Sqlite(sqlite) => sqlite.close().await,
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
