//! What goes into the store and what comes out of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use call_control::transfer::{NewTransfer, Status, Transfer};
use thiserror::Error;
use timebase::{UnixMillis, wall_now};

use crate::vault::EncryptionKey;

/// Where the store takes the time from; tests hand in one that they can move.
pub type Wall = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// How long a transfer waits for its call, counted from its registration.
    pub time_to_live: Duration,
    /// How long a finished transfer is kept.
    pub keep: Duration,
    /// This node's name: the owner of the transfers that it claims.
    pub node: String,
    /// Encrypts return credentials at rest. Without one, a key is made once and kept, readable by its
    /// owner only (mode 0600): for SQLite in `<database>.key` beside the database, for PostgreSQL in
    /// `handback.postgres.key` in the working folder. Nodes that share a database share the key.
    pub encryption_key: Option<EncryptionKey>,
    /// How long this node counts as alive without [`Store::renew`](crate::Store::renew).
    pub lease: Duration,
    /// Where the time comes from.
    pub wall: Wall,
    /// Writes that may wait; with more, the store answers [`Unavailable`] at once.
    pub queue: usize,
    /// How long an operation may take before it counts as [`Unavailable`].
    pub patience: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            time_to_live: Duration::from_secs(600),
            keep: Duration::from_secs(30 * 24 * 3600),
            node: "gw-1".to_owned(),
            encryption_key: None,
            lease: Duration::from_secs(10),
            wall: Arc::new(wall_now),
            queue: 4096,
            patience: Duration::from_secs(2),
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("time_to_live", &self.time_to_live)
            .field("keep", &self.keep)
            .field("node", &self.node)
            .field("lease", &self.lease)
            .field("queue", &self.queue)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The URL names no kind of store that there is.
    #[error("store url {0:?}: must begin with sqlite://, postgres:// or memory://")]
    UnknownScheme(String),
    /// The database could not be opened or brought to this version.
    #[error("store database {path}: {problem}")]
    Database {
        /// The file, or the server and its database.
        path: String,
        /// What happened.
        problem: String,
    },
    /// The key is not the one that the database was made with, or cannot be read.
    #[error("store encryption key: {0}")]
    Key(String),
}

/// The store cannot be reached, is overloaded, or took too long. Nothing is half done: a claim whose
/// answer could not be delivered is undone, a registration either is there whole or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the store is not available")]
pub struct Unavailable;

/// Why a transfer was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RegisterError {
    /// The account has a transfer of that id.
    #[error("a transfer with this id exists")]
    Duplicate,
    /// See [`Unavailable`].
    #[error("the store is not available")]
    Unavailable,
}

impl From<Unavailable> for RegisterError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// Proof of a claim: it rises with every claim of the transfer, and only the latest may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub i64);

/// What became of an attempt to claim a transfer for a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// It was ACTIVE and is the caller's now.
    Claimed {
        /// The transfer, ONGOING.
        transfer: Box<Transfer>,
        /// To be shown with every later write.
        fence: Fence,
    },
    /// The account has no such transfer.
    Unknown,
    /// Another call has it.
    Ongoing,
    /// COMPLETED, or EXPIRED.
    Over,
}

/// What became of an attempt to undo a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// ACTIVE again.
    Released,
    /// The fence is not that of the standing claim; nothing was changed.
    Stale,
}

/// What became of an attempt to complete a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// COMPLETED, and the output, if one was given, is readable.
    Written,
    /// The call had ended (it was completed without output) before this output came; nothing was changed.
    Closed,
    /// The fence is not that of the standing claim; nothing was changed.
    Stale,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Transfers that nobody called in time, now stored as EXPIRED.
    pub expired: u64,
    /// Finished transfers past their keep time, deleted.
    pub deleted: u64,
}

/// A transfer as it is when just registered.
pub(crate) fn active(registered: NewTransfer, created_at: UnixMillis) -> Transfer {
    Transfer {
        registered,
        status: Status::Active,
        created_at,
        call_received_at: None,
        completed_at: None,
        output: None,
    }
}
