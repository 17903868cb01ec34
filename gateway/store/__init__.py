"""The store: every fax, where it is, when to look at it next, and what happened to it.

Each public method is one transaction; when it returns, its change is durable. `worker` claims
and saves, doors add and announce, nobody else writes.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, overload

from gateway.committer import Next
from gateway.model import Attempt, Ceiling, Fax, State
from gateway.store import queries, quota, told, units
from gateway.store.doors import DoorBook
from gateway.store.mails import Mails
from gateway.store.messages import SMALL, Messages
from gateway.store.quota import Full, Wanted
from gateway.store.sqlite import Row, Sqlite, StoreError
from gateway.store.units import DEATHS, RESEND_WINDOW, Added, Change, fax_of

DATABASE = "gateway.db"  # below DATA_DIR

__all__ = [
    "DATABASE", "DEATHS", "HELD", "RESEND_WINDOW", "SMALL", "Added", "Change", "Event", "Full",
    "Store", "StoreError", "Wanted", "Where", "fax_of",
]  # fmt: skip

HELD: Literal["held"] = "held"
Where = State | Literal["held"]
"""Where work waits: the faxes of a state, or the held ones of all states."""

FORGOTTEN = 2 * 86400.0  # s after its end until a lease is nobody's; only a restart is sooner
PATIENCE = 1.0  # s between tries to keep what cannot be asked for again


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
        self.broken = self._db.broken  # the process must end
        self.doors = DoorBook(self._db)
        self.messages = Messages(self._db)
        self.mails = Mails(self._db)
        self._bells: dict[Where, asyncio.Event] = {state: asyncio.Event() for state in State}
        self._bells[HELD] = asyncio.Event()

    async def open(self) -> None:
        """Open, migrate, and free what a killed process had leased: this process is alone."""
        await self._db.open()
        await self._db.write(units.release_all(time.time()))

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
        added = await self._db.write(units.add(faxes, now))
        self.added(faxes)
        return added

    def adding(self, faxes: Sequence[Fax], message: bytes, *, now: float) -> Next:
        """The same for the spool's thread, when the files are durable. `added` must follow.

        `message`: the mail they come from, where it is no file.
        """
        return self._db.writing(units.add(faxes, now, message))

    def added(self, faxes: Sequence[Fax]) -> None:
        """There may be work for the rooms."""
        self._ring(fax.state for fax in faxes)

    async def nudge(self, fax: str) -> None:
        """Look at it now, unless somebody is just doing so."""
        states = await self._db.write(units.rows(queries.NUDGE, id=fax))
        self._ring(State(row["state"]) for row in states)

    # worker

    async def claim(self, where: Where, *, now: float, lease: float, most: int = 1) -> list[Fax]:
        """Take up to `most` due faxes of a state (or held ones) for `lease` seconds.

        Of those that ended: the first, and what is told in the same mail.
        """
        facts = {"state": where, "now": now, "lease": now + lease, "most": most,
                 "forgotten": now - FORGOTTEN}  # fmt: skip
        claim = queries.CLAIM_HELD if where == HELD else queries.CLAIM
        unit = told.claim(facts) if where in told.ENDS else units.rows(claim, **facts)
        rows = await self._db.write(unit)
        return [fax_of(row) for row in rows]

    async def told(self, sender: str, now: float) -> int:
        """How many mails about its faxes went to a sender in the hour before."""
        return await self._db.read(told.mails(sender, now))

    async def next_due(self, where: Where) -> float | None:
        """When the next fax of a state (or a held one) comes due; None = there is none."""
        next_due = queries.NEXT_HELD if where == HELD else queries.NEXT_DUE
        rows = await self._db.read(units.rows(next_due, state=where))
        due: float | None = rows[0]["due_at"]
        return due

    async def save(self, changes: Sequence[Change], *, now: float) -> set[str]:
        """Keep what rooms made of their faxes; returns the ids whose lease still held."""
        saved = await self._db.write(units.save(changes, now))
        self._ring(HELD if change.fax.held else change.fax.state for change in changes)
        return saved

    # submission proof

    @overload
    async def begin_attempt(self, fax: Fax, *, now: float) -> Attempt | None: ...
    @overload
    async def begin_attempt(
        self, fax: Fax, *, now: float, ceilings: Sequence[Ceiling]
    ) -> Attempt | Full | None: ...
    async def begin_attempt(
        self, fax: Fax, *, now: float, ceilings: Sequence[Ceiling] = ()
    ) -> Attempt | Full | None:
        """Write down an upload before it begins: so its pages are reserved (P15).

        Full = a ceiling would be exceeded. None = another upload between the same two numbers is
        still unknown: wait for it.
        """
        attempt = Attempt(
            id=secrets.token_hex(16), fax=fax.id, reference=fax.reference, to_number=fax.number,
            from_number=fax.line, pages=fax.pages, started_at=now, ended_at=0.0, looks=0,
            shown_at=0.0,
            outcome="", provider_id="", note="", identity=fax.identity,
        )  # fmt: skip
        return await self._db.write(units.begin(attempt, ceilings))

    async def room_for(
        self, fax: Wanted, ceilings: Sequence[Ceiling], *, now: float
    ) -> Full | None:
        """The ceiling that one more fax would exceed, with all that waits to be sent.

        For the door's answer; the reservation itself is `begin_attempt`.
        """
        return await self._db.read(quota.full(fax, ceilings, now, waiting=True))

    async def end_attempt(
        self, attempt: Attempt, outcome: str, *, now: float, provider_id: str = "", note: str = ""
    ) -> None:
        """Keep what is proven; while the database takes nothing, try again: it is known only here.

        An accepted upload needs none of this: it ends when its fax is saved as submitted.
        """
        while True:
            try:
                await self._db.write(
                    units.rows(queries.ATTEMPT_END, id=attempt.id, outcome=outcome,
                          provider_id=provider_id, note=note, now=now)
                )  # fmt: skip
            except StoreError:
                await asyncio.sleep(PATIENCE)
                continue
            return

    async def over(self, attempt: Attempt, *, now: float) -> Attempt:
        """The upload has ended by now, however it went; its first end counts."""
        if attempt.ended_at:
            return attempt
        await self._db.write(units.rows(queries.ATTEMPT_OVER, id=attempt.id, now=now))
        return replace(attempt, ended_at=now)

    async def looked(self, attempt: Attempt) -> None:
        """One more complete list pass without this upload in it."""
        await self._db.write(units.rows(queries.ATTEMPT_LOOKED, id=attempt.id))

    async def attempts(self, fax: str) -> list[Attempt]:
        return [
            Attempt(**row) for row in await self._db.read(units.rows(queries.ATTEMPTS, fax=fax))
        ]

    async def shown(self, provider_id: str, *, now: float) -> None:
        """A list showed this upload while it was still at work: such lists can be trusted."""
        await self._db.write(units.rows(queries.SHOWN, provider_id=provider_id, now=now))

    async def ever_shown(self, since: float) -> bool:
        """Whether any upload begun since then was ever so shown."""
        rows = await self._db.read(units.rows(queries.EVER_SHOWN, since=since))
        return bool(rows[0]["shown_at"])

    async def bound(self, ids: Iterable[str]) -> set[str]:
        """Those of the provider's ids that uploads of ours already own."""
        return await self._db.read(units.those(queries.BOUND, "provider_id", ids))

    async def doubtful(self, attempt: Attempt) -> list[Attempt]:
        """Other uploads between the same two numbers that were never found."""
        pair = {"to_number": attempt.to_number, "from_number": attempt.from_number}
        rows = await self._db.read(units.rows(queries.DOUBTFUL, id=attempt.id, **pair))
        return [Attempt(**row) for row in rows]

    # looking

    async def get(self, fax: str) -> Fax | None:
        rows = await self._db.read(units.rows(queries.GET, id=fax))
        return fax_of(rows[0]) if rows else None

    async def latest(self, most: int) -> list[Fax]:
        """The newest faxes, newest first."""
        return [fax_of(row) for row in await self._db.read(units.rows(queries.LIST, most=most))]

    async def history(self, fax: str) -> list[Event]:
        rows = await self._db.read(units.rows(queries.HISTORY, fax=fax))
        return [Event(row["at"], State(row["state"]), row["note"]) for row in rows]

    async def clamp(self, latest: float) -> None:
        """Make due at once what would come due later than anything may: the clock was moved."""
        for clamp in (queries.CLAMP, queries.CLAMP_HELD):
            await self._db.write(units.rows(clamp, latest=latest))

    async def counts(self) -> list[Row]:
        """Open faxes: state, held (0 or 1), faxes, oldest (when it entered the state)."""
        return await self._db.read(units.rows(queries.COUNTS))

    async def known(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that are faxes."""
        return await self._db.read(units.those(queries.KNOWN, "id", ids))

    def _ring(self, places: Iterable[Where]) -> None:
        for where in set(places):
            self._bells[where].set()
