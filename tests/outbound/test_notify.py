"""The sender is told once, whatever the relay does; nobody is forgotten in silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from aiosmtpd.smtp import SMTP, Envelope

from gateway.demo.mailbox import Mailbox, Trouble
from gateway.errors import TransientError
from gateway.mail.post import Post
from gateway.mail.smarthost import Relay, Smarthost
from gateway.model import Fax, State
from gateway.outbound.notify import Notify
from gateway.spool import Spool
from gateway.wishes import Wishes
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


def room(
    mailbox: Mailbox, spool: Spool, clock: Clock, admin: str = ADMIN
) -> Callable[[Fax], Awaitable[Fax]]:
    post = Post(Smarthost(Relay(*mailbox.address, timeout=2.0)), spool.part)
    notify = Notify(post, spool, "fax@fax.local", admin, clock)

    async def alone(fax: Fax) -> Fax:
        (after,) = await notify.in_turn([fax])
        return after

    return alone


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


@pytest.mark.parametrize(
    ("state", "facts", "wishes", "why"),
    [
        (State.DELIVERED, {"sender": ""}, Wishes(), ": the mail had no sender"),
        (State.FAILED, {}, Wishes(dsn="NEVER"), ", as the sender wished: NOTIFY=NEVER"),
        (State.DELIVERED, {}, Wishes(dsn="FAILURE"), ", as the sender wished: NOTIFY=FAILURE"),
        (State.DELIVERED, {}, Wishes(notify="fail"), ", as the sender wished: notify=fail"),
    ],
)
async def test_nobody_is_told_and_its_history_says_so(
    mailbox: Mailbox, spool: Spool, clock: Clock,
    state: State, facts: dict[str, str], wishes: Wishes, why: str,
) -> None:  # fmt: skip
    fax = done(state, wishes=wishes.text(), reason="busy", **facts)
    after = await room(mailbox, spool, clock)(fax)
    assert (after.state, after.reason) == (
        State.CLOSED,
        f"busy; nobody is told{why}",
    )
    assert not mailbox.mails


BOTH = Wishes(dsn="SUCCESS,FAILURE", mdn=SENDER).text()


def kinds(mailbox: Mailbox) -> list[object]:
    """The report of each mail that arrived, in order."""
    return [got.mail.get_param("report-type") for got in mailbox.mails]


@dataclass
class TiredAfterOne(Mailbox):
    """Takes a mail, says later to the next, and takes what comes then."""

    async def _take(self, envelope: Envelope) -> None:
        await super()._take(envelope)
        self.trouble = Trouble(times=int(len(self.mails) == 1), reply="451 4.3.0 later")


async def test_both_reports_once_each(spool: Spool, clock: Clock) -> None:
    """RFC 3461 and RFC 8098 were both asked: the second is not taken, the first not repeated."""
    mailbox = TiredAfterOne()
    await mailbox.start()
    notify, fax = room(mailbox, spool, clock), done(wishes=BOTH)
    with pytest.raises(TransientError):
        await notify(fax)
    assert kinds(mailbox) == ["delivery-status"]
    assert (await notify(fax)).state is State.CLOSED
    assert kinds(mailbox) == ["delivery-status", "disposition-notification"]
    await mailbox.stop()


async def test_a_crash_between_two_reports_repeats_a_recognisable_copy(
    mailbox: Mailbox, spool: Spool, clock: Clock
) -> None:
    fax = done(wishes=BOTH)
    await room(mailbox, spool, clock)(fax)  # its outcome was never saved
    assert (await room(mailbox, spool, clock)(fax)).state is State.CLOSED
    assert kinds(mailbox) == ["delivery-status", "disposition-notification"] * 2
    assert len({got.mail["Message-ID"] for got in mailbox.mails}) == 2


async def test_others_hear_instead_of_the_sender(
    mailbox: Mailbox, spool: Spool, clock: Clock
) -> None:
    tell = Wishes(tell="bob@example.com, eve@example.com").text()
    mailbox.refuse_rcpt = {"bob@example.com": "550 5.1.1 no such mailbox"}
    after = await room(mailbox, spool, clock)(done(sender="copier@nowhere.example", wishes=tell))
    assert [got.recipients for got in mailbox.mails] == [("eve@example.com",)]
    assert "bob@example.com could not be told: " in after.reason
    assert after.state is State.CLOSED


async def test_who_has_heard_is_not_told_again(
    mailbox: Mailbox, spool: Spool, clock: Clock
) -> None:
    notify = room(mailbox, spool, clock)
    fax = done(wishes=Wishes(tell="bob@example.com,eve@example.com").text())
    mailbox.refuse_rcpt = {"bob@example.com": "452 4.2.2 mailbox full"}
    for _ in range(3):
        with pytest.raises(TransientError):
            await notify(fax)
    mailbox.refuse_rcpt = {}
    assert (await notify(fax)).state is State.CLOSED
    assert [got.recipients for got in mailbox.mails] == [("eve@example.com",), ("bob@example.com",)]


async def test_nobody_of_them_is_there(mailbox: Mailbox, spool: Spool, clock: Clock) -> None:
    names = ["bob@example.com", "eve@example.com"]
    mailbox.refuse_rcpt = dict.fromkeys(names, "550 5.1.1 no such mailbox")
    await room(mailbox, spool, clock)(done(wishes=Wishes(tell=",".join(names)).text()))
    (got,) = mailbox.mails
    assert got.recipients == (ADMIN,)
    assert all(f"{name} could not be told" in got.text().lower() for name in names)


class AsciiOnly(Mailbox):
    """A smarthost that knows no other script."""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        await super().start(host, port)
        await self.stop()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, loop=loop), host, port)
        self.address = self._server.sockets[0].getsockname()[:2]


@pytest.mark.parametrize(
    ("kind", "hears"), [(Mailbox, "jürgen@bücher.example"), (AsciiOnly, ADMIN)]
)
async def test_a_sender_in_another_script(
    spool: Spool, clock: Clock, kind: type[Mailbox], hears: str
) -> None:
    """RFC 6531: told where the smarthost can; else the administrator hears why it was not."""
    mailbox = kind()
    await mailbox.start()
    after = await room(mailbox, spool, clock)(done(sender="jürgen@bücher.example"))
    assert after.state is State.CLOSED
    assert ("SMTPUTF8" in after.reason) == (hears == ADMIN)
    (got,) = mailbox.mails
    assert got.recipients == (hears,)
    await mailbox.stop()


async def test_no_relay(mailbox: Mailbox, spool: Spool, clock: Clock) -> None:
    notify = room(mailbox, spool, clock)
    await mailbox.stop()
    with pytest.raises(TransientError):
        await notify(done())
