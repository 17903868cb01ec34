"""Submission: sent once, as far as anyone can prove; when nobody can, a person decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gateway.errors import PermanentError, TransientError, UncertainError
from gateway.model import Fax, State
from gateway.outbound.submit import ABSENT_LOOKS, Submit
from gateway.provider import Phase, Sent
from gateway.spool import Kind, Spool
from gateway.store import HELD, Change, Store
from gateway.worker import Room, one, step
from tests.conftest import Clock
from tests.make import LINE, NUMBER, outbound

pytestmark = pytest.mark.anyio


class PowerCutError(BaseException):
    """The process dies here."""


@dataclass
class Loopback:
    """A provider in memory: what it took, and how its answer gets lost."""

    clock: Clock
    answer: Callable[[str], str] = lambda fax_id: fax_id
    takes: bool = True
    listed: bool = True
    list_error: Exception | None = None
    calls: int = 0
    jobs: list[Sent] = field(default_factory=list)

    async def send(self, *, to: str, line: str, document: Path, reference: str) -> str:
        self.calls += 1
        fax_id = f"job{self.calls}"
        if self.takes:
            self.jobs.append(
                Sent(fax_id, Phase.WORKING, "pending", to, line, created_at=self.clock())
            )
        return self.answer(fax_id)

    async def sent(self, since: float) -> list[Sent]:
        if self.list_error:
            raise self.list_error
        return list(self.jobs) if self.listed else []

    async def details(self, provider_id: str) -> Sent | None:
        return None


def lost(error: BaseException) -> Callable[[str], str]:
    def answer(_: str) -> str:
        raise error

    return answer


@dataclass
class Desk:
    """One submit room over a real store and spool."""

    store: Store
    spool: Spool
    clock: Clock
    provider: Loopback

    async def add(self, **facts: object) -> Fax:
        fax = outbound(State.PREPARED, since=self.clock(), **facts)
        part = self.spool.part()
        part.write_bytes(b"%PDF-1.7 pages")
        await self.spool.keep(part, [(fax.id, Kind.DOCUMENT)])
        await self.store.add([fax], now=self.clock())
        return fax

    async def step(self) -> None:
        work = Submit(self.provider, self.store, self.spool, clock=self.clock)
        room = Room("submit", State.PREPARED, one(work), give_up="fail")
        await step(room, self.store, self.clock)

    async def restart(self) -> None:
        await self.store.close()
        await self.store.open()

    async def after(self, fax: Fax) -> Fax:
        found = await self.store.get(fax.id)
        assert found
        return found

    async def wait_out(self, fax: Fax, passes: int = 40) -> Fax:
        for _ in range(passes):
            found = await self.after(fax)
            if found.state is not State.PREPARED or found.held:
                break
            self.clock.advance(max(1.0, found.due_at - self.clock()))
            await self.step()
        return await self.after(fax)


@pytest.fixture
async def desk(store: Store, spool: Spool, clock: Clock) -> Desk:
    return Desk(store, spool, clock, Loopback(clock))


async def test_sent(desk: Desk) -> None:
    fax = await desk.add()
    await desk.step()
    after = await desk.after(fax)
    assert (after.state, after.provider_id, after.calls) == (State.SUBMITTED, "job1", 1)
    assert [a.outcome for a in await desk.store.attempts(fax.id)] == ["accepted"]


async def test_the_attempt_is_durable_before_the_first_byte(desk: Desk) -> None:
    seen: list[str] = []
    fax = await desk.add()
    real = desk.provider.send

    async def send(**what: object) -> str:
        seen.extend(a.outcome for a in await desk.store.attempts(fax.id))
        return await real(**what)  # type: ignore[arg-type]

    desk.provider.send = send  # type: ignore[method-assign]
    await desk.step()
    assert seen == [""]


async def test_proven_refusal_is_tried_again(desk: Desk) -> None:
    desk.provider.takes = False
    desk.provider.answer = lost(TransientError("503 before anything"))
    fax = await desk.add()
    await desk.step()
    desk.provider.takes, desk.provider.answer = True, lambda fax_id: fax_id
    after = await desk.wait_out(fax)
    assert (after.state, desk.provider.calls) == (State.SUBMITTED, 2)


async def test_final_refusal_fails_and_says_why(desk: Desk) -> None:
    desk.provider.answer = lost(PermanentError("The fax provider refused the fax: bad number"))
    fax = await desk.add()
    await desk.step()
    after = await desk.after(fax)
    assert (after.state, after.reason) == (
        State.FAILED,
        "The fax provider refused the fax: bad number",
    )


@pytest.mark.parametrize("how", [UncertainError("read timeout"), PowerCutError()])
async def test_taken_but_the_answer_was_lost(desk: Desk, how: BaseException) -> None:
    """The provider has it: it is found and bound, and never sent a second time."""
    desk.provider.answer = lost(how)
    fax = await desk.add()
    try:
        await desk.step()
    except PowerCutError:
        await desk.restart()
        desk.clock.advance(3600)
    desk.provider.answer = lambda fax_id: fax_id
    after = await desk.wait_out(fax)
    assert (after.state, after.provider_id) == (State.SUBMITTED, "job1")
    assert desk.provider.calls == 1


async def test_answer_kept_but_the_move_was_not(desk: Desk) -> None:
    fax = await desk.add()
    attempt = await desk.store.begin_attempt(fax, now=desk.clock())
    assert attempt
    await desk.store.end_attempt(attempt, "accepted", now=desk.clock(), provider_id="job9")
    after = await desk.wait_out(fax)
    assert (after.provider_id, desk.provider.calls) == ("job9", 0)


async def test_never_listed_is_held_not_sent_again(desk: Desk) -> None:
    desk.provider.answer, desk.provider.listed = lost(UncertainError("500")), False
    fax = await desk.add()
    started = desk.clock()
    after = await desk.wait_out(fax)
    assert "may have been sent" in after.held
    assert desk.provider.calls == 1
    assert desk.clock() - started > 600
    (attempt,) = await desk.store.attempts(fax.id)
    assert (attempt.outcome, attempt.looks >= ABSENT_LOOKS) == ("unknown", True)


async def test_absent_where_lists_are_proven_is_sent_once_more(desk: Desk) -> None:
    """Ten minutes and three lists without it, and lists that do show faxes at work."""
    other = await desk.add(number="+14155550122")
    await desk.step()
    await desk.store.shown("job1", now=desk.clock())
    desk.provider.answer, desk.provider.takes = lost(UncertainError("reset")), False
    fax = await desk.add()
    started = desk.clock()
    await desk.step()
    desk.provider.answer, desk.provider.takes = lambda fax_id: fax_id, True
    after = await desk.wait_out(fax)
    assert (after.state, after.provider_id) == (State.SUBMITTED, "job3")
    assert desk.clock() - started > 600
    assert [a.outcome for a in await desk.store.attempts(fax.id)] == ["absent", "accepted"]
    assert (await desk.after(other)).provider_id == "job1"


async def test_a_second_absence_is_held(desk: Desk) -> None:
    await desk.add(number="+14155550122")
    await desk.step()
    await desk.store.shown("job1", now=desk.clock())
    desk.provider.answer, desk.provider.takes = lost(UncertainError("reset")), False
    after = await desk.wait_out(await desk.add(), passes=80)
    assert "may have been sent" in after.held
    assert desk.provider.calls == 3


async def test_several_candidates_are_held(desk: Desk) -> None:
    desk.provider.answer = lost(UncertainError("reset"))
    fax = await desk.add()
    await desk.step()
    desk.provider.jobs.append(replace(desk.provider.jobs[0], id="stranger"))
    after = await desk.wait_out(fax)
    assert "2 faxes at the provider could be this one" in after.held
    assert after.held.endswith(": job1 stranger")


async def test_no_list_to_look_in_is_never_a_failure(desk: Desk) -> None:
    """However long the provider is down: an unknown outcome ends held, not failed, not re-sent."""
    desk.provider.answer = lost(UncertainError("reset"))
    desk.provider.list_error = TransientError("503")
    fax = await desk.add()
    await desk.step()
    after = await desk.wait_out(fax, passes=2000)
    assert (after.state, desk.provider.calls) == (State.PREPARED, 1)
    assert "unknown whether sent" in after.held


@pytest.mark.parametrize(
    ("row", "fits"),
    [
        ({}, True),
        ({"to_number": NUMBER.removeprefix("+")}, True),
        ({"to_number": NUMBER.removeprefix("+1")}, True),
        ({"to_number": "+14155550111"}, False),
        ({"from_number": "+14155550111"}, False),
        ({"created_at": 0.0}, False),
        ({"created_at": -61.0}, False),
        ({"created_at": 121.0}, False),
        ({"pages": 3}, True),
        ({"pages": 4}, False),
        ({"id": "bound"}, False),
    ],
)
async def test_only_what_can_be_it_is_bound(desk: Desk, row: dict[str, object], fits: bool) -> None:
    other = await desk.add(number="+14155550122")
    attempt = await desk.store.begin_attempt(other, now=desk.clock())
    assert attempt
    await desk.store.end_attempt(attempt, "accepted", now=desk.clock(), provider_id="bound")
    fax = await desk.add(pages=3)
    assert await desk.store.begin_attempt(fax, now=desk.clock())
    at = desk.clock()
    if row.get("created_at"):
        row = row | {"created_at": at + row["created_at"]}  # type: ignore[operator]
    job = Sent("found", Phase.WORKING, "pending", NUMBER, LINE, created_at=at)
    desk.provider.jobs = [replace(job, **row)]  # type: ignore[arg-type]
    room = Submit(desk.provider, desk.store, desk.spool, clock=desk.clock)
    after = await room(fax)
    assert (after.state is State.SUBMITTED) is fits
    assert desk.provider.calls == 0


async def test_a_second_fax_waits_while_the_first_is_unknown(desk: Desk) -> None:
    desk.provider.answer = lost(UncertainError("reset"))
    first, second = await desk.add(), await desk.add()
    await desk.step()
    desk.provider.answer = lambda fax_id: fax_id
    await desk.step()
    assert desk.provider.calls == 1
    await desk.wait_out(first)
    after = await desk.wait_out(second)
    assert {(await desk.after(first)).provider_id, after.provider_id} == {"job1", "job2"}


async def test_a_long_upload_is_found_by_its_end(desk: Desk) -> None:
    """The provider's row is made when the body has come: ten minutes after the upload began."""

    def slow(fax_id: str) -> str:
        desk.clock.advance(600)
        desk.provider.jobs[-1] = replace(desk.provider.jobs[-1], created_at=desk.clock())
        raise UncertainError("read timeout")

    desk.provider.answer = slow
    fax = await desk.add()
    await desk.step()
    after = await desk.wait_out(fax)
    assert (after.state, after.provider_id, desk.provider.calls) == (State.SUBMITTED, "job1", 1)


async def test_a_slow_list_has_ten_minutes_from_the_end_of_the_upload(desk: Desk) -> None:
    await desk.add(number="+14155550122")
    await desk.step()
    await desk.store.shown("job1", now=desk.clock())

    def slow(fax_id: str) -> str:
        desk.clock.advance(800)
        raise UncertainError("read timeout")

    desk.provider.answer = slow
    fax = await desk.add()
    await desk.step()
    over, desk.provider.listed = desk.clock(), False
    while (await desk.after(fax)).trouble.startswith("unknown"):
        desk.clock.advance(max(1.0, (await desk.after(fax)).due_at - desk.clock()))
        if desk.clock() - over >= 600:
            break
        await desk.step()
    assert desk.provider.calls == 2
    assert [a.outcome for a in await desk.store.attempts(fax.id)] == [""]


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
async def test_a_jump_of_the_clock_sends_nothing_again(desk: Desk, jump: float) -> None:
    """The list lags five minutes; our clock leaps a day right after the upload (P12)."""
    await desk.add(number="+14155550122")
    await desk.step()
    await desk.store.shown("job1", now=desk.clock())
    desk.provider.answer = lost(UncertainError("reset"))
    fax = await desk.add()
    await desk.step()
    desk.provider.answer = lambda fax_id: fax_id
    desk.provider.listed, real = False, 0.0
    desk.clock.advance(jump)
    await desk.store.clamp(desk.clock() + 7200)
    desk.provider.jobs = [replace(j, created_at=j.created_at + jump) for j in desk.provider.jobs]
    for looks in range(60):
        found = await desk.after(fax)
        if found.held or found.state is not State.PREPARED:
            break
        wait = max(1.0, found.due_at - desk.clock())
        real += wait if looks else 0.0
        desk.provider.listed = real > 300
        desk.clock.advance(wait)
        await desk.step()
    assert desk.provider.calls == 2, "sent twice"
    found = await desk.after(fax)
    assert "may have been sent" in found.held
    assert "job2" in found.held


@pytest.mark.parametrize(
    "row",
    [{"created_at": 0.0}, {"created_at": -5000.0}, {"pages": 2}, {"to_number": ""}, {"id": ""},
     {"from_number": ""}],
)  # fmt: skip
async def test_what_might_be_it_is_never_called_absent(desk: Desk, row: dict[str, object]) -> None:
    """A row that fits badly is no proof to bind, and none to send again either."""
    await desk.add(number="+14155550122")
    await desk.step()
    await desk.store.shown("job1", now=desk.clock())
    desk.provider.answer = lost(UncertainError("reset"))
    fax = await desk.add(pages=3)
    await desk.step()
    desk.provider.answer = lambda fax_id: fax_id
    job = desk.provider.jobs[-1]
    if row.get("created_at"):
        row = row | {"created_at": job.created_at + row["created_at"]}  # type: ignore[operator]
    desk.provider.jobs[-1] = replace(job, **row)  # type: ignore[arg-type]
    after = await desk.wait_out(fax)
    assert "1 fax at the provider may be this one" in after.held
    assert desk.provider.calls == 2


async def test_an_older_unbound_fax_is_not_taken_for_a_later_one(desk: Desk) -> None:
    """A held fax's upload shows up; the next fax to that number was lost a few seconds later."""
    desk.provider.answer = lost(UncertainError("reset"))
    first = await desk.add()
    await desk.step()
    (claimed,) = await desk.store.claim(State.PREPARED, now=desk.clock() + 60, lease=60)
    await desk.store.save([Change(claimed.hold("a bug"), "held")], now=desk.clock())
    desk.provider.takes = False
    second = await desk.add()
    await desk.step()
    assert desk.provider.calls == 2
    after = await desk.wait_out(second)
    assert after.state is State.PREPARED, "bound to the fax of another"
    assert "could be this one" in after.held
    assert (await desk.after(first)).held


async def test_a_moved_id_is_still_its_owners(desk: Desk) -> None:
    """The first fax moved to the outbox under a longer id: the second is not bound to it."""
    await desk.add()
    await desk.step()
    desk.provider.jobs[0] = replace(desk.provider.jobs[0], id="202602-job1")
    desk.provider.answer, desk.provider.takes = lost(UncertainError("reset")), False
    after = await desk.wait_out(await desk.add())
    assert (after.state, after.provider_id) == (State.PREPARED, "")


async def test_an_id_that_is_anothers_proves_nothing(desk: Desk) -> None:
    await desk.add()
    await desk.step()
    desk.provider.answer = lambda _: "job1"
    second = await desk.add(number="+14155550122")
    await desk.step()
    assert (await desk.after(second)).trouble.startswith("unknown whether sent")
    assert (await desk.wait_out(second)).provider_id == "job2"


@pytest.mark.parametrize("how", ["missing", "changed"])
async def test_a_damaged_document_is_not_sent(desk: Desk, how: str) -> None:
    fax = await desk.add(digest="0" * 64)
    if how == "missing":
        await desk.spool.drop(fax.id)
    await desk.step()
    after = await desk.after(fax)
    assert "nothing was sent" in after.held
    assert (desk.provider.calls, await desk.store.attempts(fax.id)) == (0, [])


async def test_a_released_fax_is_looked_for_before_anything_is_sent(desk: Desk) -> None:
    desk.provider.answer, desk.provider.listed = lost(UncertainError("500")), False
    held = await desk.wait_out(await desk.add())
    assert [a.outcome for a in await desk.store.attempts(held.id)] == ["unknown"]
    (claimed,) = await desk.store.claim(HELD, now=desk.clock(), lease=60)
    await desk.store.save([Change(replace(claimed, held=""), "released")], now=desk.clock())
    desk.provider.answer, desk.provider.listed = lambda fax_id: fax_id, True
    after = await desk.wait_out(held)
    assert (after.state, after.provider_id, desk.provider.calls) == (State.SUBMITTED, "job1", 1)
