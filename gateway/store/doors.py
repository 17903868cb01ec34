"""What the doors refused, and their last sessions: for support, never for the queue."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gateway.store.sqlite import Sqlite, Unit

DEVICE = "device"  # the copiers' listener: their sessions are the last to be dropped
SESSIONS_OF_ONE = 5  # that are kept of a peer
SESSIONS = 1_000  # that are kept in all

ADD_REJECT = """INSERT INTO reject (id, at, door, peer, sender, recipient, reply, because, times)
    VALUES (:id, :at, :door, :peer, :sender, :recipient, :reply, :because, :times)
    ON CONFLICT (id) DO UPDATE SET times = reject.times + :times"""
OLD_REJECTS = "DELETE FROM reject WHERE at < :before RETURNING times"
SURPLUS_REJECTS = """DELETE FROM reject
    WHERE at <= (SELECT at FROM reject ORDER BY at DESC LIMIT 1 OFFSET :most) RETURNING times"""

ADD_SESSION = """INSERT INTO transcript (id, at, door, peer, outcome, dialogue)
    VALUES (:id, :at, :door, :peer, :outcome, :dialogue) ON CONFLICT (id) DO NOTHING"""
OLD_SESSIONS = "DELETE FROM transcript WHERE at < :before"
SURPLUS_OF_ONE = """DELETE FROM transcript WHERE peer = :peer AND id NOT IN (
    SELECT id FROM transcript WHERE peer = :peer ORDER BY at DESC, id LIMIT :most)"""
SURPLUS_SESSIONS = """DELETE FROM transcript WHERE id NOT IN (
    SELECT id FROM transcript
    ORDER BY CASE door WHEN :device THEN 0 ELSE 1 END, at DESC, id LIMIT :most)"""

_WHICH = """WHERE at >= :since AND (:peer = '' OR peer = :peer)
    AND (:because = '' OR because LIKE :because ESCAPE '\\')
    AND (:text = '' OR LOWER(sender || ' ' || recipient || ' ' || peer || ' ' || door || ' '
            || because || ' ' || reply) LIKE :text ESCAPE '\\'
        OR (:masked <> '' AND (sender LIKE :masked ESCAPE '\\'
            OR recipient LIKE :masked ESCAPE '\\')))"""
REJECTS = f"""SELECT at, door, peer, sender, recipient, reply, because, times FROM reject
    {_WHICH} ORDER BY at DESC, id LIMIT :most"""  # noqa: S608 - our own text
COUNTED = f"""SELECT SUM(times) AS times, because, reply, peer, MIN(at) AS first, MAX(at) AS last
    FROM reject {_WHICH} GROUP BY because, reply, peer
    ORDER BY times DESC, last DESC, peer LIMIT :most"""  # noqa: S608 - our own text
TOTAL = f"SELECT COUNT(*) AS rows, COALESCE(SUM(times), 0) AS times FROM reject {_WHICH}"  # noqa: S608 - our own text
REJECTS_OF = """SELECT reply, because FROM reject WHERE peer = :peer AND at >= :since
    ORDER BY at DESC, id LIMIT :most"""
SESSIONS_OF = """SELECT at, door, peer, outcome, dialogue FROM transcript
    WHERE peer = :peer ORDER BY at DESC, id LIMIT :most"""
PEERS = """SELECT peer, door, MAX(at) AS at, COUNT(*) AS sessions FROM transcript
    GROUP BY peer, door ORDER BY at DESC LIMIT :most"""


@dataclass(frozen=True, slots=True)
class Reject:
    """Identical refusals of one minute. Whatever names a person or a number is masked."""

    at: float
    door: str
    peer: str
    sender: str
    recipient: str
    reply: str
    because: str
    times: int


@dataclass(frozen=True, slots=True)
class Session:
    """One session at a door, as `doors.transcripts.Transcript.text` writes it."""

    at: float
    door: str
    peer: str
    outcome: str
    dialogue: str


class DoorBook:
    """Every method is one transaction. Raises StoreError."""

    def __init__(self, db: Sqlite) -> None:
        self._db = db

    async def refused(self, rejects: Sequence[Reject]) -> None:
        """Keep them; who was refused the same before in this minute only counts up."""
        await self._db.write(_refused(rejects))

    async def heard(self, sessions: Sequence[Session]) -> None:
        """Keep them, and of each peer and in all only the newest."""
        await self._db.write(_heard(sessions))

    async def forget(self, *, rejects: float, sessions: float, most: int) -> int:
        """Drop what is older than those moments, and all but the newest `most` rejects."""
        return await self._db.write(_forget(rejects, sessions, most))


def _refused(rejects: Sequence[Reject]) -> Unit[None]:
    for reject in rejects:
        facts = asdict(reject)
        yield ADD_REJECT, facts | {"id": _id(int(reject.at // 60), facts, but=("at", "times"))}


def _heard(sessions: Sequence[Session]) -> Unit[None]:
    for session in sessions:
        facts = asdict(session)
        yield ADD_SESSION, facts | {"id": _id(session.at, facts)}
    for peer in {session.peer for session in sessions}:
        yield SURPLUS_OF_ONE, {"peer": peer, "most": SESSIONS_OF_ONE}
    yield SURPLUS_SESSIONS, {"device": DEVICE, "most": SESSIONS}


def _forget(rejects: float, sessions: float, most: int) -> Unit[int]:
    gone = yield OLD_REJECTS, {"before": rejects}
    gone += yield SURPLUS_REJECTS, {"most": most}
    yield OLD_SESSIONS, {"before": sessions}
    return len(gone)


def _id(when: float, facts: dict[str, Any], but: Sequence[str] = ()) -> str:
    """The same for the same facts: who writes them twice leaves one row."""
    same = [str(value) for name, value in facts.items() if name not in but]
    return hashlib.blake2b("\0".join((str(when), *same)).encode(), digest_size=16).hexdigest()
