"""A ceiling at submission: a fax waits and says why, goes when there is room, or fails."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.errors import Cause, PermanentError, TransientError, UncertainError
from gateway.model import Fax, State
from gateway.outbound.permit import Defaults, Policy
from gateway.outbound.submit import Submit
from gateway.provider import Phase, Sent
from gateway.rules import Rules
from gateway.spool import Kind, Spool
from gateway.store import Store
from gateway.worker import Room, one, step
from tests.conftest import Clock
from tests.make import LINE, outbound

pytestmark = pytest.mark.anyio

HOUR, DAY = 3600.0, 86400.0
ANN, BOB = "address:ann@example.com", "login:bob"


def policy(limits: dict[str, object], **sender: object) -> Policy:
    senders = [{"domain": "example.com", **sender}] if sender else []
    rules = Rules.model_validate({"sender": senders, "limits": limits})
    return Policy(rules, Defaults(line=LINE))


@dataclass
class Provider:
    """Takes every fax and keeps a ledger, but for the numbers in `fails`."""

    clock: Clock
    fails: dict[str, Exception] = field(default_factory=dict)
    ledger: list[Sent] = field(default_factory=list)

    async def send(self, *, to: str, line: str, document: Path, reference: str) -> str:
        await asyncio.sleep(0)
        if error := self.fails.get(to):
            raise error
        self.ledger.append(
            Sent(
                f"job{len(self.ledger)}",
                Phase.WORKING,
                "pending",
                to,
                line,
                created_at=self.clock(),
            )
        )
        return self.ledger[-1].id

    async def sent(self, since: float) -> list[Sent]:
        return list(self.ledger)

    async def details(self, provider_id: str) -> Sent | None:
        return None


@dataclass
class Desk:
    """The submit room over a real store and spool; `policy` may be replaced, as by a reload."""

    store: Store
    spool: Spool
    clock: Clock
    provider: Provider
    policy: Policy

    async def add(self, count: int = 1, pages: int = 1, identity: str = ANN) -> list[Fax]:
        faxes: list[Fax] = []
        for _ in range(count):
            number = f"+1415555{len(await self.store.latest(999)) + len(faxes):04}"
            fax = outbound(
                State.PREPARED, since=self.clock(), identity=identity, pages=pages, number=number
            )
            part = self.spool.part()
            part.write_bytes(b"%PDF-1.7 pages")
            await self.spool.keep(part, [(fax.id, Kind.DOCUMENT)])
            faxes.append(fax)
        await self.store.add(faxes, now=self.clock())
        return faxes

    async def step(self) -> bool:
        return await step(self.room(), self.store, self.clock)

    def room(self) -> Room:
        work = Submit(
            self.provider, self.store, self.spool, clock=self.clock,
            ceilings=lambda fax: self.policy.ceilings(fax.identity, fax.sender),
        )  # fmt: skip
        return Room("submit", State.PREPARED, one(work), give_up="fail", life=DAY)

    async def after(self, fax: Fax) -> Fax:
        found = await self.store.get(fax.id)
        assert found
        return found

    async def until_moved(self, fax: Fax) -> Fax:
        """Only this one is left: follow it, at its own pace."""
        for _ in range(1000):
            found = await self.after(fax)
            if found.state is not State.PREPARED or found.held:
                return found
            self.clock.advance(max(1.0, found.due_at - self.clock()))
            await self.step()
        raise AssertionError(found)


@pytest.fixture
async def desk(store: Store, spool: Spool, clock: Clock) -> Desk:
    return Desk(store, spool, clock, Provider(clock), policy({"faxes_per_hour": 1}))


async def test_it_waits_says_why_and_goes(desk: Desk) -> None:
    start = desk.clock()
    first, second = await desk.add(2)
    while await desk.step():
        pass
    waiting = next(f for f in [await desk.after(first), await desk.after(second)] if f.trouble)
    assert waiting.trouble == (
        "no more are allowed than 1 fax an hour in all; there is room again at 2026-02-02 03:40 UTC"
    )
    assert 0 < waiting.due_at - start <= 600, "a limit may be raised, and its age is watched"
    sent = await desk.until_moved(waiting)
    assert (sent.state, sent.trouble, len(desk.provider.ledger)) == (State.SUBMITTED, "", 2)
    assert HOUR <= desk.clock() - start <= HOUR + 700


async def test_a_fax_that_never_fits_fails_at_once(desk: Desk) -> None:
    desk.policy = policy({}, pages_per_day=5)
    (fax,) = await desk.add(pages=6)
    await desk.step()
    after = await desk.after(fax)
    assert (after.state, after.cause, after.reason) == (
        State.FAILED,
        Cause.POLICY,
        "The fax has 6 pages; no more are allowed than 5 pages a day from this sender",
    )
    assert not desk.provider.ledger


async def test_it_fails_in_words_when_it_is_too_old(desk: Desk) -> None:
    """P2: within its life and an hour its sender hears, however often others took the room."""
    desk.policy = policy({"faxes_per_day": 1})
    start = desk.clock()
    await desk.add()
    await desk.step()
    (late,) = await desk.add()
    desk.clock.advance(DAY / 2)
    (other,) = await desk.add(identity=BOB)
    assert await desk.store.begin_attempt(other, now=desk.clock())
    after = await desk.until_moved(late)
    assert (after.state, after.cause) == (State.FAILED, Cause.EXPIRED)
    assert "no more are allowed than 1 fax a day in all; there is room again at" in after.reason
    assert DAY <= desk.clock() - start <= DAY + HOUR


async def test_fifty_at_once_by_eight_colleagues(desk: Desk) -> None:
    """Overspend 0, and all there is is used: 20 pages an hour of each, 30 of both."""
    desk.policy = policy({"pages_per_hour": 30}, pages_per_hour=20)
    await desk.add(25, pages=3, identity=ANN)
    await desk.add(25, pages=3, identity=BOB)

    async def colleague() -> None:
        while await desk.step():
            pass

    await asyncio.gather(*(colleague() for _ in range(8)))
    faxes = await desk.store.latest(99)
    went = [fax for fax in faxes if fax.state is State.SUBMITTED]
    assert len(went) == len(desk.provider.ledger) == 10
    pages = {who: sum(f.pages for f in went if f.identity == who) for who in (ANN, BOB)}
    assert sum(pages.values()) == 30
    assert max(pages.values()) <= 20
    assert all("no more are allowed than" in f.trouble for f in faxes if f not in went)


@pytest.mark.parametrize(
    ("error", "released"),
    [
        (TransientError("503"), True),
        (PermanentError("bad number"), True),
        (UncertainError("read timeout"), False),
    ],
)
async def test_what_became_of_an_upload(desk: Desk, error: Exception, released: bool) -> None:
    (first,) = await desk.add()
    desk.provider.fails[first.number] = error
    await desk.step()
    (second,) = await desk.add()
    await desk.step()
    assert (await desk.after(second)).state is (State.SUBMITTED if released else State.PREPARED)
    assert len(desk.provider.ledger) == released


async def test_proven_absent_is_released(desk: Desk) -> None:
    """K38: looked for, not there, sent again: one reservation in the end."""
    witness = (await desk.add())[0]
    await desk.step()
    await desk.store.shown("job0", now=desk.clock())
    desk.policy = policy({"faxes_per_day": 2})
    (lost,) = await desk.add()
    desk.provider.fails[lost.number] = UncertainError("read timeout")
    await desk.step()
    desk.provider.fails.clear()
    assert (await desk.until_moved(lost)).state is State.SUBMITTED
    outcomes = [a.outcome for f in (witness, lost) for a in await desk.store.attempts(f.id)]
    assert outcomes == ["accepted", "absent", "accepted"]
    assert len(desk.provider.ledger) == 2


async def test_rules_in_force_count_not_those_of_the_door(desk: Desk) -> None:
    await desk.add()
    await desk.step()
    (fax,) = await desk.add()
    await desk.step()
    assert (await desk.after(fax)).state is State.PREPARED
    desk.policy = policy({"faxes_per_hour": 2})
    desk.clock.advance(600)
    await desk.step()
    assert (await desk.after(fax)).state is State.SUBMITTED


CHILD = """
import asyncio, sys
from pathlib import Path
from gateway.model import Ceiling, State
from gateway.store import Store
from gateway.model import Attempt
from tests.make import outbound

async def main() -> None:
    store = Store(Path(sys.argv[1]))
    await store.open()
    ceilings = [Ceiling("gateway", 86400.0, pages=100)]

    async def send(n: int) -> None:
        fax = outbound(State.PREPARED, pages=3, number=f"+1415555{n:04}")
        await store.add([fax], now=1.77e9)
        begun = await store.begin_attempt(fax, now=1.77e9, ceilings=ceilings)
        if isinstance(begun, Attempt):
            print(f'["{begun.id}", "reserved"]', flush=True)
            if n % 3 == 0:
                await store.end_attempt(begun, "refused", now=1.77e9)
                print(f'["{begun.id}", "refused"]', flush=True)

    n = 0
    while True:
        await asyncio.gather(*(send(n + i) for i in range(7)))
        n += 7

asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 8, 40])
async def test_killed_while_it_reserves(tmp_path: Path, after: int) -> None:
    """K37: whatever was said to be reserved is, nothing is lost or counted twice, and it holds."""
    path = tmp_path / "gateway.db"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout
    heard = [json.loads(await child.stdout.readline()) for _ in range(after)]
    child.send_signal(signal.SIGKILL)
    heard += [json.loads(line) for line in (await child.stdout.read()).splitlines(keepends=True)
              if line.endswith(b"\n")]  # fmt: skip
    await child.wait()
    store = Store(path)
    await store.open()
    rows = [a for fax in await store.latest(9999) for a in await store.attempts(fax.id)]
    outcomes = {row.id: row.outcome for row in rows}
    assert {name for name, _ in heard} <= outcomes.keys()
    assert all(outcomes[name] == "refused" for name, what in heard if what == "refused")
    assert sum(row.pages for row in rows if not row.outcome) <= 100
    await store.close()
