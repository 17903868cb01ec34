"""fetch, deliver, settle: each step checked where it can go wrong, with the real services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.mailbox import Mailbox
from gateway.document import Workshop
from gateway.errors import PermanentError, TransientError
from gateway.inbound.deliver import Deliver
from gateway.inbound.fetch import TRIES, UNKNOWN_LIFE, Fetch, e164
from gateway.inbound.settle import Settle
from gateway.mail.post import Post
from gateway.mail.smarthost import Relay, Smarthost
from gateway.model import Fax, State
from gateway.provider.audian import Access, Audian
from gateway.provider.simulator import Rule, Settings, Simulator
from gateway.rules import Route, Rules
from gateway.spool import Kind, Spool
from tests.conftest import Clock
from tests.make import inbound, pdf

pytestmark = pytest.mark.anyio

FROM = "Fax Gateway <fax@fax.local>"
RULES = Rules(route=(Route(mail=("office@example.com", "copy@example.com")),))


@dataclass
class Road:
    """The rooms over real services."""

    simulator: Simulator
    provider: Audian
    workshop: Workshop
    mailbox: Mailbox
    spool: Spool
    clock: Clock
    rules: Rules = RULES
    downloads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(10))

    async def inject(self, document: bytes = b"", **facts: Any) -> Fax:
        common: dict[str, Any] = {
            "from_number": "+12025551234", "to_number": "+14155550199",
            "document": document or pdf(2), "from_name": "John Smith", "announce": False,
        }  # fmt: skip
        provider_id = await self.simulator.inject(**common | facts)
        return inbound(
            provider_id=provider_id, created_at=self.clock(), number="", line="", attempts=1
        )

    async def fetch(self, fax: Fax) -> Fax:
        room = Fetch(
            self.provider, self.spool, self.workshop, self.downloads, 500, clock=self.clock
        )
        return await room(fax)

    async def deliver(self, fax: Fax) -> Fax:
        post = Post(Smarthost(Relay(*self.mailbox.address, timeout=3.0)), self.spool.part)
        room = Deliver(post, self.spool, lambda: self.rules, FROM, "Admin <admin@example.com>")
        return await room(fax)

    async def settle(self, fax: Fax) -> Fax:
        return await Settle(self.provider, archive=True)(fax)

    def status(self, fax: Fax) -> str:
        return next(
            str(one["status"]) for one in self.simulator.state()["inbound"]
            if one["id"] == fax.provider_id
        )  # fmt: skip


@pytest.fixture
async def road(spool: Spool, clock: Clock, tmp_path: Path) -> AsyncIterator[Road]:
    mailbox = Mailbox()
    await mailbox.start()
    async with (
        Simulator(Settings(time_scale=0)) as simulator,
        Workshop(scratch=tmp_path) as workshop,
    ):
        settings = simulator.settings
        access = Access(
            simulator.url, settings.account_id, settings.token, requests_per_second=1000
        )
        provider = Audian(access)
        yield Road(simulator, provider, workshop, mailbox, spool, clock)
        await provider.close()
    await mailbox.stop()


async def test_the_whole_road(road: Road) -> None:
    fetched = await road.fetch(await road.inject())
    assert (fetched.state, fetched.pages, fetched.number) == (State.FETCHED, 2, "+12025551234")
    assert (fetched.line, fetched.name) == ("+14155550199", "John Smith")
    mailed = await road.deliver(fetched)
    assert (mailed.state, mailed.recipient) == (
        State.MAILED,
        "office@example.com, copy@example.com",
    )
    assert road.status(mailed) == "received", "marked only after the 250 is committed"
    closed = await road.settle(mailed)
    assert (closed.state, closed.reason, road.status(closed)) == (State.CLOSED, "", "archived")
    (got,) = road.mailbox.mails
    assert (got.sender, got.files[0].name) == ("fax@fax.local", f"fax-{closed.id}.pdf")


async def test_each_step_twice_is_harmless(road: Road) -> None:
    fax = await road.inject()
    first = await road.fetch(fax)
    assert (await road.fetch(fax)).digest == first.digest
    await road.deliver(first)
    mailed = await road.deliver(first)
    ids = {got.mail["Message-ID"] for got in road.mailbox.mails}
    assert len(ids) == 1, "a copy is recognisable"
    await road.settle(mailed)
    assert (await road.settle(mailed)).state is State.CLOSED


async def test_a_hint_before_the_record(road: Road) -> None:
    early = inbound(provider_id="fax_received_early", created_at=road.clock(), attempts=1)
    with pytest.raises(TransientError, match="does not know"):
        await road.fetch(early)


async def test_a_forged_hint_is_forgotten_after_a_day(road: Road) -> None:
    forged = inbound(provider_id="forged", created_at=road.clock(), attempts=1)
    road.clock.advance(UNKNOWN_LIFE + 1)
    after = await road.fetch(forged)
    assert (after.state, after.reason) == (State.CLOSED, "the provider does not know this fax")
    assert not road.mailbox.mails


DOWNLOAD = r"/download$"


@pytest.mark.parametrize(
    "rule",
    [
        Rule("status", {"code": 404}, path_regex=DOWNLOAD, times=1),
        Rule("status", {"code": 503}, path_regex=DOWNLOAD, times=1),
        Rule("truncate", {"percent": 50}, path_regex=DOWNLOAD, times=1),
        Rule("drop_before", path_regex=DOWNLOAD, times=1),
        Rule("garbage", {"kind": "html"}, path_regex=DOWNLOAD, times=1),
        Rule("garbage", {"kind": "empty"}, path_regex=DOWNLOAD, times=1),
    ],
)
async def test_a_bad_download_is_tried_again(road: Road, rule: Rule) -> None:
    fax = await road.inject()
    road.simulator.add_fault(rule)
    with pytest.raises(TransientError):
        await road.fetch(fax)
    assert (await road.fetch(replace(fax, attempts=2))).pages == 2


async def test_a_document_that_stays_bad_is_told_and_kept_at_the_provider(road: Road) -> None:
    """A51: three times the same; a mail without attachment, an alarm, and nothing marked."""
    fax = await road.inject()
    road.simulator.add_fault(Rule("garbage", {"kind": "html"}, path_regex=DOWNLOAD))
    for attempts in range(1, TRIES):
        with pytest.raises(TransientError):
            await road.fetch(replace(fax, attempts=attempts))
    fetched = await road.fetch(replace(fax, attempts=TRIES))
    assert (fetched.state, fetched.digest) == (State.FETCHED, "")
    closed = await road.settle(await road.deliver(fetched))
    assert closed.reason.startswith("kept at the provider")
    assert road.status(closed) == "received"
    mail, alarm = road.mailbox.mails
    assert not mail.files
    assert "could not be read" in mail.text()
    assert alarm.recipients == ("admin@example.com",)


async def test_other_pages_than_announced(road: Road) -> None:
    fax = await road.inject(pages=5)
    with pytest.raises(TransientError, match="says 5 pages, the document has 2"):
        await road.fetch(fax)
    fetched = await road.fetch(replace(fax, attempts=TRIES))
    await road.deliver(fetched)
    assert "Please check the pages" in road.mailbox.mails[0].text()


async def test_downloads_at_once_are_bounded(road: Road) -> None:
    road.downloads = asyncio.Semaphore(2)
    faxes = [await road.inject() for _ in range(12)]
    await asyncio.gather(*(road.fetch(fax) for fax in faxes))
    assert road.simulator.ledger.downloads.most <= 2


async def test_one_mailbox_of_two_is_refused(road: Road) -> None:
    road.mailbox.refuse_rcpt["copy@example.com"] = "550 5.1.1 no such user"
    mailed = await road.deliver(await road.fetch(await road.inject()))
    assert mailed.recipient == "office@example.com"
    _, alarm = road.mailbox.mails
    assert "mailbox copy@example.com was refused" in alarm.text()


async def test_nobody_takes_it(road: Road) -> None:
    fetched = await road.fetch(await road.inject())
    for address in ("office@example.com", "copy@example.com"):
        road.mailbox.refuse_rcpt[address] = "550 5.1.1 no such user"
    with pytest.raises(PermanentError, match="no such user"):
        await road.deliver(fetched)


@pytest.mark.parametrize("reply", ["451 4.3.0 later", ""])
async def test_the_smarthost_does_not_take_it_now(road: Road, reply: str) -> None:
    fetched = await road.fetch(await road.inject())
    road.mailbox.trouble.times, road.mailbox.trouble.reply = 1, reply
    with pytest.raises(TransientError):
        await road.deliver(fetched)
    assert (await road.deliver(fetched)).state is State.MAILED


async def test_no_route(road: Road) -> None:
    road.rules = Rules(route=(Route(to=("+19999999999",), mail=("a@example.com",)),))
    with pytest.raises(PermanentError, match="no route for it: route 1: the fax was for"):
        await road.deliver(await road.fetch(await road.inject()))


@pytest.mark.parametrize(
    "name", ["Eve\r\nBcc: x@example.com", "\u202eevil", "../../etc/passwd", "x" * 999]
)
async def test_what_callers_call_themselves(road: Road, name: str) -> None:
    await road.deliver(await road.fetch(await road.inject(from_name=name)))
    (got,) = road.mailbox.mails
    assert "Bcc" not in got.mail
    assert got.files[0].name.startswith("fax-")
    assert len(got.mail["Subject"]) < 420


async def test_the_thumbnail_is_kept(road: Road) -> None:
    fetched = await road.fetch(await road.inject())
    assert road.spool.path(fetched.id, Kind.THUMBNAIL).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+1 (202) 555-1234", "+12025551234"),
        ("12025551234", "+12025551234"),
        ("anonymous", "anonymous"),
        ("", ""),
        ("911", "911"),
    ],
)
def test_numbers_of_callers(written: str, number: str) -> None:
    assert e164(written) == number
