"""The prepare room: real worker, store, spool and child; a mail ends as pages or as a reason."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.document import Workshop
from gateway.document.limits import Limits
from gateway.errors import Cause
from gateway.model import Fax, State
from gateway.outbound.prepare import GONE, Prepare
from gateway.spool import Kind, Spool
from gateway.store import Store, units
from gateway.worker import BUG_TRIES, Room, one, step
from tests.conftest import Clock
from tests.document import files, hostile
from tests.make import outbound

pytestmark = pytest.mark.anyio


@dataclass
class Desk:
    """One prepare room."""

    store: Store
    spool: Spool
    clock: Clock
    workshop: Workshop

    async def add(self, *parts: bytes) -> Fax:
        fax = outbound(since=self.clock())
        part = self.spool.part()
        part.write_bytes(files.mail(*parts))
        await self.spool.keep(part, [(fax.id, Kind.MESSAGE)])
        await self.store.add([fax], now=self.clock())
        return fax

    async def add_small(self, *parts: bytes) -> Fax:
        fax = outbound(since=self.clock())
        await self.store._db.write(units.add([fax], self.clock(), files.mail(*parts)))
        return fax

    async def work(self, fax: Fax) -> Fax:
        prepare = Prepare(self.store.messages.get, self.spool, self.workshop, 20, "letter")
        room = Room("prepare", State.ACCEPTED, one(prepare), give_up="fail")
        assert await step(room, self.store, self.clock)
        self.clock.advance(max(1.0, (await self.after(fax)).due_at - self.clock()))
        return await self.after(fax)

    async def after(self, fax: Fax) -> Fax:
        found = await self.store.get(fax.id)
        assert found
        return found

    def incoming(self) -> list[Path]:
        return [one for one in self.spool.incoming.rglob("*") if not one.match("workshop-*")]

    def kept(self, fax: Fax) -> list[str]:
        return sorted(path.name.removeprefix(f"{fax.id}.") for path in self.spool.kept())


@pytest.fixture
async def desk(store: Store, spool: Spool, clock: Clock) -> AsyncIterator[Desk]:
    async with Workshop(limits=Limits(seconds=20), scratch=spool.incoming) as workshop:
        yield Desk(store, spool, clock, workshop)


async def test_prepared(desk: Desk) -> None:
    card = files.part(b"BEGIN:VCARD\r\nEND:VCARD\r\n", "text/vcard", "ann.vcf")
    fax = await desk.add(files.part(files.pdf(2)), card)
    after = await desk.work(fax)
    document = desk.spool.path(fax.id, Kind.DOCUMENT).read_bytes()
    assert (after.state, after.pages) == (State.PREPARED, 2)
    assert after.digest == hashlib.sha256(document).hexdigest()
    assert after.skipped.startswith("ann.vcf: ")
    assert desk.kept(fax) == ["document.pdf", "first.png", "message.eml"]
    assert desk.incoming() == []


async def test_a_small_mail_is_no_file(desk: Desk) -> None:
    """Before, nor afterwards; and it can be prepared again."""
    fax = await desk.add_small(files.part(files.pdf(2)))
    after = await desk.work(fax)
    assert (after.state, after.pages) == (State.PREPARED, 2)
    assert desk.kept(fax) == ["document.pdf", "first.png"]
    assert desk.incoming() == []
    assert await desk.store.messages.get(fax.id)


async def test_a_mail_that_is_gone_is_held(desk: Desk) -> None:
    """Perhaps it was sent before an older database was put back: nobody may ask for it again."""
    fax = outbound(since=desk.clock())
    await desk.store.add([fax], now=desk.clock())
    for _ in range(BUG_TRIES):
        after = await desk.work(fax)
    assert (after.state, after.held) == (State.ACCEPTED, GONE)


@pytest.mark.parametrize(
    ("content", "cause", "words"),
    [
        (files.pdf(21), Cause.LIMIT, "a.pdf makes the fax too long: there is room for 20 pages"),
        (files.pdf(2)[:200], Cause.DOCUMENT, "a.pdf is damaged"),
        (b"MZ" + bytes(99), Cause.MEDIA, "a.pdf is called a PDF but is a Windows program"),
        (files.g4_bomb(), Cause.LIMIT, "a.pdf has a picture of 60000 x 60000 pixels"),
    ],
)
async def test_refused(desk: Desk, content: bytes, cause: Cause, words: str) -> None:
    """At the first try, and nothing of it is kept or left in the way."""
    fax = await desk.add(files.part(content, name="a.pdf"))
    after = await desk.work(fax)
    assert (after.state, after.cause, after.attempts) == (State.FAILED, cause, 0)
    assert after.reason.startswith(words)
    assert desk.kept(fax) == ["message.eml"]
    assert desk.incoming() == []


async def test_what_crashes_its_reader_twice_is_refused(desk: Desk) -> None:
    """R18: never a third time."""
    fax = await desk.add(files.part(files.form_bomb(), name="forms.pdf"))
    once = await desk.work(fax)
    assert (once.state, once.attempts, once.held) == (State.ACCEPTED, 1, "")
    after = await desk.work(fax)
    assert (after.state, after.cause) == (State.FAILED, Cause.CONVERSION)
    assert after.reason.startswith("forms.pdf cannot be read")
    assert desk.incoming() == []


async def test_given_up_at_work(desk: Desk) -> None:
    """The room's own time ends, or the daemon's: the fax stays where it was, for later."""
    fax = await desk.add(files.part(hostile.jpeg_scans(), "image/jpeg", "scans.jpg"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await desk.work(fax)
    assert (await desk.after(fax)).state is State.ACCEPTED
    other = await desk.add(files.part(files.pdf(1)))
    assert (await desk.work(other)).state is State.PREPARED
    assert desk.incoming() == []
