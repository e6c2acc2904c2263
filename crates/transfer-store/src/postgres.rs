//! The store in PostgreSQL, shared by several nodes: a pool of connections, each piece of work a
//! transaction of its own, which the server commits in groups.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Acquire, ConnectOptions, PgConnection};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use tracing::{error, warn};

use crate::database::{Answer, settle_key, undoing};
use crate::sql::{Db, Done, Work, WorkError};
use crate::types::{StoreError, StoreOptions, Unavailable};
use crate::vault::EncryptionKey;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

const CONNECTIONS: u32 = 16;
/// Connections that are open before they are needed: on a busy machine opening one takes long.
const READY: u32 = 4;
/// Where the key is made when none is configured, in the working folder.
const KEY_BESIDE: &str = "handback.postgres";
/// How long another node's migration may take before opening fails.
const OPENING: Duration = Duration::from_secs(60);
/// Between two tries of what must be done.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct Postgres {
    pool: PgPool,
    key: EncryptionKey,
    patience: Duration,
    /// Work that may be under way or wait.
    places: Arc<Semaphore>,
    most: u32,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("connections", &self.pool.size())
            .field("free_places", &self.places.available_permits())
            .finish_non_exhaustive()
    }
}

/// Work that failed: whether its commit reached the disk may not be known.
struct Failed {
    problem: WorkError,
    /// What it would have been.
    perhaps: Option<Done>,
}

impl Postgres {
    pub(crate) async fn open(
        url: &str,
        options: &StoreOptions,
    ) -> Result<(Self, EncryptionKey), StoreError> {
        // The URL may hold a password: it is not repeated.
        let unread = |problem: sqlx::Error| StoreError::Database {
            path: "postgres".to_owned(),
            problem: problem.to_string(),
        };
        let connect: PgConnectOptions = url.parse().map_err(unread)?;
        let name = name(&connect);
        let said = |problem: &dyn fmt::Display| StoreError::Database {
            path: name.clone(),
            problem: problem.to_string(),
        };
        let connect = connect.disable_statement_logging();
        let opening = prepare(&connect, options, &name);
        let key = match timeout(OPENING, opening).await {
            Ok(prepared) => prepared?,
            Err(_elapsed) => return Err(said(&"does not answer")),
        };
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .min_connections(READY)
            .acquire_timeout(options.patience)
            .connect_lazy_with(patient(connect, options.patience));
        let most = u32::try_from(options.queue.max(1)).unwrap_or(u32::MAX);
        let postgres = Self {
            pool,
            key: key.clone(),
            patience: options.patience,
            places: Arc::new(Semaphore::new(most as usize)),
            most,
        };
        Ok((postgres, key))
    }

    pub(crate) fn begin(
        &self,
        work: Work,
        answer: oneshot::Sender<Answer>,
    ) -> Result<(), Unavailable> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Unavailable)?;
        tokio::spawn(self.clone().carry_out(work, answer, place));
        Ok(())
    }

    /// A task of its own, so that whoever gives up waiting does not leave it half done.
    async fn carry_out(
        self,
        work: Work,
        answer: oneshot::Sender<Answer>,
        _place: OwnedSemaphorePermit,
    ) {
        if answer.is_closed() {
            return;
        }
        let undelivered = match self.attempt(&work).await {
            Ok(done) => answer.send(Ok(done)).err().and_then(Result::ok),
            Err(Failed { problem, perhaps }) => {
                error!(%problem, "a write to the database failed");
                // Whoever waits no longer need not be told.
                drop(answer.send(Err(Unavailable)));
                perhaps
            }
        };
        if let Some(release) = undelivered.and_then(|done| undoing(&work, &done)) {
            self.insist(release).await;
        }
    }

    pub(crate) fn undo(&self, work: Work) {
        if let Ok(runtime) = Handle::try_current() {
            let store = self.clone();
            runtime.spawn(async move { store.insist(work).await });
        }
    }

    /// Tries until it is done or the store is closed.
    async fn insist(&self, work: Work) {
        while let Err(failed) = self.attempt(&work).await {
            if self.pool.is_closed() || !matches!(failed.problem, WorkError::Sql(_)) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(&self, work: &Work) -> Result<Done, Failed> {
        let mut perhaps = None;
        match self.transact(work, &mut perhaps).await {
            Ok(done) => Ok(done),
            Err(problem) => Err(Failed { problem, perhaps }),
        }
    }

    async fn transact(&self, work: &Work, perhaps: &mut Option<Done>) -> Result<Done, WorkError> {
        let mut connection = self.reader().await?;
        let transacting = async {
            let mut transaction = connection.open()?.begin().await?;
            *perhaps = Some(
                work.perform(&mut Db::Postgres(&mut transaction), &self.key)
                    .await?,
            );
            transaction.commit().await?;
            Ok::<_, WorkError>(())
        };
        // The server's own limit is shorter: this one is for a server that does not answer at all.
        match timeout(self.patience * 2, transacting).await {
            Ok(Ok(())) => {
                connection.finish();
                let done = perhaps.take();
                done.ok_or(WorkError::Sql(sqlx::Error::WorkerCrashed))
            }
            Ok(Err(problem)) => Err(problem),
            Err(_elapsed) => Err(WorkError::Sql(sqlx::Error::PoolTimedOut)),
        }
    }

    pub(crate) async fn reader(&self) -> Result<Borrowed, sqlx::Error> {
        let connection = self.pool.acquire().await?;
        Ok(Borrowed {
            connection: Some(connection),
            finished: false,
        })
    }

    pub(crate) async fn close(&self) {
        // What is under way is finished first.
        let idle = self.places.acquire_many(self.most);
        if timeout(self.patience * 2, idle).await.is_err() {
            warn!("the database does not answer: some writes are not finished");
        }
        self.places.close();
        drop(timeout(self.patience, self.pool.close()).await);
    }
}

/// A connection that goes back to the pool only when what it was asked has been answered: one that
/// was left in the middle would keep the next who gets it waiting.
pub(crate) struct Borrowed {
    connection: Option<PoolConnection<sqlx::Postgres>>,
    finished: bool,
}

impl Borrowed {
    pub(crate) fn open(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            None => Err(sqlx::Error::PoolClosed),
        }
    }

    pub(crate) fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && !self.finished
        {
            drop(connection.detach());
        }
    }
}

/// Where it is, without how it is entered.
fn name(connect: &PgConnectOptions) -> String {
    let database = connect.get_database().unwrap_or_default();
    format!("postgres://{}/{database}", connect.get_host())
}

/// Brings the schema to this version and finds the key.
async fn prepare(
    connect: &PgConnectOptions,
    options: &StoreOptions,
    name: &str,
) -> Result<EncryptionKey, StoreError> {
    let said = |problem: &dyn fmt::Display| StoreError::Database {
        path: name.to_owned(),
        problem: problem.to_string(),
    };
    let mut connection = connect.connect().await.map_err(|it| said(&it))?;
    MIGRATIONS
        .run(&mut connection)
        .await
        .map_err(|it| said(&it))?;
    let given = options.encryption_key.clone();
    let db = &mut Db::Postgres(&mut connection);
    settle_key(db, Path::new(KEY_BESIDE), given, &name).await
}

/// The server gives up a statement, and a transaction that is left open, by itself.
fn patient(connect: PgConnectOptions, patience: Duration) -> PgConnectOptions {
    let limit = patience.as_millis();
    connect.application_name("handback").options([
        ("statement_timeout", limit.to_string()),
        ("lock_timeout", limit.to_string()),
        (
            "idle_in_transaction_session_timeout",
            (limit * 4).to_string(),
        ),
    ])
}
