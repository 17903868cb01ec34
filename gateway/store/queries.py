"""The SQL: one text for every engine, named parameters, rows come back by RETURNING."""

from __future__ import annotations

from dataclasses import fields

from gateway.model import MOVES, Fax, State

COLUMNS = tuple(field.name for field in fields(Fax))
_SET = ", ".join(
    f"{name} = :{name}"
    for name in COLUMNS
    if name not in ("id", "direction", "key", "created_at", "since", "version")
)

ADD = f"""INSERT INTO fax ({", ".join(COLUMNS)})
    VALUES ({", ".join(":" + name for name in COLUMNS)})
    ON CONFLICT (key) DO NOTHING RETURNING id"""  # noqa: S608 - names of our own columns

# A re-send after the window is a new fax: the old one gives up its key, not its row. Not so for a
# mailbox: the same mail found again is the same mail, however long the gateway was down.
FREE_KEY = """UPDATE fax SET key = key || '#' || id
    WHERE key = :key AND key NOT LIKE 'imap:%' AND direction = 'outbound'
        AND created_at < :before"""

BY_KEY = "SELECT id, state, held FROM fax WHERE key = :key"

# Claiming is rescheduling. What somebody works on is due for others only long after its lease
# (`forgotten`): a clock that jumps by a day must not hand an upload to a second worker (P12). The
# outer conditions repeat the inner ones: under PostgreSQL two claims may choose the same row.
_DUE = "due_at <= :now AND (leased = 0 OR due_at <= :forgotten)"
_CLAIM = """UPDATE fax SET version = version + 1, attempts = attempts + 1, leased = 1,
        due_at = :lease
    WHERE {due} AND id IN (SELECT id FROM fax WHERE {due} ORDER BY due_at LIMIT :most)
    RETURNING *"""
CLAIM = _CLAIM.format(due=f"state = :state AND held = '' AND {_DUE}")

# Held faxes whose people have not heard of it yet: the same claim, another place to look.
CLAIM_HELD = _CLAIM.format(due=f"held <> '' AND told = 0 AND {_DUE}")

NEXT_HELD = "SELECT MIN(due_at) AS due_at FROM fax WHERE held <> '' AND told = 0 AND leased = 0"
NEXT_DUE = """SELECT MIN(due_at) AS due_at FROM fax
    WHERE state = :state AND held = '' AND leased = 0"""

SAVE = f"""UPDATE fax SET {_SET}, leased = 0, deaths = 0,
        since = CASE WHEN state = :state THEN since ELSE :now END
    WHERE id = :id AND version = :version RETURNING id"""  # noqa: S608 - names of our own columns

KEEP_MESSAGE = "INSERT INTO message (fax, content) VALUES (:fax, :content)"

NOTE = """INSERT INTO history (fax, version, at, state, note)
    VALUES (:fax, :version, :at, :state, :note)"""

# A clock that was put back must not make faxes wait for the hour that it was before (P12), nor
# those who are to hear of held ones. Not so one that its sender wants sent later, in seven days at
# most; nor what somebody works on.
CLAMP = """UPDATE fax SET due_at = 0
    WHERE held = '' AND leased = 0 AND due_at > :latest
        AND NOT (state = 'prepared' AND wishes LIKE '%"at":%'
            AND due_at <= :latest + 7 * 86400)"""
CLAMP_HELD = """UPDATE fax SET due_at = 0
    WHERE held <> '' AND told = 0 AND leased = 0 AND due_at > :latest"""

# A person's command or a webhook must not break into a lease: only what nobody works on.
NUDGE = "UPDATE fax SET due_at = 0 WHERE id = :id AND leased = 0 AND held = '' RETURNING state"

# At the start: nobody works on anything. A pass over all open faxes names no culprit.
RELEASE_ALL = """UPDATE fax SET leased = 0, due_at = 0,
        deaths = deaths + CASE WHEN state = 'submitted' THEN 0 ELSE 1 END
    WHERE leased = 1"""
POISON = """UPDATE fax SET held = :why, told = 0, attempts = 0, deaths = 0
    WHERE deaths >= :most AND held = '' RETURNING id, version, state"""

GET = "SELECT * FROM fax WHERE id = :id"
LIST = "SELECT * FROM fax ORDER BY created_at DESC, id LIMIT :most"
HISTORY = "SELECT at, state, note FROM history WHERE fax = :fax ORDER BY version"
# In two halves, each from its own index: closed faxes are kept for years.
_OPEN = ", ".join(f"'{state}'" for state in State if MOVES[state])
COUNTS = f"""SELECT state, 0 AS held, COUNT(*) AS faxes, MIN(since) AS oldest FROM fax
    WHERE held = '' AND state IN ({_OPEN}) GROUP BY state
    UNION ALL
    SELECT state, 1 AS held, COUNT(*) AS faxes, MIN(since) AS oldest FROM fax
    WHERE held <> '' AND state <> 'closed' GROUP BY state"""  # noqa: S608 - names of our own states
KNOWN = "SELECT id FROM fax WHERE id = :id"

ATTEMPT_BEGIN = """INSERT INTO attempt (id, fax, reference, to_number, from_number, pages,
        started_at, ended_at, looks, shown_at, outcome, provider_id, note, identity)
    VALUES (:id, :fax, :reference, :to_number, :from_number, :pages,
        :started_at, 0, 0, 0, '', '', '', :identity)
    ON CONFLICT DO NOTHING RETURNING id"""
ATTEMPT_END = """UPDATE attempt SET outcome = :outcome, provider_id = :provider_id, note = :note,
        ended_at = CASE WHEN ended_at = 0 THEN :now ELSE ended_at END WHERE id = :id"""
# What becomes of a fax decides over its upload, in the same transaction: between the two, a crash
# would make it look as if nothing had been sent.
ATTEMPT_ACCEPTED = """UPDATE attempt SET outcome = 'accepted', provider_id = :provider_id,
        ended_at = CASE WHEN ended_at = 0 THEN :now ELSE ended_at END
    WHERE fax = :fax AND outcome IN ('', 'unknown')"""
ATTEMPT_UNKNOWN = """UPDATE attempt SET outcome = 'unknown', note = :note,
        ended_at = CASE WHEN ended_at = 0 THEN :now ELSE ended_at END
    WHERE fax = :fax AND outcome = ''"""
ATTEMPT_OVER = "UPDATE attempt SET ended_at = :now WHERE id = :id AND ended_at = 0"
ATTEMPT_LOOKED = "UPDATE attempt SET looks = looks + 1 WHERE id = :id"
SHOWN = "UPDATE attempt SET shown_at = :now WHERE provider_id = :provider_id"
EVER_SHOWN = "SELECT MAX(shown_at) AS shown_at FROM attempt WHERE started_at >= :since"
ATTEMPTS = "SELECT * FROM attempt WHERE fax = :fax ORDER BY started_at"
BOUND = "SELECT provider_id FROM attempt WHERE provider_id = :provider_id"
DOUBTFUL = """SELECT * FROM attempt WHERE to_number = :to_number AND from_number = :from_number
    AND outcome IN ('unknown', 'absent') AND id <> :id"""
