"""The store: every fax, where it is, when to look at it next, and what happened to it.

Each public method is one transaction; when it returns, its change is durable. `worker` claims
and saves, doors add and announce, nobody else writes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from gateway.model import Attempt, Direction, Fax, State
from gateway.store import queries
from gateway.store.sqlite import Row, Sqlite, StoreError, Unit

DATABASE = "gateway.db"  # below DATA_DIR

__all__ = ["DATABASE", "HELD", "Added", "Change", "Event", "Store", "StoreError", "Where"]

HELD: Literal["held"] = "held"
Where = State | Literal["held"]
"""Where work waits: the faxes of a state, or the held ones of all states."""

RESEND_WINDOW = 72 * 3600.0  # s: an identical mail within it is the mail client's re-send (P4)
_NAMES = tuple(field.name for field in fields(Fax))


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one fax that a door handed in."""

    fax: str  # its id, or the id of the fax that it repeats
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A fax after a worker's step. A note, even an empty one, becomes a history row."""

    fax: Fax
    note: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a fax's time line."""

    at: float
    state: State
    note: str


class Store:
    """All faxes. `bells` ring after a commit that may have made work for a room: a hint only."""

    def __init__(self, path: Path) -> None:
        self._db = Sqlite(path)
        self._bells: dict[Where, asyncio.Event] = {state: asyncio.Event() for state in State}
        self._bells[HELD] = asyncio.Event()

    async def open(self) -> None:
        """Open, migrate, and free what a killed process had leased: this process is alone."""
        await self._db.open()
        await self._db.write(_release_all())

    async def close(self) -> None:
        await self._db.close()

    def bell(self, where: Where) -> asyncio.Event:
        return self._bells[where]

    def ring(self) -> None:
        """Wake every worker: there may be nothing to do but to end."""
        for bell in self._bells.values():
            bell.set()

    # doors

    async def add(self, faxes: Sequence[Fax], *, now: float) -> list[Added]:
        """Take new faxes, all or none: the moment we become responsible.

        One whose key is known is not added: the answer names the fax it repeats.
        """
        added = await self._db.write(_add(faxes, now))
        self._ring(fax.state for fax in faxes)
        return added

    async def nudge(self, fax: str) -> None:
        """Look at it now, unless somebody is just doing so."""
        states = await self._db.write(_rows(queries.NUDGE, id=fax))
        self._ring(State(row["state"]) for row in states)

    # worker

    async def claim(self, where: Where, *, now: float, lease: float, most: int = 1) -> list[Fax]:
        """Take up to `most` due faxes of a state (or held ones) for `lease` seconds."""
        claim = queries.CLAIM_HELD if where == HELD else queries.CLAIM
        rows = await self._db.write(
            _rows(claim, state=where, now=now, lease=now + lease, most=most)
        )
        return [fax_of(row) for row in rows]

    async def next_due(self, where: Where) -> float | None:
        """When the next fax of a state (or a held one) comes due; None = there is none."""
        next_due = queries.NEXT_HELD if where == HELD else queries.NEXT_DUE
        rows = await self._db.read(_rows(next_due, state=where))
        due: float | None = rows[0]["due_at"]
        return due

    async def save(self, changes: Sequence[Change], *, now: float) -> set[str]:
        """Keep what rooms made of their faxes; returns the ids whose lease still held."""
        saved = await self._db.write(_save(changes, now))
        self._ring(HELD if change.fax.held else change.fax.state for change in changes)
        return saved

    # submission proof

    async def begin_attempt(self, fax: Fax, *, now: float) -> Attempt | None:
        """Write down an upload before it begins.

        None = another upload between the same two numbers is still unknown: wait for it.
        """
        attempt = Attempt(
            id=secrets.token_hex(16), fax=fax.id, reference=fax.reference, to_number=fax.number,
            from_number=fax.line, pages=fax.pages, started_at=now, ended_at=0.0, looks=0,
            shown_at=0.0,
            outcome="", provider_id="", note="",
        )  # fmt: skip
        return attempt if await self._db.write(_begin(attempt, now)) else None

    async def end_attempt(
        self, attempt: Attempt, outcome: str, *, now: float, provider_id: str = "", note: str = ""
    ) -> None:
        await self._db.write(
            _rows(queries.ATTEMPT_END, id=attempt.id, outcome=outcome, provider_id=provider_id,
                  note=note, ended_at=now)
        )  # fmt: skip

    async def looked(self, attempt: Attempt) -> None:
        """One more complete list pass without this upload in it."""
        await self._db.write(_rows(queries.ATTEMPT_LOOKED, id=attempt.id))

    async def attempts(self, fax: str) -> list[Attempt]:
        return [Attempt(**row) for row in await self._db.read(_rows(queries.ATTEMPTS, fax=fax))]

    async def shown(self, provider_id: str, *, now: float) -> None:
        """A list showed this upload while it was still at work: such lists can be trusted."""
        await self._db.write(_rows(queries.SHOWN, provider_id=provider_id, now=now))

    async def ever_shown(self, since: float) -> bool:
        """Whether any upload begun since then was ever so shown."""
        rows = await self._db.read(_rows(queries.EVER_SHOWN, since=since))
        return bool(rows[0]["shown_at"])

    async def bound(self, since: float) -> set[str]:
        """Provider ids that uploads of ours already own."""
        rows = await self._db.read(_rows(queries.BOUND, since=since))
        return {row["provider_id"] for row in rows}

    # looking

    async def get(self, fax: str) -> Fax | None:
        rows = await self._db.read(_rows(queries.GET, id=fax))
        return fax_of(rows[0]) if rows else None

    async def latest(self, most: int) -> list[Fax]:
        """The newest faxes, newest first."""
        return [fax_of(row) for row in await self._db.read(_rows(queries.LIST, most=most))]

    async def history(self, fax: str) -> list[Event]:
        rows = await self._db.read(_rows(queries.HISTORY, fax=fax))
        return [Event(row["at"], State(row["state"]), row["note"]) for row in rows]

    async def clamp(self, latest: float) -> None:
        """Make due at once what would come due later than anything may: the clock was moved."""
        await self._db.write(_rows(queries.CLAMP, latest=latest))

    async def counts(self) -> list[Row]:
        """Open faxes: state, held (0 or 1), faxes, oldest (when it entered the state)."""
        return await self._db.read(_rows(queries.COUNTS))

    async def ids(self) -> set[str]:
        return {row["id"] for row in await self._db.read(_rows(queries.IDS))}

    def _ring(self, places: Iterable[Where]) -> None:
        for where in set(places):
            self._bells[where].set()


def fax_of(row: Row) -> Fax:
    known = {name: row[name] for name in _NAMES}
    return Fax(**known | {"direction": Direction(row["direction"]), "state": State(row["state"])})


def _add(faxes: Sequence[Fax], now: float) -> Unit[list[Added]]:
    added = []
    for fax in faxes:
        yield queries.FREE_KEY, {"key": fax.key, "before": now - RESEND_WINDOW}
        if (yield queries.ADD, asdict(fax)):
            yield queries.NOTE, _note(fax, now, fax.reason)
            added.append(Added(fax.id, duplicate=False))
        else:
            known = (yield queries.BY_KEY, {"key": fax.key})[0]
            added.append(Added(known["id"], duplicate=True))
    return added


def _save(changes: Sequence[Change], now: float) -> Unit[set[str]]:
    saved = set()
    for change in changes:
        if (yield queries.SAVE, asdict(change.fax) | {"now": now}):
            saved.add(change.fax.id)
            if change.note is not None:
                yield queries.NOTE, _note(change.fax, now, change.note)
    return saved


def _begin(attempt: Attempt, now: float) -> Unit[bool]:
    pair = {"from_number": attempt.from_number, "to_number": attempt.to_number}
    yield queries.ATTEMPT_FREE, pair | {"now": now}
    return bool((yield queries.ATTEMPT_BEGIN, asdict(attempt)))


def _note(fax: Fax, now: float, note: str) -> dict[str, Any]:
    return {"fax": fax.id, "version": fax.version, "at": now, "state": fax.state, "note": note}


def _rows(statement: str, **parameters: Any) -> Unit[list[Row]]:  # noqa: ANN401
    return (yield statement, parameters)


def _release_all() -> Unit[None]:
    yield queries.RELEASE_ALL, {}
