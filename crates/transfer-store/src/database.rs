//! The store in a database: what is the same for SQLite and PostgreSQL.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use call_control::transfer::{AccountId, NewTransfer, OutputContext, Transfer, TransferId};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, warn};

use crate::conversation::Earlier;
use crate::live::{Checkpoint, TakenOver};
use crate::postgres::Postgres;
use crate::records::{CallFilter, CallRecord, TransferFilter};
use crate::sql::{self, BadColumn, Done, Key, NewRow, PORTION, Work, WorkError};
use crate::sqlite::Sqlite;
use crate::types::{
    Claim, Completion, Fence, RegisterError, Release, StoreError, StoreOptions, Swept, Unavailable,
};
use crate::vault::EncryptionKey;
use crate::{Times, millis};

pub(crate) type Answer = Result<Done, Unavailable>;

/// A database and what is needed to read what is in it.
#[derive(Debug)]
pub(crate) struct Database {
    engine: Engine,
    key: EncryptionKey,
    patience: Duration,
    node: String,
    /// The epoch of this process among those of its name; 0 until it joins.
    epoch: AtomicI64,
    lease: i64,
}

#[derive(Debug)]
enum Engine {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Engine {
    /// Work to be done, answered when it is done for good. A full queue is refused at once; work
    /// whose answer nobody awaits any more is not begun.
    fn begin(&self, work: Work, answer: oneshot::Sender<Answer>) -> Result<(), Unavailable> {
        match self {
            Self::Sqlite(sqlite) => sqlite.begin(work, answer),
            Self::Postgres(postgres) => postgres.begin(work, answer),
        }
    }

    /// Work that is done whatever happens.
    fn undo(&self, work: Work) {
        match self {
            Self::Sqlite(sqlite) => sqlite.undo(work),
            Self::Postgres(postgres) => postgres.undo(work),
        }
    }
}

impl Database {
    pub(crate) async fn sqlite(file: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        let (sqlite, key) = Sqlite::open(file, options).await?;
        Ok(Self::over(Engine::Sqlite(sqlite), key, options))
    }

    pub(crate) async fn postgres(url: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        let (postgres, key) = Postgres::open(url, options).await?;
        Ok(Self::over(Engine::Postgres(postgres), key, options))
    }

    fn over(engine: Engine, key: EncryptionKey, options: &StoreOptions) -> Self {
        Self {
            engine,
            key,
            patience: options.patience,
            node: options.node.clone(),
            epoch: AtomicI64::new(0),
            lease: millis(options.lease),
        }
    }

    fn owner(&self) -> sql::Owner {
        sql::Owner {
            node: self.node.clone(),
            epoch: self.epoch.load(Ordering::Acquire),
        }
    }

    pub(crate) async fn register(
        &self,
        new: NewTransfer,
        times: &Times,
    ) -> Result<Transfer, RegisterError> {
        let now = times.now();
        let row = NewRow::of(&new, now, times.expiry(now), &self.key).map_err(unreadable)?;
        let Done::Registered(registered) = self.write(Work::Register(Box::new(row))).await? else {
            return Err(RegisterError::Unavailable);
        };
        if registered {
            Ok(crate::types::active(new, now))
        } else {
            Err(RegisterError::Duplicate)
        }
    }

    pub(crate) async fn fetch(
        &self,
        account: &AccountId,
        id: &TransferId,
        times: &Times,
    ) -> Result<Option<Transfer>, Unavailable> {
        let now = times.now();
        let (at, key) = (Key::of(account, id), &self.key);
        self.read(async |db| sql::fetch(db, &at, now, key).await)
            .await
    }

    pub(crate) async fn claim(
        &self,
        account: &AccountId,
        id: &TransferId,
        times: &Times,
    ) -> Result<Claim, Unavailable> {
        let work = Work::Claim {
            key: Key::of(account, id),
            owner: self.owner(),
            now: times.now(),
        };
        let Done::Claimed(claim) = self.write(work).await? else {
            return Err(Unavailable);
        };
        Ok(claim)
    }

    pub(crate) async fn release(
        &self,
        account: &AccountId,
        id: &TransferId,
        fence: Fence,
    ) -> Result<Release, Unavailable> {
        let key = Key::of(account, id);
        let Done::Released(release) = self.write(Work::Release { key, fence }).await? else {
            return Err(Unavailable);
        };
        Ok(release)
    }

    pub(crate) async fn complete(
        &self,
        account: &AccountId,
        id: &TransferId,
        fence: Fence,
        output: Option<OutputContext>,
        times: &Times,
    ) -> Result<Completion, Unavailable> {
        let output = output
            .map(|output| sql::output_json(&output))
            .transpose()
            .map_err(unreadable)?;
        let work = Work::Complete {
            key: Key::of(account, id),
            fence,
            output,
            now: times.now(),
        };
        let Done::Completed(completion) = self.write(work).await? else {
            return Err(Unavailable);
        };
        Ok(completion)
    }

    pub(crate) async fn join(&self, times: &Times) -> Result<(), Unavailable> {
        let work = Work::Join {
            node: self.node.clone(),
            now: times.now(),
            lease: self.lease,
        };
        let Done::Joined(epoch) = self.write(work).await? else {
            return Err(Unavailable);
        };
        self.epoch.store(epoch, Ordering::Release);
        Ok(())
    }

    pub(crate) async fn renew(&self, times: &Times) -> Result<bool, Unavailable> {
        let work = Work::Renew {
            owner: self.owner(),
            now: times.now(),
            lease: self.lease,
        };
        let Done::Renewed(renewed) = self.write(work).await? else {
            return Err(Unavailable);
        };
        Ok(renewed)
    }

    pub(crate) async fn checkpoint(
        &self,
        checkpoint: Checkpoint,
        times: &Times,
    ) -> Result<bool, Unavailable> {
        let work = Work::Checkpoint {
            checkpoint: Box::new(checkpoint),
            owner: self.owner(),
            now: times.now(),
        };
        let Done::Checkpointed(stored) = self.write(work).await? else {
            return Err(Unavailable);
        };
        Ok(stored)
    }

    /// In portions, as sweeping is.
    pub(crate) async fn take_over(
        &self,
        others: bool,
        times: &Times,
    ) -> Result<TakenOver, Unavailable> {
        let mut all = TakenOver::default();
        loop {
            let work = Work::TakeOver {
                owner: self.owner(),
                others,
                now: times.now(),
            };
            let Done::TakenOver(portion) = self.write(work).await? else {
                return Err(Unavailable);
            };
            all.calls.extend(portion.calls);
            all.lost.extend(portion.lost);
            if !portion.more {
                return Ok(all);
            }
        }
    }

    /// In portions, so that other work is done in between.
    pub(crate) async fn sweep(&self, times: &Times) -> Result<Swept, Unavailable> {
        let mut all = Swept::default();
        loop {
            let now = times.now();
            let work = Work::Sweep {
                now,
                horizon: times.horizon(now),
            };
            let Done::Swept(portion) = self.write(work).await? else {
                return Err(Unavailable);
            };
            all.expired += portion.expired;
            all.deleted += portion.deleted;
            if portion.expired.max(portion.deleted) < PORTION as u64 {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn record_call(&self, record: CallRecord) -> Result<(), Unavailable> {
        let work = Work::Record {
            record: Box::new(record),
            owner: self.owner(),
        };
        self.write(work).await.map(|_| ())
    }

    pub(crate) async fn call(&self, id: &str) -> Result<Option<CallRecord>, Unavailable> {
        self.read(async |db| Ok(sql::call(db, id).await?)).await
    }

    pub(crate) async fn calls(&self, filter: &CallFilter) -> Result<Vec<CallRecord>, Unavailable> {
        self.read(async |db| Ok(sql::calls(db, filter).await?))
            .await
    }

    pub(crate) async fn transfers(
        &self,
        filter: &TransferFilter,
        times: &Times,
    ) -> Result<Vec<Transfer>, Unavailable> {
        let (now, key) = (times.now(), &self.key);
        self.read(async |db| Ok(sql::transfers(db, filter, now, key).await?))
            .await
    }

    pub(crate) async fn conversation(
        &self,
        account: &AccountId,
        conversation: &str,
        most: u32,
    ) -> Result<Vec<Earlier>, Unavailable> {
        let key = &self.key;
        self.read(async |db| sql::conversation(db, account, conversation, most, key).await)
            .await
    }

    pub(crate) async fn put_transcript(
        &self,
        account: &AccountId,
        id: &TransferId,
        transcript: String,
    ) -> Result<(), Unavailable> {
        let key = Key::of(account, id);
        let work = Work::Transcript { key, transcript };
        self.write(work).await.map(|_| ())
    }

    pub(crate) async fn health(&self) -> Result<(), Unavailable> {
        self.write(Work::Probe).await.map(|_| ())
    }

    pub(crate) async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.close().await,
            Engine::Postgres(postgres) => postgres.close().await,
        }
    }

    async fn read<T>(
        &self,
        query: impl AsyncFnOnce(&mut sql::Db<'_>) -> Result<T, WorkError>,
    ) -> Result<T, Unavailable> {
        let reading = async {
            match &self.engine {
                Engine::Sqlite(sqlite) => {
                    let mut connection = sqlite.reader().await?;
                    query(&mut sql::Db::Sqlite(&mut connection)).await
                }
                Engine::Postgres(postgres) => {
                    let mut connection = postgres.reader().await?;
                    let found = query(&mut sql::Db::Postgres(connection.open()?)).await?;
                    connection.finish();
                    Ok(found)
                }
            }
        };
        match timeout(self.patience, reading).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(WorkError::Row(problem))) => Err(unreadable(problem)),
            Ok(Err(problem)) => {
                error!(%problem, "a read from the database failed");
                Err(Unavailable)
            }
            Err(_elapsed) => {
                warn!("a read from the database took too long");
                Err(Unavailable)
            }
        }
    }

    /// A full queue is refused at once; work that is not answered in time is not begun, or undone.
    async fn write(&self, work: Work) -> Result<Done, Unavailable> {
        let claims = if let Work::Claim { key, .. } = &work {
            Some(key.clone())
        } else {
            None
        };
        let (answer, answered) = oneshot::channel();
        self.engine.begin(work, answer)?;
        let mut waiting = Waiting {
            answered,
            claims,
            engine: &self.engine,
        };
        match timeout(self.patience, &mut waiting.answered).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) | Err(_) => Err(Unavailable),
        }
    }
}

/// Waits for an answer. A claim that is answered but not heard, since its caller gave up at that very
/// moment, is released.
struct Waiting<'a> {
    answered: oneshot::Receiver<Answer>,
    claims: Option<Key>,
    engine: &'a Engine,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(key) = self.claims.take() else {
            return;
        };
        self.answered.close();
        if let Ok(Ok(Done::Claimed(Claim::Claimed { fence, .. }))) = self.answered.try_recv() {
            self.engine.undo(Work::Release { key, fence });
        }
    }
}

/// What undoes a claim whose caller did not learn of it.
pub(crate) fn undoing(work: &Work, done: &Done) -> Option<Work> {
    let (Work::Claim { key, .. }, Done::Claimed(Claim::Claimed { fence, .. })) = (work, done)
    else {
        return None;
    };
    Some(Work::Release {
        key: Key::clone(key),
        fence: *fence,
    })
}

fn unreadable(problem: BadColumn) -> Unavailable {
    error!(%problem, "a stored transfer cannot be read or written");
    Unavailable
}

/// The key that the database was made with, or the one that a new one gets.
pub(crate) async fn settle_key(
    db: &mut sql::Db<'_>,
    beside: &std::path::Path,
    given: Option<EncryptionKey>,
    name: &dyn fmt::Display,
) -> Result<EncryptionKey, StoreError> {
    let failed = |problem: sqlx::Error| StoreError::Key(problem.to_string());
    let key = match given {
        Some(key) => key,
        None => {
            let new = !sql::has_key(db).await.map_err(failed)?;
            EncryptionKey::beside(beside, new).map_err(StoreError::Key)?
        }
    };
    if sql::is_its_key(db, &key).await.map_err(failed)? {
        Ok(key)
    } else {
        Err(StoreError::Key(format!(
            "not the key that {name} was made with"
        )))
    }
}
