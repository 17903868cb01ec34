"""What a sender was told of in an hour, and which results wait for the same mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.model import Fax, State
from gateway.store import Change, Store
from tests.conftest import Clock
from tests.make import outbound

pytestmark = pytest.mark.anyio

BOB = "bob@example.com"
AT = 1_770_000_600
FACTS = {"told": AT, "due_at": float(AT)}


async def closed(store: Store, now: float, faxes: Sequence[Fax], told: int = 1) -> None:
    """All in one transaction, as when one mail told of them."""
    await store.add(faxes, now=now)
    taken = {fax.id: fax for fax in await all_of(store)}
    ended = [replace(taken[fax.id].closed(), told=told) for fax in faxes]
    await store.save([Change(fax, "") for fax in ended], now=now)


async def all_of(store: Store) -> list[Fax]:
    """Every fax that ended, claimed."""
    claimed: list[Fax] = []
    while more := await store.claim(State.DELIVERED, now=1e12, lease=9.0):
        claimed += more
    return claimed


async def test_mails_of_the_hour_are_counted_not_faxes(store: Store, clock: Clock) -> None:
    now = clock()
    await closed(store, now - 3601, [outbound(State.DELIVERED)])  # too long ago
    await closed(store, now - 3000, [outbound(State.DELIVERED) for _ in range(9)])  # one mail
    await closed(store, now - 2000, [outbound(State.DELIVERED)])
    await closed(store, now - 1000, [outbound(State.DELIVERED)], told=0)  # nobody wanted to hear
    await closed(store, now - 900, [outbound(State.DELIVERED, sender=BOB)])
    await closed(store, now, [outbound(State.DELIVERED)])
    await closed(store, now + 1, [outbound(State.DELIVERED)])  # a clock that was put back
    assert await store.told("ann@example.com", now) == 3
    assert await store.told(BOB, now) == 1
    assert await store.told("eve@example.com", now) == 0


async def test_the_count_needs_no_pass_over_years_of_faxes(store: Store, tmp_path: Path) -> None:
    from gateway.store import sqlite, told  # noqa: PLC0415 - what nobody else asks for

    unit = told.mails(BOB, 1.0)
    statement, facts = next(unit)
    with sqlite.open_read_only(tmp_path / "gateway.db") as reader:
        plan = reader.execute(f"EXPLAIN QUERY PLAN {statement}", facts).fetchall()
    assert "fax_told (sender=? AND since>? AND since<?)" in str(plan)


async def test_those_of_one_mail_are_claimed_together(store: Store) -> None:
    mine = [outbound(State.DELIVERED, **FACTS), outbound(State.FAILED, **FACTS)]
    late = outbound(State.DELIVERED, told=AT, due_at=AT + 60.0)  # tried once, and waits
    others = [
        outbound(State.DELIVERED, told=AT, due_at=AT + 1.0, sender=BOB),
        outbound(State.DELIVERED, told=AT + 600, due_at=AT + 600.0),
        outbound(State.SUBMITTED, **FACTS),
        outbound(State.DELIVERED, **FACTS, held="stuck"),
    ]
    await store.add([*mine, late, *others], now=1.0)
    assert await store.claim(State.DELIVERED, now=AT - 1.0, lease=9.0, most=500) == []
    first = await store.claim(State.DELIVERED, now=AT + 1.0, lease=9.0, most=500)
    assert {fax.id for fax in first} == {fax.id for fax in (*mine, late)}
    assert {(fax.version, fax.attempts) for fax in first} == {(1, 1)}
    assert await store.claim(State.FAILED, now=AT + 1.0, lease=9.0, most=500) == []
    (second,) = await store.claim(State.DELIVERED, now=AT + 1.0, lease=9.0, most=500)
    assert second.sender == BOB


async def test_what_is_told_alone_is_claimed_alone(store: Store) -> None:
    for facts in ({"told": 0}, {"told": 1}):
        await store.add([outbound(State.FAILED, **facts) for _ in range(2)], now=1.0)
    for _ in range(4):
        assert len(await store.claim(State.FAILED, now=1.0, lease=9.0, most=500)) == 1


async def test_no_more_than_one_transaction_takes(store: Store) -> None:
    await store.add([outbound(State.FAILED, **FACTS) for _ in range(7)], now=1.0)
    taken = [await store.claim(State.FAILED, now=AT, lease=9.0, most=3) for _ in range(4)]
    assert [len(faxes) for faxes in taken] == [3, 3, 1, 0]


async def test_after_a_crash_the_same_ones_are_claimed_together(tmp_path: Path) -> None:
    """All that were told once and not closed, before those that were not."""
    store = Store(tmp_path / "gateway.db")
    await store.open()
    await store.add([outbound(State.FAILED, **FACTS) for _ in range(7)], now=1.0)
    before = await store.claim(State.FAILED, now=AT, lease=9.0, most=3)
    await store.close()
    await store.open()
    after = await store.claim(State.FAILED, now=AT, lease=9.0, most=3)
    assert {fax.id for fax in after} == {fax.id for fax in before}
    await store.close()
