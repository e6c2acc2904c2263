//! The store in SQLite: write-ahead log, `synchronous = FULL`, one writer with group commit, a few readers.

mod writer;

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::database::{Answer, settle_key};
use crate::sql::{Db, Work};
use crate::types::{StoreError, StoreOptions, Unavailable};
use crate::vault::EncryptionKey;
use writer::{Job, Writer};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const READERS: u32 = 4;
/// How long another process may keep the database locked before a write fails.
const BUSY: Duration = Duration::from_secs(1);
/// How long opening waits for a predecessor to let go of the database.
const HAND_OVER: Duration = Duration::from_secs(5);
/// The log is cut back to this size after a checkpoint.
const LOG_LIMIT: &str = "67108864";

pub(crate) struct Sqlite {
    jobs: mpsc::Sender<Job>,
    readers: SqlitePool,
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
    pub(crate) async fn open(
        file: &str,
        options: &StoreOptions,
    ) -> Result<(Self, EncryptionKey), StoreError> {
        let said = |problem: &dyn fmt::Display| StoreError::Database {
            path: file.to_owned(),
            problem: problem.to_string(),
        };
        if file.is_empty() || file.starts_with(':') {
            return Err(said(&"no file is named; a store in memory is memory://"));
        }
        let path = Path::new(file);
        let lock = lock(path).await.map_err(|problem| said(&problem))?;
        let connect = connect_options(file);
        let mut connection = connect.connect().await.map_err(|problem| said(&problem))?;
        MIGRATIONS
            .run(&mut connection)
            .await
            .map_err(|problem| said(&problem))?;
        let given = options.encryption_key.clone();
        let key = settle_key(&mut Db::Sqlite(&mut connection), path, given, &file).await?;
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
        let sqlite = Self {
            jobs,
            readers,
            closing,
        };
        Ok((sqlite, key))
    }

    pub(crate) fn begin(
        &self,
        work: Work,
        answer: oneshot::Sender<Answer>,
    ) -> Result<(), Unavailable> {
        let job = Job {
            work,
            answer: Some(answer),
        };
        self.jobs.try_send(job).map_err(|_| Unavailable)
    }

    pub(crate) fn undo(&self, work: Work) {
        let job = Job { work, answer: None };
        let Err(TrySendError::Full(job)) = self.jobs.try_send(job) else {
            return;
        };
        let jobs = self.jobs.clone();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { drop(jobs.send(job).await) });
        }
    }

    pub(crate) async fn reader(&self) -> Result<PoolConnection<sqlx::Sqlite>, sqlx::Error> {
        self.readers.acquire().await
    }

    pub(crate) async fn close(&self) {
        self.closing.send_replace(true);
        self.closing.closed().await;
        self.readers.close().await;
    }
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
