//! Records of calls, and lists of them and of transfers.

use call_control::transfer::{AccountId, Status, Transfer, TransferId};
use timebase::UnixMillis;

use super::db::{Db, Statement};
use super::rows::Row;
use super::statements;
use super::work::Owner;
use crate::records::{CallFilter, CallRecord, TransferFilter};
use crate::vault::EncryptionKey;

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
    db: &mut Db<'_>,
    record: &CallRecord,
    owner: &Owner,
) -> Result<(), sqlx::Error> {
    let record = Statement::new(statements::RECORD)
        .bind(record.call.as_str())
        .bind(record.account.0.as_str())
        .bind(record.transfer.0.as_str())
        .bind(record.trunk.as_str())
        .bind(record.outcome.as_str())
        .bind(record.arrived_at.0)
        .bind(record.ended_at.0)
        .bind(record.record.as_str())
        .bind(owner.node.as_str())
        .bind(owner.epoch);
    db.execute(record).await.map(|_| ())
}

pub(super) async fn delete_old(
    db: &mut Db<'_>,
    horizon: UnixMillis,
    portion: i64,
) -> Result<u64, sqlx::Error> {
    let delete = Statement::new(statements::DELETE_RECORDS)
        .bind(horizon.0)
        .bind(portion);
    db.execute(delete).await
}

pub(crate) async fn call(db: &mut Db<'_>, id: &str) -> Result<Option<CallRecord>, sqlx::Error> {
    let mut query = Statement::new(statements::CALLS);
    query.push(" AND call = ").place(id);
    let row: Option<RecordRow> = db.one(query).await?;
    Ok(row.map(CallRecord::from))
}

pub(crate) async fn calls(
    db: &mut Db<'_>,
    filter: &CallFilter,
) -> Result<Vec<CallRecord>, sqlx::Error> {
    let mut query = Statement::new(statements::CALLS);
    let equal = [
        (" AND account = ", filter.account.as_ref().map(|it| &it.0)),
        (" AND transfer = ", filter.transfer.as_ref().map(|it| &it.0)),
        (" AND trunk = ", filter.trunk.as_ref()),
        (" AND outcome = ", filter.outcome.as_ref()),
    ];
    for (condition, value) in equal {
        if let Some(value) = value {
            query.push(condition).place(value.as_str());
        }
    }
    if let Some((ended, call)) = &filter.after {
        query.push(" AND (ended_at, call) < (").place(ended.0);
        query.push(", ").place(call.as_str()).push(")");
    }
    query.push(" ORDER BY ended_at DESC, call DESC LIMIT ");
    query.place(i64::from(filter.limit));
    let rows: Vec<RecordRow> = db.all(query).await?;
    Ok(rows.into_iter().map(CallRecord::from).collect())
}

pub(crate) async fn transfers(
    db: &mut Db<'_>,
    filter: &TransferFilter,
    now: UnixMillis,
    key: &EncryptionKey,
) -> Result<Vec<Transfer>, sqlx::Error> {
    let mut query = Statement::new(statements::TRANSFERS);
    if let Some(account) = &filter.account {
        query.push(" AND account = ").place(account.0.as_str());
    }
    if let Some(conversation) = &filter.conversation {
        query
            .push(" AND conversation = ")
            .place(conversation.as_str());
    }
    if let Some(status) = filter.status {
        push_status(&mut query, status, now);
    }
    if let Some((created, account, id)) = &filter.after {
        query.push(" AND (created_at, account, id) < (");
        query
            .place(created.0)
            .push(", ")
            .place(account.0.as_str())
            .push(", ")
            .place(id.0.as_str())
            .push(")");
    }
    query.push(" ORDER BY created_at DESC, account DESC, id DESC LIMIT ");
    query.place(i64::from(filter.limit));
    let rows: Vec<Row> = db.all(query).await?;
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
fn push_status(query: &mut Statement, status: Status, now: UnixMillis) {
    match status {
        Status::Active => query
            .push(" AND status = 'ACTIVE' AND expires_at > ")
            .place(now.0),
        Status::Expired => query
            .push(" AND (status = 'EXPIRED' OR (status = 'ACTIVE' AND expires_at <= ")
            .place(now.0)
            .push("))"),
        Status::Ongoing | Status::Completed => {
            query.push(" AND status = ").place(status.to_string())
        }
    };
}
