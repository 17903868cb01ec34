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
from gateway.spool import Spool
from gateway.store import HELD, Store
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
