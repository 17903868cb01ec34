"""Many results of one sender: no flood, no silence, nothing told twice. The real worker tells them.

The clock is ours and ticks with each look, so that no two mails are kept at the same moment.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import Envelope

from gateway.demo.mailbox import Got, Mailbox, Trouble
from gateway.janitor import FURTHEST
from gateway.mail.compose import Mail
from gateway.mail.post import Post
from gateway.mail.report import Event
from gateway.mail.smarthost import Refused, Relay, Smarthost
from gateway.model import Fax, State
from gateway.outbound.notify import A_HOUR, ALONE, MOST, TOGETHER, WAIT, Notify
from gateway.spool import Spool
from gateway.store import Store
from gateway.wishes import Wishes
from gateway.worker import Room, staff, step
from tests.conftest import Clock
from tests.make import SENDER, outbound

pytestmark = pytest.mark.anyio

ADMIN, BOB = "admin@example.com", "bob@example.com"
HOUR = 3600.0
FIRST = round(ALONE[Event.FAILURE] * A_HOUR)  # results that are told at once
SOON, LATER = WAIT[Event.FAILURE] + 1, WAIT[Event.SUCCESS] + 1


class Ticking(Clock):
    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@dataclass
class Dated(Mailbox):
    """Knows when a mail came, by our clock, and what it said."""

    clock: Clock = field(default_factory=Ticking)
    letters: list[tuple[float, str, Got]] = field(default_factory=list)

    async def _take(self, envelope: Envelope) -> None:
        await super()._take(envelope)
        got = self.mails[-1]
        self.letters.append((self.clock.now, got.text(), got))


@dataclass
class House:
    """Store, spool, rooms and the mailbox at the other end."""

    root: Path
    mailbox: Dated
    clock: Clock

    async def open(self, post: type[Post] = Post) -> None:
        self.store, self.spool = Store(self.root / "gateway.db"), Spool(self.root)
        await self.spool.open()
        await self.store.open()
        smarthost = Smarthost(Relay(*self.mailbox.address, timeout=5.0))
        self.post = post(smarthost, self.spool.part)
        notify = Notify(self.post, self.spool, "fax@fax.local", ADMIN, self.clock, self.store.told)
        self.rooms = [
            Room("notify", state, notify.in_turn, most=MOST, at_once=2)
            for state in (State.DELIVERED, State.FAILED)
        ]

    async def close(self) -> None:
        await self.store.close()
        await self.spool.close()

    async def end(self, *faxes: Fax) -> None:
        await self.store.add(faxes, now=self.clock())

    async def work(self, seconds: float = 0.0) -> None:
        """So long, by our clock; without one, only what is due."""
        until = self.clock.now + seconds
        while True:
            while any([await step(room, self.store, self.clock) for room in self.rooms]):
                pass
            dues = [await self.store.next_due(room.where) for room in self.rooms]
            due = min((due for due in dues if due is not None), default=until)
            if due >= until:
                break
            self.clock.now = max(self.clock.now, due)
        self.clock.now = max(self.clock.now, until)

    def told(self, fax: Fax) -> list[Got]:
        return [got for _, text, got in self.mailbox.letters if fax.id in text]

    def when(self, fax: Fax) -> float:
        (at,) = (at for at, text, _ in self.mailbox.letters if fax.id in text)
        return at

    def most_in_an_hour(self) -> int:
        times = [at for at, _, _ in self.mailbox.letters]
        return max(sum(0 <= at - first < HOUR for at in times) for first in times)


@pytest.fixture
async def house(tmp_path: Path, anyio_backend: object) -> AsyncIterator[House]:
    clock = Ticking()
    mailbox = Dated(clock=clock)
    await mailbox.start()
    house = House(tmp_path, mailbox, clock)
    await house.open()
    yield house
    await house.close()
    await mailbox.stop()


def delivered(**facts: Any) -> Fax:
    return outbound(State.DELIVERED, **({"pages": 1, "result_pages": 1, "calls": 1} | facts))


def failed(**facts: Any) -> Fax:
    return outbound(State.FAILED, **({"cause": "busy", "reason": "USER_BUSY", "calls": 3} | facts))


async def closed(house: House, faxes: Sequence[Fax]) -> bool:
    found = [await house.store.get(fax.id) for fax in faxes]
    return all(fax and fax.state is State.CLOSED for fax in found)


async def test_sixty_results_in_one_go(house: House) -> None:
    """Four colleagues tell at once; the rest leaves in one mail, and each is told once."""
    faxes = [*(delivered() for _ in range(30)), *(failed() for _ in range(30))]
    await house.end(*faxes)
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(staff(room, house.store, stop, house.clock))
        for room in house.rooms
        for _ in range(2)
    ]
    async with asyncio.timeout(20):
        while await due(house):  # noqa: ASYNC110 - the colleagues ring no bell when they rest
            await asyncio.sleep(0)
    stop.set()
    house.store.ring()
    await asyncio.gather(*tasks)
    alone = len(house.mailbox.mails)
    assert FIRST <= alone <= FIRST + 3
    await house.work(LATER)
    assert [len(house.told(fax)) for fax in faxes] == [1] * 60
    assert alone < len(house.mailbox.mails) <= alone + 2, "one for each time to wait"
    assert await closed(house, faxes)


async def due(house: House) -> bool:
    """Is anything at work, or to be done now?"""
    left = [fax for fax in await house.store.latest(99) if fax.state is not State.CLOSED]
    return any(fax.attempts or fax.due_at < house.clock.now for fax in left)


@pytest.mark.parametrize("seed", range(4))
async def test_however_they_come(house: House, seed: int) -> None:
    """Never more than the cap in any hour, each told once, and none much later than promised."""
    dice, faxes = random.Random(seed), dict[Fax, float]()
    for _ in range(8):
        kind = dice.choice([delivered, failed])
        more = [kind() for _ in range(dice.randint(1, 30))]
        faxes |= dict.fromkeys(more, house.clock.now)
        await house.end(*more)
        await house.work(60.0 * dice.randint(0, 20))
    await house.work(HOUR)
    assert house.most_in_an_hour() <= A_HOUR
    for fax, at in faxes.items():
        assert house.when(fax) - at <= (SOON if fax.state is State.FAILED else LATER)
    assert await closed(house, list(faxes))


async def test_a_failure_among_a_hundred_deliveries_is_told_at_once(house: House) -> None:
    await house.end(*(delivered() for _ in range(100)))
    await house.work(60)
    failure = failed()
    began = house.clock.now
    await house.end(failure)
    await house.work()
    assert house.when(failure) - began < 1
    assert house.told(failure)[0].mail["Subject"].startswith("Fax to +1 415 555 0100 FAILED")
    await house.work(HOUR)
    late = [failed() for _ in range(30)]
    await house.end(*late)
    began = house.clock.now
    await house.work(HOUR)
    assert all(house.when(fax) - began <= SOON for fax in late)


async def test_deliveries_leave_room_for_failures(house: House) -> None:
    """A hundred that end over an hour, every tenth of them badly: none of those waits long."""
    failures = dict[Fax, float]()
    for number in range(100):
        fax = failed() if number % 10 == 9 else delivered()
        await house.end(fax)
        if fax.state is State.FAILED:
            failures[fax] = house.clock.now
        await house.work(36)
    await house.work(HOUR)
    assert house.most_in_an_hour() <= A_HOUR
    assert all(house.when(fax) - at <= SOON for fax, at in failures.items())


async def test_another_sender_does_not_wait(house: House) -> None:
    mine, other = [failed() for _ in range(60)], delivered(sender=BOB)
    house.mailbox.refuse_rcpt = {SENDER: "451 4.7.1 come back later"}
    await house.end(*mine)
    await house.work()
    await house.end(other)
    began = house.clock.now
    await house.work()
    assert house.when(other) - began < 1
    house.mailbox.refuse_rcpt = {}
    await house.work(HOUR)
    assert await closed(house, mine)
    assert [len(house.told(fax)) for fax in mine] == [1] * 60


async def test_who_wants_failures_only_hears_each_at_once(house: House) -> None:
    """What nobody is told of is no mail."""
    wishes = Wishes(dsn="FAILURE").text()
    await house.end(*(delivered(wishes=wishes) for _ in range(40)))
    await house.work()
    assert not house.mailbox.mails
    failure = failed(wishes=wishes)
    await house.end(failure)
    await house.work()
    assert len(house.told(failure)) == 1


def waiting(house: House, **facts: Any) -> list[Fax]:
    """Results that wait for one mail, due now."""
    at = int(house.clock.now)
    marks = {"told": at, "due_at": float(at)} | facts
    return [delivered(**marks), failed(**marks), delivered(**marks), failed(**marks)]


class PowerCutError(BaseException):
    """The process dies here."""


@dataclass(frozen=True, slots=True)
class CutPost(Post):
    async def send(
        self, mail: Mail, recipients: tuple[str, ...], sender: str = ""
    ) -> list[Refused]:
        await Post.send(self, mail, recipients, sender)
        raise PowerCutError


async def test_the_power_fails_when_the_mail_is_taken(house: House) -> None:
    """Nobody knows any more that it was: it is the same mail again, though others came since."""
    faxes = waiting(house)
    await house.end(*faxes)
    await house.close()
    await house.open(CutPost)
    with suppress(PowerCutError):
        await house.work()
    await house.close()
    await house.open()
    others = waiting(house, told=int(house.clock.now) + 1)
    await house.end(*others)
    await house.work(HOUR)
    assert await closed(house, [*faxes, *others])
    first, again, other = house.mailbox.mails
    assert first.mail["Message-ID"] == again.mail["Message-ID"] != other.mail["Message-ID"]
    assert first.text() == again.text()
    assert all(len(house.told(fax)) == 2 for fax in faxes)
    assert all(len(house.told(fax)) == 1 for fax in others)


async def test_the_power_fails_before_it_is_taken(house: House) -> None:
    faxes = waiting(house)
    await house.end(*faxes)
    assert await house.store.claim(State.FAILED, now=house.clock(), lease=9.0, most=MOST)
    await house.close()
    await house.open()
    await house.work()
    (got,) = house.mailbox.mails
    assert all(fax.id in got.text() for fax in faxes)
    assert await closed(house, faxes)


@pytest.mark.parametrize(
    ("trouble", "copies"),
    [
        (Trouble(times=2, reply="451 4.3.0 later"), 1),
        (Trouble(times=2), 1),
        (Trouble(times=1, after_taking=True), 2),  # taken, and we never heard it
    ],
)
async def test_a_smarthost_in_trouble(house: House, trouble: Trouble, copies: int) -> None:
    """They stay together: what is tried again is the same mail."""
    house.mailbox.trouble = trouble
    faxes = waiting(house)
    await house.end(*faxes)
    await house.work(HOUR)
    ids = Counter(got.mail["Message-ID"] for got in house.mailbox.mails)
    assert list(ids.values()) == [copies]
    assert all(len(house.told(fax)) == copies for fax in faxes)
    assert await closed(house, faxes)


async def test_no_such_mailbox_is_one_mail_to_the_administrator(house: House) -> None:
    house.mailbox.refuse_rcpt = {SENDER: "550 5.1.1 no such mailbox"}
    faxes = waiting(house)
    await house.end(*faxes)
    await house.work()
    (got,) = house.mailbox.mails
    assert got.recipients == (ADMIN,)
    assert all(fax.id in got.text() for fax in faxes)
    after = await house.store.get(faxes[0].id)
    assert after
    assert "the sender could not be told: " in after.reason


async def test_each_hears_only_what_is_meant_for_them(house: House) -> None:
    mine, others = waiting(house), waiting(house, wishes=Wishes(tell=BOB).text())
    await house.end(*mine, *others)
    await house.work()
    assert sorted(got.recipients for got in house.mailbox.mails) == [(SENDER,), (BOB,)]
    for fax in (*mine, *others):
        (got,) = house.told(fax)
        assert got.recipients == ((BOB,) if fax in others else (SENDER,))
    assert await closed(house, [*mine, *others])


async def test_whose_turn_did_not_come_has_tried_nothing(house: House) -> None:
    """Else, after the mails to a few others, the first error of ours would hold it."""
    await house.end(*waiting(house), *waiting(house, wishes=Wishes(tell=BOB).text()))
    room = house.rooms[0]
    assert await step(room, house.store, house.clock)
    (got,) = house.mailbox.mails
    left = [fax for fax in await house.store.latest(99) if fax.state is not State.CLOSED]
    assert len(left) == 4
    assert {fax.attempts for fax in left} == {0}
    assert not any(fax.id in got.text() for fax in left)


async def test_one_that_waited_alone_is_told_as_ever(house: House) -> None:
    fax = failed(told=int(house.clock.now))
    await house.end(fax)
    await house.work()
    (got,) = house.mailbox.mails
    assert got.mail["Message-ID"] == f"<{fax.id}.failed@fax.local>"


async def test_a_full_hour_holds_back_even_those(house: House) -> None:
    full = round(TOGETHER * A_HOUR)
    await house.end(*(failed() for _ in range(FIRST)))
    await house.work()
    for _ in range(full - FIRST):
        await house.end(*waiting(house))
        await house.work()
        house.clock.advance(1)
    assert len(house.mailbox.mails) == full
    last = waiting(house)
    await house.end(*last)
    await house.work()
    assert len(house.mailbox.mails) == full
    (note,) = (event.note for event in (await house.store.history(last[0].id))[1:])
    assert note == f"told together with others: {full} mails in an hour"
    await house.work(HOUR + LATER)
    assert all(len(house.told(fax)) == 1 for fax in last)
    assert await closed(house, last)


@pytest.mark.parametrize(("most", "alone"), [(0, 30), (200, 30), (20, 9), (5, 3), (1, 1)])
async def test_the_limit_is_a_setting(house: House, most: int, alone: int) -> None:
    """However low it is, nobody is left in silence."""
    notify = Notify(house.post, house.spool, "fax@fax.local", ADMIN, house.clock,
                    house.store.told, most)  # fmt: skip
    house.rooms = [Room("notify", State.DELIVERED, notify.in_turn, most=MOST)]
    faxes = [delivered() for _ in range(30)]
    await house.end(*faxes)
    await house.work()
    assert len(house.mailbox.mails) == alone
    await house.work(HOUR + LATER)
    assert all(len(house.told(fax)) == 1 for fax in faxes)


@pytest.mark.parametrize("seed", range(6))
async def test_a_clock_that_jumps(house: House, seed: int) -> None:
    """P12: to and fro, while results wait; the process may die. Each is told, and only once."""
    dice, faxes, jumped = random.Random(seed), list[Fax](), 0.0
    for _ in range(8):
        more = [dice.choice([delivered, failed])() for _ in range(dice.randint(1, 30))]
        faxes += more
        await house.end(*more)
        await house.work(60.0 * dice.randint(0, 20))
        jump = dice.choice([0.0, HOUR, 86400.0, 10 * 365 * 86400.0, -jumped])
        jumped += jump
        house.clock.advance(jump)
        if dice.random() < 0.4:
            await house.close()
            await house.open()
    house.clock.advance(-jumped)
    for _ in range(3):
        await house.store.clamp(house.clock() + FURTHEST)  # as the janitor does every hour
        await house.work(HOUR)
    assert await closed(house, faxes)
    assert [len(house.told(fax)) for fax in faxes] == [1] * len(faxes)
