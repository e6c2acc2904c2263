//! The statements, in the SQL that SQLite and PostgreSQL share.

pub(super) const REGISTER: &str = "
    INSERT INTO transfer (account, id, conversation, sip, credentials, input, status, created_at, expires_at, fence, closed)
    VALUES ($1, $2, $3, $4, $5, $6, 'ACTIVE', $7, $8, 0, 0)
    ON CONFLICT (account, id) DO NOTHING";

pub(super) const FETCH: &str = "
    SELECT account, id, conversation, sip, credentials, input, status, created_at, expires_at,
           call_received_at, completed_at, output, fence
    FROM transfer WHERE account = $1 AND id = $2";

/// One statement decides and writes: no two claims can both find the transfer ACTIVE.
pub(super) const CLAIM: &str = "
    UPDATE transfer
    SET status = 'ONGOING', call_received_at = $3, owner = $4, fence = fence + 1
    WHERE account = $1 AND id = $2 AND status = 'ACTIVE' AND expires_at > $3
    RETURNING account, id, conversation, sip, credentials, input, status, created_at, expires_at,
              call_received_at, completed_at, output, fence";

pub(super) const STATUS: &str = "SELECT status FROM transfer WHERE account = $1 AND id = $2";

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
    SELECT closed FROM transfer WHERE account = $1 AND id = $2 AND fence = $3 AND status = 'COMPLETED'";

/// The fence rises, so that what the dead process left behind can write no more.
pub(super) const RECOVER: &str = "
    UPDATE transfer
    SET status = 'COMPLETED', completed_at = COALESCE(completed_at, $2), over_at = COALESCE(over_at, $2),
        closed = 1, fence = fence + 1
    WHERE (account, id) IN
          (SELECT account, id FROM transfer WHERE status = 'ONGOING' AND owner = $1 LIMIT $3)
    RETURNING account, id, conversation, sip, credentials, input, status, created_at, expires_at,
              call_received_at, completed_at, output, fence";

pub(super) const EXPIRE: &str = "
    UPDATE transfer SET status = 'EXPIRED', over_at = expires_at
    WHERE (account, id) IN
          (SELECT account, id FROM transfer WHERE status = 'ACTIVE' AND expires_at <= $1 ORDER BY expires_at LIMIT $2)";

pub(super) const DELETE_OVER: &str = "
    DELETE FROM transfer
    WHERE (account, id) IN
          (SELECT account, id FROM transfer WHERE over_at IS NOT NULL AND over_at <= $1 ORDER BY over_at LIMIT $2)";

pub(super) const FACT: &str = "SELECT value FROM store_fact WHERE name = $1";

pub(super) const SET_FACT: &str =
    "INSERT INTO store_fact (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
