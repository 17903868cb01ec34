"""Group commit: every caller gets its own outcome, whatever happens to the others."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from gateway.committer import Committer, Next

pytestmark = pytest.mark.anyio


class Disk:
    """Commits numbers; the gate keeps a batch open until its test says so."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def commit(self, batch: list[int]) -> list[int | BaseException]:
        self.gate.wait(10)
        self.batches.append(batch)
        if 666 in batch:
            raise OSError("all of it")
        return [ValueError(n) if n < 0 else n * 10 for n in batch]


async def test_what_waits_shares_a_commit_in_order() -> None:
    disk = Disk()
    committer: Committer[int, int] = Committer("test", disk.commit, most=4)
    disk.gate.clear()
    first = asyncio.create_task(committer(0))
    await asyncio.sleep(0)
    others = [asyncio.create_task(committer(n)) for n in range(1, 11)]
    await asyncio.sleep(0)
    disk.gate.set()
    assert await asyncio.gather(first, *others) == [n * 10 for n in range(11)]
    await committer.close()
    assert [n for batch in disk.batches for n in batch] == list(range(11))
    assert max(map(len, disk.batches)) <= 4
    assert len(disk.batches) < 11


async def test_an_error_is_that_callers_alone() -> None:
    disk = Disk()
    committer: Committer[int, int] = Committer("test", disk.commit)
    outcomes = await asyncio.gather(*map(committer, (1, -2, 3)), return_exceptions=True)
    assert [outcomes[0], outcomes[2]] == [10, 30]
    assert isinstance(outcomes[1], ValueError)
    await committer.close()


async def test_a_batch_that_fails_fails_for_all_of_it_and_no_other() -> None:
    disk = Disk()
    committer: Committer[int, int] = Committer("test", disk.commit)
    disk.gate.clear()
    tasks = [asyncio.create_task(committer(n)) for n in (1, 666, 3)]
    await asyncio.sleep(0)
    disk.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    shared = next(batch for batch in disk.batches if 666 in batch)
    for number, outcome in zip((1, 666, 3), outcomes, strict=True):
        assert isinstance(outcome, OSError) is (number in shared)
    assert await committer(4) == 40
    await committer.close()


async def test_a_caller_that_goes_is_committed_all_the_same() -> None:
    disk = Disk()
    committer: Committer[int, int] = Committer("test", disk.commit)
    disk.gate.clear()
    gone, stays = asyncio.create_task(committer(1)), asyncio.create_task(committer(2))
    await asyncio.sleep(0)
    gone.cancel()
    disk.gate.set()
    assert await stays == 20
    await committer.close()
    assert sorted(n for batch in disk.batches for n in batch) == [1, 2]


async def test_closing_finishes_what_was_handed_in_and_takes_no_more() -> None:
    disk = Disk()
    committer: Committer[int, int] = Committer("test", disk.commit, most=2)
    disk.gate.clear()
    tasks = [asyncio.create_task(committer(n)) for n in range(5)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(committer.close())
    await asyncio.sleep(0)
    disk.gate.set()
    await closing
    assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40]
    with pytest.raises(RuntimeError, match="test is closed"):
        await committer(6)


async def test_the_rest_is_committed_in_the_same_thread_all_at_once() -> None:
    """Files first, then the rows of all of them in one transaction."""
    batches: list[tuple[str, list[int]]] = []

    def rows(batch: list[int]) -> list[object]:
        batches.append((threading.current_thread().name, batch))
        return [ValueError(one) if one == 20 else one + 1 for one in batch]

    store: Committer[int, int] = Committer("store", rows)

    def files(batch: list[int]) -> list[object]:
        return [Next(store, one * 10) if one else OSError("no room") for one in batch]

    spool: Committer[int, int] = Committer("spool", files)
    one, two, none, three = await asyncio.gather(
        *(spool(one) for one in (1, 2, 0, 3)), return_exceptions=True
    )
    assert (one, three) == (11, 31)
    assert isinstance(two, ValueError)
    assert isinstance(none, OSError)
    assert {name for name, _ in batches} == {"spool"}
    assert sorted(one for _, batch in batches for one in batch) == [10, 20, 30]
    await spool.close()
    await store.close()


async def test_a_failed_rest_fails_its_works_only() -> None:
    def rows(_batch: list[int]) -> list[object]:
        raise RuntimeError("locked")

    store: Committer[int, int] = Committer("store", rows)
    spool: Committer[int, Any] = Committer(
        "spool", lambda batch: [Next(store, one) if one else None for one in batch]
    )
    outcomes = await asyncio.gather(spool(0), spool(1), return_exceptions=True)
    assert outcomes[0] is None
    assert isinstance(outcomes[1], RuntimeError)
    await spool.close()
    await store.close()


async def test_two_threads_never_commit_at_once() -> None:
    inside, most = 0, 0

    def rows(batch: list[int]) -> list[object]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.001)
        inside -= 1
        return list(batch)

    store: Committer[int, int] = Committer("store", rows)
    spool: Committer[int, int] = Committer(
        "spool", lambda batch: [Next(store, one) for one in batch], most=1
    )
    await asyncio.gather(*(store(one) for one in range(20)), *(spool(one) for one in range(20)))
    assert most == 1
    await spool.close()
    await store.close()


async def test_closing_waits_for_another_thread_and_then_refuses_it() -> None:
    """At the end the spool may still be at it: nobody writes to a database that is closed."""
    began, gate = threading.Event(), threading.Event()

    def rows(batch: list[int]) -> list[int]:
        began.set()
        gate.wait(10)
        return batch

    store: Committer[int, int] = Committer("store", rows)
    spool: Committer[int, int] = Committer("spool", lambda batch: [Next(store, n) for n in batch])
    at_work = asyncio.create_task(spool(1))
    assert await asyncio.to_thread(began.wait, 10)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    await asyncio.to_thread(store._thread.join, 10)
    assert not closing.done()
    gate.set()
    await closing
    assert await at_work == 1
    with pytest.raises(RuntimeError, match="store is closed"):
        await spool(2)
    await spool.close()
