"""Polling: whatever webhooks missed is found, once; a provider that is down ends nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, field, replace

import pytest

from gateway.doors.announce import announce
from gateway.doors.poll import Poll
from gateway.errors import PermanentError, TransientError, UncertainError
from gateway.model import State
from gateway.provider import Received
from gateway.provider.audian import Access, Audian
from gateway.provider.simulator import Rule, Settings, Simulator
from gateway.provider.simulator.profile import Timing
from gateway.store import Change, Store, StoreError
from tests.conftest import Clock
from tests.make import pdf

pytestmark = pytest.mark.anyio


@dataclass
class Listed:
    """A provider's list of unprocessed faxes."""

    ids: list[str] = field(default_factory=list)
    error: Exception | None = None
    looks: int = 0
    status: str = "received"

    async def unprocessed(self) -> list[Received]:
        self.looks += 1
        if self.error:
            raise self.error
        return [Received(fax_id, status=self.status) for fax_id in self.ids]

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


@pytest.mark.parametrize("status", ["processed", "archived", "ARCHIVED"])
async def test_what_somebody_has_processed_is_no_news(
    store: Store, clock: Clock, status: str
) -> None:
    """A list that does not mind what it is asked for must not mail years of faxes again."""
    await Poll(Listed(["old"], status=status), store, 60.0, clock).look()  # type: ignore[arg-type]
    assert await known(store) == []


async def test_a_hint_that_came_too_early_is_looked_at_again(store: Store, clock: Clock) -> None:
    """The webhook was before the record: when the list has it, it does not wait for its turn."""
    await announce(store, ["a"], clock())
    (fax,) = await store.claim(State.ANNOUNCED, now=clock() + 1, lease=60)
    await store.save([Change(fax.retried(clock() + 600, "not known yet"), None)], now=clock())
    poll = Poll(Listed(["a"]), store, 60.0, clock)  # type: ignore[arg-type]
    assert await poll.look() == 0
    (fax,) = await store.claim(State.ANNOUNCED, now=clock() + 1, lease=60)
    await store.save([Change(fax.retried(clock() + 600, "no document yet"), None)], now=clock())
    await poll.look()
    assert not await store.claim(State.ANNOUNCED, now=clock() + 1, lease=60), "only once"


HEX = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("one", "other", "faxes"),
    [
        (HEX, f"202611-{HEX}", 1),
        (f"202611-{HEX}", HEX, 1),
        (f"202611-{HEX}", f"202611-{HEX}", 1),
        ("202611-1", "202612-1", 2),  # a number that begins anew each month
        ("fax_received_1", "fax_received_2", 2),
    ],
)
async def test_one_fax_has_two_spellings_of_its_id(
    store: Store, clock: Clock, one: str, other: str, faxes: int
) -> None:
    await announce(store, [one], clock())
    await announce(store, [other], clock())
    assert len(await known(store)) == faxes


async def closed(store: Store, clock: Clock, recipient: str = "") -> None:
    """Close the one fax that is due."""
    (fax,) = await store.claim(State.ANNOUNCED, now=clock() + 1, lease=60)
    after = replace(fax.closed("unknown there"), recipient=recipient)
    await store.save([Change(after, None)], now=clock())


async def test_a_forged_hint_does_not_hide_the_fax_that_comes_later(
    store: Store, clock: Clock
) -> None:
    """Nobody can announce an id beforehand, and so keep its fax from ever being mailed."""
    provider = Listed([])
    poll = Poll(provider, store, 60.0, clock)  # type: ignore[arg-type]
    for _ in range(3):  # closed as unknown, three times over
        assert not (await announce(store, ["a"], clock()))[0].duplicate
        await closed(store, clock)
    provider.ids = ["a"]
    assert await poll.look() == 1
    assert (await announce(store, ["a"], clock()))[0].duplicate
    assert await Poll(provider, store, 60.0, clock).look() == 0  # type: ignore[arg-type]
    await closed(store, clock, recipient="office@example.com")
    assert (await announce(store, ["a"], clock()))[0].duplicate, "it was mailed: never again"
    assert len(await known(store)) == 4


async def test_a_row_that_comes_back_is_looked_at_again(store: Store, clock: Clock) -> None:
    provider = Listed(["a"])
    poll = Poll(provider, store, 60.0, clock)  # type: ignore[arg-type]
    await poll.look()
    provider.ids = []
    await poll.look()
    await closed(store, clock)
    provider.ids = ["a"]
    assert await poll.look() == 1


@pytest.mark.parametrize(
    "error",
    [
        TransientError("503"), UncertainError("?"), PermanentError("400"), StoreError("full"),
        RuntimeError("a bug"), sqlite3.DatabaseError("malformed"), TimeoutError(), OSError("fd"),
    ],
)  # fmt: skip
async def test_an_outage_is_waited_out(store: Store, clock: Clock, error: Exception) -> None:
    provider = Listed(["a"], error)
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


async def test_more_than_a_thousand_and_a_page_that_fails(store: Store, clock: Clock) -> None:
    """All pages or nothing: a list that breaks off in the middle is no list."""
    async with Simulator(Settings(timing=Timing(t_list=0.0))) as simulator:
        account, settings = simulator.account, simulator.settings
        kept = await account.shelf.store(pdf(1))
        ids = [account.receive("", "", kept, "", 1).id for _ in range(1_050)]
        access = Access(simulator.url, settings.account_id, settings.token, "token", 1000.0)
        provider = Audian(access)
        poll = Poll(provider, store, 60.0, clock)
        simulator.add_fault(Rule("status", {"code": 503}, path_regex="/received$", nth=5))
        with pytest.raises(TransientError):
            await poll.look()
        assert await known(store) == []
        assert await poll.look() == 1_050
        assert await known(store) == sorted(ids)
        assert await poll.look() == 0
        await provider.close()


async def test_rows_that_shift_while_pages_are_read(store: Store, clock: Clock) -> None:
    """F-P5: others mark faxes, and new ones come, between two pages: none is missed for good."""
    async with Simulator(Settings(timing=Timing(t_list=0.0))) as simulator:
        account, settings = simulator.account, simulator.settings
        kept = await account.shelf.store(pdf(1))
        faxes = [account.receive("", "", kept, "", 1) for _ in range(250)]
        access = Access(simulator.url, settings.account_id, settings.token, "token", 1000.0)
        provider = Audian(access)
        poll = Poll(provider, store, 60.0, clock)
        simulator.add_fault(Rule("slow_body", {"rate": 1e6}, path_regex="/received$"))
        looking = asyncio.create_task(poll.look())
        while not looking.done():
            if faxes:
                faxes.pop().mark("processed")
                account.receive("", "", kept, "", 1)
            await asyncio.sleep(0.005)
        await poll.look()
        waiting = {fax.id for fax in account.received() if fax.status == "received"}
        assert waiting <= set(await known(store))
        await provider.close()
