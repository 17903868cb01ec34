-- How often the gateway died while it worked on this step: what kills it again and again is held.
ALTER TABLE fax ADD COLUMN deaths BIGINT NOT NULL DEFAULT 0;

CREATE INDEX fax_kept ON fax (state) WHERE held <> '';

-- Uploads between two numbers that nobody ever saw: a later look must not take their fax for another.
CREATE INDEX attempt_doubt ON attempt (to_number, from_number) WHERE outcome IN ('unknown', 'absent');
