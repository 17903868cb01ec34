"""Spend ceilings: the attempt row is the reservation, whoever races and whatever dies (P15)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest

from gateway.model import Attempt, Ceiling, Fax, State
from gateway.store import Change, Full, Store, Wanted
from gateway.store.quota import MOST_LOOKED_AT
from tests.make import outbound

pytestmark = pytest.mark.anyio

NOW = 1_770_000_000.0
HOUR, DAY = 3600.0, 86400.0
ANN, BOB = "address:ann@example.com", "login:bob"
FIVE_FAXES = (Ceiling("sender", HOUR, faxes=5),)


def numbered(count: int, **facts: Any) -> list[Fax]:
    """Ready to be sent, each to another number: two to one number wait for each other."""
    common: dict[str, Any] = {"state": State.PREPARED, "identity": ANN, "pages": 1} | facts
    return [outbound(number=f"+1415555{n:04}", **common) for n in range(count)]


async def begun(
    store: Store, faxes: Sequence[Fax], ceilings: Sequence[Ceiling], *, now: float = NOW
) -> list[Attempt | Full | None]:
    """All at once."""
    await store.add(faxes, now=now)
    return await asyncio.gather(
        *(store.begin_attempt(fax, now=now, ceilings=ceilings) for fax in faxes)
    )


async def ended(store: Store, attempt: Attempt | Full | None, outcome: str) -> None:
    assert isinstance(attempt, Attempt)
    await store.end_attempt(attempt, outcome, now=NOW)


async def spent(store: Store, *faxes: Fax) -> int:
    """Pages that the ledger of attempts holds."""
    rows = [attempt for fax in faxes for attempt in await store.attempts(fax.id)]
    return sum(row.pages for row in rows if row.outcome not in ("refused", "absent"))


@pytest.mark.parametrize("pages", [1, 3, 7])
@pytest.mark.parametrize("scope", ["sender", "gateway"])
async def test_fifty_race_for_one_quota(
    store: Store, scope: Literal["sender", "gateway"], pages: int
) -> None:
    """T21: overspend 0, and not less than there is."""
    faxes = numbered(50, pages=pages)
    answers = await begun(store, faxes, [Ceiling(scope, HOUR, pages=40)])
    went = [answer for answer in answers if isinstance(answer, Attempt)]
    assert len(went) == 40 // pages
    assert await spent(store, *faxes) == 40 // pages * pages <= 40
    assert {type(answer) for answer in answers} == {Attempt, Full}


SCOPES: tuple[Literal["sender", "destination", "gateway"], ...] = (
    "sender", "destination", "gateway",
)  # fmt: skip


async def test_a_hundred_races(store: Store) -> None:
    """Three senders, four numbers, all ceilings at once; each race has its own days."""
    for race in range(100):
        dice = Random(race)
        now = NOW + race * 3 * DAY
        ceilings = [
            Ceiling(scope, window, faxes=dice.randint(0, 12), pages=dice.randint(0, 30))
            for scope in SCOPES
            for window in (HOUR, DAY)
        ]
        faxes = [
            outbound(
                State.PREPARED, pages=dice.randint(1, 5), identity=dice.choice([ANN, BOB, "x"]),
                number=f"+1415555000{dice.randint(1, 4)}", line=f"+1415555{n:04}",
            )
            for n in range(30)
        ]  # fmt: skip
        answers = await begun(store, faxes, ceilings, now=now)
        went = [f for f, answer in zip(faxes, answers, strict=True) if isinstance(answer, Attempt)]
        assert not any(exceeds(went, ceiling, fax) for fax in went for ceiling in ceilings)
        for fax, answer in zip(faxes, answers, strict=True):
            if isinstance(answer, Full):
                assert any(exceeds([*went, fax], ceiling, fax) for ceiling in ceilings), race


def exceeds(faxes: Sequence[Fax], ceiling: Ceiling, of: Fax) -> bool:
    """The model: would these together be too many for a ceiling, as `of` sees it?"""
    mine = {
        "sender": [one for one in faxes if one.identity == of.identity],
        "destination": [one for one in faxes if one.number == of.number],
        "gateway": faxes,
    }[ceiling.scope]
    too_many = ceiling.faxes and len(mine) > ceiling.faxes
    return bool(too_many or (ceiling.pages and sum(one.pages for one in mine) > ceiling.pages))


async def test_a_destination_is_spared(store: Store) -> None:
    (first, second, third) = (outbound(State.PREPARED, pages=2) for _ in range(3))
    ceilings = [Ceiling("destination", DAY, faxes=2)]
    await store.add([first, second, third], now=NOW)
    for fax in (first, second):
        attempt = await store.begin_attempt(fax, now=NOW, ceilings=ceilings)
        await ended(store, attempt, "accepted")
    answer = await store.begin_attempt(third, now=NOW + 60, ceilings=ceilings)
    assert answer == Full("destination", "2 faxes a day to this number", NOW + DAY)
    assert not await store.attempts(third.id)
    other = outbound(State.PREPARED, number="+14155550177")
    assert isinstance((await begun(store, [other], ceilings))[0], Attempt)


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [("", True), ("accepted", True), ("unknown", True), ("refused", False), ("absent", False)],
)
async def test_what_an_outcome_does_to_a_reservation(
    store: Store, outcome: str, counts: bool
) -> None:
    """Released where nothing was sent; whatever may have been sent has been spent."""
    first, second = numbered(2, pages=4)
    ceilings = [Ceiling("sender", DAY, pages=4)]
    (attempt,) = await begun(store, [first], ceilings)
    if outcome:
        await ended(store, attempt, outcome)
    (answer,) = await begun(store, [second], ceilings)
    assert isinstance(answer, Full if counts else Attempt)


async def test_a_redial_counts_again(store: Store) -> None:
    (fax,) = numbered(1, pages=2)
    ceilings = [Ceiling("sender", DAY, pages=5)]
    await store.add([fax], now=NOW)
    for call in range(3):
        (mine,) = await store.claim(State.PREPARED, now=NOW, lease=60)
        answer = await store.begin_attempt(mine, now=NOW, ceilings=ceilings)
        if call == 2:
            assert isinstance(answer, Full)
            break
        sent = mine.submitted(f"p{call}")
        await store.save([Change(sent, "")], now=NOW)
        (mine,) = await store.claim(State.SUBMITTED, now=NOW, lease=60)
        await store.save([Change(mine._to(State.PREPARED), "busy")], now=NOW)
    assert await spent(store, fax) == 4


async def test_senders_do_not_count_for_each_other(store: Store) -> None:
    assert all(isinstance(one, Attempt) for one in await begun(store, numbered(5), FIVE_FAXES))
    others = [outbound(State.PREPARED, number=f"+1212555{n:04}", identity=BOB) for n in range(5)]
    assert all(isinstance(one, Attempt) for one in await begun(store, others, FIVE_FAXES))
    (one_more,) = await begun(store, [outbound(State.PREPARED, identity=BOB)], FIVE_FAXES)
    assert isinstance(one_more, Full)


async def test_the_window_moves(store: Store) -> None:
    """Room comes when the oldest is an hour old, not at the full hour."""
    for minute, fax in enumerate(numbered(5)):
        (answer,) = await begun(store, [fax], FIVE_FAXES, now=NOW + 60 * minute)
        assert isinstance(answer, Attempt)
    late = outbound(State.PREPARED, identity=ANN)
    (answer,) = await begun(store, [late], FIVE_FAXES, now=NOW + HOUR - 1)
    assert answer == Full("sender", "5 faxes an hour from this sender", NOW + HOUR)
    assert isinstance(await store.begin_attempt(late, now=NOW + HOUR, ceilings=FIVE_FAXES), Attempt)


@pytest.mark.parametrize(
    ("ceiling", "pages", "what", "until"),
    [
        (Ceiling("sender", HOUR, pages=10), 3, "10 pages an hour from this sender", NOW + HOUR),
        (Ceiling("sender", HOUR, pages=10), 5, "10 pages an hour from this sender",
         NOW + 60 + HOUR),
        (Ceiling("gateway", DAY, 3, 10), 9, "3 faxes or 10 pages a day in all", NOW + 120 + DAY),
        (Ceiling("gateway", 60.5, 1, 1), 1, "1 fax or 1 page in 60.5 s in all", NOW + 180.5),
        (Ceiling("sender", HOUR, pages=10), 11, "10 pages an hour from this sender", 0.0),
        (Ceiling("sender", HOUR, faxes=1, pages=99), 1,
         "1 fax or 99 pages an hour from this sender", NOW + 120 + HOUR),
    ],
)  # fmt: skip
async def test_when_there_is_room_again(
    store: Store, ceiling: Ceiling, pages: int, what: str, until: float
) -> None:
    """Three of 3 pages have gone, a minute between two."""
    for minute, fax in enumerate(numbered(3, pages=3)):
        assert isinstance((await begun(store, [fax], (), now=NOW + 60 * minute))[0], Attempt)
    wanted = outbound(State.PREPARED, identity=ANN, pages=pages)
    (answer,) = await begun(store, [wanted], [ceiling], now=NOW + 150)
    assert answer == Full(ceiling.scope, what, until)


async def test_of_several_ceilings_the_longest_is_named(store: Store) -> None:
    await begun(store, numbered(1), ())
    ceilings = [
        Ceiling("sender", HOUR, faxes=1), Ceiling("gateway", DAY, faxes=1),
        Ceiling("destination", DAY, faxes=1),
    ]  # fmt: skip
    (answer,) = await begun(store, [outbound(State.PREPARED, identity=ANN)], ceilings)
    assert answer == Full("gateway", "1 fax a day in all", NOW + DAY)
    never = [*ceilings, Ceiling("sender", HOUR, pages=1)]
    big = outbound(State.PREPARED, identity=BOB, pages=2)
    (answer,) = await begun(store, [big], never)
    assert answer == Full("sender", "1 page an hour from this sender", 0.0)


async def test_a_limit_that_was_lowered_by_much(store: Store) -> None:
    """The answer costs no walk over all that was sent before."""
    faxes = numbered(MOST_LOOKED_AT + 10)
    await begun(store, faxes, ())
    (answer,) = await begun(
        store, [outbound(State.PREPARED, identity=ANN)], FIVE_FAXES, now=NOW + 9
    )
    assert answer == Full("sender", "5 faxes an hour from this sender", NOW + 9 + HOUR)


async def test_a_clock_that_was_wrong_for_a_while(store: Store) -> None:
    """Uploads of a day ahead count; such of a year ahead would block for a year."""
    tomorrow, next_year, fax = numbered(3)
    ceiling = [Ceiling("sender", DAY, faxes=1)]
    await begun(store, [next_year], (), now=NOW + 365 * DAY)
    (answer,) = await begun(store, [fax], ceiling)
    assert isinstance(answer, Attempt)
    await ended(store, answer, "refused")
    await begun(store, [tomorrow], (), now=NOW + DAY / 2)
    answer = await store.begin_attempt(fax, now=NOW, ceilings=ceiling)
    assert answer == Full("sender", "1 fax a day from this sender", NOW + DAY)


async def test_killed_between_reservation_and_outcome(tmp_path: Path) -> None:
    """K37, K38: what was reserved still is, and is settled once."""
    ceilings = [Ceiling("sender", DAY, pages=6)]
    faxes, outcomes = numbered(4, pages=2), ["accepted", "", "absent"]
    store = Store(tmp_path / "gateway.db")
    await store.open()
    answers = await begun(store, faxes, ceilings)
    assert [type(answer) for answer in answers] == [Attempt] * 3 + [Full]
    await store.close()
    store = Store(tmp_path / "gateway.db")
    await store.open()
    assert await spent(store, *faxes) == 6
    assert isinstance(await store.begin_attempt(faxes[3], now=NOW + 1, ceilings=ceilings), Full)
    for attempt, outcome in zip(answers, outcomes, strict=False):
        if outcome:
            await ended(store, attempt, outcome)
    await store.close()
    store = Store(tmp_path / "gateway.db")
    await store.open()
    assert isinstance(await store.begin_attempt(faxes[3], now=NOW + 2, ceilings=ceilings), Attempt)
    assert await spent(store, *faxes) == 6
    await store.close()


# the answer at the door


async def room(
    store: Store, *ceilings: Ceiling, number: str = "+14155550000", before: int = 0
) -> Full | None:
    return await store.room_for(Wanted(ANN, number, 1, before), ceilings, now=NOW)


async def test_the_door_counts_what_waits(store: Store) -> None:
    waiting = [
        outbound(State.ACCEPTED, identity=ANN),  # of one page at least
        outbound(State.PREPARED, identity=ANN, pages=3, number="+14155550101"),
        outbound(State.ACCEPTED, identity=ANN, due_at=NOW + HOUR + 1),  # wanted later
        outbound(State.PREPARED, identity=ANN, pages=5, held="a person looks"),
        outbound(State.ACCEPTED, identity=BOB, number="+14155550102"),
        outbound(State.SUBMITTED, identity=ANN, number="+14155550103"),
    ]
    await store.add(waiting, now=NOW)
    assert await room(store, Ceiling("sender", HOUR, faxes=3, pages=5)) is None
    assert await room(store, Ceiling("sender", HOUR, faxes=2))
    assert await room(store, Ceiling("sender", HOUR, pages=4))
    assert await room(store, Ceiling("sender", DAY, faxes=4)) is None
    assert await room(store, Ceiling("sender", DAY, faxes=3))
    assert await room(store, Ceiling("gateway", HOUR, faxes=4)) is None
    full = await room(store, Ceiling("gateway", HOUR, faxes=3))
    assert full == Full("gateway", "3 faxes an hour in all", NOW + HOUR)
    to = Ceiling("destination", HOUR, faxes=1)
    assert await room(store, to, number="+14155550101")
    assert await room(store, to) is None


async def test_the_door_counts_an_upload_once(store: Store) -> None:
    """A fax that is being sent is no longer one that waits."""
    (fax,) = numbered(1, pages=2)
    ceiling = Ceiling("sender", HOUR, faxes=2, pages=3)
    await store.add([fax], now=NOW)
    assert await room(store, ceiling) is None
    (mine,) = await store.claim(State.PREPARED, now=NOW, lease=60)
    assert await store.begin_attempt(mine, now=NOW)
    assert await room(store, ceiling) is None
    await store.save([Change(mine.submitted("p1"), "")], now=NOW)
    assert await room(store, ceiling) is None
    assert await room(store, Ceiling("sender", HOUR, faxes=1))


async def test_the_door_counts_the_other_recipients_of_the_mail(store: Store) -> None:
    """Too many in one mail is no never: the rest may come in another mail, later."""
    ceiling = Ceiling("sender", HOUR, faxes=3)
    later = Full("sender", "3 faxes an hour from this sender", NOW + HOUR)
    answers = [await room(store, ceiling, before=n) for n in range(5)]
    assert answers == [None, None, None, later, later]
    to = Ceiling("destination", HOUR, faxes=1)  # one fax for each number
    assert await room(store, to, before=9) is None
    assert await room(store) is None
