"""The error policy is a table, and the loop around it loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.errors import Cause, PermanentError, TransientError, UncertainError
from gateway.model import Fax, State
from gateway.store import HELD, Store, StoreError
from gateway.wishes import Wishes
from gateway.worker import BUG_TRIES, SLICE, Room, after_error, one, staff, step
from tests.conftest import Clock
from tests.make import outbound

pytestmark = pytest.mark.anyio

NOW = 1_770_000_000.0
LIFE = 3600.0
YOUNG, OLD = 10.0, LIFE + 1


def room(**facts: object) -> Room:
    async def work(fax: Fax) -> Fax:
        raise AssertionError

    common = {"name": "test", "where": State.PREPARED, "work": one(work), "life": LIFE}
    return Room(**(common | facts))  # type: ignore[arg-type]


BUG = KeyError("x")
NO = PermanentError("No.", Cause.MEDIA)


@pytest.mark.parametrize(
    ("error", "age", "attempts", "give_up", "outcome"),
    [
        (TransientError("t"), YOUNG, 1, "fail", "retry"),
        (TransientError("t"), YOUNG, 500, "fail", "retry"),
        (TransientError("t"), OLD, 99, "fail", "fail"),
        (TransientError("t"), OLD, 99, "hold", "hold"),
        (TransientError("t"), OLD, 2, "fail", "retry"),  # no fax ages in a jump of the clock
        (StoreError("disk full"), YOUNG, 500, "fail", "retry"),
        (StoreError("disk full"), OLD, 99, "fail", "hold"),
        (OSError(28, "No space left on device"), YOUNG, 500, "fail", "retry"),
        (OSError(24, "Too many open files"), OLD, 99, "hold", "hold"),
        (FileNotFoundError(2, "No such file"), YOUNG, BUG_TRIES, "fail", "hold"),
        (UncertainError("u"), YOUNG, 500, "fail", "retry"),
        (UncertainError("u"), OLD, 99, "fail", "hold"),
        (UncertainError("u"), OLD, 99, "hold", "hold"),
        (UncertainError("u"), OLD, 2, "hold", "retry"),
        (TimeoutError(), YOUNG, 1, "fail", "retry"),
        (TimeoutError(), OLD, 99, "fail", "hold"),
        (NO, YOUNG, 1, "fail", "fail"),
        (NO, YOUNG, 1, "hold", "hold"),
        (BUG, YOUNG, 1, "fail", "retry"),
        (BUG, OLD, 1, "fail", "retry"),
        (BUG, YOUNG, BUG_TRIES, "fail", "hold"),
        (BUG, OLD, BUG_TRIES, "hold", "hold"),
    ],
)
def test_policy(error: Exception, age: float, attempts: int, give_up: str, outcome: str) -> None:
    fax = outbound(State.PREPARED, since=NOW - age, attempts=attempts)
    after = after_error(error, fax, room(give_up=give_up), NOW)
    if outcome == "fail":
        assert (after.state, after.held) == (State.FAILED, "")
        assert after.reason
        assert after.cause in (Cause.MEDIA, Cause.EXPIRED)
    elif outcome == "hold":
        assert after.state is State.PREPARED
        assert after.held
    else:
        assert (after.state, after.held) == (State.PREPARED, "")
        assert after.due_at > NOW
        assert after.attempts == attempts


@pytest.mark.parametrize(("late", "state"), [(YOUNG, State.PREPARED), (OLD, State.FAILED)])
def test_what_is_wanted_later_is_not_late_before(late: float, state: State) -> None:
    wishes = Wishes(at=NOW - late).text()
    fax = outbound(State.PREPARED, since=NOW - 7 * 86400, attempts=99, wishes=wishes)
    assert after_error(TransientError("t"), fax, room(give_up="fail"), NOW).state is state


def test_wait_that_was_asked_for_is_kept() -> None:
    fax = outbound(State.PREPARED, since=NOW, attempts=1)
    assert after_error(TransientError("429", after=300), fax, room(), NOW).due_at >= NOW + 300


async def run_once(
    store: Store, clock: Clock, work: Callable[..., object], **facts: object
) -> bool:
    return await step(room(work=work, **facts), store, clock)


async def test_moves_and_writes_history(store: Store, clock: Clock) -> None:
    fax = outbound(State.PREPARED)
    await store.add([fax], now=clock())

    async def work(fax: Fax) -> Fax:
        return fax.submitted("p1")

    assert await run_once(store, clock, one(work))
    moved = await store.get(fax.id)
    assert moved
    assert (moved.state, moved.provider_id, moved.attempts) == (State.SUBMITTED, "p1", 0)
    assert [event.state for event in await store.history(fax.id)] == ["prepared", "submitted"]
    assert not await run_once(store, clock, one(work))


async def test_a_dead_workers_fax_comes_back(store: Store, clock: Clock) -> None:
    await store.add([outbound(State.PREPARED)], now=clock())
    first = await store.claim(State.PREPARED, now=clock(), lease=60)
    assert first
    assert not await store.claim(State.PREPARED, now=clock(), lease=60)
    clock.advance(86400)  # a jump of the clock hands nobody the work of another (P12)
    assert not await store.claim(State.PREPARED, now=clock(), lease=60)
    assert await store.next_due(State.PREPARED) is None
    clock.advance(2 * 86400)
    (again,) = await store.claim(State.PREPARED, now=clock(), lease=60)
    assert again.attempts == 2


async def test_overtime_does_not_overwrite(store: Store, clock: Clock) -> None:
    """A worker that lost its lease cannot save over the one that has it now."""
    await store.add([outbound(State.PREPARED)], now=clock())

    others = []

    async def slow(fax: Fax) -> Fax:
        clock.advance(3 * 86400)
        others.extend(await store.claim(State.PREPARED, now=clock(), lease=60))
        return fax.submitted("mine")

    await run_once(store, clock, one(slow))
    (other,) = others
    after = await store.get(other.id)
    assert after
    assert (after.state, after.provider_id, after.version) == (State.PREPARED, "", other.version)


async def test_a_batch_fails_alone(store: Store, clock: Clock) -> None:
    faxes = [outbound(State.SUBMITTED) for _ in range(5)]
    await store.add(faxes, now=clock())

    async def work(faxes: list[Fax]) -> list[Fax]:
        raise TransientError("list down")

    await run_once(store, clock, work, where=State.SUBMITTED, most=100)
    for fax in faxes:
        after = await store.get(fax.id)
        assert after
        assert after.trouble == "list down"


async def test_held_faxes_are_found_once(store: Store, clock: Clock) -> None:
    fax = outbound(State.PREPARED)
    await store.add([fax], now=clock())

    async def bug(fax: Fax) -> Fax:
        raise PermanentError("no")

    await run_once(store, clock, one(bug))
    (held,) = await store.claim(HELD, now=clock(), lease=60)
    assert held.held == "no"
    assert not await store.claim(State.PREPARED, now=clock() + 1e6, lease=60)


async def test_staff_rests_until_the_bell_and_ends_at_stop(store: Store) -> None:
    stop = asyncio.Event()
    done = asyncio.Event()

    async def work(fax: Fax) -> Fax:
        done.set()
        return fax.submitted("p")

    rooms = [asyncio.create_task(staff(room(work=one(work), at_once=2), store, stop)) for _ in "12"]
    await store.add([outbound(State.PREPARED)], now=1.0)
    async with asyncio.timeout(5):
        await done.wait()
        stop.set()
        store.ring()
        await asyncio.gather(*rooms)


async def test_a_batch_waits_until_one_is_due_and_takes_the_near_ones(
    store: Store, clock: Clock
) -> None:
    """One list pass for faxes that come due about the same time."""
    dues = (2.0, 4.0, 60.0)
    await store.add([outbound(State.SUBMITTED, due_at=clock() + due) for due in dues], now=clock())
    seen: list[int] = []

    async def work(faxes: list[Fax]) -> list[Fax]:
        seen.append(len(faxes))
        return [fax.later(clock() + 100) for fax in faxes]

    for _ in range(2):
        await run_once(store, clock, work, where=State.SUBMITTED, most=100, ahead=5.0)
        clock.advance(3)
    assert seen == [2]


async def test_a_cancellation_that_nobody_asked_for_ends_no_worker(
    store: Store, clock: Clock
) -> None:
    """A library's stray CancelledError would end the task in silence, and its room with it."""
    fax = outbound(State.PREPARED)
    await store.add([fax], now=clock())

    async def stray(fax: Fax) -> Fax:
        raise asyncio.CancelledError

    assert await run_once(store, clock, one(stray))
    after = await store.get(fax.id)
    assert after
    assert "a library gave up" in after.trouble


async def test_a_cancellation_that_was_asked_for_does(store: Store, clock: Clock) -> None:
    await store.add([outbound(State.PREPARED)], now=clock())
    begun = asyncio.Event()

    async def long(fax: Fax) -> Fax:
        begun.set()
        await asyncio.Event().wait()
        return fax

    task = asyncio.create_task(run_once(store, clock, one(long)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_sick_store_in_a_room_is_no_bug(store: Store, clock: Clock) -> None:
    """A full disk at the wrong moment holds nobody's fax for a person."""
    fax = outbound(State.PREPARED)
    await store.add([fax], now=clock())

    async def work(fax: Fax) -> Fax:
        raise StoreError("database or disk is full")

    for _ in range(BUG_TRIES + 2):
        assert await run_once(store, clock, one(work))
        clock.advance(3600)
    after = await store.get(fax.id)
    assert after
    assert (after.held, after.trouble) == ("", "database or disk is full")


async def test_a_large_batch_is_saved_in_slices(store: Store, clock: Clock) -> None:
    faxes = [outbound(State.SUBMITTED) for _ in range(2 * SLICE + 1)]
    await store.add(faxes, now=clock())

    async def work(faxes: list[Fax]) -> list[Fax]:
        return [fax.later(clock() + 100) for fax in faxes]

    assert await run_once(store, clock, work, where=State.SUBMITTED, most=10_000)
    assert await store.next_due(State.SUBMITTED) == clock() + 100
