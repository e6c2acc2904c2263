//! Nodes and their leases, the checkpoints of live calls, and taking over those of the dead.

use call_control::transfer::{AccountId, TransferId};
use timebase::UnixMillis;
use tracing::error;

use super::db::{Db, Statement};
use super::rows::Row;
use super::statements;
use super::work::{Owner, PORTION, WorkError};
use crate::live::{Checkpoint, Orphan, TakenOver};
use crate::types::Fence;
use crate::vault::EncryptionKey;

#[derive(sqlx::FromRow)]
struct OrphanRow {
    call: String,
    account: String,
    transfer: String,
    stored_at: i64,
    state: String,
}

pub(super) async fn join(
    db: &mut Db<'_>,
    node: &str,
    own: UnixMillis,
    lease: i64,
) -> Result<i64, sqlx::Error> {
    let now = db.clock(own).await?;
    if db.is_one_process() {
        // Whatever names there were, no such process lives.
        bury(db, node, UnixMillis(i64::MAX)).await?;
    }
    let join = Statement::new(statements::JOIN)
        .bind(node)
        .bind(now.0.saturating_add(lease));
    let joined: Option<(i64,)> = db.one(join).await?;
    joined.map_or(Err(sqlx::Error::RowNotFound), |(epoch,)| Ok(epoch))
}

pub(super) async fn renew(
    db: &mut Db<'_>,
    owner: &Owner,
    own: UnixMillis,
    lease: i64,
) -> Result<bool, sqlx::Error> {
    let now = db.clock(own).await?;
    let renew = Statement::new(statements::RENEW)
        .bind(owner.node.as_str())
        .bind(owner.epoch)
        .bind(now.0.saturating_add(lease));
    Ok(db.execute(renew).await? == 1)
}

pub(super) async fn checkpoint(
    db: &mut Db<'_>,
    checkpoint: &Checkpoint,
    owner: &Owner,
    now: UnixMillis,
) -> Result<bool, sqlx::Error> {
    let store = Statement::new(statements::CHECKPOINT)
        .bind(checkpoint.call.as_str())
        .bind(checkpoint.account.0.as_str())
        .bind(checkpoint.transfer.0.as_str())
        .bind(owner.node.as_str())
        .bind(owner.epoch)
        .bind(now.0)
        .bind(checkpoint.state.as_str())
        .bind(checkpoint.fence.0);
    Ok(db.execute(store).await? == 1)
}

pub(super) async fn forget(db: &mut Db<'_>, call: &str, owner: &Owner) -> Result<(), sqlx::Error> {
    let forget = Statement::new(statements::FORGET)
        .bind(call)
        .bind(owner.node.as_str())
        .bind(owner.epoch);
    db.execute(forget).await.map(|_| ())
}

async fn bury(db: &mut Db<'_>, own: &str, now: UnixMillis) -> Result<u64, sqlx::Error> {
    let bury = Statement::new(statements::BURY).bind(own).bind(now.0);
    db.execute(bury).await
}

/// A portion of what dead processes left. A node that is taken for dead itself takes nothing.
pub(super) async fn take_over(
    db: &mut Db<'_>,
    owner: &Owner,
    others: bool,
    own: UnixMillis,
    key: &EncryptionKey,
) -> Result<TakenOver, WorkError> {
    db.take_turns().await?;
    let now = db.clock(own).await?;
    let alive = Statement::new(statements::IS_ALIVE)
        .bind(owner.node.as_str())
        .bind(owner.epoch);
    let alive: Option<(i64,)> = db.one(alive).await?;
    if alive.is_none() {
        return Err(WorkError::Outlived);
    }
    if others && bury(db, &owner.node, now).await? > 0 {
        tracing::warn!("the lease of another node is over: its calls are taken over");
    }
    let orphans = Statement::new(statements::ORPHANS)
        .bind(owner.node.as_str())
        .bind(owner.epoch)
        .bind(PORTION);
    let rows: Vec<OrphanRow> = db.all(orphans).await?;
    let mut taken = TakenOver::default();
    let found = rows.len();
    for row in rows {
        taken.calls.push(adopt(db, row, owner, key).await?);
    }
    taken.more = found as i64 == PORTION;
    if taken.more {
        return Ok(taken);
    }
    let lost = db
        .fencing(statements::LOST, statements::LOST_POSTGRES)
        .bind(own.0)
        .bind(PORTION);
    let lost: Vec<Row> = db.all(lost).await?;
    taken.more = lost.len() as i64 == PORTION;
    taken.lost = lost
        .into_iter()
        .filter_map(|row| readable(row, key))
        .collect();
    Ok(taken)
}

async fn adopt(
    db: &mut Db<'_>,
    row: OrphanRow,
    owner: &Owner,
    key: &EncryptionKey,
) -> Result<Orphan, sqlx::Error> {
    let adopt = db
        .fencing(statements::ADOPT, statements::ADOPT_POSTGRES)
        .bind(row.account.as_str())
        .bind(row.transfer.as_str())
        .bind(owner.node.as_str())
        .bind(owner.epoch);
    let adopted: Option<Row> = db.one(adopt).await?;
    let fence = adopted.as_ref().map_or(Fence(0), |row| Fence(row.fence));
    let transfer = adopted.and_then(|row| readable(row, key));
    Ok(Orphan {
        checkpoint: Checkpoint {
            call: row.call,
            account: AccountId(row.account),
            transfer: TransferId(row.transfer),
            fence,
            state: row.state,
        },
        stored_at: UnixMillis(row.stored_at),
        transfer,
    })
}

fn readable(row: Row, key: &EncryptionKey) -> Option<call_control::transfer::Transfer> {
    match row.transfer(key) {
        Ok(transfer) => Some(transfer),
        Err(problem) => {
            error!(%problem, "a transfer of a dead process cannot be read");
            None
        }
    }
}
