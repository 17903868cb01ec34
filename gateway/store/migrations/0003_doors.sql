-- Who a fax belongs to ("login:bob", "device:copier-2", "address:ann@example.com"): its quotas count under this.
ALTER TABLE fax ADD COLUMN identity TEXT NOT NULL DEFAULT '';

-- What its sender asked for: options, DSN and MDN requests, as JSON; '' = nothing.
ALTER TABLE fax ADD COLUMN wishes TEXT NOT NULL DEFAULT '';

ALTER TABLE attempt ADD COLUMN identity TEXT NOT NULL DEFAULT '';

-- An upload that may have cost money is the reservation of its pages: spending is summed over these.
CREATE INDEX attempt_time ON attempt (started_at) WHERE outcome NOT IN ('refused', 'absent');
