"""What may be spent: the attempt row is the reservation, these are the sums over such rows.

An upload counts from its beginning, whatever becomes of it, but for those that are proven to have
sent nothing. A redial is an upload of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.model import Ceiling
from gateway.store.sqlite import Row, Unit

# The two halves of each condition are those of the partial indexes. A row of the far future is of
# a clock that was wrong: it must not block for years.
_WITHIN = """outcome NOT IN ('refused', 'absent')
    AND started_at > :now - :window AND started_at <= :now + :window"""
# What is just being uploaded counts as such already. `+ 0`: the index of this query, no other.
_WAITING = """held = '' AND state IN ('accepted', 'prepared') AND due_at + 0 <= :now + :window
    AND id NOT IN (SELECT fax FROM attempt WHERE outcome = '')"""
_MINE = {"sender": "identity = :identity", "destination": "{number} = :number", "gateway": "1 = 1"}
_SPENT = {
    scope: f"""SELECT COUNT(*) AS faxes, COALESCE(SUM(pages), 0) AS pages FROM attempt
        WHERE {mine.format(number="to_number")} AND {_WITHIN}"""  # noqa: S608 - our own words
    for scope, mine in _MINE.items()
}
_OLDEST = {
    scope: f"""SELECT started_at, pages FROM attempt
        WHERE {mine.format(number="to_number")} AND {_WITHIN}
        ORDER BY started_at LIMIT :most"""  # noqa: S608 - our own words
    for scope, mine in _MINE.items()
}
_COMING = {
    scope: f"""SELECT COUNT(*) AS faxes,
            COALESCE(SUM(CASE WHEN pages > 1 THEN pages ELSE 1 END), 0) AS pages FROM fax
        WHERE {mine.format(number="number")} AND {_WAITING}"""  # noqa: S608 - our own words
    for scope, mine in _MINE.items()
}
MOST_LOOKED_AT = 1000  # rows, to say when there is room: a limit may have been lowered by much
_WHOSE = {"sender": "from this sender", "destination": "to this number", "gateway": "in all"}


@dataclass(frozen=True, slots=True)
class Full:
    """A ceiling is reached: `what` names it, `until` is when there is room, 0 = never."""

    scope: str
    what: str
    until: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """One fax that is to be sent, and for whom."""

    identity: str
    number: str
    pages: int
    before: int = 0  # faxes of a page to other numbers that were promised in the same mail
    together: int = 0  # of those, how many cannot come in another mail, later


def full(
    wanted: Wanted, ceilings: Iterable[Ceiling], now: float, *, waiting: bool = False
) -> Unit[Full | None]:
    """The ceiling that would be exceeded, of several the one that lasts longest.

    With `waiting` the faxes count that are accepted and not yet sent: each one call at least.
    """
    reached: list[Full] = []
    for ceiling in ceilings:
        of = {"identity": wanted.identity, "number": wanted.number}
        facts = of | {"now": now, "window": ceiling.window}
        one = yield from _reached(ceiling, wanted, facts, waiting=waiting)
        reached += [one] if one else []
    return max(reached, key=lambda one: one.until or float("inf"), default=None)


def _reached(
    ceiling: Ceiling, wanted: Wanted, facts: Mapping[str, Any], *, waiting: bool
) -> Unit[Full | None]:
    before, together = wanted.before, wanted.together
    if ceiling.scope == "destination":  # those others are to other numbers
        before = together = 0
    if _over(ceiling, 1 + together, wanted.pages + together):
        return Full(ceiling.scope, _name(ceiling), 0.0)
    faxes, pages = 1 + before, wanted.pages + before
    for statement in (_SPENT, _COMING)[: 1 + waiting]:
        (sums,) = yield statement[ceiling.scope], facts
        faxes, pages = faxes + sums["faxes"], pages + sums["pages"]
    if not (beyond := _over(ceiling, faxes, pages)):
        return None
    oldest = yield _OLDEST[ceiling.scope], {**facts, "most": min(beyond, MOST_LOOKED_AT)}
    return Full(ceiling.scope, _name(ceiling), _free(ceiling, oldest, faxes, pages, facts["now"]))


def _over(ceiling: Ceiling, faxes: int, pages: int) -> int:
    """How many faxes or pages are too many: so many old rows at most must go first."""
    too_many = (
        amount - most
        for amount, most in ((faxes, ceiling.faxes), (pages, ceiling.pages))
        if most and amount > most
    )
    return max(too_many, default=0)


def _free(ceiling: Ceiling, oldest: Iterable[Row], faxes: int, pages: int, now: float) -> float:
    """When enough of the oldest have left the window."""
    for row in oldest:
        faxes, pages = faxes - 1, pages - row["pages"]
        if not _over(ceiling, faxes, pages):
            began: float = row["started_at"]
            return min(began, now) + ceiling.window
    return now + ceiling.window


def _name(ceiling: Ceiling) -> str:
    """`50 faxes an hour from this sender`."""
    return f"{ceiling.amount} {_WHOSE[ceiling.scope]}"
