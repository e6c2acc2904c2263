//! Records of calls, and lists of them and of transfers.

use call_control::transfer::{AccountId, Status, Transfer, TransferId};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};
use timebase::UnixMillis;

use super::rows::Row;
use crate::records::{CallFilter, CallRecord, TransferFilter};
use crate::vault::EncryptionKey;

const RECORD: &str = "
    INSERT INTO call_record (call, account, transfer, trunk, outcome, arrived_at, ended_at, record)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (call) DO UPDATE SET outcome = $5, ended_at = $7, record = $8";

const CALLS: &str = "
    SELECT call, account, transfer, trunk, outcome, arrived_at, ended_at, record FROM call_record";

const DELETE_OLD: &str = "
    DELETE FROM call_record
    WHERE call IN (SELECT call FROM call_record WHERE ended_at <= $1 ORDER BY ended_at LIMIT $2)";

const TRANSFERS: &str = "
    SELECT account, id, conversation, sip, credentials, input, status, created_at, expires_at,
           call_received_at, completed_at, output, fence
    FROM transfer";

#[derive(sqlx::FromRow)]
struct RecordRow {
    call: String,
    account: String,
    transfer: String,
    trunk: String,
    outcome: String,
    arrived_at: i64,
    ended_at: i64,
    record: String,
}

impl From<RecordRow> for CallRecord {
    fn from(row: RecordRow) -> Self {
        Self {
            call: row.call,
            account: AccountId(row.account),
            transfer: TransferId(row.transfer),
            trunk: row.trunk,
            outcome: row.outcome,
            arrived_at: UnixMillis(row.arrived_at),
            ended_at: UnixMillis(row.ended_at),
            record: row.record,
        }
    }
}

pub(super) async fn record(
    db: &mut SqliteConnection,
    record: &CallRecord,
) -> Result<(), sqlx::Error> {
    sqlx::query(RECORD)
        .bind(&record.call)
        .bind(&record.account.0)
        .bind(&record.transfer.0)
        .bind(&record.trunk)
        .bind(&record.outcome)
        .bind(record.arrived_at.0)
        .bind(record.ended_at.0)
        .bind(&record.record)
        .execute(db)
        .await
        .map(|_| ())
}

pub(super) async fn delete_old(
    db: &mut SqliteConnection,
    horizon: UnixMillis,
    portion: i64,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(DELETE_OLD)
        .bind(horizon.0)
        .bind(portion)
        .execute(db)
        .await?;
    Ok(deleted.rows_affected())
}

pub(super) async fn call(db: &SqlitePool, id: &str) -> Result<Option<CallRecord>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(CALLS);
    query.push(" WHERE call = ").push_bind(id);
    let row: Option<RecordRow> = query.build_query_as().fetch_optional(db).await?;
    Ok(row.map(CallRecord::from))
}

pub(super) async fn calls(
    db: &SqlitePool,
    filter: &CallFilter,
) -> Result<Vec<CallRecord>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(CALLS);
    query.push(" WHERE TRUE");
    let equal = [
        (
            " AND account = ",
            filter.account.as_ref().map(|it| it.0.clone()),
        ),
        (
            " AND transfer = ",
            filter.transfer.as_ref().map(|it| it.0.clone()),
        ),
        (" AND trunk = ", filter.trunk.clone()),
        (" AND outcome = ", filter.outcome.clone()),
    ];
    for (condition, value) in equal {
        if let Some(value) = value {
            query.push(condition).push_bind(value);
        }
    }
    if let Some((ended, call)) = &filter.after {
        query.push(" AND (ended_at, call) < (").push_bind(ended.0);
        query.push(", ").push_bind(call).push(")");
    }
    query.push(" ORDER BY ended_at DESC, call DESC LIMIT ");
    query.push_bind(i64::from(filter.limit));
    let rows: Vec<RecordRow> = query.build_query_as().fetch_all(db).await?;
    Ok(rows.into_iter().map(CallRecord::from).collect())
}

pub(super) async fn transfers(
    db: &SqlitePool,
    filter: &TransferFilter,
    now: UnixMillis,
    key: &EncryptionKey,
) -> Result<Vec<Transfer>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(TRANSFERS);
    query.push(" WHERE TRUE");
    if let Some(account) = &filter.account {
        query.push(" AND account = ").push_bind(&account.0);
    }
    if let Some(conversation) = &filter.conversation {
        query.push(" AND conversation = ").push_bind(conversation);
    }
    if let Some(status) = filter.status {
        push_status(&mut query, status, now);
    }
    if let Some((created, account, id)) = &filter.after {
        query.push(" AND (created_at, account, id) < (");
        query.push_bind(created.0).push(", ").push_bind(&account.0);
        query.push(", ").push_bind(&id.0).push(")");
    }
    query.push(" ORDER BY created_at DESC, account DESC, id DESC LIMIT ");
    query.push_bind(i64::from(filter.limit));
    let rows: Vec<Row> = query.build_query_as().fetch_all(db).await?;
    let readable = |row: Row| match row.transfer_at(now, key) {
        Ok(transfer) => Some(transfer),
        Err(problem) => {
            tracing::error!(%problem, "a stored transfer cannot be read");
            None
        }
    };
    Ok(rows.into_iter().filter_map(readable).collect())
}

/// One past its time to live is EXPIRED, swept or not.
fn push_status(query: &mut QueryBuilder<Sqlite>, status: Status, now: UnixMillis) {
    match status {
        Status::Active => query
            .push(" AND status = 'ACTIVE' AND expires_at > ")
            .push_bind(now.0),
        Status::Expired => query
            .push(" AND (status = 'EXPIRED' OR (status = 'ACTIVE' AND expires_at <= ")
            .push_bind(now.0)
            .push("))"),
        Status::Ongoing | Status::Completed => {
            query.push(" AND status = ").push_bind(status.to_string())
        }
    };
}
