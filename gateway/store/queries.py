"""The SQL: one text for every engine, named parameters, rows come back by RETURNING."""

from __future__ import annotations

from dataclasses import fields

from gateway.model import Fax

COLUMNS = tuple(field.name for field in fields(Fax))
_SET = ", ".join(
    f"{name} = :{name}"
    for name in COLUMNS
    if name not in ("id", "direction", "key", "created_at", "since", "version")
)

ADD = f"""INSERT INTO fax ({", ".join(COLUMNS)})
    VALUES ({", ".join(":" + name for name in COLUMNS)})
    ON CONFLICT (key) DO NOTHING RETURNING id"""  # noqa: S608 - names of our own columns

# A re-send after the window is a new fax: the old one gives up its key, not its row.
FREE_KEY = """UPDATE fax SET key = key || '#' || id
    WHERE key = :key AND direction = 'outbound' AND created_at < :before"""

BY_KEY = "SELECT id, state, held FROM fax WHERE key = :key"

# Claiming is rescheduling: a dead worker's fax comes due again by itself. The outer conditions
# repeat the inner ones on purpose: under PostgreSQL two claims may choose the same row.
CLAIM = """UPDATE fax SET version = version + 1, attempts = attempts + 1, leased = 1,
        due_at = :lease
    WHERE state = :state AND held = '' AND due_at <= :now AND id IN (
        SELECT id FROM fax WHERE state = :state AND held = '' AND due_at <= :now
        ORDER BY due_at LIMIT :most)
    RETURNING *"""

# Held faxes whose people have not heard of it yet: the same claim, another place to look.
CLAIM_HELD = """UPDATE fax SET version = version + 1, attempts = attempts + 1, leased = 1,
        due_at = :lease
    WHERE held <> '' AND told = 0 AND due_at <= :now AND id IN (
        SELECT id FROM fax WHERE held <> '' AND told = 0 AND due_at <= :now
        ORDER BY due_at LIMIT :most)
    RETURNING *"""

NEXT_HELD = "SELECT MIN(due_at) AS due_at FROM fax WHERE held <> '' AND told = 0"
NEXT_DUE = "SELECT MIN(due_at) AS due_at FROM fax WHERE state = :state AND held = ''"

SAVE = f"""UPDATE fax SET {_SET}, leased = 0,
        since = CASE WHEN state = :state THEN since ELSE :now END
    WHERE id = :id AND version = :version RETURNING id"""  # noqa: S608 - names of our own columns

NOTE = """INSERT INTO history (fax, version, at, state, note)
    VALUES (:fax, :version, :at, :state, :note)"""

# A lease that a person's command or a webhook must not break into: only what nobody works on.
# A clock that was put back must not make faxes wait for the hour that it was before (P12).
CLAMP = "UPDATE fax SET due_at = 0 WHERE held = '' AND leased = 0 AND due_at > :latest"

NUDGE = "UPDATE fax SET due_at = 0 WHERE id = :id AND leased = 0 AND held = '' RETURNING state"

RELEASE_ALL = "UPDATE fax SET leased = 0, due_at = 0 WHERE leased = 1"

GET = "SELECT * FROM fax WHERE id = :id"
LIST = "SELECT * FROM fax ORDER BY created_at DESC, id LIMIT :most"
HISTORY = "SELECT at, state, note FROM history WHERE fax = :fax ORDER BY version"
COUNTS = """SELECT state, held <> '' AS held, COUNT(*) AS faxes, MIN(since) AS oldest FROM fax
    WHERE state <> 'closed' GROUP BY state, held <> ''"""
IDS = "SELECT id FROM fax"

ATTEMPT_BEGIN = """INSERT INTO attempt (id, fax, reference, to_number, from_number, pages,
        started_at, ended_at, looks, shown_at, outcome, provider_id, note)
    VALUES (:id, :fax, :reference, :to_number, :from_number, :pages,
        :started_at, 0, 0, 0, '', '', '')
    ON CONFLICT DO NOTHING RETURNING id"""
# A held fax waits for a person; its unknown upload must not keep others from the same number.
ATTEMPT_FREE = """UPDATE attempt SET outcome = 'unknown', note = 'its fax is held', ended_at = :now
    WHERE outcome = '' AND from_number = :from_number AND to_number = :to_number
    AND fax IN (SELECT id FROM fax WHERE held <> '')"""
ATTEMPT_END = """UPDATE attempt SET outcome = :outcome, provider_id = :provider_id, note = :note,
        ended_at = :ended_at WHERE id = :id"""
ATTEMPT_LOOKED = "UPDATE attempt SET looks = looks + 1 WHERE id = :id"
SHOWN = "UPDATE attempt SET shown_at = :now WHERE provider_id = :provider_id"
EVER_SHOWN = "SELECT MAX(shown_at) AS shown_at FROM attempt WHERE started_at >= :since"
ATTEMPTS = "SELECT * FROM attempt WHERE fax = :fax ORDER BY started_at"
BOUND = "SELECT provider_id FROM attempt WHERE provider_id <> '' AND started_at >= :since"
