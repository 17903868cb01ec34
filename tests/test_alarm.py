"""Held faxes: nobody waits in silence, and who cannot be reached stops nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.alarm import Alarm
from gateway.demo.mailbox import Mailbox
from gateway.errors import TransientError
from gateway.mail.post import Post
from gateway.mail.smarthost import Relay, Smarthost
from gateway.model import State
from gateway.spool import Kind, Spool
from gateway.store import HELD, Store
from gateway.wishes import Wishes
from gateway.worker import Room, one, step
from tests.conftest import Clock
from tests.make import inbound, outbound

pytestmark = pytest.mark.anyio

FROM = "Fax Gateway <fax@fax.local>"
ADMIN = "Admin <admin@example.com>"


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    mailbox = Mailbox()
    await mailbox.start()
    yield mailbox
    await mailbox.stop()


def alarm(mailbox: Mailbox, spool: Spool, admin: str = ADMIN) -> Alarm:
    post = Post(Smarthost(Relay(*mailbox.address, timeout=3.0)), spool.part)
    return Alarm(post, spool, FROM, admin)


async def test_admin_and_sender_hear_once(
    mailbox: Mailbox, spool: Spool, store: Store, clock: Clock
) -> None:
    held = outbound(State.PREPARED, held="outcome unknown: it may have been sent")
    await store.add([held], now=clock())
    room = Room("alarm", HELD, one(alarm(mailbox, spool)))
    assert await step(room, store, clock)
    assert not await step(room, store, clock)
    recipients = [got.recipients for got in mailbox.mails]
    assert recipients == [("admin@example.com",), ("ann@example.com",)]
    assert all("may have been sent" in got.text() for got in mailbox.mails)
    assert all(got.sender == "" for got in mailbox.mails)
    after = await store.get(held.id)
    assert after
    assert (after.state, after.told, bool(after.held)) == (State.PREPARED, 1, True)


async def test_a_received_fax_has_no_sender_to_tell(mailbox: Mailbox, spool: Spool) -> None:
    await alarm(mailbox, spool)(inbound(State.FETCHED, held="no route"))
    assert [got.recipients for got in mailbox.mails] == [("admin@example.com",)]


async def test_an_unreachable_admin_does_not_keep_the_sender_waiting(
    mailbox: Mailbox, spool: Spool
) -> None:
    mailbox.refuse_rcpt["admin@example.com"] = "550 no such user"
    told = await alarm(mailbox, spool)(outbound(State.PREPARED, held="stuck"))
    assert told.told
    assert [got.recipients for got in mailbox.mails] == [("ann@example.com",)]


async def test_a_smarthost_that_is_away_is_tried_again(mailbox: Mailbox, spool: Spool) -> None:
    mailbox.trouble.times, mailbox.trouble.reply = 1, "451 later"
    with pytest.raises(TransientError):
        await alarm(mailbox, spool)(outbound(State.PREPARED, held="stuck"))


async def test_who_has_heard_hears_nothing_again(mailbox: Mailbox, spool: Spool) -> None:
    """The sender's mailbox says later, for days: the admin gets one mail, not one each try."""
    room = alarm(mailbox, spool)
    held = outbound(State.PREPARED, held="stuck")
    mailbox.refuse_rcpt["ann@example.com"] = "452 4.2.2 mailbox full"
    for _ in range(3):
        with pytest.raises(TransientError):
            await room(held)
    mailbox.refuse_rcpt.clear()
    assert (await room(held)).told
    assert [got.recipients for got in mailbox.mails] == [
        ("admin@example.com",),
        ("ann@example.com",),
    ]


async def test_an_admin_who_says_later_does_not_keep_the_sender_waiting(
    mailbox: Mailbox, spool: Spool
) -> None:
    room = alarm(mailbox, spool)
    held = outbound(State.PREPARED, held="stuck")
    mailbox.refuse_rcpt["admin@example.com"] = "452 4.2.2 mailbox full"
    for _ in range(2):
        with pytest.raises(TransientError):
            await room(held)
    assert [got.recipients for got in mailbox.mails] == [("ann@example.com",)]
    mailbox.refuse_rcpt.clear()
    assert (await room(held)).told
    assert len(mailbox.mails) == 2


async def test_held_again_is_told_again(mailbox: Mailbox, spool: Spool) -> None:
    """It was released, and stuck once more: that is news."""
    room = alarm(mailbox, spool)
    held = outbound(State.PREPARED, held="stuck")
    await room(held)
    await room(held)
    assert len(mailbox.mails) == 4


async def test_a_bug_in_a_notice_floods_nobody(mailbox: Mailbox, spool: Spool) -> None:
    room = alarm(mailbox, spool)
    held = outbound(State.PREPARED, held="stuck")
    spool.path(held.id, Kind.THUMBNAIL).mkdir()  # no file: composing the notice fails
    for _ in range(3):
        with pytest.raises(OSError, match="directory"):
            await room(held)
    assert [got.recipients for got in mailbox.mails] == [("admin@example.com",)]


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        (Wishes(), ["admin@example.com", "ann@example.com"]),
        (Wishes(dsn="SUCCESS,FAILURE"), ["admin@example.com"]),
        (Wishes(dsn="NEVER"), ["admin@example.com"]),
        (Wishes(dsn="DELAY"), ["admin@example.com", "ann@example.com"]),
        (Wishes(notify="none"), ["admin@example.com"]),
        (Wishes(tell="bob@example.com"), ["admin@example.com", "bob@example.com"]),
        (
            Wishes(tell="bob@example.com,admin@example.com"),
            ["admin@example.com", "bob@example.com"],
        ),
    ],
    ids=lambda value: value.text() if isinstance(value, Wishes) else "",
)
async def test_a_sender_hears_of_a_delay_if_it_wished(
    mailbox: Mailbox, spool: Spool, wishes: Wishes, told: list[str]
) -> None:
    held = outbound(State.PREPARED, held="stuck", wishes=wishes.text())
    assert (await alarm(mailbox, spool)(held)).told
    assert [got.recipients[0] for got in mailbox.mails] == told
    reports = [got.mail.get_param("report-type") for got in mailbox.mails]
    assert reports == [None, *["delivery-status"] * (len(told) - 1)]


async def test_an_end_that_could_not_be_told_has_both_its_reports(
    mailbox: Mailbox, spool: Spool
) -> None:
    wishes = Wishes(dsn="FAILURE", mdn="ann@example.com").text()
    await alarm(mailbox, spool)(outbound(State.FAILED, held="no smarthost", wishes=wishes))
    assert [got.mail.get_param("report-type") for got in mailbox.mails] == [
        None, "delivery-status", "disposition-notification",
    ]  # fmt: skip
