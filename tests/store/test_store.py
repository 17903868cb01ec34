"""The store: durable, fenced, duplicates die in it, and one error never spoils a shared commit."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.model import State
from gateway.store import RESEND_WINDOW, Change, Store
from gateway.store.sqlite import SchemaError, Unit
from tests.make import inbound, outbound

pytestmark = pytest.mark.anyio

NOW = 1_770_000_000.0


async def test_what_was_added_survives_the_process(tmp_path: Path) -> None:
    store = Store(tmp_path / "gateway.db")
    await store.open()
    fax = outbound()
    await store.add([fax], now=NOW)
    await store.close()
    again = Store(tmp_path / "gateway.db")
    await again.open()
    assert await again.get(fax.id) == fax
    await again.close()


async def test_identical_mail_within_the_window_is_one_fax(store: Store) -> None:
    first, second, third = (outbound(key="same") for _ in range(3))
    (added,) = await store.add([first], now=NOW)
    assert (added.fax, added.duplicate) == (first.id, False)
    (added,) = await store.add([second], now=NOW + RESEND_WINDOW - 1)
    assert (added.fax, added.duplicate) == (first.id, True)
    (added,) = await store.add([third], now=NOW + RESEND_WINDOW + 1)
    assert (added.fax, added.duplicate) == (third.id, False)


async def test_a_received_fax_is_announced_once_for_ever(store: Store) -> None:
    first = inbound(provider_id="rx9")
    await store.add([first], now=NOW)
    (added,) = await store.add([inbound(provider_id="rx9")], now=NOW + 400 * 86400)
    assert added.duplicate
    assert added.fax == first.id


async def test_all_or_none(store: Store) -> None:
    twin = outbound()
    with pytest.raises(sqlite3.IntegrityError):  # the same id twice: our bug, nothing is kept
        await store.add([twin, replace(twin, key="other")], now=NOW)
    assert await store.get(twin.id) is None


async def test_one_bad_unit_does_not_spoil_the_shared_commit(store: Store) -> None:
    twin = outbound()
    await store.add([twin], now=NOW)
    good = [outbound() for _ in range(20)]
    outcomes = await asyncio.gather(
        *(store.add([fax], now=NOW) for fax in good[:10]),
        store.add([replace(twin, key="other")], now=NOW),
        *(store.add([fax], now=NOW) for fax in good[10:]),
        return_exceptions=True,
    )
    assert isinstance(outcomes.pop(10), sqlite3.IntegrityError)
    assert [added[0].duplicate for added in outcomes] == [False] * 20  # type: ignore[index]
    assert all([await store.get(fax.id) for fax in good])


async def test_nobody_gets_a_fax_twice(store: Store) -> None:
    faxes = [outbound() for _ in range(60)]
    await store.add(faxes, now=NOW)

    async def worker() -> list[str]:
        mine = []
        while claimed := await store.claim(State.ACCEPTED, now=NOW, lease=60, most=3):
            mine += [fax.id for fax in claimed]
        return mine

    shares = await asyncio.gather(*(worker() for _ in range(8)))
    taken = [fax for share in shares for fax in share]
    assert sorted(taken) == sorted(fax.id for fax in faxes)


async def test_restart_frees_what_the_dead_process_had(tmp_path: Path) -> None:
    store = Store(tmp_path / "gateway.db")
    await store.open()
    await store.add([outbound()], now=NOW)
    (before,) = await store.claim(State.ACCEPTED, now=NOW, lease=3600)
    await store.close()
    again = Store(tmp_path / "gateway.db")
    await again.open()
    (after,) = await again.claim(State.ACCEPTED, now=NOW + 1, lease=3600)
    assert (after.id, after.attempts) == (before.id, 2)
    await again.close()


async def test_a_nudge_wakes_only_what_rests(store: Store) -> None:
    fax = outbound()
    await store.add([fax], now=NOW)
    (claimed,) = await store.claim(State.ACCEPTED, now=NOW, lease=60)
    await store.nudge(fax.id)
    assert not await store.claim(State.ACCEPTED, now=NOW, lease=60)
    await store.save([Change(claimed.retried(NOW + 500, "wait"), None)], now=NOW)
    assert await store.next_due(State.ACCEPTED) == NOW + 500
    await store.nudge(fax.id)
    assert await store.claim(State.ACCEPTED, now=NOW, lease=60)


async def test_one_unknown_upload_between_two_numbers(store: Store) -> None:
    one, other, elsewhere = outbound(), outbound(), outbound(number="+14155550177")
    await store.add([one, other, elsewhere], now=NOW)
    attempt = await store.begin_attempt(one, now=NOW)
    assert attempt
    assert await store.begin_attempt(other, now=NOW) is None
    assert await store.begin_attempt(elsewhere, now=NOW)
    await store.end_attempt(attempt, "accepted", now=NOW, provider_id="p1")
    assert await store.begin_attempt(other, now=NOW)
    assert await store.bound(NOW - 1) == {"p1"}
    assert [a.outcome for a in await store.attempts(one.id)] == ["accepted"]


async def test_a_held_fax_does_not_block_its_number(store: Store) -> None:
    stuck, later = outbound(State.PREPARED), outbound(State.PREPARED)
    await store.add([stuck, later], now=NOW)
    assert await store.begin_attempt(stuck, now=NOW)
    assert await store.begin_attempt(later, now=NOW) is None
    claimed = await store.claim(State.PREPARED, now=NOW, lease=60, most=2)
    (mine,) = [fax for fax in claimed if fax.id == stuck.id]
    await store.save([Change(mine.hold("a bug"), "held")], now=NOW)
    assert await store.begin_attempt(later, now=NOW)
    assert [a.outcome for a in await store.attempts(stuck.id)] == ["unknown"]


async def test_a_clock_that_was_put_back(store: Store) -> None:
    waiting, soon = outbound(due_at=NOW + 86400), outbound(due_at=NOW + 60)
    await store.add([waiting, soon], now=NOW)
    await store.clamp(NOW + 7200)
    (due,) = await store.claim(State.ACCEPTED, now=NOW, lease=60, most=9)
    assert due.id == waiting.id


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    with pytest.raises(SchemaError, match="start the newer gateway"):
        await Store(path).open()


async def test_durable_settings(store: Store) -> None:
    """What an SMTP 250 stands on: WAL, FULL, foreign keys."""

    def pragmas() -> Unit[tuple[object, ...]]:
        answers = []
        for name in ("journal_mode", "synchronous", "foreign_keys"):
            rows = yield f"PRAGMA {name}", {}
            answers.append(rows[0][name])
        return tuple(answers)

    assert await store._db.read(pragmas()) == ("wal", 2, 1)
