-- What was refused at the doors. Addresses and numbers are masked before they come here.
-- Identical refusals of one minute are one row; its id is made of what they have in common.
CREATE TABLE reject (
    id TEXT PRIMARY KEY,
    at DOUBLE PRECISION NOT NULL, -- of the first of them
    door TEXT NOT NULL,
    peer TEXT NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    reply TEXT NOT NULL,
    because TEXT NOT NULL,
    times BIGINT NOT NULL
);

CREATE INDEX reject_at ON reject (at);

-- The last sessions of copiers, and of everybody who was refused something: for `device doctor`.
CREATE TABLE transcript (
    id TEXT PRIMARY KEY,
    at DOUBLE PRECISION NOT NULL, -- when the session ended
    door TEXT NOT NULL,
    peer TEXT NOT NULL,
    outcome TEXT NOT NULL,
    dialogue TEXT NOT NULL
);

CREATE INDEX transcript_peer ON transcript (peer, at);

CREATE INDEX transcript_at ON transcript (at);
