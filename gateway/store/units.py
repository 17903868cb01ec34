"""The transactions of the store, each a unit that any engine can drive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from operator import attrgetter
from typing import Any

from gateway.model import Attempt, Ceiling, Direction, Fax, State
from gateway.store import queries, quota
from gateway.store.quota import Full, Wanted
from gateway.store.sqlite import Row, Unit
from gateway.wishes import Wishes, wishes_of

RESEND_WINDOW = 72 * 3600.0  # s: an identical mail within it is the mail client's re-send (P4)
MEANT_WINDOW = 600.0  # s: the same where the sender says dup=ok; sooner, it is still a re-send
DEATHS = 5  # of the process in one step of one fax; R18 says 2, but power cuts come in rows
_NAMES = tuple(field.name for field in fields(Fax))
_VALUES = attrgetter(*_NAMES)


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one fax that a door handed in."""

    fax: str  # its id, or the id of the fax that it repeats
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A fax after a worker's step. A note, even an empty one, becomes a history row."""

    fax: Fax
    note: str | None


def fax_of(row: Row) -> Fax:
    known = {name: row[name] for name in _NAMES}
    return Fax(**known | {"direction": Direction(row["direction"]), "state": State(row["state"])})


def window(wishes: Wishes) -> float:
    """Seconds in which the same mail again is not a new fax."""
    return MEANT_WINDOW if wishes.dup else RESEND_WINDOW


def add(faxes: Sequence[Fax], now: float, message: bytes = b"") -> Unit[list[Added]]:
    added = []
    for fax in faxes:
        if not (yield queries.ADD, _facts(fax)):
            before = now - window(wishes_of(fax.wishes))
            yield queries.FREE_KEY, {"key": fax.key, "before": before}
            if not (yield queries.ADD, _facts(fax)):
                known = (yield queries.BY_KEY, {"key": fax.key})[0]
                added.append(Added(known["id"], duplicate=True))
                continue
        yield queries.NOTE, _note(fax, now, fax.reason)
        if message:
            yield queries.KEEP_MESSAGE, {"fax": fax.id, "content": message}
        added.append(Added(fax.id, duplicate=False))
    return added


def save(changes: Sequence[Change], now: float) -> Unit[set[str]]:
    saved = set()
    for change in changes:
        fax, note = change.fax, change.note
        if (yield queries.SAVE, _facts(fax) | {"now": now}):
            saved.add(fax.id)
            if note is not None:
                yield queries.NOTE, _note(fax, now, note)
        if note is not None:
            yield from _upload(fax, now, ours=fax.id in saved)
    return saved


def _upload(fax: Fax, now: float, *, ours: bool) -> Unit[None]:
    """What a fax's news says of its upload. An accepted one counts though the lease was lost."""
    facts = {"fax": fax.id, "now": now}
    if fax.state is State.SUBMITTED and not fax.held:
        yield queries.ATTEMPT_ACCEPTED, facts | {"provider_id": fax.provider_id}
    elif ours and (fax.held or fax.state is State.FAILED):  # its numbers are free for others
        yield queries.ATTEMPT_UNKNOWN, facts | {"note": fax.held}


def begin(attempt: Attempt, ceilings: Sequence[Ceiling]) -> Unit[Attempt | Full | None]:
    """Sum and row in one transaction: of two that race for the last page one is too late."""
    wanted = Wanted(attempt.identity, attempt.to_number, attempt.pages)
    if reached := (yield from quota.full(wanted, ceilings, attempt.started_at)):
        return reached
    return attempt if (yield queries.ATTEMPT_BEGIN, asdict(attempt)) else None


def _facts(fax: Fax) -> dict[str, Any]:
    """`asdict` copies every value deeply: half the time of a transaction."""
    return dict(zip(_NAMES, _VALUES(fax), strict=True))


def _note(fax: Fax, now: float, note: str) -> dict[str, Any]:
    return {"fax": fax.id, "version": fax.version, "at": now, "state": fax.state, "note": note}


def rows(statement: str, **parameters: Any) -> Unit[list[Row]]:  # noqa: ANN401
    return (yield statement, parameters)


def those(statement: str, name: str, values: Iterable[str]) -> Unit[set[str]]:
    found: set[str] = set()
    for value in values:
        found.update(row[name] for row in (yield statement, {name: value}))
    return found


def release_all(now: float) -> Unit[None]:
    yield queries.RELEASE_ALL, {}
    why = f"the gateway died {DEATHS} times while it worked on this fax"
    for row in (yield queries.POISON, {"why": why, "most": DEATHS}):
        note = {"fax": row["id"], "version": row["version"], "at": now, "state": row["state"]}
        yield queries.NOTE, note | {"note": f"held: {why}"}
        yield queries.ATTEMPT_UNKNOWN, {"fax": row["id"], "note": why, "now": now}
