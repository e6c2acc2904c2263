//! What the writer is asked to do, and doing it inside a transaction.

use call_control::transfer::{AccountId, Status, Transfer, TransferId};
use thiserror::Error;
use timebase::UnixMillis;

use super::db::{Db, Statement};
use super::rows::{BadColumn, NewRow, Row, status};
use super::{conversation, lists, live, statements};
use crate::live::{Checkpoint, TakenOver};
use crate::records::CallRecord;
use crate::types::{Claim, Completion, Fence, Release, Swept};
use crate::vault::EncryptionKey;

/// Rows that one piece of work changes at most; longer work is asked for again.
pub(crate) const PORTION: i64 = 500;

#[derive(Debug)]
pub(crate) enum Work {
    Register(Box<NewRow>),
    Claim {
        key: Key,
        owner: Owner,
        now: UnixMillis,
    },
    Release {
        key: Key,
        fence: Fence,
    },
    Complete {
        key: Key,
        fence: Fence,
        output: Option<String>,
        now: UnixMillis,
    },
    /// A process takes its name's place among the nodes.
    Join {
        node: String,
        now: UnixMillis,
        lease: i64,
    },
    Renew {
        owner: Owner,
        now: UnixMillis,
        lease: i64,
    },
    Checkpoint {
        checkpoint: Box<Checkpoint>,
        owner: Owner,
        now: UnixMillis,
    },
    TakeOver {
        owner: Owner,
        /// Nodes whose lease is over, too.
        others: bool,
        now: UnixMillis,
    },
    Sweep {
        now: UnixMillis,
        horizon: UnixMillis,
    },
    Record {
        record: Box<CallRecord>,
        owner: Owner,
    },
    Transcript {
        key: Key,
        transcript: String,
    },
    /// Nothing but the transaction itself: whether the database takes writes.
    Probe,
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub account: String,
    pub id: String,
}

impl Key {
    pub(crate) fn of(account: &AccountId, id: &TransferId) -> Self {
        Self {
            account: account.0.clone(),
            id: id.0.clone(),
        }
    }

    fn bound(&self, statement: &'static str) -> Statement {
        Statement::new(statement)
            .bind(self.account.as_str())
            .bind(self.id.as_str())
    }
}

/// Whose a transfer or a call is: a node in one of its lives. Epoch 0 has joined no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub node: String,
    pub epoch: i64,
}

#[derive(Debug)]
pub(crate) enum Done {
    /// False: the id is there already.
    Registered(bool),
    Claimed(Claim),
    Released(Release),
    Completed(Completion),
    Joined(i64),
    /// False: another process has taken this one's place, or took it for dead.
    Renewed(bool),
    /// False: the transfer is not this process's any more.
    Checkpointed(bool),
    TakenOver(TakenOver),
    Swept(Swept),
    Recorded,
    Probed,
}

#[derive(Debug, Error)]
pub(crate) enum WorkError {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error("stored row: {0}")]
    Row(#[from] BadColumn),
    /// Another process took this one for dead.
    #[error("this node's lease is over")]
    Outlived,
}

impl Work {
    pub(crate) async fn perform(
        &self,
        db: &mut Db<'_>,
        key: &EncryptionKey,
    ) -> Result<Done, WorkError> {
        match self {
            Self::Register(row) => register(db, row).await.map(Done::Registered),
            Self::Claim {
                key: at,
                owner,
                now,
            } => claim(db, at, owner, *now, key).await.map(Done::Claimed),
            Self::Release { key: at, fence } => release(db, at, *fence).await.map(Done::Released),
            Self::Complete {
                key: at,
                fence,
                output,
                now,
            } => complete(db, at, *fence, output.as_deref(), *now)
                .await
                .map(Done::Completed),
            Self::Join { node, now, lease } => {
                Ok(Done::Joined(live::join(db, node, *now, *lease).await?))
            }
            Self::Renew { owner, now, lease } => {
                Ok(Done::Renewed(live::renew(db, owner, *now, *lease).await?))
            }
            Self::Checkpoint {
                checkpoint,
                owner,
                now,
            } => {
                let stored = live::checkpoint(db, checkpoint, owner, *now).await?;
                Ok(Done::Checkpointed(stored))
            }
            Self::TakeOver { owner, others, now } => {
                let taken = live::take_over(db, owner, *others, *now, key).await?;
                Ok(Done::TakenOver(taken))
            }
            Self::Sweep { now, horizon } => sweep(db, *now, *horizon).await.map(Done::Swept),
            Self::Record { record, owner } => {
                lists::record(db, record, owner).await?;
                live::forget(db, &record.call, owner).await?;
                Ok(Done::Recorded)
            }
            Self::Transcript {
                key: at,
                transcript,
            } => {
                conversation::put(db, at, transcript).await?;
                Ok(Done::Recorded)
            }
            Self::Probe => Ok(Done::Probed),
        }
    }
}

async fn register(db: &mut Db<'_>, row: &NewRow) -> Result<bool, WorkError> {
    let insert = Statement::new(statements::REGISTER)
        .bind(row.account.as_str())
        .bind(row.id.as_str())
        .bind(row.conversation.as_str())
        .bind(row.sip.clone())
        .bind(row.credentials.clone())
        .bind(row.input.clone())
        .bind(row.created_at)
        .bind(row.expires_at);
    Ok(db.execute(insert).await? == 1)
}

async fn claim(
    db: &mut Db<'_>,
    at: &Key,
    owner: &Owner,
    now: UnixMillis,
    key: &EncryptionKey,
) -> Result<Claim, WorkError> {
    let claim = db
        .fencing(statements::CLAIM, statements::CLAIM_POSTGRES)
        .bind(at.account.as_str())
        .bind(at.id.as_str())
        .bind(now.0)
        .bind(owner.node.as_str())
        .bind(owner.epoch);
    let claimed: Option<Row> = db.one(claim).await?;
    if let Some(row) = claimed {
        let fence = Fence(row.fence);
        return match row.transfer(key) {
            Ok(transfer) => Ok(Claim::Claimed {
                transfer: Box::new(transfer),
                fence,
            }),
            Err(problem) => {
                release(db, at, fence).await?;
                Err(problem.into())
            }
        };
    }
    let found: Option<(String, i64)> = db.one(at.bound(statements::STATUS)).await?;
    let Some((text, expires_at)) = found else {
        return Ok(Claim::Unknown);
    };
    match status(&text)? {
        Status::Ongoing => Ok(Claim::Ongoing),
        Status::Active if expires_at > now.0 => Err(WorkError::Outlived),
        Status::Active | Status::Completed | Status::Expired => Ok(Claim::Over),
    }
}

async fn release(db: &mut Db<'_>, at: &Key, fence: Fence) -> Result<Release, WorkError> {
    let changed = db
        .execute(at.bound(statements::RELEASE).bind(fence.0))
        .await?;
    Ok(if changed == 1 {
        Release::Released
    } else {
        Release::Stale
    })
}

async fn complete(
    db: &mut Db<'_>,
    at: &Key,
    fence: Fence,
    output: Option<&str>,
    now: UnixMillis,
) -> Result<Completion, WorkError> {
    let write = match output {
        Some(output) => at
            .bound(statements::COMPLETE_WITH_OUTPUT)
            .bind(fence.0)
            .bind(now.0)
            .bind(output),
        None => at
            .bound(statements::COMPLETE_WITHOUT)
            .bind(fence.0)
            .bind(now.0),
    };
    if db.execute(write).await? == 1 {
        return Ok(Completion::Written);
    }
    let closed: Option<(i64,)> = db
        .one(at.bound(statements::IS_COMPLETED).bind(fence.0))
        .await?;
    Ok(if closed.is_some() {
        Completion::Closed
    } else {
        Completion::Stale
    })
}

async fn sweep(db: &mut Db<'_>, now: UnixMillis, horizon: UnixMillis) -> Result<Swept, WorkError> {
    let portion =
        |statement, until: UnixMillis| Statement::new(statement).bind(until.0).bind(PORTION);
    let expired = db.execute(portion(statements::EXPIRE, now)).await?;
    let deleted = db
        .execute(portion(statements::DELETE_OVER, horizon))
        .await?;
    lists::delete_old(db, horizon, PORTION).await?;
    Ok(Swept { expired, deleted })
}

/// The transfer as it reads at `now`.
pub(crate) async fn fetch(
    db: &mut Db<'_>,
    at: &Key,
    now: UnixMillis,
    key: &EncryptionKey,
) -> Result<Option<Transfer>, WorkError> {
    let row: Option<Row> = db.one(at.bound(statements::FETCH)).await?;
    Ok(row.map(|row| row.transfer_at(now, key)).transpose()?)
}
