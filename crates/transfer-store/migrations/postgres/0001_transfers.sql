-- Times are milliseconds since 1970-01-01T00:00:00Z. Texts compare by their bytes, as in SQLite.
CREATE TABLE transfer (
    account          TEXT     COLLATE "C" NOT NULL,
    id               TEXT     COLLATE "C" NOT NULL,
    conversation     TEXT     COLLATE "C" NOT NULL,
    sip              TEXT,              -- JSON, without the credentials
    credentials      TEXT,              -- sealed with the store's key
    input            TEXT,              -- JSON
    status           TEXT     COLLATE "C" NOT NULL, -- ACTIVE, ONGOING, COMPLETED, EXPIRED
    created_at       BIGINT   NOT NULL,
    expires_at       BIGINT   NOT NULL, -- ACTIVE until then
    call_received_at BIGINT,
    completed_at     BIGINT,
    over_at          BIGINT,            -- completed or expired at; the keep time counts from here
    output           TEXT,              -- JSON
    owner            TEXT     COLLATE "C", -- node of the latest claim
    owner_epoch      BIGINT   NOT NULL DEFAULT 0,
    fence            BIGINT   NOT NULL, -- rises with every claim
    closed           SMALLINT NOT NULL, -- 1: the call is over, no further output is taken
    transcript       TEXT,              -- what was said in the call, as its agent told it
    PRIMARY KEY (account, id)
);

CREATE INDEX transfer_waiting ON transfer (expires_at) WHERE status = 'ACTIVE';
CREATE INDEX transfer_ongoing ON transfer (owner) WHERE status = 'ONGOING';
CREATE INDEX transfer_over ON transfer (over_at) WHERE over_at IS NOT NULL;
CREATE INDEX transfer_created ON transfer (created_at, account, id);
CREATE INDEX transfer_conversation ON transfer (account, conversation, created_at);

-- Fences come from here: no two claims have the same, also when one of them is undone.
CREATE SEQUENCE transfer_fence AS BIGINT;

-- Facts about the store itself, such as a text sealed with its key, to know the key by.
CREATE TABLE store_fact (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- What became of each call that came for a transfer; several where a claim was undone.
CREATE TABLE call_record (
    call       TEXT   COLLATE "C" NOT NULL PRIMARY KEY, -- the gateway's id of the call
    account    TEXT   COLLATE "C" NOT NULL,
    transfer   TEXT   COLLATE "C" NOT NULL,
    trunk      TEXT   COLLATE "C" NOT NULL,
    outcome    TEXT   COLLATE "C" NOT NULL, -- its short name
    arrived_at BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL,             -- the keep time counts from here
    record     TEXT   NOT NULL,             -- JSON
    node       TEXT   COLLATE "C" NOT NULL DEFAULT '',
    epoch      BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX call_record_transfer ON call_record (account, transfer, arrived_at);
CREATE INDEX call_record_ended ON call_record (ended_at, call);

-- The processes that serve; a process that starts takes its name's place with the next epoch.
CREATE TABLE node (
    name        TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    epoch       BIGINT NOT NULL,
    lease_until BIGINT                          -- dead from then on, unless it renews (the clock is the database's); NULL: gone
);

-- What another process needs to end a call well when the one that has it dies.
CREATE TABLE live_call (
    call      TEXT   COLLATE "C" NOT NULL PRIMARY KEY, -- the gateway's id of the call
    account   TEXT   COLLATE "C" NOT NULL,
    transfer  TEXT   COLLATE "C" NOT NULL,
    node      TEXT   COLLATE "C" NOT NULL,
    epoch     BIGINT NOT NULL,
    stored_at BIGINT NOT NULL,
    state     TEXT   NOT NULL                          -- JSON
);

CREATE INDEX live_call_node ON live_call (node, epoch);
