"""The administrator hears of trouble, once an hour for each kind, also when the relay was away."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.errors import PermanentError, TransientError
from gateway.mail.compose import Mail
from gateway.pager import MOST, Pager
from tests.conftest import Clock

pytestmark = pytest.mark.anyio


@dataclass
class Relay:
    """Takes mails, after it has failed so often."""

    errors: list[Exception] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, mail: Mail, recipients: tuple[str, ...]) -> list[Any]:
        assert recipients == mail.to == ("admin@example.com",)
        if self.errors:
            raise self.errors.pop()
        self.mails.append(mail)
        self.came.set()
        return []


async def told(relay: Relay, pager: Pager, mails: int) -> list[Mail]:
    """What the admin got, when so many had come."""
    running = asyncio.create_task(pager.run())
    async with asyncio.timeout(10):
        while len(relay.mails) < mails:
            await relay.came.wait()
            relay.came.clear()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return relay.mails


def pager_of(relay: Relay, clock: Clock, admin: str = "Admin <admin@example.com>") -> Pager:
    return Pager(relay, "fax@fax.local", admin, clock, again=0.01)  # type: ignore[arg-type]


async def test_once_an_hour_for_each_kind(clock: Clock) -> None:
    relay = Relay()
    pager = pager_of(relay, clock)
    for _ in range(3):
        pager("spending has stopped", "the limit is reached (5 faxes an hour in all)")
        pager("the mailbox cannot be used", "login refused")
    clock.advance(3601)
    pager("spending has stopped", "the limit is reached again")
    mails = await told(relay, pager, 3)
    assert [mail.subject for mail in mails] == [
        "Fax gateway: spending has stopped",
        "Fax gateway: the mailbox cannot be used",
        "Fax gateway: spending has stopped",
    ]
    assert "The limit is reached (5 faxes an hour in all)." in mails[0].text
    assert mails[0].headers["Auto-Submitted"] == "auto-generated"
    assert len({mail.message_id for mail in mails}) == 3


async def test_a_relay_that_is_away_is_asked_again(clock: Clock) -> None:
    relay = Relay([TransientError("no route"), TransientError("no route")])
    pager = pager_of(relay, clock)
    pager("the mailbox cannot be used", "login refused\r\nBcc: evil@example.com")
    (mail,) = await told(relay, pager, 1)
    assert "Bcc: evil@example.com" not in mail.text.splitlines()


async def test_who_is_refused_for_good_holds_up_nobody(clock: Clock) -> None:
    relay = Relay([PermanentError("550 no such mailbox")])
    pager = pager_of(relay, clock)
    pager("one", "trouble")
    pager("two", "trouble")
    assert [mail.subject for mail in await told(relay, pager, 1)] == ["Fax gateway: two"]


async def test_nobody_to_tell_and_too_much_to_tell(clock: Clock) -> None:
    nobody = pager_of(Relay(), clock, admin="")
    nobody("one", "trouble")
    assert nobody._waiting.empty()
    pager = pager_of(Relay(), clock)
    for number in range(2 * MOST):
        pager(f"trouble {number}", "trouble")
    assert pager._waiting.qsize() == MOST
