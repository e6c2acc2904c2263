-- Written for SQLite and PostgreSQL alike. Times are milliseconds since 1970-01-01T00:00:00Z.
CREATE TABLE transfer (
    account          TEXT     NOT NULL,
    id               TEXT     NOT NULL,
    conversation     TEXT     NOT NULL,
    sip              TEXT,              -- JSON, without the credentials
    credentials      TEXT,              -- sealed with the store's key
    input            TEXT,              -- JSON
    status           TEXT     NOT NULL, -- ACTIVE, ONGOING, COMPLETED, EXPIRED
    created_at       BIGINT   NOT NULL,
    expires_at       BIGINT   NOT NULL, -- ACTIVE until then
    call_received_at BIGINT,
    completed_at     BIGINT,
    over_at          BIGINT,            -- completed or expired at; the keep time counts from here
    output           TEXT,              -- JSON
    owner            TEXT,              -- node of the latest claim
    fence            BIGINT   NOT NULL, -- rises with every claim
    closed           SMALLINT NOT NULL, -- 1: the call is over, no further output is taken
    PRIMARY KEY (account, id)
);

CREATE INDEX transfer_waiting ON transfer (expires_at) WHERE status = 'ACTIVE';
CREATE INDEX transfer_ongoing ON transfer (owner) WHERE status = 'ONGOING';
CREATE INDEX transfer_over ON transfer (over_at) WHERE over_at IS NOT NULL;

-- Facts about the store itself, such as a text sealed with its key, to know the key by.
CREATE TABLE store_fact (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
