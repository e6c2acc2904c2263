//! What the writer is asked to do, and doing it inside a transaction.

use call_control::transfer::{AccountId, Status, Transfer, TransferId};
use sqlx::SqliteConnection;
use thiserror::Error;
use timebase::UnixMillis;
use tracing::error;

use super::rows::{BadColumn, NewRow, Row, status};
use super::{conversation, lists, sql};
use crate::records::CallRecord;
use crate::types::{Claim, Completion, Fence, Release, Swept};
use crate::vault::EncryptionKey;

/// Rows that one piece of work changes at most; longer work is asked for again.
pub(super) const PORTION: i64 = 500;

#[derive(Debug)]
pub(super) enum Work {
    Register(Box<NewRow>),
    Claim {
        key: Key,
        node: String,
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
    Recover {
        node: String,
        now: UnixMillis,
    },
    Sweep {
        now: UnixMillis,
        horizon: UnixMillis,
    },
    Record(Box<CallRecord>),
    Transcript {
        key: Key,
        transcript: String,
    },
    /// Nothing but the transaction itself: whether the database takes writes.
    Probe,
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub account: String,
    pub id: String,
}

impl Key {
    pub(super) fn of(account: &AccountId, id: &TransferId) -> Self {
        Self {
            account: account.0.clone(),
            id: id.0.clone(),
        }
    }
}

#[derive(Debug)]
pub(super) enum Done {
    /// False: the id is there already.
    Registered(bool),
    Claimed(Claim),
    Released(Release),
    Completed(Completion),
    Recovered(Recovered),
    Swept(Swept),
    Recorded,
    Probed,
}

/// A portion of what a dead node left behind.
#[derive(Debug)]
pub(super) struct Recovered {
    pub transfers: Vec<Transfer>,
    pub more: bool,
}

#[derive(Debug, Error)]
pub(super) enum WorkError {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error("stored row: {0}")]
    Row(#[from] BadColumn),
}

impl Work {
    pub(super) async fn perform(
        &self,
        db: &mut SqliteConnection,
        key: &EncryptionKey,
    ) -> Result<Done, WorkError> {
        match self {
            Self::Register(row) => register(db, row).await.map(Done::Registered),
            Self::Claim { key: at, node, now } => {
                claim(db, at, node, *now, key).await.map(Done::Claimed)
            }
            Self::Release { key: at, fence } => release(db, at, *fence).await.map(Done::Released),
            Self::Complete {
                key: at,
                fence,
                output,
                now,
            } => complete(db, at, *fence, output.as_deref(), *now)
                .await
                .map(Done::Completed),
            Self::Recover { node, now } => recover(db, node, *now, key).await.map(Done::Recovered),
            Self::Sweep { now, horizon } => sweep(db, *now, *horizon).await.map(Done::Swept),
            Self::Record(record) => {
                lists::record(db, record).await?;
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

async fn register(db: &mut SqliteConnection, row: &NewRow) -> Result<bool, WorkError> {
    let inserted = sqlx::query(sql::REGISTER)
        .bind(&row.account)
        .bind(&row.id)
        .bind(&row.conversation)
        .bind(&row.sip)
        .bind(&row.credentials)
        .bind(&row.input)
        .bind(row.created_at)
        .bind(row.expires_at)
        .execute(db)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn claim(
    db: &mut SqliteConnection,
    at: &Key,
    node: &str,
    now: UnixMillis,
    key: &EncryptionKey,
) -> Result<Claim, WorkError> {
    let claimed: Option<Row> = sqlx::query_as(sql::CLAIM)
        .bind(&at.account)
        .bind(&at.id)
        .bind(now.0)
        .bind(node)
        .fetch_optional(&mut *db)
        .await?;
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
    let found: Option<(String,)> = sqlx::query_as(sql::STATUS)
        .bind(&at.account)
        .bind(&at.id)
        .fetch_optional(db)
        .await?;
    let Some((text,)) = found else {
        return Ok(Claim::Unknown);
    };
    Ok(match status(&text)? {
        Status::Ongoing => Claim::Ongoing,
        Status::Active | Status::Completed | Status::Expired => Claim::Over,
    })
}

async fn release(db: &mut SqliteConnection, at: &Key, fence: Fence) -> Result<Release, WorkError> {
    let changed = sqlx::query(sql::RELEASE)
        .bind(&at.account)
        .bind(&at.id)
        .bind(fence.0)
        .execute(db)
        .await?;
    Ok(if changed.rows_affected() == 1 {
        Release::Released
    } else {
        Release::Stale
    })
}

async fn complete(
    db: &mut SqliteConnection,
    at: &Key,
    fence: Fence,
    output: Option<&str>,
    now: UnixMillis,
) -> Result<Completion, WorkError> {
    let statement = if output.is_some() {
        sql::COMPLETE_WITH_OUTPUT
    } else {
        sql::COMPLETE_WITHOUT
    };
    let mut query = sqlx::query(statement)
        .bind(&at.account)
        .bind(&at.id)
        .bind(fence.0)
        .bind(now.0);
    if let Some(output) = output {
        query = query.bind(output);
    }
    if query.execute(&mut *db).await?.rows_affected() == 1 {
        return Ok(Completion::Written);
    }
    let closed: Option<(i64,)> = sqlx::query_as(sql::IS_COMPLETED)
        .bind(&at.account)
        .bind(&at.id)
        .bind(fence.0)
        .fetch_optional(db)
        .await?;
    Ok(if closed.is_some() {
        Completion::Closed
    } else {
        Completion::Stale
    })
}

async fn recover(
    db: &mut SqliteConnection,
    node: &str,
    now: UnixMillis,
    key: &EncryptionKey,
) -> Result<Recovered, WorkError> {
    let rows: Vec<Row> = sqlx::query_as(sql::RECOVER)
        .bind(node)
        .bind(now.0)
        .bind(PORTION)
        .fetch_all(db)
        .await?;
    let readable = |row: Row| match row.transfer(key) {
        Ok(transfer) => Some(transfer),
        Err(problem) => {
            error!(%problem, "a recovered transfer cannot be read");
            None
        }
    };
    Ok(Recovered {
        more: rows.len() as i64 == PORTION,
        transfers: rows.into_iter().filter_map(readable).collect(),
    })
}

async fn sweep(
    db: &mut SqliteConnection,
    now: UnixMillis,
    horizon: UnixMillis,
) -> Result<Swept, WorkError> {
    let expired = sqlx::query(sql::EXPIRE)
        .bind(now.0)
        .bind(PORTION)
        .execute(&mut *db)
        .await?
        .rows_affected();
    let deleted = sqlx::query(sql::DELETE_OVER)
        .bind(horizon.0)
        .bind(PORTION)
        .execute(&mut *db)
        .await?
        .rows_affected();
    lists::delete_old(db, horizon, PORTION).await?;
    Ok(Swept { expired, deleted })
}
