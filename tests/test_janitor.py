"""Housekeeping: nothing that anybody may still need is ever swept or purged."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.janitor import (
    ORPHAN_AGE,
    REJECTS,
    SESSIONS,
    Retention,
    forget,
    keep_house,
    purge,
    sweep,
)
from gateway.model import Fax, State
from gateway.spool import Kind, Spool
from gateway.store import Store, StoreError, units
from gateway.store.doors import Reject, Session
from tests.make import inbound, outbound

pytestmark = pytest.mark.anyio

DAY = 86400.0
NOW = 1_770_000_000.0
KEEP = Retention(sent=7 * DAY, failed=30 * DAY, received=20 * DAY)


async def stored(spool: Spool, name: str, age: float) -> Path:
    part = spool.part()
    part.write_bytes(b"x")
    await spool.keep(part, [(name, Kind.DOCUMENT)])
    path = spool.path(name, Kind.DOCUMENT)
    os.utime(path, (NOW - age, NOW - age))
    return path


async def test_orphans(store: Store, spool: Spool) -> None:
    fax = outbound()
    await store.add([fax], now=NOW)
    mine = await stored(spool, fax.id, 99 * DAY)
    young = await stored(spool, "young", ORPHAN_AGE - 1)
    old = await stored(spool, "old", ORPHAN_AGE + 1)
    assert await sweep(store, spool, NOW) == [old.name]
    assert [mine.exists(), young.exists(), old.exists()] == [True, True, False]
    aside = spool.root / "orphans" / old.name
    assert aside.exists(), "set aside, not lost"
    os.utime(aside, (NOW - 8 * DAY, NOW - 8 * DAY))
    await sweep(store, spool, NOW)
    assert not aside.exists()


async def test_old_files_are_set_aside_for_a_week_too(store: Store, spool: Spool) -> None:
    """The database was restored from a backup, or lost: every file is without a fax then."""
    old = await stored(spool, "old", 20 * DAY)
    aside = spool.root / "orphans" / old.name
    for days, there in ((0, True), (6.9, True), (7.1, False)):
        await sweep(store, spool, NOW + days * DAY)
        assert aside.exists() is there


@pytest.mark.parametrize(
    ("fax", "age", "goes"),
    [
        (outbound(State.CLOSED), 8, True),
        (outbound(State.CLOSED), 6, False),
        (outbound(State.CLOSED, cause="busy"), 8, False),
        (outbound(State.CLOSED, cause="busy"), 31, True),
        (inbound(State.CLOSED), 19, False),
        (inbound(State.CLOSED), 21, True),
        *((outbound(state), 9999, False) for state in State if state is not State.CLOSED),
        (outbound(State.PREPARED, held="a person must look"), 9999, False),
    ],
)
async def test_purge(store: Store, spool: Spool, fax: Fax, age: float, goes: bool) -> None:
    aged = Fax(**{n: getattr(fax, n) for n in Fax.__slots__} | {"since": NOW - age * DAY})
    await store.add([aged], now=NOW - age * DAY)
    path = await stored(spool, aged.id, age * DAY)
    assert await purge(store, spool, KEEP, NOW) == goes
    assert path.exists() is not goes
    assert await store.get(aged.id), "the history stays"


@pytest.mark.parametrize(
    ("facts", "days", "goes"),
    [
        ({}, 8, True),
        ({}, 6, False),
        ({"cause": "busy"}, 29, False),
        ({"cause": "busy"}, 31, True),
        ({"state": State.FAILED, "cause": "busy"}, 9999, False),
    ],
)
async def test_small_mails_go_as_files_do(
    store: Store, spool: Spool, facts: dict[str, Any], days: float, goes: bool
) -> None:
    """Also those of a thousand faxes, and those beside them stay."""
    since = NOW - days * DAY
    common: dict[str, Any] = {"state": State.CLOSED, "since": since}
    old = [outbound(**common | facts) for _ in range(1001)]
    new = outbound(State.CLOSED, since=NOW)
    for fax in (*old, new):
        await store._db.write(units.add([fax], since, b"mail"))
    await purge(store, spool, KEEP, NOW)
    left = [fax.id for fax in (*old, new) if await store.messages.get(fax.id)]
    assert left == [new.id] if goes else left == [fax.id for fax in (*old, new)]


async def test_files_that_go_meanwhile_are_somebodys_business(
    store: Store, spool: Spool, tmp_path: Path
) -> None:
    """Duplicates are dropped at any moment; that must not end the daemon."""
    for name in ("a", "b", "c"):
        await stored(spool, name, ORPHAN_AGE + 1)

    class Going(Spool):
        def kept(self) -> list[Path]:
            found = super().kept()
            found[0].unlink()
            return found

    going = Going(spool.root)
    assert await sweep(store, going, NOW) == ["b.document.pdf", "c.document.pdf"]
    for name in ("d", "e"):
        await stored(spool, name, 99 * DAY)
    assert await purge(store, going, KEEP, NOW) == 0


async def test_a_full_disk_does_not_end_the_housekeeping(store: Store, spool: Spool) -> None:
    stop = asyncio.Event()
    tried = asyncio.Event()

    class Full(Store):
        async def clamp(self, latest: float) -> None:
            tried.set()
            raise StoreError("database or disk is full")

    house = asyncio.create_task(keep_house(Full(spool.root / "x.db"), spool, KEEP, stop))
    async with asyncio.timeout(5):
        await tried.wait()
        stop.set()
        await house


async def test_what_the_doors_refused_is_forgotten(store: Store) -> None:
    for at in (NOW - REJECTS - 1, NOW - REJECTS + 1):
        await store.doors.refused([Reject(at, "smtp", "192.0.2.1", "", "", "550 no", "", 1)])
    for at in (NOW - SESSIONS - 1, NOW - SESSIONS + 1):
        await store.doors.heard([Session(at, "smtp", "192.0.2.1", "no mail", "S: 220")])
    assert await forget(store, NOW) == 1
    for table, kept in (("reject", NOW - REJECTS + 1), ("transcript", NOW - SESSIONS + 1)):
        rows = await store._db.read(units.rows(f"SELECT at FROM {table}"))  # noqa: S608
        assert rows == [{"at": kept}]


async def test_housekeeping_forgets_too(store: Store, spool: Spool) -> None:
    await store.doors.refused([Reject(1.0, "smtp", "192.0.2.1", "", "", "550 no", "", 1)])
    stop = asyncio.Event()
    house = asyncio.create_task(keep_house(store, spool, KEEP, stop))
    await asyncio.sleep(0)  # it has begun
    stop.set()
    await house
    assert not await store._db.read(units.rows("SELECT at FROM reject"))
