"""Every refusal at a door becomes a row that support can search (`fax-gateway rejects`).

Masked before it is kept: the local part of a mail address but for its first letter, a number but
for its country and last four digits. Who knows the address finds it: a search masks it alike.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import lru_cache

import structlog

from gateway.numbers import masked
from gateway.store import Store, StoreError
from gateway.store.doors import Reject

log = structlog.get_logger()

EVERY = 2.0  # s between commits
MINUTE = 60.0
ROWS_OF_ONE = 20  # different refusals of one peer in a minute that get a row each
CROWDED = 500  # rows of all peers in a minute, from which on each peer gets only
FEWEST = 2
ROWS_A_MINUTE = 2_000
MOST_WAITING = 5_000  # rows in memory while the database takes none
MORE_OF_ONE, MORE_OF_ALL = "more of this peer", "more of many peers"

_Facts = tuple[str, str, str, str, str, str]  # door, reply, because, sender, recipient, number
_EXAMPLE = "+14155550100"  # in our replies and help; 555-01xx is given to nobody
_LONGEST = 200
_SHOWN_FROM = 8  # digits, from which on `numbers.masked` shows the last four
_NUMBER = r"\d(?:[ ().\-/]{0,3}\d){6,}"
_WRITTEN = re.compile(rf"\+?{_NUMBER}")
_CODE = re.compile(r"[2-5]\d\d[ -](?:\d\.\d{1,3}\.\d{1,3}\b)?")
# SIZE=12345678 and EHLO [192.0.2.17] are no numbers that anybody dials
_DIGITS = re.compile(
    r"(?P<keep>SIZE[= ]\d+|(?<![^\s\[])\d{1,3}(?:\.\d{1,3}){3}(?=\]|\s*$))"
    rf"|{_NUMBER}",
    re.IGNORECASE,
)
_MAILBOX = re.compile(r'("[^"]*"|(?<![^\s<>@:;,"])[^\s<>@:;,"]+)@')


def clean(text: str) -> str:
    """One line without control characters, of bounded length."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 1]}…"
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def peer_name(peer: str) -> str:
    """An IPv4 client of an IPv6 socket has one name."""
    return peer[7:] if peer.startswith("::ffff:") and "." in peer else clean(peer)


def masked_like(sought: str) -> str:
    """What rows show of an address or a number that somebody looks for, "" = of neither."""
    if number := _WRITTEN.search(sought):
        digits = re.sub(r"\D", "", number[0])
        return f"•••{digits[-4:]}" if len(digits) >= _SHOWN_FROM else ""
    return masked_address(sought) if "@" in sought else ""


def masked_text(text: str) -> str:
    """A line of a dialogue: its form is seen, not who is meant: `RCPT TO:<(•••) •••-0100@fax>`."""
    return _MAILBOX.sub(_first_letter, _DIGITS.sub(_last_four, text))


@lru_cache(maxsize=1024)  # most replies are always the same
def masked_reply(reply: str) -> str:
    """A reply as we keep it: it may name a number; the example in it is nobody's."""
    return clean(" | ".join(map(_masked_line, reply.split(" | "))))


def masked_address(address: str) -> str:
    """`a•••@example.com`, `+1•••0100@fax.local`."""
    local, at, domain = address.rpartition("@")
    if not at:
        local, domain = address, ""
    if number := _WRITTEN.search(local):
        return f"{masked(number[0])}{at}{masked_text(domain)}"
    return f"{local[:1]}•••{at}{masked_text(domain)}" if local else address


class Refusals:
    """`note` is called from the event loop for each refusal; `run` commits what it gathered."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[Reject, float] = {}  # row without its time and count → its time
        self._times: Counter[Reject] = Counter()
        self._minute = 0.0
        self._peers: dict[str, dict[_Facts, Reject]] = {}  # what became a row in this minute
        self._rows = 0
        self._others = 0  # refusals that got no row of their own
        self._failing = False

    def note(  # noqa: PLR0913 - the facts of a row, by name
        self, door: str, peer: str, reply: str, *,
        because: str = "", sender: str = "", recipient: str = "", number: str = "",
    ) -> None:  # fmt: skip
        """`because`: the event's word (`bad_number`); `recipient`: as the client wrote it."""
        now = self._clock()
        if now // MINUTE != self._minute:
            self._minute, self._rows = now // MINUTE, 0
            self._peers.clear()
        row = self._row(peer, (str(door), reply, because, sender, recipient, number))
        if row:
            self._add(row, now, 1)
        else:
            self._others += 1

    async def run(self, stop: asyncio.Event) -> None:
        """Commit every two seconds until `stop`, and then once more."""
        await flush_until(stop, self.flush)

    async def flush(self) -> bool:
        """Commit what was noted; False = the database took nothing, it waits in memory."""
        waiting, times, others = self._waiting, self._times, self._others
        self._waiting, self._times, self._others = {}, Counter(), 0
        rows = [replace(row, at=at, times=times[row]) for row, at in waiting.items()]
        if others:
            rows.append(Reject(self._clock(), "", "", "", "", "", MORE_OF_ALL, others))
        try:
            if rows:
                await self._store.doors.refused(rows)
        except StoreError as error:
            if not self._failing:
                log.error("refusals_not_kept", error=str(error))  # noqa: TRY400 - no bug
            self._failing = True
            self._take_back(waiting, times, others)
            return False
        self._failing = False
        return True

    def _row(self, peer: str, facts: _Facts) -> Reject | None:
        """The row that counts this refusal; None = this minute has enough of them.

        What is new is masked; a flood is cheap.
        """
        mine = self._peers.get(peer, {})
        if facts not in mine and len(mine) >= (ROWS_OF_ONE if self._rows < CROWDED else FEWEST):
            facts = (facts[0], "", MORE_OF_ONE, "", "", "")
        if facts not in mine:
            if self._rows >= ROWS_A_MINUTE:
                return None
            self._rows += 1
            self._peers.setdefault(peer, mine)[facts] = _masked(self._minute * MINUTE, peer, facts)
        return mine[facts]

    def _add(self, row: Reject, at: float, times: int) -> None:
        if row not in self._waiting and len(self._waiting) >= MOST_WAITING:
            self._others += times
        else:
            self._waiting.setdefault(row, at)
            self._times[row] += times

    def _take_back(self, waiting: dict[Reject, float], times: Counter[Reject], more: int) -> None:
        newer, newer_times = self._waiting, self._times
        self._waiting, self._times = waiting, times  # the older ones first: they come to be kept
        self._others += more
        for row, at in newer.items():
            self._add(row, at, newer_times[row])


def _masked(at: float, peer: str, facts: _Facts) -> Reject:
    door, reply, because, sender, recipient, number = facts
    whom = clean(masked(number) if number else masked_address(recipient))
    sender = clean(masked_address(sender))
    return Reject(at, door, peer_name(peer), sender, whom, masked_reply(reply), clean(because), 0)


async def flush_until(stop: asyncio.Event, flush: Callable[[], Awaitable[object]]) -> None:
    while not stop.is_set():
        await flush()
        try:
            async with asyncio.timeout(EVERY):
                await stop.wait()
        except TimeoutError:
            continue
    await flush()


def _masked_line(line: str) -> str:
    code = match[0] if (match := _CODE.match(line)) else ""
    return code + _EXAMPLE.join(map(masked_text, line.removeprefix(code).split(_EXAMPLE)))


def _last_four(match: re.Match[str]) -> str:
    if match["keep"]:
        return match["keep"]
    hidden = sum(map(str.isdigit, match[0])) - 4
    return re.sub(r"\d", "•", match[0], count=hidden)


def _first_letter(match: re.Match[str]) -> str:
    return match[0] if "•" in match[1] else f"{match[1][0]}•••@"
