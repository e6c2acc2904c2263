//! Group commit: one task takes what waits in a bounded queue, commits it in one transaction, and only
//! then answers. Hundreds of writes a second so cost a few syncs of the disk.

use std::fs::File;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, warn};

use crate::database::{Answer, undoing};
use crate::sql::{Db, Done, Work, WorkError};
use crate::types::Unavailable;
use crate::vault::EncryptionKey;

/// Pieces of work committed together at most.
const BATCH: usize = 256;

/// Work, and who waits for it. Whoever waits no longer drops the receiver, and the work is not begun.
/// Work that nobody waits for from the start is done whatever happens.
#[derive(Debug)]
pub(super) struct Job {
    pub work: Work,
    pub answer: Option<oneshot::Sender<Answer>>,
}

impl Job {
    fn is_abandoned(&self) -> bool {
        self.answer.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

pub(super) struct Writer {
    pub jobs: mpsc::Receiver<Job>,
    pub options: SqliteConnectOptions,
    pub key: EncryptionKey,
    pub connection: Option<SqliteConnection>,
    /// Releases of claims whose caller never learnt of them; done before anything else.
    pub undo: Vec<Work>,
    /// Held while the database is in use.
    pub lock: File,
}

type Finished = Vec<(Job, Done)>;

impl Writer {
    /// Works until the store is closed or its last handle dropped, then does what still waits.
    pub(super) async fn run(mut self, mut closing: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.take(&mut batch, &mut closing).await {
            self.commit(batch.drain(..)).await;
            if !self.undo.is_empty() {
                self.commit([].into_iter()).await;
            }
        }
        self.end().await;
        drop(closing);
    }

    /// Whether there is still something to do.
    async fn take(&mut self, batch: &mut Vec<Job>, closing: &mut watch::Receiver<bool>) -> bool {
        if !self.jobs.is_closed() {
            tokio::select! {
                biased;
                _ = closing.changed() => self.jobs.close(),
                taken = self.jobs.recv_many(batch, BATCH) => return taken > 0,
            }
        }
        self.jobs.recv_many(batch, BATCH).await > 0
    }

    async fn end(self) {
        if let Some(connection) = self.connection
            && let Err(problem) = connection.close().await
        {
            warn!(%problem, "the database did not close cleanly");
        }
        drop(self.lock);
    }

    async fn commit(&mut self, mut batch: impl ExactSizeIterator<Item = Job>) {
        let mut finished = Finished::with_capacity(batch.len());
        let outcome = self.transact(&mut batch, &mut finished).await;
        batch.for_each(|job| self.refuse(job));
        match outcome {
            Ok(connection) => {
                self.connection = Some(connection);
                self.undo.clear();
                self.answer(finished);
            }
            Err(problem) => {
                error!(%problem, "a write to the database failed");
                self.fail(finished);
            }
        }
    }

    /// Gives the connection back only after a commit: one that failed is not used again, and dropping
    /// it rolls its transaction back.
    async fn transact(
        &mut self,
        batch: &mut impl Iterator<Item = Job>,
        finished: &mut Finished,
    ) -> Result<SqliteConnection, sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        self.perform_undo(&mut transaction).await?;
        for job in batch {
            if let Some(done) = self.perform(&mut transaction, job).await? {
                finished.push(done);
            }
        }
        transaction.commit().await?;
        Ok(connection)
    }

    async fn perform_undo(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for work in &self.undo {
            if let Err(WorkError::Sql(problem)) = work.perform(&mut Db::Sqlite(db), &self.key).await
            {
                return Err(problem);
            }
        }
        Ok(())
    }

    /// Nothing, when nobody waits for it or it concerns a row that cannot be read.
    async fn perform(
        &mut self,
        db: &mut SqliteConnection,
        job: Job,
    ) -> Result<Option<(Job, Done)>, sqlx::Error> {
        if job.is_abandoned() {
            return Ok(None);
        }
        match job.work.perform(&mut Db::Sqlite(db), &self.key).await {
            Ok(done) => Ok(Some((job, done))),
            Err(WorkError::Row(problem)) => {
                error!(%problem, "a stored transfer cannot be read");
                self.refuse(job);
                Ok(None)
            }
            Err(WorkError::Outlived) => {
                warn!("another process has taken this one's place: it claims nothing");
                self.refuse(job);
                Ok(None)
            }
            Err(WorkError::Sql(problem)) => {
                self.refuse(job);
                Err(problem)
            }
        }
    }

    fn answer(&mut self, finished: Finished) {
        for (job, done) in finished {
            let Some(answer) = job.answer else { continue };
            if let Err(Ok(undelivered)) = answer.send(Ok(done)) {
                self.undo.extend(undoing(&job.work, &undelivered));
            }
        }
    }

    /// Whether a failed commit reached the disk is not known: its claims are released in any case.
    /// Their fences are given to nobody else before that, since it is done first.
    fn fail(&mut self, finished: Finished) {
        for (job, done) in finished {
            self.undo.extend(undoing(&job.work, &done));
            self.refuse(job);
        }
    }

    fn refuse(&mut self, job: Job) {
        match job.answer {
            // Whoever waits no longer need not be told.
            Some(answer) => drop(answer.send(Err(Unavailable))),
            None => self.undo.push(job.work),
        }
    }
}
