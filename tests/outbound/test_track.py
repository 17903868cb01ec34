"""Tracking: one pass for all; only an explicit word ends a fax, and a missing row means nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from gateway.errors import Cause, PermanentError, TransientError, UncertainError
from gateway.model import Fax, State
from gateway.outbound.track import ASKED_A_PASS, MISSES, STUCK, Track
from gateway.provider import Phase, Sent
from tests.conftest import Clock
from tests.make import outbound

pytestmark = pytest.mark.anyio


@dataclass
class Listed:
    """A provider that only lists."""

    rows: list[Sent] = field(default_factory=list)
    known: dict[str, Sent] = field(default_factory=dict)
    requests: int = 0

    async def send(self, **_: object) -> str:
        raise AssertionError

    async def sent(self, since: float) -> list[Sent]:
        self.requests += 1
        return self.rows

    async def details(self, provider_id: str) -> Sent | None:
        self.requests += 1
        return self.known.get(provider_id)


def submitted(clock: Clock, provider_id: str = "p1", **facts: object) -> Fax:
    common = {"since": clock(), "pages": 3, "attempts": 1, "provider_id": provider_id}
    return outbound(State.SUBMITTED, **(common | facts))


async def look(provider: Listed, clock: Clock, *faxes: Fax) -> list[Fax]:
    return list(await Track(provider, 15.0, clock)(list(faxes)))


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (Sent("p1", Phase.DELIVERED, "sent", pages=3, duration=61), State.DELIVERED),
        (Sent("202602-p1", Phase.DELIVERED, "completed"), State.DELIVERED),
        (Sent("p1", Phase.FAILED, "failed", reason="busy"), State.FAILED),
        (Sent("p1", Phase.WORKING, "pending"), State.SUBMITTED),
        (Sent("p1", Phase.WORKING, "Sent Page 2 of 5"), State.SUBMITTED),
        (Sent("xp1", Phase.DELIVERED, "sent"), State.SUBMITTED),
    ],
)
async def test_words(clock: Clock, row: Sent, state: State) -> None:
    (after,) = await look(Listed([row]), clock, submitted(clock))
    assert (after.state, after.held) == (state, "")


async def test_facts_of_a_delivery(clock: Clock) -> None:
    row = Sent("p1", Phase.DELIVERED, "sent", pages=3, duration=61)
    (after,) = await look(Listed([row]), clock, submitted(clock))
    assert (after.result_pages, after.duration) == (3, 61)


async def test_the_time_on_the_line_is_asked_for_within_bounds(clock: Clock) -> None:
    rows = [Sent(f"p{i}", Phase.DELIVERED, "sent", pages=3) for i in range(50)]
    provider = Listed(rows, {row.id: replace(row, duration=61) for row in rows})
    after = await look(provider, clock, *(submitted(clock, row.id) for row in rows))
    assert [fax.duration for fax in after] == [61] * ASKED_A_PASS + [0] * (50 - ASKED_A_PASS)
    assert provider.requests == 1 + ASKED_A_PASS


async def test_a_failure_asks_once_why(clock: Clock) -> None:
    row = Sent("p1", Phase.FAILED, "failed")
    provider = Listed([row], {"p1": replace(row, reason="no answer")})
    (after,) = await look(provider, clock, submitted(clock))
    assert (after.reason, after.cause, provider.requests) == ("no answer", Cause.NO_ANSWER, 2)


@dataclass
class Mute(Listed):
    """Lists, but answers no question about one fax."""

    async def details(self, provider_id: str) -> Sent | None:
        raise TransientError("500")


async def test_one_fax_without_an_answer_keeps_no_other_waiting(clock: Clock) -> None:
    rows = [Sent("p1", Phase.FAILED, "failed"), Sent("p2", Phase.DELIVERED, "sent", pages=3)]
    faxes = [submitted(clock), submitted(clock, "p2"), submitted(clock, "p3", misses=2)]
    failed, delivered, missed = await look(Mute(rows), clock, *faxes)
    assert (failed.state, failed.reason) == (State.FAILED, "the provider gave no reason")
    assert delivered.state is State.DELIVERED
    assert (missed.state, missed.misses, missed.held) == (State.SUBMITTED, 3, "")


async def test_one_fax_with_a_bug_keeps_no_other_waiting(clock: Clock) -> None:
    rows = [Sent("p1", Phase.DELIVERED, "sent"), Sent("p2", Phase.DELIVERED, "sent")]
    broken = replace(submitted(clock), state=State.CLOSED)  # no move leads from there
    held, delivered = await look(Listed(rows), clock, broken, submitted(clock, "p2"))
    assert "cannot be understood" in held.held
    assert delivered.state is State.DELIVERED


async def test_a_failure_without_any_reason(clock: Clock) -> None:
    (after,) = await look(Listed([Sent("p1", Phase.FAILED, "failed")]), clock, submitted(clock))
    assert (after.state, after.reason) == (State.FAILED, "the provider gave no reason")


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("USER_BUSY", Cause.BUSY),
        ("Line busy", Cause.BUSY),
        ("no answer", Cause.NO_ANSWER),
        ("Timed out waiting for initial communication", Cause.NO_ANSWER),
        ("invalid fax number: +1", Cause.NUMBER),
        ("The call dropped prematurely", Cause.LINE),
    ],
)
async def test_causes(clock: Clock, reason: str, cause: Cause) -> None:
    row = Sent("p1", Phase.FAILED, "failed", reason=reason)
    (after,) = await look(Listed([row]), clock, submitted(clock))
    assert after.cause == cause


@pytest.mark.parametrize("count", [1, 100, 1000])
async def test_one_request_for_all(clock: Clock, count: int) -> None:
    faxes = [submitted(clock, f"p{i}") for i in range(count)]
    provider = Listed([Sent(f"p{i}", Phase.WORKING, "sending") for i in range(count)])
    after = await look(provider, clock, *faxes)
    assert (len(after), provider.requests) == (count, 1)


async def test_a_404_alone_means_nothing(clock: Clock) -> None:
    """A vanished fax is looked for through many passes and then held, never failed."""
    fax, passes, began = submitted(clock), 0, clock()
    while not fax.held:
        clock.advance(max(1.0, fax.due_at - clock()))
        passes += 1
        (fax,) = await look(Listed(), clock, fax)
        assert fax.state is State.SUBMITTED
    assert (passes, clock() - began > 600) == (MISSES, True)
    assert "may have been sent" in fax.held


async def test_a_fax_that_comes_back_starts_anew(clock: Clock) -> None:
    missed = replace(submitted(clock), misses=8)
    (after,) = await look(Listed([Sent("p1", Phase.WORKING, "sending")]), clock, missed)
    assert (after.misses, after.held) == (0, "")


async def test_details_know_what_no_list_shows(clock: Clock) -> None:
    provider = Listed([], {"p1": Sent("p1", Phase.DELIVERED, "sent", pages=3)})
    (after,) = await look(provider, clock, replace(submitted(clock), misses=2))
    assert after.state is State.DELIVERED


async def test_six_hours_without_a_final_word(clock: Clock) -> None:
    fax = submitted(clock)
    clock.advance(STUCK + 1)
    (after,) = await look(Listed([Sent("p1", Phase.WORKING, "sending")]), clock, fax)
    assert "has not finished it in 6 hours (it says 'sending')" in after.held


@pytest.mark.parametrize(
    ("age", "factor"), [(0, 1), (119, 1), (121, 2), (601, 4), (3599, 4), (3601, 20)]
)
async def test_cadence_by_the_youngest(clock: Clock, age: float, factor: int) -> None:
    old, young = submitted(clock, since=clock() - 4 * 3600), submitted(clock, "p2")
    clock.advance(age)
    rows = [Sent("p1", Phase.WORKING, "sending"), Sent("p2", Phase.WORKING, "sending")]
    for after in await look(Listed(rows), clock, old, young):
        assert 15 * factor * 0.8 <= after.due_at - clock() <= 15 * factor * 1.2


async def test_a_refused_list_holds_nobody(clock: Clock) -> None:
    """A 400 to the question is no word about the faxes."""

    class Refusing(Listed):
        async def sent(self, since: float) -> list[Sent]:
            raise PermanentError("400")

    with pytest.raises(UncertainError):
        await look(Refusing(), clock, submitted(clock))


async def test_questions_are_few_and_wait_for_the_next_pass(clock: Clock) -> None:
    """A thousand failures at once: no pass may last longer than its room allows."""
    rows = [Sent(f"p{i}", Phase.FAILED, "failed") for i in range(1000)]
    provider = Listed(rows, {row.id: replace(row, reason="busy") for row in rows})
    faxes, passes = [submitted(clock, row.id) for row in rows], 0
    while faxes:
        passes += 1
        before = provider.requests
        after = await look(provider, clock, *faxes)
        assert provider.requests - before <= 1 + ASKED_A_PASS
        assert {fax.reason for fax in after if fax.state is State.FAILED} == {"busy"}
        faxes = [fax for fax in after if fax.state is State.SUBMITTED]
    assert passes == 1000 / ASKED_A_PASS


async def test_nobody_is_given_up_unasked(clock: Clock) -> None:
    """An empty list for all: those who could not be asked for keep their count."""
    faxes = [submitted(clock, f"p{i}", misses=MISSES - 1) for i in range(ASKED_A_PASS + 5)]
    after = await look(Listed(), clock, *faxes)
    assert sum(bool(fax.held) for fax in after) == ASKED_A_PASS
    assert [fax.misses for fax in after if not fax.held] == [MISSES - 1] * 5


async def test_a_mute_provider_is_asked_once_a_pass(clock: Clock) -> None:
    rows = [Sent(f"p{i}", Phase.FAILED, "failed") for i in range(100)]
    after = await look(Mute(rows), clock, *(submitted(clock, row.id) for row in rows))
    assert {fax.reason for fax in after} == {"the provider gave no reason"}


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
async def test_a_jump_of_the_clock_gives_nobody_up(clock: Clock, jump: float) -> None:
    """P12: the provider's own time says how old a fax is, whatever became of ours."""
    fax = submitted(clock)
    clock.advance(jump)
    asked: list[float] = []

    class Dated(Listed):
        async def sent(self, since: float) -> list[Sent]:
            asked.append(since)
            return [row for row in self.rows if row.created_at >= since]

    row = Sent("p1", Phase.WORKING, "sending", created_at=clock() - 60)
    (after,) = await look(Dated([row]), clock, fax)
    assert (after.held, after.misses) == ("", 0)


async def test_of_two_rows_for_one_fax_the_last_word_counts(clock: Clock) -> None:
    """A finished fax is seen in both lists for a while, under both its ids."""
    rows = [Sent("202602-p1", Phase.DELIVERED, "completed"), Sent("p1", Phase.WORKING, "pending")]
    for listed in (rows, rows[::-1]):
        (after,) = await look(Listed(listed), clock, submitted(clock))
        assert after.state is State.DELIVERED
