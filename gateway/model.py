"""A fax, its states, and the verbs that move it. Pure: no input, no output, no clock.

Times are seconds since the epoch, UTC. Absent text is "", an absent time or count is 0.
Outbound and inbound are seen from the fax network.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from gateway.errors import Cause

ID_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # none that a person reading aloud mistakes
ID_LENGTH = 12  # 31**12, about 2**59: random, so an id tells nothing about time or volume


class Direction(StrEnum):
    OUTBOUND = "outbound"
    INBOUND = "inbound"


class State(StrEnum):
    """Where a fax is. A state exists only if a crash after it must not redo what came before."""

    ACCEPTED = "accepted"
    PREPARED = "prepared"
    SUBMITTED = "submitted"
    DELIVERED = "delivered"
    FAILED = "failed"
    ANNOUNCED = "announced"
    FETCHED = "fetched"
    MAILED = "mailed"
    CLOSED = "closed"


MOVES: dict[State, frozenset[State]] = {
    State.ACCEPTED: frozenset({State.PREPARED, State.FAILED}),
    State.PREPARED: frozenset({State.SUBMITTED, State.FAILED}),
    State.SUBMITTED: frozenset({State.DELIVERED, State.FAILED, State.PREPARED}),
    State.DELIVERED: frozenset({State.CLOSED}),
    State.FAILED: frozenset({State.CLOSED}),
    State.ANNOUNCED: frozenset({State.FETCHED, State.CLOSED}),
    State.FETCHED: frozenset({State.MAILED}),
    State.MAILED: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Fax:
    """One fax: outbound, one mail to one number; inbound, one received fax of the provider."""

    id: str
    direction: Direction
    state: State
    key: str  # natural key, UNIQUE: where a duplicate dies
    number: str  # the far number, E.164 (inbound: as the provider wrote it when it is not one)
    line: str = ""  # our number, E.164
    sender: str = ""  # outbound: envelope sender, who is told; inbound: ""
    recipient: str = ""  # outbound: the address as written; inbound: where it was mailed
    subject: str = ""
    message_id: str = ""  # of the mail that became this fax
    name: str = ""  # inbound: the caller's name as claimed
    identity: str = ""  # outbound: who it counts for: "login:bob", "address:ann@example.com"
    wishes: str = ""  # outbound: what the sender asked for (`wishes.Wishes` as text)
    pages: int = 0
    digest: str = ""  # SHA-256 of the prepared or fetched document, hex
    skipped: str = ""  # parts of the mail that were not faxed, one "name: why" a line
    provider_id: str = ""
    calls: int = 0  # transmissions asked of the provider
    result_pages: int = 0  # pages the far machine confirmed
    duration: int = 0  # seconds on the line
    cause: str = ""  # `errors.Cause` of a failure
    reason: str = ""  # the same as a sentence
    trouble: str = ""  # why the present step is not done yet
    held: str = ""  # why a person must look; "" = not held
    told: int = 0  # 1 = those concerned have heard of its hold or end; more: when they will
    created_at: float = 0.0
    since: float = 0.0  # when it entered its state
    due_at: float = 0.0  # when to look next
    version: int = 0  # fences a worker that lost its lease
    attempts: int = 0  # tries of the present step
    misses: int = 0  # passes in which the provider's lists did not show it

    @property
    def reference(self) -> str:
        """What we call one transmission towards the provider: a redial is another call."""
        return f"{self.id}-{self.calls}"

    # outbound moves

    def prepared(self, *, pages: int, digest: str, **facts: Any) -> Fax:  # noqa: ANN401
        return self._to(State.PREPARED, pages=pages, digest=digest, **facts)

    def submitted(self, provider_id: str, look_at: float = 0.0) -> Fax:
        calls = self.calls + 1
        return self._to(State.SUBMITTED, provider_id=provider_id, calls=calls, due_at=look_at)

    def delivered(self, *, pages: int, duration: int) -> Fax:
        return self._to(State.DELIVERED, result_pages=pages, duration=duration)

    def failed(self, reason: str, cause: Cause, **facts: Any) -> Fax:  # noqa: ANN401
        return self._to(State.FAILED, reason=reason, cause=str(cause), **facts)

    # inbound moves

    def fetched(self, *, pages: int, digest: str, **facts: Any) -> Fax:  # noqa: ANN401
        return self._to(State.FETCHED, pages=pages, digest=digest, **facts)

    def mailed(self, recipient: str) -> Fax:
        return self._to(State.MAILED, recipient=recipient)

    def closed(self, reason: str = "") -> Fax:
        return self._to(State.CLOSED, **({"reason": reason} if reason else {}))

    # not moves: the same step, another time

    def later(self, at: float, **facts: Any) -> Fax:  # noqa: ANN401
        """Nothing new and nothing wrong: look again then."""
        return replace(self, due_at=at, attempts=0, **facts)

    def retried(self, at: float, because: str) -> Fax:
        return replace(self, due_at=at, trouble=because)

    def hold(self, because: str) -> Fax:
        """Nothing more happens to it until a person looks."""
        return replace(self, held=because, told=0, due_at=0.0, attempts=0)

    def tell(self) -> Fax:
        return replace(self, told=1, attempts=0)

    def _to(self, state: State, **facts: Any) -> Fax:  # noqa: ANN401
        if state not in MOVES[self.state]:
            raise ValueError(f"{self.state} → {state} is not a move")
        return replace(
            self, **{"trouble": "", "attempts": 0, "due_at": 0.0, "state": state, **facts}
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One upload that was begun, written down before its first byte left.

    outcome: "" not known yet, accepted, refused (nothing was sent), absent
    (proven), unknown (a person was asked).
    """

    id: str
    fax: str
    reference: str
    to_number: str
    from_number: str
    pages: int
    started_at: float
    ended_at: float
    looks: int
    shown_at: float
    outcome: str
    provider_id: str
    note: str
    identity: str = ""  # who the pages count for


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How much may be spent in a window of time. 0 = no limit."""

    scope: Literal["sender", "destination", "gateway"]
    window: float  # seconds
    faxes: int = 0
    pages: int = 0

    @property
    def amount(self) -> str:
        """`50 faxes or 9 pages an hour`."""
        amounts = ((self.faxes, "fax", "faxes"), (self.pages, "page", "pages"))
        most = " or ".join(f"{n} {one if n == 1 else many}" for n, one, many in amounts if n)
        every = {3600.0: "an hour", 86400.0: "a day"}.get(self.window, f"in {self.window:g} s")
        return f"{most} {every}"


def new_id() -> str:
    """A random fax id: safe in paths, addresses and speech."""
    rest, letters = secrets.randbelow(len(ID_LETTERS) ** ID_LENGTH), []
    for _ in range(ID_LENGTH):  # one random number, not one for each letter: intake is busy
        rest, letter = divmod(rest, len(ID_LETTERS))
        letters.append(ID_LETTERS[letter])
    return "".join(letters)
