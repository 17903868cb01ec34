"""deliver and settle: mailed to everyone on its route, marked only then, and never in silence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.alarm import Alarm
from gateway.errors import PermanentError, TransientError
from gateway.inbound.deliver import LATE
from gateway.model import State
from gateway.provider.simulator import Rule
from gateway.rules import Route, Rules
from gateway.store import HELD, Store
from gateway.worker import Room, one, step
from tests.inbound.road import DOWNLOAD, FROM, Road

pytestmark = pytest.mark.anyio

OFFICE, COPY, ADMIN = "office@example.com", "copy@example.com", "admin@example.com"


def sent_to(road: Road) -> list[tuple[str, ...]]:
    return [got.recipients for got in road.mailbox.mails]


async def test_the_whole_road(road: Road) -> None:
    mailed = await road.deliver(await road.fetched())
    assert (mailed.state, mailed.recipient) == (State.MAILED, f"{OFFICE}, {COPY}")
    assert road.status(mailed) == "received", "marked only after the 250 is committed"
    closed = await road.settle(mailed)
    assert (closed.state, closed.reason, road.status(closed)) == (State.CLOSED, "", "archived")
    (got,) = road.mailbox.mails
    assert (got.sender, got.recipients) == ("fax@fax.local", (OFFICE, COPY))


async def test_each_step_twice_is_harmless(road: Road) -> None:
    fetched = await road.fetched()
    await road.deliver(fetched)
    mailed = await road.deliver(fetched)
    ids = {got.mail["Message-ID"] for got in road.mailbox.mails}
    assert len(ids) == 1, "a copy is recognisable"
    await road.settle(mailed)
    assert (await road.settle(mailed)).state is State.CLOSED


@pytest.mark.parametrize("path", [r"/archive$", r"/received/[^/]+$"])
@pytest.mark.parametrize("action", ["drop_after_accept", "drop_before"])
async def test_a_lost_answer_is_asked_for_again(road: Road, path: str, action: str) -> None:
    """K31, F-P7: applied or not, it is marked and archived in the end."""
    mailed = await road.deliver(await road.fetched())
    method = "POST" if "archive" in path else "PUT"
    road.simulator.add_fault(Rule(action, method=method, path_regex=path, times=1))
    with pytest.raises(TransientError):
        await road.settle(mailed)
    assert (await road.settle(mailed)).state is State.CLOSED
    assert road.status(mailed) == "archived"


@pytest.mark.parametrize("code", [404, 409, 410])
async def test_what_the_provider_put_away_itself_is_settled(road: Road, code: int) -> None:
    mailed = await road.deliver(await road.fetched())
    for method in ("PUT", "POST"):
        road.simulator.add_fault(Rule("status", {"code": code}, method=method))
    assert (await road.settle(mailed)).state is State.CLOSED


# documents that are no good


async def test_a_document_that_cannot_be_read(road: Road) -> None:
    """A51: a mail that says so, an alarm, and nothing marked: the provider has the only copy."""
    fax = await road.inject()
    road.simulator.add_fault(Rule("garbage", {"kind": "html"}, path_regex=DOWNLOAD))
    for _ in range(2):
        with pytest.raises(TransientError):
            await road.fetch(fax)
    closed = await road.settle(await road.deliver(await road.fetch(fax)))
    assert closed.reason.startswith("kept at the provider")
    assert road.status(closed) == "received"
    mail, alarm = road.mailbox.mails
    assert not mail.files
    assert mail.mail["Subject"].endswith(", cannot be read")
    assert "kept at the fax provider" in mail.text()
    assert alarm.recipients == (ADMIN,)


async def test_other_pages_than_announced(road: Road) -> None:
    fax = await road.inject(pages=5)
    for _ in range(2):
        with pytest.raises(TransientError):
            await road.fetch(fax)
    await road.deliver(await road.fetch(fax))
    (mail,) = road.mailbox.mails
    assert "check its pages: the provider says 5 pages, the document has 2." in mail.text()
    assert mail.files[0].pages == 2


# a smarthost that does not take it


@pytest.mark.parametrize("reply", ["451 4.3.0 later", "421 4.3.2 closing", ""])
async def test_not_now(road: Road, reply: str) -> None:
    fetched = await road.fetched()
    road.mailbox.trouble.times, road.mailbox.trouble.reply = 1, reply
    with pytest.raises(TransientError):
        await road.deliver(fetched)
    assert road.status(fetched) == "received"
    assert (await road.deliver(fetched)).state is State.MAILED


async def test_taken_but_the_answer_was_lost(road: Road) -> None:
    """F-S2: mailed again, as the same mail."""
    fetched = await road.fetched()
    road.mailbox.trouble.times, road.mailbox.trouble.after_taking = 1, True
    with pytest.raises(TransientError):
        await road.deliver(fetched)
    await road.deliver(fetched)
    one, other = road.mailbox.mails
    assert one.mail["Message-ID"] == other.mail["Message-ID"]


async def test_the_admin_hears_of_what_takes_long_once(road: Road) -> None:
    """M22: a smarthost that always says later must not keep a fax in silence for days."""
    road.rules = Rules(route=(Route(mail=(OFFICE,)),))
    fetched = await road.fetched()
    road.mailbox.refuse_rcpt[OFFICE] = "452 4.2.2 mailbox full"
    for seconds in (0.0, LATE + 1, 600.0):
        road.clock.advance(seconds)
        with pytest.raises(TransientError, match="mailbox full"):
            await road.deliver(fetched)
    (alarm,) = road.mailbox.mails
    assert alarm.recipients == (ADMIN,)
    assert "cannot be mailed yet" in alarm.text()
    assert "mailbox full" in alarm.text()


async def test_one_mailbox_of_two_is_refused(road: Road) -> None:
    road.mailbox.refuse_rcpt[COPY] = "550 5.1.1 no such user"
    mailed = await road.deliver(await road.fetched())
    assert (mailed.state, mailed.recipient) == (State.MAILED, OFFICE)
    assert "copy@example.com was refused by the smarthost: 550" in mailed.reason, "show tells it"
    _, alarm = road.mailbox.mails
    assert "mailbox copy@example.com was refused" in alarm.text()


async def test_one_mailbox_of_two_says_later(road: Road) -> None:
    """It gets the fax when it takes it, and the other does not get it again."""
    road.mailbox.refuse_rcpt[COPY] = "451 4.7.1 greylisted"
    fax = await road.deliver(await road.fetched())
    assert (fax.state, fax.recipient) == (State.FETCHED, OFFICE)
    assert fax.due_at > road.clock()
    assert COPY in fax.trouble
    with pytest.raises(TransientError, match="greylisted"):
        await road.deliver(fax)
    road.mailbox.refuse_rcpt.clear()
    mailed = await road.deliver(fax)
    assert (mailed.state, mailed.recipient) == (State.MAILED, f"{OFFICE}, {COPY}")
    assert sent_to(road) == [(OFFICE,), (COPY,)]
    assert len({got.mail["Message-ID"] for got in road.mailbox.mails}) == 1


async def test_one_mailbox_of_two_says_later_for_long(road: Road) -> None:
    """The admin hears of it once by mail; the worker holds it in the end, and they hear again."""
    road.mailbox.refuse_rcpt[COPY] = "452 4.2.2 mailbox full"
    fax = await road.deliver(await road.fetched())
    for seconds in (0.0, LATE + 1, 600.0):
        road.clock.advance(seconds)
        with pytest.raises(TransientError, match="mailbox full"):
            await road.deliver(fax)
    assert sent_to(road) == [(OFFICE,), (ADMIN,)]
    assert road.status(fax) == "received"


async def test_one_mailbox_of_two_says_later_then_never(road: Road) -> None:
    road.mailbox.refuse_rcpt[COPY] = "451 4.7.1 greylisted"
    fax = await road.deliver(await road.fetched())
    road.mailbox.refuse_rcpt[COPY] = "550 5.1.1 no such user"
    mailed = await road.deliver(fax)
    assert (mailed.state, mailed.recipient) == (State.MAILED, OFFICE)
    assert sent_to(road) == [(OFFICE,), (ADMIN,)]
    assert "no such user" in mailed.reason


async def test_nobody_takes_it(road: Road) -> None:
    """It raises, so it is held and the admin is told; nothing is marked."""
    fetched = await road.fetched()
    for address in (OFFICE, COPY):
        road.mailbox.refuse_rcpt[address] = "550 5.1.1 no such user"
    with pytest.raises(PermanentError, match="no such user"):
        await road.deliver(fetched)
    assert road.status(fetched) == "received"


async def test_what_nobody_takes_is_held_and_told(road: Road, store: Store) -> None:
    """M22: kept, the admin hears of it, never marked; released, it goes out."""
    fetched = replace(await road.fetched(), attempts=0)
    await store.add([fetched], now=road.clock())
    for address in (OFFICE, COPY):
        road.mailbox.refuse_rcpt[address] = "550 5.1.1 no such user"
    room = Room("deliver", State.FETCHED, one(road.deliver))
    assert await step(room, store, road.clock)
    alarm = Room(
        "alarm", HELD, one(Alarm(road.deliver.post, road.spool, FROM, "admin@example.com"))
    )
    assert await step(alarm, store, road.clock)
    held = await store.get(fetched.id)
    assert held
    assert (held.state, held.told) == (State.FETCHED, 1)
    assert "no such user" in held.held
    (told,) = road.mailbox.mails
    assert told.recipients == (ADMIN,)
    assert "no such user" in told.text()
    assert not await step(room, store, road.clock), "it waits for a person"
    assert road.status(held) == "received"


@pytest.mark.parametrize("reply", ["552 5.3.4 message too big", "554 5.7.1 virus found"])
async def test_the_mail_itself_is_refused(road: Road, reply: str) -> None:
    """F-S3, M23: its people hear that there is a fax; it is kept, and never marked."""
    fetched = await road.fetched()
    road.mailbox.trouble.times, road.mailbox.trouble.reply = 1, reply
    with pytest.raises(PermanentError, match=reply[:3]):
        await road.deliver(fetched)
    (told,) = road.mailbox.mails
    assert told.recipients == (OFFICE, COPY)
    assert not told.files
    assert reply[4:] in told.text()
    assert fetched.id in told.text()
    assert told.mail["Message-ID"] != f"<rx.{fetched.id}@fax.local>", "no copy of the fax itself"
    assert road.status(fetched) == "received"
    assert (await road.deliver(fetched)).state is State.MAILED, "released: it goes out whole"


async def test_no_route(road: Road) -> None:
    road.rules = Rules(route=(Route(to=("+19999999999",), mail=("a@example.com",)),))
    with pytest.raises(PermanentError, match="no route for it: route 1: the fax was for"):
        await road.deliver(await road.fetched())


async def test_rules_that_change_between_two_tries(road: Road) -> None:
    road.mailbox.refuse_rcpt[COPY] = "451 later"
    fax = await road.deliver(await road.fetched())
    road.rules = Rules(route=(Route(mail=(OFFICE,)),))
    assert (await road.deliver(fax)).recipient == OFFICE
    assert len(road.mailbox.mails) == 1
