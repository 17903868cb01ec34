"""Housekeeping: nothing that anybody may still need is ever swept or purged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.janitor import ORPHAN_AGE, Retention, purge, sweep
from gateway.model import Fax, State
from gateway.spool import Kind, Spool
from gateway.store import Store
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
