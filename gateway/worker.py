"""The heart: one loop for all rooms. It alone claims, times, retries, fails, holds and saves.

A room is an async function from fax to fax; it raises an error of `gateway.errors` when it
cannot. What to do then is decided in `after_error`, on one screen, for every room.
"""

from __future__ import annotations

import asyncio
import errno
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog
from structlog.contextvars import bound_contextvars

from gateway.errors import Cause, PermanentError, TransientError, UncertainError
from gateway.model import Fax, State
from gateway.store import HELD, Change, Store, StoreError, Where
from gateway.wishes import wishes_of

log = structlog.get_logger()

_PASSING = TransientError | UncertainError | TimeoutError | StoreError
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})

Work = Callable[[list[Fax]], Awaitable[Sequence[Fax]]]
Clock = Callable[[], float]

BUG_TRIES = 3  # an unforeseen error is ours: twice more, then a person must look
LEAST = 1800.0  # s of real trying before a fax is too old, however late it is (P12)
SLICE = 500  # faxes in one transaction: mails wait behind it
STORE_PAUSE = 5.0  # s between tries of a store that takes nothing
LONGEST_REST = 30.0  # s; a lost ring or a moved clock costs no more than this
_LEASE_MARGIN = 30.0  # s beyond the room's limit: a lease must outlive its work


@dataclass(frozen=True, slots=True)
class Room:
    """One step. `work` takes up to `most` faxes of state `where` and returns them moved."""

    name: str
    where: Where
    work: Work
    most: int = 1
    ahead: float = 0.0  # s: once one is due, take also those that come due so soon
    at_once: int = 1
    limit: float = 120.0  # s for one call of work; a time-out of ours counts as uncertain
    life: float = 86400.0  # s in this state until we give up on errors that may pass
    give_up: Literal["fail", "hold"] = "hold"  # fail only where a sender can be told
    first_wait: float = 5.0  # s before the second try; doubled each time
    longest_wait: float = 600.0


def one(work: Callable[[Fax], Awaitable[Fax]]) -> Work:
    """A room that takes its faxes one by one."""

    async def each(faxes: list[Fax]) -> Sequence[Fax]:
        (fax,) = faxes
        return [await work(fax)]

    return each


async def staff(room: Room, store: Store, stop: asyncio.Event, clock: Clock = time.time) -> None:
    """Work in one room until `stop`; several tasks may staff the same one."""
    bell = store.bell(room.where)
    while not stop.is_set():
        bell.clear()
        try:
            worked = await step(room, store, clock)
            due = None if worked else await store.next_due(room.where)
        except StoreError as error:
            log.error("store_failed", room=room.name, error=str(error))  # noqa: TRY400 - no bug
            await asyncio.sleep(STORE_PAUSE)
            continue
        if not worked:
            await _rest(bell, LONGEST_REST if due is None else due - clock())


async def step(room: Room, store: Store, clock: Clock = time.time) -> bool:
    """Take what is due, work on it, keep the outcome. False = nothing was due."""
    if room.ahead:
        due = await store.next_due(room.where)
        if due is None or due > clock():
            return False
    lease = room.limit + _LEASE_MARGIN
    faxes = await store.claim(room.where, now=clock() + room.ahead, lease=lease, most=room.most)
    if not faxes:
        return False
    if room.at_once > 1:
        store.bell(room.where).set()  # there may be more: wake a colleague
    with bound_contextvars(room=room.name, **({"fax": faxes[0].id} if len(faxes) == 1 else {})):
        after = await _work(room, faxes, clock)
        await _save(store, _changes(faxes, after), clock)
    return True


async def _work(room: Room, faxes: list[Fax], clock: Clock) -> Sequence[Fax]:
    try:
        async with asyncio.timeout(room.limit):
            return await room.work(faxes)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():  # we are to end
            raise
        return _after(UncertainError(f"a library gave up: {error!r}"), faxes, room, clock)
    except Exception as error:  # noqa: BLE001 - after_error knows what to do with each
        return _after(error, faxes, room, clock)


def _after(error: Exception, faxes: list[Fax], room: Room, clock: Clock) -> Sequence[Fax]:
    expected = isinstance(error, PermanentError) or passes(error)
    log.warning("fax_not_moved", error=repr(error), exc_info=None if expected else error)
    return [after_error(error, fax, room, clock()) for fax in faxes]


def after_error(error: Exception, fax: Fax, room: Room, now: float) -> Fax:
    """The whole error policy: what becomes of a fax whose room raised."""
    began = max(fax.since, wishes_of(fax.wishes).at)  # what is wanted later is not late before
    old = now - began > room.life and tried(room, fax.attempts) >= min(room.life / 2, LEAST)
    over = old if passes(error) else fax.attempts >= BUG_TRIES
    fails = room.give_up == "fail"
    match error:
        case PermanentError() if fails:
            return fax.failed(str(error), error.cause)
        case PermanentError():
            return fax.hold(str(error))
        case TransientError() if over and fails:
            return fax.failed(f"It was tried until it was too old: {error}.", Cause.EXPIRED)
        case _ if over:
            return fax.hold(str(error) or repr(error))
    wait = max(backoff(room, fax.attempts), getattr(error, "after", 0.0))
    return fax.retried(at=now + wait, because=str(error) or repr(error))


def passes(error: Exception) -> bool:
    """Does it end by itself, or when somebody has made room on this machine?"""
    return isinstance(error, _PASSING) or (isinstance(error, OSError) and error.errno in _FULL)


def backoff(room: Room, attempts: int) -> float:
    """Seconds until the next try: doubling, with jitter so that faxes do not march in step."""
    return _wait(room, attempts) * random.uniform(0.7, 1.3)


def tried(room: Room, attempts: int) -> float:
    """Seconds that so many tries took, by their waits: a clock that jumped makes no fax old."""
    return sum(_wait(room, number) for number in range(1, min(attempts, 1000)))


def _wait(room: Room, attempts: int) -> float:
    return min(room.longest_wait, room.first_wait * 2.0 ** min(attempts - 1, 30))


def _changes(before: Sequence[Fax], after: Sequence[Fax]) -> list[Change]:
    """What is news becomes history: a move, a hold, a trouble of another kind than before."""
    old = {fax.id: fax for fax in before}
    changes = []
    for fax in after:
        was = old[fax.id]
        if fax.state != was.state:
            news = fax.reason if fax.reason != was.reason else ""
            log.info("fax_moved", fax=fax.id, state=str(fax.state), reason=news)
            changes.append(Change(fax, news))
        elif fax.held != was.held:
            log.error("fax_held", fax=fax.id, because=fax.held)
            changes.append(Change(fax, f"held: {fax.held}"))
        else:
            changes.append(Change(fax, fax.trouble if fax.trouble != was.trouble else None))
    return changes


async def _save(store: Store, changes: list[Change], clock: Clock) -> None:
    """Keep it, however long that takes: the work is done and must not be done again."""
    left = list(changes)
    while left:
        some = left[:SLICE]
        try:
            saved = await store.save(some, now=clock())
        except StoreError as error:
            log.error("store_failed", error=str(error))  # noqa: TRY400 - no bug
            await asyncio.sleep(STORE_PAUSE)
            continue
        lost = [change.fax.id for change in some if change.fax.id not in saved]
        if lost:
            log.warning("lease_lost", faxes=lost)
        left = left[SLICE:]


async def _rest(bell: asyncio.Event, longest: float) -> None:
    try:
        async with asyncio.timeout(min(max(longest, 0.01), LONGEST_REST)):
            await bell.wait()
    except TimeoutError:
        pass


__all__ = ["HELD", "Clock", "Room", "State", "after_error", "backoff", "one", "staff", "step"]
