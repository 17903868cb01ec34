"""What may be spent counts in the mailbox, too: a mail waits in it until there is room (P15)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gateway.doors.imap import ImapDoor
from gateway.doors.imap.clerk import Clerk, Outcome, Waits
from gateway.errors import Cause
from gateway.model import State
from gateway.spool import Spool
from gateway.store import Change, Store
from tests.conftest import Clock
from tests.doors.imap.conftest import Contexts
from tests.doors.imap.kit import ANN, House, mail, policy, power_cut, running, until
from tests.doors.imap.script import Server

pytestmark = pytest.mark.anyio

A, B, C = "+14155550100", "+14155550101", "+14155550102"
ONE = {"sender": [{"address": ANN, "faxes_per_hour": 1}, {"domain": "example.com"}]}
Door = Callable[..., ImapDoor]
THREE = ", ".join(f"{number}@fax.local" for number in (A, B, C))
BOB = "bob@example.com"


@pytest.fixture
def house(spool: Spool, store: Store, clock: Clock) -> House:
    return House(spool, store, policy(**ONE), clock=clock)


@pytest.fixture
def clerk(house: House) -> Clerk:
    return house.door(0)._desk._clerk


@pytest.fixture
def door(house: House, server: Server, contexts: Contexts) -> Callable[..., ImapDoor]:
    """It looks for room a hundred times a second."""
    return partial(house.door, server.port, context=contexts[1], full=0.01)


async def sent(house: House, clock: Clock) -> None:
    """The one fax that waits is handed to the provider, and counts from now on."""
    (fax,) = await house.store.claim(State.ACCEPTED, now=clock(), lease=60)
    await house.store.save([Change(fax.prepared(pages=1, digest="x"), "")], now=clock())
    (fax,) = await house.store.claim(State.PREPARED, now=clock(), lease=60)
    assert await house.store.begin_attempt(fax, now=clock())
    await house.store.save([Change(fax.submitted("p1"), "")], now=clock())


async def test_room_later(clerk: Clerk, house: House, clock: Clock) -> None:
    """It is refused as the other door would: not now, and support can see why."""
    assert await clerk.take(mail()) is Outcome.DONE
    await sent(house, clock)
    clock.advance(600)
    content = mail()
    waits = await clerk.take(content)
    assert isinstance(waits, Waits)
    assert (waits.sender, waits.identity, waits.numbers) == (ANN, f"address:{ANN}", (A,))
    assert waits.full.until == clock() + 3000
    ((event, reply),) = house.refusals
    assert event == "quota"
    assert reply.startswith("451 4.7.1 Quota, retry after ")
    assert reply.endswith(": 1 fax an hour from this sender")
    assert await clerk.take(mail(From=BOB)) is Outcome.DONE  # nobody else waits
    assert isinstance(await clerk.take(content), Waits)
    clock.advance(3001)
    assert await clerk.take(content) is Outcome.DONE
    assert len(await house.numbers()) == 2
    assert (await house.reasons(), house.pages) == ([], [])


async def test_a_mail_does_not_stand_in_its_own_way(clerk: Clerk, house: House) -> None:
    """Committed and not flagged (K34): its own faxes fill the ceiling."""
    content = mail()
    assert await clerk.take(content) is Outcome.DONE
    assert await clerk.take(content) is Outcome.DONE
    assert await house.numbers() == [A]
    assert house.refusals == []


async def test_room_never(clerk: Clerk, house: House) -> None:
    """All of a mail goes or none of it; its sender hears why, once."""
    content = mail(to=THREE, Cc="911@fax.local")
    for _ in range(2):
        assert await clerk.take(content) is Outcome.FAILED
    (fax,) = await house.faxes()
    assert (fax.state, fax.cause) == (State.FAILED, Cause.POLICY)
    quota = "Quota: 1 fax an hour from this sender"
    assert fax.reason == f"{quota}; 911@fax.local: Destination not permitted"


async def test_room_for_one_copy_alone(clerk: Clerk, house: House) -> None:
    """Bcc: what was taken for one copy needs no room in another one."""
    content = mail()
    assert await clerk.take(content) is Outcome.DONE
    both = f"Delivered-To: fax+{B}@example.com\r\n".encode() + content
    waits = await clerk.take(both)
    assert isinstance(waits, Waits)
    assert waits.numbers == (B,)
    three = f"Delivered-To: fax+{C}@example.com\r\n".encode() + both
    for _ in range(2):
        assert await clerk.take(three) is Outcome.DONE
    assert await house.numbers() == [A]
    reason = "Quota: 1 fax an hour from this sender; it goes to the others (1)"
    assert await house.reasons() == [reason]


@pytest.mark.parametrize(
    ("limits", "to", "pages"),
    [
        ({"faxes_per_day": 1}, "14155550101@fax.local", ["spending has stopped"]),
        ({"destination": {"pages_per_day": 1}}, "14155550100@fax.local", []),
    ],
)
async def test_ceilings_of_all(
    clerk: Clerk, house: House, limits: dict[str, Any], to: str, pages: list[str]
) -> None:
    """Those of the whole gateway stop everybody: its administrator hears of it (A19)."""
    house.policy = policy(limits=limits)
    assert await clerk.take(mail(From=BOB)) is Outcome.DONE
    assert isinstance(await clerk.take(mail(to=to)), Waits)
    assert house.pages == pages


async def fail(house: House, clock: Clock, sender: str) -> None:
    """Their fax that waits comes to nothing: there is room for another one."""
    faxes = await house.store.claim(State.ACCEPTED, now=clock(), lease=60, most=99)
    theirs = [one.failed("no", Cause.DOCUMENT) for one in faxes if one.sender == sender]
    await house.store.save([Change(one, "") for one in theirs], now=clock())


async def test_it_waits_in_the_box_and_blocks_nobody(
    server: Server, house: House, door: Door, clock: Clock
) -> None:
    server.put(mail(), mail(), mail(to="14155550101@fax.local", From=BOB))
    async with running(door()):
        await until(lambda: server.has(INBOX=1, Done=2))
        looks = server.times("NOOP")
        await until(lambda: server.times("NOOP") >= looks + 3)
        server.put(mail(to="14155550102@fax.local", From=BOB))
        await until(lambda: server.has(INBOX=1, Done=3))
        assert server.flags[2] == set()
        assert server.times("UID FETCH 2 .*BODY") == 1  # however often room was asked for
        assert [event for event, _ in house.refusals] == ["quota"]
        await fail(house, clock, ANN)
        await until(lambda: server.has(Done=4))
    assert server.times("UID FETCH 2 .*BODY") == 2
    assert await house.numbers() == [A, B, C]


async def test_of_many_that_wait_one_is_fetched_for_each_room(
    server: Server, house: House, door: Door, clock: Clock
) -> None:
    server.put(*[mail() for _ in range(9)])
    async with running(door()):
        await until(lambda: server.has(INBOX=8, Done=1))
        for done in (2, 3):
            fetched = server.times("UID FETCH .*BODY")
            await fail(house, clock, ANN)
            await until(partial(server.has, INBOX=9 - done, Done=done))
            assert server.times("UID FETCH .*BODY") == fetched + 1
            assert server.mails.keys() == set(range(done + 1, 10))  # the oldest first


async def test_one_that_waited_too_long_is_told(server: Server, house: House, door: Door) -> None:
    """As a fax that waits too long in the queue: never silence."""
    server.put(mail(), mail(body="x"))
    async with running(door(life=0.36)):
        await until(lambda: server.has(Failed=1, Done=1))
    assert await house.numbers() == [A]
    assert await house.reasons() == [
        "Quota: 1 fax an hour from this sender; there was no room for it in 0.0001 hours"
    ]


async def test_rules_that_make_room(server: Server, house: House, door: Door) -> None:
    server.put(mail(), mail())
    async with running(door()):
        await until(lambda: server.has(INBOX=1, Done=1))
        house.policy = policy()
        await until(lambda: server.has(Done=2))


async def test_one_that_somebody_flags_waits_no_more(
    server: Server, house: House, door: Door
) -> None:
    """It is to be moved, and where that fails the server is not asked without a pause."""
    server.put(mail(), mail())
    box = door(full=0.05)
    async with running(box):
        await until(lambda: server.has(INBOX=1, Done=1))
        server.faults.append(("UID MOVE", "no", 10_000))
        server.flags[2].add("$FaxTaken")
        await until(lambda: box._desk.rest == math.inf)
        assert server.has(INBOX=1, Done=1)


CUTS = ["UID SEARCH", "UID FETCH .*SIZE", "UID FETCH 1 .*BODY", "UID FETCH 2 .*BODY",
        "UID STORE", "UID MOVE", "IDLE"]  # fmt: skip


@pytest.mark.parametrize("fault", ["hang", "late drop"])
@pytest.mark.parametrize("command", CUTS)
async def test_a_power_cut_at_every_step(
    server: Server, house: House, door: Door, clock: Clock, command: str, fault: str
) -> None:
    """The first one fills the ceiling, also its own; the second waits, whatever is cut."""
    server.put(mail(), mail(to="14155550101@fax.local"))
    server.faults.append((command, fault, 1))
    await power_cut(server, door)
    async with running(door()):
        await until(lambda: server.has(Done=1, INBOX=1))
        await until(lambda: "quota" in [event for event, _ in house.refusals])
        assert await house.numbers() == [A]
        await fail(house, clock, ANN)
        await until(lambda: server.has(Done=2))
    assert await house.numbers() == [B]
    assert await house.reasons() == ["no"]
