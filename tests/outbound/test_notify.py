"""The sender is told once, whatever the relay does; nobody is forgotten in silence."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.demo.mailbox import Mailbox, Trouble
from gateway.errors import TransientError
from gateway.mail.post import Post
from gateway.mail.smarthost import Relay, Smarthost
from gateway.model import Fax, State
from gateway.outbound.notify import Notify
from gateway.spool import Spool
from tests.conftest import Clock
from tests.make import SENDER, outbound

pytestmark = pytest.mark.anyio

ADMIN = "admin@example.com"
NO_SUCH = {SENDER: "550 5.1.1 no such mailbox"}


@pytest.fixture
async def mailbox(anyio_backend: str) -> AsyncIterator[Mailbox]:
    mailbox = Mailbox()
    await mailbox.start()
    yield mailbox
    await mailbox.stop()


def room(mailbox: Mailbox, spool: Spool, clock: Clock, admin: str = ADMIN) -> Notify:
    post = Post(Smarthost(Relay(*mailbox.address, timeout=2.0)), spool.part)
    return Notify(post, spool, "fax@fax.local", admin, clock)


def done(state: State = State.DELIVERED, **facts: object) -> Fax:
    return outbound(state, pages=1, result_pages=1, provider_id="p1", calls=1, **facts)


@pytest.mark.parametrize("state", [State.DELIVERED, State.FAILED])
async def test_one_mail_from_nobody(
    mailbox: Mailbox, spool: Spool, clock: Clock, state: State
) -> None:
    fax = done(state, reason="busy" if state is State.FAILED else "")
    after = await room(mailbox, spool, clock)(fax)
    assert after.state is State.CLOSED
    (got,) = mailbox.mails
    assert (got.sender, got.recipients) == ("", (SENDER,))
    assert got.mail["Auto-Submitted"]
    assert got.mail["In-Reply-To"] == fax.message_id


async def test_a_lost_250_repeats_the_same_mail(
    mailbox: Mailbox, spool: Spool, clock: Clock
) -> None:
    """K19: taken, but we never heard: the copy is recognised by its Message-ID."""
    mailbox.trouble = Trouble(times=1, after_taking=True)
    fax = done()
    notify = room(mailbox, spool, clock)
    with pytest.raises(TransientError):
        await notify(fax)
    clock.advance(3600)
    assert (await notify(fax)).state is State.CLOSED
    assert len({got.mail["Message-ID"] for got in mailbox.mails}) == 1
    assert len(mailbox.mails) == 2


@pytest.mark.parametrize(("admin", "told"), [(ADMIN, [ADMIN]), ("", [])])
async def test_no_such_mailbox(
    mailbox: Mailbox, spool: Spool, clock: Clock, admin: str, told: list[str]
) -> None:
    mailbox.refuse_rcpt = NO_SUCH
    after = await room(mailbox, spool, clock, admin)(done(State.FAILED, reason="busy"))
    assert after.state is State.CLOSED
    assert "the sender could not be told" in after.reason
    assert [got.recipients[0] for got in mailbox.mails] == told


async def test_nobody_to_tell(mailbox: Mailbox, spool: Spool, clock: Clock) -> None:
    assert (await room(mailbox, spool, clock)(done(sender=""))).state is State.CLOSED
    assert not mailbox.mails


async def test_no_relay(mailbox: Mailbox, spool: Spool, clock: Clock) -> None:
    notify = room(mailbox, spool, clock)
    await mailbox.stop()
    with pytest.raises(TransientError):
        await notify(done())
