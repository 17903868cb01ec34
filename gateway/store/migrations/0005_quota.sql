-- What was spent is summed before each upload, per sender, number and gateway, from the index alone.
DROP INDEX attempt_time;

CREATE INDEX attempt_time ON attempt (started_at, pages, outcome) WHERE outcome NOT IN ('refused', 'absent');

CREATE INDEX attempt_identity ON attempt (identity, started_at, pages, outcome) WHERE outcome NOT IN ('refused', 'absent');

CREATE INDEX attempt_number ON attempt (to_number, started_at, pages, outcome) WHERE outcome NOT IN ('refused', 'absent');

-- And what the faxes that wait will spend, for the answer at the door.
CREATE INDEX fax_waiting ON fax (identity) WHERE held = '' AND state IN ('accepted', 'prepared');
