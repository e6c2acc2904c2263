//! Live calls as the store knows them: whose they are, and what ends them well when their process dies.

use call_control::transfer::{AccountId, Transfer, TransferId};
use timebase::UnixMillis;

use crate::types::{Fence, Unavailable};
use crate::{Backend, Store};

/// What is stored of a live call, so that another process can end it well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The gateway's id of the call, unique.
    pub call: String,
    /// Whose call it is.
    pub account: AccountId,
    /// The transfer that it came for.
    pub transfer: TransferId,
    /// The fence of the claim; stored only while it is the standing one.
    pub fence: Fence,
    /// Everything else, as the gateway writes it.
    pub state: String,
}

/// A call whose process is dead, now this node's.
#[derive(Clone, Debug, PartialEq)]
pub struct Orphan {
    /// The last that was stored of it, with the fence that this node writes with from now on.
    pub checkpoint: Checkpoint,
    /// When that was.
    pub stored_at: UnixMillis,
    /// Its transfer, ONGOING or COMPLETED; none when that is gone.
    pub transfer: Option<Transfer>,
}

/// What dead processes left behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TakenOver {
    /// Calls to be ended.
    pub calls: Vec<Orphan>,
    /// Transfers that had a claim but no call yet; COMPLETED now, without output.
    pub lost: Vec<Transfer>,
    /// Whether there was more than one portion of it.
    pub(crate) more: bool,
}

impl Store {
    /// Takes the place of this node's name, for the time of its lease. Whatever process had the name
    /// before counts as dead from here on. To be called at the start, before any claim, and again when
    /// [`Store::renew`] says so.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn join(&self) -> Result<(), Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => {
                memory.join();
                Ok(())
            }
            Backend::Database(database) => database.join(&self.times).await,
        }
    }

    /// Renews the lease; to be called several times within it. False: another process has taken this
    /// one's name, or took this one for dead and its calls with it.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn renew(&self) -> Result<bool, Unavailable> {
        match &self.backend {
            Backend::Memory(_) => Ok(true),
            Backend::Database(database) => database.renew(&self.times).await,
        }
    }

    /// Stores what another process needs to end a call well, in the place of what was stored before.
    /// False: the call's transfer is not this process's any more, and nothing was stored.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn checkpoint(&self, checkpoint: Checkpoint) -> Result<bool, Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.checkpoint(checkpoint, self.times.now())),
            Backend::Database(database) => database.checkpoint(checkpoint, &self.times).await,
        }
    }

    /// Takes over what dead processes had: earlier ones of this node's name, and, where `others`, nodes
    /// whose lease is over. Each call goes to exactly one taker. A transfer that was claimed and has no
    /// checkpoint is completed, without output. Whoever had no store for a while may not judge
    /// others: they had none either.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn take_over(&self, others: bool) -> Result<TakenOver, Unavailable> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.take_over(self.times.now())),
            Backend::Database(database) => database.take_over(others, &self.times).await,
        }
    }
}
