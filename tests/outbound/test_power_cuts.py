"""The power fails at every write of a fax's way out: one fax at the provider, and never silence.

Store, spool, provider client, simulator, smarthost and mailbox are the real ones, on one clock of
ours. A fuse burns after the n-th durable write, upload or mail, which is before the next one; the
process's state is thrown away, the directory is opened again, and the fax must find its end. Then
the same for n + 1, until one run gets through without a cut (K8 to K19 of the crash table).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from gateway.alarm import Alarm
from gateway.demo.mailbox import Mailbox
from gateway.document import Workshop
from gateway.mail.compose import Mail
from gateway.mail.post import Post
from gateway.mail.smarthost import Refused, Relay, Smarthost
from gateway.model import Fax, State
from gateway.outbound.notify import Notify
from gateway.outbound.prepare import Prepare
from gateway.outbound.submit import Submit
from gateway.outbound.track import Track
from gateway.provider.audian import Access, Audian
from gateway.provider.simulator import Settings, Simulator
from gateway.provider.simulator.faults import Rule
from gateway.spool import Kind, Spool, Unfinished
from gateway.store import HELD, Store
from gateway.store.messages import Messages
from gateway.store.sqlite import Sqlite, T, Unit
from gateway.worker import Room, one, step
from tests.conftest import Clock
from tests.make import outbound, pdf
from tests.provider.sandbox import PROMPT

pytestmark = pytest.mark.anyio

ADMIN = "admin@example.com"
FIRST, LAST = 10, 12  # points of a run at which it is cut


class PowerCutError(BaseException):
    """The process dies here."""


@dataclass
class Fuse:
    """Burns at its n-th point; 0 = never."""

    at: int = 0
    passed: int = 0

    def point(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            raise PowerCutError


class CutSqlite(Sqlite):
    fuse = Fuse()

    async def write(self, unit: Unit[T]) -> T:
        result = await super().write(unit)
        self.fuse.point()
        return result


class CutSpool(Spool):
    fuse = Fuse()

    async def keep(self, part: Path | Unfinished, *names: Any, **then: Any) -> Any:
        outcome = await super().keep(part, *names, **then)
        self.fuse.point()
        return outcome


class CutAudian(Audian):
    fuse = Fuse()

    async def send(self, **what: Any) -> str:
        fax_id = await super().send(**what)
        self.fuse.point()
        return fax_id


@dataclass(frozen=True, slots=True)
class CutPost(Post):
    fuse: Fuse = field(default_factory=Fuse)

    async def send(
        self, mail: Mail, recipients: tuple[str, ...], sender: str = ""
    ) -> list[Refused]:
        refused = await Post.send(self, mail, recipients, sender)
        self.fuse.point()
        return refused


@dataclass
class Street:
    """What outlives the gateway: the provider, the mailbox, the clock, and a warm workshop."""

    sim: Simulator
    mailbox: Mailbox
    clock: Clock
    workshop: Workshop
    provider: CutAudian
    smarthost: Smarthost


@pytest.fixture
async def street(clock: Clock, tmp_path: Path) -> AsyncIterator[Street]:
    mailbox, workshop = Mailbox(), Workshop(scratch=tmp_path)
    await mailbox.start()
    await workshop.start()
    async with Simulator(Settings(timing=PROMPT, max_outbound=0), wall=clock) as sim:
        access = Access(sim.url, sim.settings.account_id, sim.settings.token,
                        requests_per_second=10_000)  # fmt: skip
        provider = CutAudian(access, clock, clock)
        relay = Smarthost(Relay(*mailbox.address))
        yield Street(sim, mailbox, clock, workshop, provider, relay)
        await provider.close()
    await workshop.stop()
    await mailbox.stop()


class Life:
    """One life of the gateway's process over a directory."""

    def __init__(self, root: Path, street: Street, fuse: Fuse) -> None:
        self.street, self.clock, self.fuse = street, street.clock, fuse
        self.spool, self.store = CutSpool(root), Store(root / "gateway.db")
        self.store._db = self.db = CutSqlite(root / "gateway.db")
        self.store.messages = Messages(self.db)
        self.provider = street.provider

    async def __aenter__(self) -> Self:
        await self.spool.open()
        await self.store.open()
        self.db.fuse = self.spool.fuse = self.provider.fuse = self.fuse
        return self

    async def __aexit__(self, *_: object) -> None:
        self.db.fuse = self.spool.fuse = self.provider.fuse = Fuse()
        await self.store.close()
        await self.spool.close()

    def rooms(self) -> list[Room]:
        post = CutPost(self.street.smarthost, self.spool.part, self.fuse)
        submit = Submit(self.provider, self.store, self.spool, clock=self.clock)
        prepare = Prepare(self.store.messages.get, self.spool, self.street.workshop, 9, "letter")
        notify = Notify(post, self.spool, "fax@fax.local", ADMIN, self.clock).in_turn

        async def witness(provider_id: str) -> None:
            await self.store.shown(provider_id, now=self.clock())

        track = Track(self.provider, 60.0, self.clock, witness)
        return [
            Room("prepare", State.ACCEPTED, one(prepare), give_up="fail"),
            Room("submit", State.PREPARED, one(submit), give_up="fail"),
            Room("track", State.SUBMITTED, track, most=100, ahead=5.0),
            Room("notify", State.DELIVERED, notify),
            Room("notify", State.FAILED, notify),
            Room("alarm", HELD, one(Alarm(post, self.spool, "fax@fax.local", ADMIN, self.clock))),
        ]

    async def to_the_end(self, most_rooms: int = 99) -> None:
        """Work until nothing is ever due again."""
        rooms = self.rooms()[:most_rooms]
        for _ in range(1000):
            dues = [(await self.store.next_due(room.where), at) for at, room in enumerate(rooms)]
            waiting = [(due, at) for due, at in dues if due is not None]
            if not waiting:
                return
            due, at = min(waiting)
            self.clock.advance(max(0.0, due - self.clock()))
            assert await step(rooms[at], self.store, self.clock)
        raise AssertionError("it does not come to an end")


async def prepared(life: Life, fax: Fax) -> Fax:
    part = life.spool.part()
    part.write_bytes(content := pdf(1))
    await life.spool.keep(part, [(fax.id, Kind.DOCUMENT)])
    return outbound(
        State.PREPARED, id=fax.id, number=fax.number, pages=1, since=life.clock(),
        digest=hashlib.sha256(content).hexdigest(), message_id=f"<{fax.id}@example.com>",
        created_at=life.clock(),
    )  # fmt: skip


async def accepted(life: Life, fax: Fax) -> Fax:
    part = life.spool.part()
    part.write_bytes(b"From: ann@example.com\r\nSubject: x\r\n\r\nThe text of the mail.\r\n")
    await life.spool.keep(part, [(fax.id, Kind.MESSAGE)])
    return outbound(
        number=fax.number, id=fax.id, since=life.clock(), created_at=life.clock(),
        message_id=f"<{fax.id}@example.com>",
    )  # fmt: skip


async def prove_lists(life: Life) -> None:
    """This provider's list once showed a fax of ours while it was at work."""
    other = outbound(State.CLOSED, number="+14155619999")
    await life.store.add([other], now=life.clock())
    attempt = await life.store.begin_attempt(other, now=life.clock())
    assert attempt
    await life.store.end_attempt(attempt, "accepted", now=life.clock(), provider_id="proof")
    await life.store.shown("proof", now=life.clock())


PUT: dict[str, Any] = {"method": "PUT", "path_regex": "/faxes$", "times": 1}
LOST = Rule("drop_after_accept", {"reset": True}, **PUT)
NEVER_CAME = Rule("drop_before", {"reset": True}, **PUT)
REFUSED = Rule("status", {"code": 401}, **PUT)


@dataclass(frozen=True)
class Story:
    fault: Rule | None = None
    proven: bool = True  # lists were seen to show faxes at work
    finds: bool = True  # nobody needs to decide: held only after a second absence
    from_mail: bool = False
    faxes: int = 1
    ending: str = ""  # of the number: how the call ends


STORIES = {
    "from the mail": Story(from_mail=True),
    "two to one number": Story(faxes=2),
    "answer lost, two to one number": Story(LOST, faxes=2),
    "never came": Story(NEVER_CAME, finds=False),
    "never came, lists prove nothing": Story(NEVER_CAME, finds=False, proven=False),
    "refused for now": Story(REFUSED),
    "busy line": Story(ending="0002"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STORIES)
async def test_the_power_fails_anywhere(street: Street, tmp_path: Path, name: str) -> None:
    """At every write of the first steps and of the last; the looks between are all alike."""
    whole = await one_run(street, tmp_path / "0", STORIES[name], 0)
    cuts = [at for at in range(1, whole + 1) if at <= FIRST or at > whole - LAST]
    burnt = [await one_run(street, tmp_path / str(at), STORIES[name], at) == at for at in cuts]
    assert sum(burnt) >= len(cuts) - 3  # jitter makes a run a few points shorter


async def one_run(street: Street, root: Path, story: Story, at: int) -> int:
    """Points passed. Whatever happened: at most one call a fax, and somebody was told."""
    number = f"+1415{600 + at}{story.ending or '2000'}"
    street.sim.account.faults.clear()
    if story.fault:
        street.sim.account.faults.add(story.fault)
    async with Life(root, street, Fuse()) as life:
        if story.proven:
            await prove_lists(life)
        make = accepted if story.from_mail else prepared
        faxes = [await make(life, outbound(number=number)) for _ in range(story.faxes)]
        await life.store.add(faxes, now=life.clock())
    fuse = Fuse(at)
    async with Life(root, street, fuse) as life:
        with suppress(PowerCutError):
            await life.to_the_end(1 if story.from_mail else 99)
    async with Life(root, street, Fuse()) as life:
        await life.to_the_end()
        ends = [await life.store.get(fax.id) for fax in faxes]
    check(street, [fax for fax in ends if fax], story, number)
    return fuse.passed


def check(street: Street, faxes: list[Fax], story: Story, number: str) -> None:
    jobs = [job.id for job in street.sim.ledger.stored if job.to_number == number]
    assert len(faxes) == story.faxes, "lost"
    assert len(jobs) <= len(faxes), f"sent twice: {jobs}"
    held = [fax for fax in faxes if fax.held]
    closed = [fax for fax in faxes if fax.state is State.CLOSED]
    assert len(held) + len(closed) == len(faxes), "silence"
    why = [fax.held for fax in held]
    bound = sorted(fax.provider_id for fax in closed)
    assert bound == sorted(jobs) or (held and set(bound) <= set(jobs)), f"wrongly bound: {why}"
    assert all("may have been sent" in text for text in why)
    if story.finds:
        assert not held, why
    copies = Counter(
        (got.recipients[0], got.mail["Message-ID"])
        for got in street.mailbox.mails
        if any(fax.id in got.content.decode("utf-8", "replace") for fax in faxes)
    )
    told = {who for who, _ in copies}
    assert all(fax.sender in told for fax in faxes), "the sender heard nothing"
    assert max(copies.values()) <= 2
    assert sum(copies.values()) <= len(copies) + (2 if held else 1), copies
