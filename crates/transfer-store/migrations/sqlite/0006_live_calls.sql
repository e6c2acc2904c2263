-- The processes that serve; a process that starts takes its name's place with the next epoch.
CREATE TABLE node (
    name        TEXT   NOT NULL PRIMARY KEY,
    epoch       BIGINT NOT NULL,
    lease_until BIGINT          -- dead from then on, unless it renews; NULL: gone
);

-- What another process needs to end a call well when the one that has it dies.
CREATE TABLE live_call (
    call      TEXT   NOT NULL PRIMARY KEY, -- the gateway's id of the call
    account   TEXT   NOT NULL,
    transfer  TEXT   NOT NULL,
    node      TEXT   NOT NULL,
    epoch     BIGINT NOT NULL,
    stored_at BIGINT NOT NULL,
    state     TEXT   NOT NULL              -- JSON
);

CREATE INDEX live_call_node ON live_call (node, epoch);

ALTER TABLE transfer ADD COLUMN owner_epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE call_record ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE call_record ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
