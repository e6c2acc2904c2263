//! The statements, in the SQL that SQLite and PostgreSQL share; where they differ, both are here.

pub(super) const REGISTER: &str = "
    INSERT INTO transfer (account, id, conversation, sip, credentials, input, status, created_at, expires_at, fence, closed)
    VALUES ($1, $2, $3, $4, $5, $6, 'ACTIVE', $7, $8, 0, 0)
    ON CONFLICT (account, id) DO NOTHING";

macro_rules! columns {
    () => {
        "account, id, conversation, sip, credentials, input, status, created_at, expires_at,
         call_received_at, completed_at, output, fence"
    };
}

pub(super) const FETCH: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM transfer WHERE account = $1 AND id = $2"
);

pub(super) const TRANSFERS: &str = concat!("SELECT ", columns!(), " FROM transfer WHERE TRUE");

pub(super) const CONVERSATION: &str = concat!(
    "SELECT ",
    columns!(),
    ", transcript FROM transfer
    WHERE account = $1 AND conversation = $2 AND status = 'COMPLETED'
          AND (output IS NOT NULL OR transcript IS NOT NULL)
    ORDER BY created_at DESC LIMIT $3"
);

pub(super) const PUT_TRANSCRIPT: &str =
    "UPDATE transfer SET transcript = $3 WHERE account = $1 AND id = $2";

/// One statement decides and writes: no two claims can both find the transfer ACTIVE. A node that
/// another one took for dead claims nothing.
macro_rules! claim {
    ($fence:literal) => {
        concat!(
            "UPDATE transfer
            SET status = 'ONGOING', call_received_at = $3, owner = $4, owner_epoch = $5, fence = ",
            $fence,
            " WHERE account = $1 AND id = $2 AND status = 'ACTIVE' AND expires_at > $3
                  AND ($5 = 0 OR EXISTS (SELECT 1 FROM node WHERE name = $4 AND epoch = $5))
            RETURNING ",
            columns!()
        )
    };
}

pub(super) const CLAIM: &str = claim!("fence + 1");
/// Fences of a sequence are never given twice: a claim that is undone after its commit failed
/// cannot meet another one's fence.
pub(super) const CLAIM_POSTGRES: &str = claim!("nextval('transfer_fence')");

pub(super) const STATUS: &str =
    "SELECT status, expires_at FROM transfer WHERE account = $1 AND id = $2";

pub(super) const RELEASE: &str = "
    UPDATE transfer SET status = 'ACTIVE', call_received_at = NULL, owner = NULL
    WHERE account = $1 AND id = $2 AND fence = $3 AND status = 'ONGOING'";

pub(super) const COMPLETE_WITH_OUTPUT: &str = "
    UPDATE transfer
    SET status = 'COMPLETED', completed_at = COALESCE(completed_at, $4), over_at = COALESCE(over_at, $4), output = $5
    WHERE account = $1 AND id = $2 AND fence = $3 AND closed = 0 AND status IN ('ONGOING', 'COMPLETED')";

pub(super) const COMPLETE_WITHOUT: &str = "
    UPDATE transfer
    SET status = 'COMPLETED', completed_at = COALESCE(completed_at, $4), over_at = COALESCE(over_at, $4), closed = 1
    WHERE account = $1 AND id = $2 AND fence = $3 AND status IN ('ONGOING', 'COMPLETED')";

pub(super) const IS_COMPLETED: &str = "
    SELECT fence FROM transfer WHERE account = $1 AND id = $2 AND fence = $3 AND status = 'COMPLETED'";

/// The condition is said twice: between the choice and the change another node may claim one.
pub(super) const EXPIRE: &str = "
    UPDATE transfer SET status = 'EXPIRED', over_at = expires_at
    WHERE status = 'ACTIVE' AND expires_at <= $1 AND (account, id) IN
          (SELECT account, id FROM transfer WHERE status = 'ACTIVE' AND expires_at <= $1 ORDER BY expires_at LIMIT $2)";

pub(super) const DELETE_OVER: &str = "
    DELETE FROM transfer
    WHERE (account, id) IN
          (SELECT account, id FROM transfer WHERE over_at IS NOT NULL AND over_at <= $1 ORDER BY over_at LIMIT $2)";

/// What another process has taken over is that one's to record.
pub(super) const RECORD: &str = "
    INSERT INTO call_record (call, account, transfer, trunk, outcome, arrived_at, ended_at, record, node, epoch)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
    WHERE NOT EXISTS (SELECT 1 FROM live_call WHERE call = $1 AND NOT (node = $9 AND epoch = $10))
    ON CONFLICT (call) DO UPDATE SET outcome = $5, ended_at = $7, record = $8
    WHERE call_record.node = $9 AND call_record.epoch = $10";

pub(super) const CALLS: &str = "
    SELECT call, account, transfer, trunk, outcome, arrived_at, ended_at, record
    FROM call_record WHERE TRUE";

pub(super) const DELETE_RECORDS: &str = "
    DELETE FROM call_record
    WHERE call IN (SELECT call FROM call_record WHERE ended_at <= $1 ORDER BY ended_at LIMIT $2)";

pub(super) const FACT: &str = "SELECT value FROM store_fact WHERE name = $1";

pub(super) const SET_FACT: &str =
    "INSERT INTO store_fact (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

pub(super) const CLOCK: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT";

/// The number is ours: any that nobody else takes in this database.
pub(super) const TAKE_TURNS: &str = "SELECT pg_advisory_xact_lock(7208951344)";

pub(super) const JOIN: &str = "
    INSERT INTO node (name, epoch, lease_until) VALUES ($1, 1, $2)
    ON CONFLICT (name) DO UPDATE SET epoch = node.epoch + 1, lease_until = $2
    RETURNING epoch";

pub(super) const RENEW: &str = "UPDATE node SET lease_until = $3 WHERE name = $1 AND epoch = $2";

/// With its next epoch a node that is only slow claims, checkpoints and records nothing more.
pub(super) const BURY: &str = "
    UPDATE node SET epoch = epoch + 1, lease_until = NULL
    WHERE name <> $1 AND lease_until IS NOT NULL AND lease_until <= $2";

pub(super) const CHECKPOINT: &str = "
    INSERT INTO live_call (call, account, transfer, node, epoch, stored_at, state)
    SELECT $1, $2, $3, $4, $5, $6, $7
    WHERE EXISTS (SELECT 1 FROM transfer WHERE account = $2 AND id = $3 AND fence = $8)
          AND ($5 = 0 OR EXISTS (SELECT 1 FROM node WHERE name = $4 AND epoch = $5))
          AND NOT EXISTS (SELECT 1 FROM call_record WHERE call = $1)
    ON CONFLICT (call) DO UPDATE SET stored_at = $6, state = $7
    WHERE live_call.node = $4 AND live_call.epoch = $5";

pub(super) const FORGET: &str =
    "DELETE FROM live_call WHERE call = $1 AND node = $2 AND epoch = $3";

pub(super) const ORPHANS: &str = "
    UPDATE live_call SET node = $1, epoch = $2
    WHERE call IN
          (SELECT call FROM live_call
           WHERE NOT EXISTS (SELECT 1 FROM node WHERE name = live_call.node AND node.epoch = live_call.epoch)
           LIMIT $3)
    RETURNING call, account, transfer, stored_at, state";

/// The fence rises, so that what the dead process left behind can write no more.
macro_rules! adopt {
    ($fence:literal) => {
        concat!(
            "UPDATE transfer SET owner = $3, owner_epoch = $4, fence = ",
            $fence,
            " WHERE account = $1 AND id = $2 AND status IN ('ONGOING', 'COMPLETED') RETURNING ",
            columns!()
        )
    };
}

pub(super) const ADOPT: &str = adopt!("fence + 1");
pub(super) const ADOPT_POSTGRES: &str = adopt!("nextval('transfer_fence')");

/// Claimed by a process that is dead, and no call to be found: over, without output.
macro_rules! lost {
    ($fence:literal) => {
        concat!(
            "UPDATE transfer
            SET status = 'COMPLETED', completed_at = COALESCE(completed_at, $1),
                over_at = COALESCE(over_at, $1), closed = 1, fence = ",
            $fence,
            " WHERE status = 'ONGOING' AND (account, id) IN
                  (SELECT account, id FROM transfer
                   WHERE status = 'ONGOING'
                         AND NOT EXISTS (SELECT 1 FROM node WHERE name = owner AND epoch = owner_epoch)
                   LIMIT $2)
            RETURNING ",
            columns!()
        )
    };
}

pub(super) const LOST: &str = lost!("fence + 1");
pub(super) const LOST_POSTGRES: &str = lost!("nextval('transfer_fence')");

pub(super) const IS_ALIVE: &str = "SELECT epoch FROM node WHERE name = $1 AND epoch = $2";
