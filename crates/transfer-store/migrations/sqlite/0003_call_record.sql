-- What became of each call that came for a transfer; several where a claim was undone.
CREATE TABLE call_record (
    call       TEXT   NOT NULL PRIMARY KEY, -- the gateway's id of the call
    account    TEXT   NOT NULL,
    transfer   TEXT   NOT NULL,
    trunk      TEXT   NOT NULL,
    outcome    TEXT   NOT NULL,             -- its short name
    arrived_at BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL,             -- the keep time counts from here
    record     TEXT   NOT NULL              -- JSON
);

CREATE INDEX call_record_transfer ON call_record (account, transfer, arrived_at);
CREATE INDEX call_record_ended ON call_record (ended_at, call);
CREATE INDEX transfer_created ON transfer (created_at, account, id);
CREATE INDEX transfer_conversation ON transfer (account, conversation, created_at);
