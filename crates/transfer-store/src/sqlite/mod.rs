//! The store in SQLite: write-ahead log, `synchronous = FULL`, one writer with group commit, a few readers.

mod conversation;
mod lists;
mod rows;
mod sql;
mod work;
mod writer;

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use call_control::transfer::{AccountId, NewTransfer, OutputContext, Transfer, TransferId};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::{error, warn};

use crate::Times;
use crate::records::{CallFilter, CallRecord, TransferFilter};
use crate::types::{
    Claim, Completion, Fence, RegisterError, Release, StoreError, StoreOptions, Swept, Unavailable,
};
use crate::vault::EncryptionKey;
use rows::{NewRow, Row};
use work::{Done, Key, PORTION, Work};
use writer::{Answer, Job, Writer};

static MIGRATIONS: Migrator = sqlx::migrate!();

const READERS: u32 = 4;
/// How long another process may keep the database locked before a write fails.
const BUSY: Duration = Duration::from_secs(1);
/// How long opening waits for a predecessor to let go of the database.
const HAND_OVER: Duration = Duration::from_secs(5);
/// The log is cut back to this size after a checkpoint.
const LOG_LIMIT: &str = "67108864";
const KEY_CHECK: &str = "key-check";

pub(crate) struct Sqlite {
    jobs: mpsc::Sender<Job>,
    readers: SqlitePool,
    key: EncryptionKey,
    patience: Duration,
    closing: watch::Sender<bool>,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite")
            .field(
                "waiting",
                &(self.jobs.max_capacity() - self.jobs.capacity()),
            )
            .finish_non_exhaustive()
    }
}

impl Sqlite {
    pub(crate) async fn open(file: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        let said = |problem: &dyn fmt::Display| StoreError::Database {
            path: file.to_owned(),
            problem: problem.to_string(),
        };
        if file.is_empty() || file.starts_with(':') {
            return Err(said(&"no file is named; a store in memory is memory://"));
        }
        let lock = lock(Path::new(file))
            .await
            .map_err(|problem| said(&problem))?;
        let connect = connect_options(file);
        let mut connection = connect.connect().await.map_err(|problem| said(&problem))?;
        MIGRATIONS
            .run(&mut connection)
            .await
            .map_err(|problem| said(&problem))?;
        let key = check_key(
            &mut connection,
            Path::new(file),
            options.encryption_key.clone(),
        )
        .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(options.patience)
            .test_before_acquire(false)
            .connect_with(connect.clone().read_only(true).create_if_missing(false))
            .await
            .map_err(|problem| said(&problem))?;
        let (jobs, queue) = mpsc::channel(options.queue.max(1));
        let (closing, closed) = watch::channel(false);
        let writer = Writer {
            jobs: queue,
            options: connect,
            key: key.clone(),
            connection: Some(connection),
            undo: Vec::new(),
            lock,
        };
        tokio::spawn(writer.run(closed));
        Ok(Self {
            jobs,
            readers,
            key,
            patience: options.patience,
            closing,
        })
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
        let query = sqlx::query_as::<_, Row>(sql::FETCH)
            .bind(&account.0)
            .bind(&id.0)
            .fetch_optional(&self.readers);
        let row = self.read(query).await?;
        row.map(|row| row.transfer_at(times.now(), &self.key).map_err(unreadable))
            .transpose()
    }

    pub(crate) async fn claim(
        &self,
        account: &AccountId,
        id: &TransferId,
        node: &str,
        times: &Times,
    ) -> Result<Claim, Unavailable> {
        let work = Work::Claim {
            key: Key::of(account, id),
            node: node.to_owned(),
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
        let work = Work::Release {
            key: Key::of(account, id),
            fence,
        };
        let Done::Released(release) = self.write(work).await? else {
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
            .map(|output| rows::output_json(&output))
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

    pub(crate) async fn recover(
        &self,
        node: &str,
        times: &Times,
    ) -> Result<Vec<Transfer>, Unavailable> {
        let mut all = Vec::new();
        loop {
            let work = Work::Recover {
                node: node.to_owned(),
                now: times.now(),
            };
            let Done::Recovered(portion) = self.write(work).await? else {
                return Err(Unavailable);
            };
            all.extend(portion.transfers);
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
        self.write(Work::Record(Box::new(record))).await.map(|_| ())
    }

    pub(crate) async fn call(&self, id: &str) -> Result<Option<CallRecord>, Unavailable> {
        self.read(lists::call(&self.readers, id)).await
    }

    pub(crate) async fn calls(&self, filter: &CallFilter) -> Result<Vec<CallRecord>, Unavailable> {
        self.read(lists::calls(&self.readers, filter)).await
    }

    pub(crate) async fn transfers(
        &self,
        filter: &TransferFilter,
        times: &Times,
    ) -> Result<Vec<Transfer>, Unavailable> {
        let list = lists::transfers(&self.readers, filter, times.now(), &self.key);
        self.read(list).await
    }

    async fn read<T>(
        &self,
        query: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Unavailable> {
        match timeout(self.patience, query).await {
            Ok(Ok(found)) => Ok(found),
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

    pub(crate) async fn health(&self) -> Result<(), Unavailable> {
        self.write(Work::Probe).await.map(|_| ())
    }

    pub(crate) async fn close(&self) {
        self.closing.send_replace(true);
        self.closing.closed().await;
        self.readers.close().await;
    }

    /// A full queue is refused at once; work that is not answered in time is not begun, or undone.
    async fn write(&self, work: Work) -> Result<Done, Unavailable> {
        let claims = if let Work::Claim { key, .. } = &work {
            Some(key.clone())
        } else {
            None
        };
        let (answer, answered) = oneshot::channel();
        self.jobs
            .try_send(Job {
                work,
                answer: Some(answer),
            })
            .map_err(|_| Unavailable)?;
        let mut waiting = Waiting {
            answered,
            claims,
            jobs: &self.jobs,
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
    jobs: &'a mpsc::Sender<Job>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(key) = self.claims.take() else {
            return;
        };
        self.answered.close();
        let Ok(Ok(Done::Claimed(Claim::Claimed { fence, .. }))) = self.answered.try_recv() else {
            return;
        };
        let job = Job {
            work: Work::Release { key, fence },
            answer: None,
        };
        let Err(TrySendError::Full(job)) = self.jobs.try_send(job) else {
            return;
        };
        let jobs = self.jobs.clone();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { drop(jobs.send(job).await) });
        }
    }
}

fn unreadable(problem: rows::BadColumn) -> Unavailable {
    error!(%problem, "a stored transfer cannot be read or written");
    Unavailable
}

fn connect_options(file: &str) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .pragma("journal_size_limit", LOG_LIMIT)
        .disable_statement_logging()
}

/// One gateway at a time: a second one would take the first one's calls for those of a dead process.
async fn lock(database: &Path) -> Result<File, String> {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let said = |problem: &dyn fmt::Display| format!("{}: {problem}", path.display());
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|it| said(&it))?;
    let until = tokio::time::Instant::now() + HAND_OVER;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(said(&"another process has the database open"));
            }
            Err(TryLockError::Error(problem)) => return Err(said(&problem)),
        }
    }
}

/// The key that the database was made with: a text sealed with it tells.
async fn check_key(
    db: &mut SqliteConnection,
    database: &Path,
    given: Option<EncryptionKey>,
) -> Result<EncryptionKey, StoreError> {
    let sql = |problem: sqlx::Error| StoreError::Key(problem.to_string());
    let sealed: Option<(String,)> = sqlx::query_as(sql::FACT)
        .bind(KEY_CHECK)
        .fetch_optional(&mut *db)
        .await
        .map_err(sql)?;
    let key = match given {
        Some(key) => key,
        None => EncryptionKey::beside(database, sealed.is_none()).map_err(StoreError::Key)?,
    };
    let Some((sealed,)) = sealed else {
        let sealed = key.seal(KEY_CHECK.as_bytes(), KEY_CHECK.as_bytes());
        let sealed = sealed.ok_or_else(|| StoreError::Key("cannot encrypt".to_owned()))?;
        sqlx::query(sql::SET_FACT)
            .bind(KEY_CHECK)
            .bind(sealed)
            .execute(db)
            .await
            .map_err(sql)?;
        return Ok(key);
    };
    match key.open(&sealed, KEY_CHECK.as_bytes()) {
        Some(_) => Ok(key),
        None => Err(StoreError::Key(format!(
            "not the key that {} was made with",
            database.display()
        ))),
    }
}
