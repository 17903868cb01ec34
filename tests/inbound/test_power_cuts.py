"""The power fails before and after every single step of the inbound road; then it comes back.

Real store, spool, provider, child and SMTP sink; what is cut are the calls between them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.doors.announce import announce
from gateway.doors.poll import Poll
from gateway.inbound.deliver import Deliver
from gateway.inbound.fetch import Fetch
from gateway.inbound.settle import Settle
from gateway.mail.post import Post
from gateway.mail.smarthost import Relay, Smarthost
from gateway.model import State
from gateway.spool import Spool
from gateway.store import DATABASE, Store
from gateway.worker import Room, one, step
from tests.conftest import Clock
from tests.inbound.road import FROM, RULES, Road
from tests.make import pdf

pytestmark = pytest.mark.anyio

STEPS = 20  # at least: calls of one life in which nothing fails


class PowerCutError(BaseException):
    """No error handler of the gateway may see it."""


@dataclass
class Power:
    """Fails at the call `at`, before or after its effect; 0 = never."""

    at: int = 0
    after: bool = False
    calls: int = 0

    def line(self, thing: object, *names: str) -> Any:
        """The same thing, whose calls of these names need power."""
        return _Line(self, thing, names)

    async def call(self, work: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
        self.calls += 1
        if self.calls == self.at and not self.after:
            raise PowerCutError
        outcome = await work(*args, **more)
        if self.calls == self.at:
            raise PowerCutError
        return outcome


@dataclass
class _Line:
    _power: Power
    _thing: object
    _names: tuple[str, ...]

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._thing, name)
        if name not in self._names:
            return work
        return lambda *args, **more: self._power.call(work, *args, **more)


@dataclass
class Life:
    """The gateway from one start to its end."""

    store: Store
    wired: Any
    poll: Poll
    rooms: list[Room]
    clock: Clock

    async def live(self, hint: str, *, rounds: int = 8) -> None:
        """Webhook and poll tell of the fax again and again; the rooms do what is due."""
        for _ in range(rounds):
            await announce(self.wired, [hint], self.clock())
            await self.poll.look()
            for room in self.rooms:
                while await step(room, self.wired, self.clock):
                    pass
            self.clock.advance(3600.0)
            if all(fax.state is State.CLOSED for fax in await self.store.latest(9)):
                return
        raise AssertionError("it does not come to an end")


@asynccontextmanager
async def life(road: Road, root: Path, power: Power) -> AsyncIterator[Life]:
    spool, store = Spool(root), Store(root / DATABASE)
    await spool.open()
    await store.open()
    wired = power.line(store, "add", "claim", "save", "nudge")
    files = power.line(spool, "keep")
    provider = power.line(
        Witness(road, store), "unprocessed", "received", "download", "mark_processed", "archive"
    )
    post = power.line(Post(Smarthost(Relay(*road.mailbox.address)), spool.part), "send")
    fetch = Fetch(provider, files, road.workshop, road.downloads, 500, road.clock)
    deliver = Deliver(post, files, lambda: RULES, FROM, clock=road.clock)
    rooms = [
        Room("fetch", State.ANNOUNCED, one(fetch)),
        Room("deliver", State.FETCHED, one(deliver)),
        Room("settle", State.MAILED, one(Settle(provider, archive=True))),
    ]
    try:
        yield Life(store, wired, Poll(provider, wired, 60.0, road.clock), rooms, road.clock)
    finally:
        await store.close()
        await spool.close()


@dataclass
class Witness:
    """The provider; whoever marks a fax must have mailed it, and have written that down."""

    road: Road
    store: Store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.road.provider, name)

    async def mark_processed(self, fax_id: str) -> None:
        (fax,) = [one for one in await self.store.latest(9) if one.provider_id == fax_id]
        assert fax.state is State.MAILED
        assert mailed(self.road)
        await self.road.provider.mark_processed(fax_id)


def mailed(road: Road) -> list[str]:
    return [got.mail["Message-ID"] for got in road.mailbox.mails]


async def a_fax(road: Road) -> str:
    road.mailbox.mails.clear()
    return await road.simulator.inject("+12025551234", "+14155550199", pdf(1), announce=False)


async def calls_of_a_whole_life(road: Road, root: Path) -> int:
    power = Power()
    hint = await a_fax(road)
    async with life(road, root, power) as gateway:
        await gateway.live(hint)
    assert len(mailed(road)) == 1
    return power.calls


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_the_power_fails_at_every_step(road: Road, tmp_path: Path, *, after: bool) -> None:
    """P5, M19, M20, K21-K32: mailed at least once, as one mail, marked after that, archived."""
    road.clock.now = time.time()
    calls = await calls_of_a_whole_life(road, tmp_path / "whole")
    assert calls >= STEPS
    for at in range(1, calls + 1):
        root = tmp_path / str(at)
        hint = await a_fax(road)
        with pytest.raises(PowerCutError):
            async with life(road, root, Power(at, after)) as gateway:
                await gateway.live(hint)
        marked = road.simulator.account.inbound[hint].status != "received"
        assert mailed(road) or not marked
        async with life(road, root, Power()) as gateway:
            await gateway.live(hint)
            (fax,) = await gateway.store.latest(9)
        assert (fax.state, fax.pages) == (State.CLOSED, 1)
        assert set(mailed(road)) == {f"<rx.{fax.id}@fax.local>"}, f"cut at {at}"
        assert len(mailed(road)) <= 2
        assert road.simulator.account.inbound[hint].status == "archived"
        assert not list((root / "incoming").iterdir()), "no part is left"
