"""One outbound fax: pending → processing → sending → sent | failed, a pure function of time.

The whole future of a fax is drawn when it is accepted; the last four digits of the called
number decide how it ends (`ENDINGS`).
"""

from __future__ import annotations

import heapq
import math
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.provider.simulator.documents import Document
from gateway.provider.simulator.profile import Timing

SIX_HOURS = 6 * 3600.0
GONE = ""  # the status of a fax that no longer exists


@dataclass(frozen=True, slots=True)
class Ending:
    """How one call ends. `reached`: how far it comes, in the words of T.30's phases."""

    word: str = "sent"
    error: str = ""  # a sentence, as the provider tells it; may name {from_number}
    reached: str = "end"  # dial, negotiate, page 2, end
    sending: str = "sending"  # the status word while on the line
    extra: float = 0.0  # seconds more on the line
    pages_lost: int = 0


OK = Ending()
BUSY = Ending("failed", "The line is busy", "dial")
UNREADABLE = Ending("failed", "The document could not be converted")
STUCK = Ending("pending")  # and never anything else

ENDINGS: dict[str, Ending] = {
    "0002": BUSY,
    "0003": Ending("failed", "No answer", "dial"),
    "0004": Ending("failed", "The far end is not a fax machine", "negotiate"),
    "0005": Ending("failed", "The call dropped prematurely on page 2", "page 2"),
    "0006": STUCK,
    "0007": Ending(extra=SIX_HOURS),
    "0008": Ending(sending="Fax negotiated at 14400"),
    "0009": Ending(GONE, reached="dial"),
    "0010": Ending("failed", "invalid fax cid number: {from_number}", "dial"),
    "0014": Ending("failed", "", "negotiate"),
    "0015": Ending(pages_lost=1),
}
REFUSED = {"0011": (402, "not enough credit"), "0012": (400, "to_number cannot be called")}
NEVER_STORED = "0013"  # accepted, and never seen again
BUSY_ONCE = "0001"  # the first call to that number, whichever fax makes it


@dataclass(frozen=True, slots=True)
class Plan:
    """Status words with the time each ends; what it then is, for ever, is the ending's word."""

    ends: tuple[float, ...]
    words: tuple[str, ...]
    ending: Ending
    on_line: float  # seconds, as the provider would bill them

    def status(self, now: float) -> str:
        past = bisect_right(self.ends, now)
        return self.words[past] if past < len(self.words) else self.ending.word

    def over(self, now: float) -> bool:
        return not self.ends or now >= self.ends[-1]


@dataclass(frozen=True, slots=True)
class OutboundFax:
    id: str
    serial: int
    to_number: str
    from_number: str
    document: Document
    at: float
    listed_at: float
    plan: Plan

    def status(self, now: float) -> str:
        return self.plan.status(now)

    def pages(self, now: float) -> int:
        whole = self.document.pages
        lost = self.plan.ending.pages_lost if self.plan.over(now) else 0
        return max(whole - lost, min(whole, 1))


class Lines:
    """The account's lines: at most so many calls at the same time, 0 = no limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy_until: list[float] = []

    def take(self, ready: float, lasts: float) -> float:
        """When a call that could start at `ready` does start."""
        if not self._most:
            return ready
        full = len(self._busy_until) >= self._most
        start = max(ready, heapq.heappop(self._busy_until)) if full else ready
        heapq.heappush(self._busy_until, start + lasts)
        return start


def digits(number: str) -> str:
    return re.sub(r"\D", "", number)


def suffix(number: str) -> str:
    return digits(number)[-4:]


def ending(number: str, document: Document, earlier: int) -> Ending:
    """How the next call ends when `earlier` calls went to that number."""
    if not document.pages:
        return UNREADABLE
    tail = suffix(number)
    if tail == BUSY_ONCE:
        return OK if earlier else BUSY
    return ENDINGS.get(tail, OK)


def plan(  # noqa: PLR0913 - what a fax's future depends on
    endings: list[Ending],
    pages: int,
    timing: Timing,
    queue: float,
    *,
    at: float,
    lines: Lines,
    scaled: Callable[[float], float],
) -> Plan:
    """The future of a fax accepted at `at`; `endings` is how its calls end, one after another."""
    last = endings[-1]
    if last is STUCK:
        return Plan((math.inf,), ("pending",), last, 0.0)
    steps = [("pending", queue), ("processing", timing.t_convert)]
    if last is UNREADABLE:
        return _timed(steps, last, at, scaled)
    first = len(steps)
    for number, call in enumerate(endings):
        if number:
            steps.append(("pending", timing.retry_after))
        steps.append((call.sending, _seconds(call, pages, timing)))
    lasts = scaled(sum(seconds for _, seconds in steps[first:]))
    ready = at + scaled(queue + timing.t_convert)
    wait = lines.take(ready, lasts) - ready
    whole = _timed(steps, last, at, scaled)
    return replace(whole, ends=(whole.ends[0] + wait, *(end + wait for end in whole.ends[1:])))


def _timed(
    steps: list[tuple[str, float]], last: Ending, at: float, scaled: Callable[[float], float]
) -> Plan:
    ends, end = [], at
    for _, seconds in steps:
        end += scaled(seconds)
        ends.append(end)
    on_line = sum(seconds for word, seconds in steps[2:] if word != "pending")
    return Plan(tuple(ends), tuple(word for word, _ in steps), last, on_line)


def _seconds(call: Ending, pages: int, timing: Timing) -> float:
    """How long that call keeps the line."""
    seconds = timing.t_dial + call.extra
    if call.reached == "dial":
        return seconds
    seconds += timing.t_negotiate
    if call.reached == "negotiate":
        return seconds
    return seconds + timing.t_page * (min(pages, 2) if call.reached == "page 2" else pages)
