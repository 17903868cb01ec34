-- The queue and its history. One text for SQLite and PostgreSQL: no type that only one knows.
CREATE TABLE fax (
    id TEXT PRIMARY KEY,
    direction TEXT NOT NULL,
    state TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,
    number TEXT NOT NULL,
    line TEXT NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    message_id TEXT NOT NULL,
    name TEXT NOT NULL,
    pages BIGINT NOT NULL,
    digest TEXT NOT NULL,
    skipped TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    calls BIGINT NOT NULL,
    result_pages BIGINT NOT NULL,
    duration BIGINT NOT NULL,
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    trouble TEXT NOT NULL,
    held TEXT NOT NULL,
    told BIGINT NOT NULL, -- 1 = those concerned heard that it is held
    created_at DOUBLE PRECISION NOT NULL,
    since DOUBLE PRECISION NOT NULL,
    due_at DOUBLE PRECISION NOT NULL,
    version BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    misses BIGINT NOT NULL,
    leased BIGINT NOT NULL DEFAULT 0 -- 1 while a worker has it: a nudge must not wake a second one
);

CREATE INDEX fax_due ON fax (state, due_at) WHERE held = '';

CREATE INDEX fax_held ON fax (due_at) WHERE held <> '' AND told = 0;

CREATE INDEX fax_created ON fax (created_at);

CREATE INDEX fax_provider ON fax (provider_id) WHERE provider_id <> '';

-- What happened to a fax, in order: its audit. Written in the transaction of the move itself.
CREATE TABLE history (
    fax TEXT NOT NULL REFERENCES fax (id),
    version BIGINT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    state TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (fax, version)
);

-- One row for every upload that was begun, committed before its first byte leaves.
-- outcome: '' not known yet | 'accepted' | 'refused' (nothing was sent) | 'absent' (proven) | 'unknown' (a person was asked)
CREATE TABLE attempt (
    id TEXT PRIMARY KEY,
    fax TEXT NOT NULL REFERENCES fax (id),
    reference TEXT NOT NULL,
    to_number TEXT NOT NULL,
    from_number TEXT NOT NULL,
    pages BIGINT NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION NOT NULL,
    looks BIGINT NOT NULL, -- complete list passes without it
    shown_at DOUBLE PRECISION NOT NULL, -- when a list showed it while it was still at work
    outcome TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    note TEXT NOT NULL
);

CREATE INDEX attempt_fax ON attempt (fax);

CREATE INDEX attempt_provider ON attempt (provider_id) WHERE provider_id <> '';

-- At most one unknown submission between two numbers: what makes a later look unambiguous.
CREATE UNIQUE INDEX attempt_open ON attempt (from_number, to_number) WHERE outcome = '';
