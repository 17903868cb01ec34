"""Polling: whatever webhooks missed is found, once; a provider that is down ends nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from gateway.doors.announce import announce
from gateway.doors.poll import Poll
from gateway.errors import TransientError
from gateway.model import State
from gateway.provider import Received
from gateway.store import Store
from tests.conftest import Clock

pytestmark = pytest.mark.anyio


@dataclass
class Listed:
    """A provider's list of unprocessed faxes."""

    ids: list[str] = field(default_factory=list)
    error: Exception | None = None
    looks: int = 0

    async def unprocessed(self) -> list[Received]:
        self.looks += 1
        if self.error:
            raise self.error
        return [Received(fax_id) for fax_id in self.ids]

    async def received(self, fax_id: str) -> Received | None:
        raise AssertionError

    download = mark_processed = archive = received


async def known(store: Store) -> list[str]:
    return sorted(fax.provider_id for fax in await store.latest(10_000))


async def test_new_ids_are_announced_once(store: Store, clock: Clock) -> None:
    provider = Listed(["a", "b"])
    poll = Poll(provider, store, 60.0, clock)  # type: ignore[arg-type]
    assert await poll.look() == 2
    provider.ids.append("c")
    assert await poll.look() == 1
    assert await Poll(provider, store, 60.0, clock).look() == 0, "also after a restart"  # type: ignore[arg-type]
    assert await known(store) == ["a", "b", "c"]


async def test_webhook_and_poll_in_any_order_are_one_fax(store: Store, clock: Clock) -> None:
    provider = Listed([f"rx{i}" for i in range(30)])
    poll = Poll(provider, store, 60.0, clock)  # type: ignore[arg-type]
    hints = [announce(store, [f"rx{i % 30}"], clock()) for i in range(90)]
    await asyncio.gather(*hints, poll.look(), poll.look())
    assert len(await known(store)) == 30
    claimed = await store.claim(State.ANNOUNCED, now=clock() + 1, lease=60, most=1000)
    assert len({fax.provider_id for fax in claimed}) == len(claimed) == 30


async def test_odd_ids_spoil_nothing(store: Store, clock: Clock) -> None:
    provider = Listed(["good", "../../x", "", "a" * 200, "also-good"])
    await Poll(provider, store, 60.0, clock).look()  # type: ignore[arg-type]
    assert await known(store) == ["also-good", "good"]


async def test_an_outage_is_waited_out(store: Store, clock: Clock) -> None:
    provider = Listed(["a"], TransientError("503"))
    poll = Poll(provider, store, 0.01, clock)  # type: ignore[arg-type]
    stop = asyncio.Event()
    running = asyncio.create_task(poll.run(stop))
    async with asyncio.timeout(10):
        while provider.looks < 3:  # noqa: ASYNC110 - the poll rings no bell
            await asyncio.sleep(0.01)
        provider.error = None
        while await known(store) != ["a"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        stop.set()
        await running


async def test_stop_ends_the_wait(store: Store, clock: Clock) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(Poll(Listed(), store, 3600.0, clock).run(stop))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(5):
        await running
