"""SUBMITTED → DELIVERED or FAILED: one list pass for all open faxes, not a request for each.

The provider's list is the truth. An unknown word means it is still working, a missing row or a
404 means nothing for a long while, and only an explicit word ends a fax.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from gateway.errors import Cause, PermanentError, TransientError, UncertainError
from gateway.model import Fax
from gateway.provider import Outbox, Phase, Sent, by_id

log = structlog.get_logger()

STUCK = 6 * 3600.0  # s without a final word: a person must look
MISSES = 13  # passes in which a fax was in no list, a minute apart, until it counts as lost
MISS_WAIT = 60.0
ASKED_A_PASS = 20  # faxes whose details are asked for in one pass
ANSWER_WAIT = 20.0  # s for each
BREATH = 200  # faxes between two breaths of the loop
MARGIN = 2 * 86400.0  # s before the oldest open fax from which on the list is asked for: an upload
# may be bound hours after it began, and a clock may be put back by a day
_STEPS = ((120.0, 1), (600.0, 2), (3600.0, 4))  # age of the youngest open fax → × interval
_SLOWEST = 20  # × interval, for older ones

_CAUSES = (
    (Cause.BUSY, r"busy|\b486\b|\b17\b"),
    (Cause.NO_ANSWER, r"no.?answer|no.?user|timed? ?out waiting|\b480\b"),
    (Cause.NUMBER, r"invalid (fax )?number|unallocated|not (a|in) (fax|service)"),
)


@dataclass
class _Questions:
    """The details that one pass may ask for: few, and none more after one went unanswered."""

    provider: Outbox
    left: int = ASKED_A_PASS
    mute: bool = False

    @property
    def for_later(self) -> bool:
        """Whether a question is better asked in the next pass: a mute provider answers no more."""
        return not self.left and not self.mute

    async def details(self, provider_id: str) -> Sent | None:
        if self.mute or not self.left:
            return None
        self.left -= 1
        try:
            async with asyncio.timeout(ANSWER_WAIT):
                return await self.provider.details(provider_id)
        except (TransientError, UncertainError, PermanentError, TimeoutError):
            self.mute = True
            return None


@dataclass(frozen=True, slots=True)
class Track:
    """The room and what it works with. `interval`: s between looks at a young fax."""

    provider: Outbox
    interval: float = 15.0
    clock: Callable[[], float] = time.time
    witness: Callable[[str], Awaitable[None]] | None = None  # told of a fax listed while at work

    async def __call__(self, faxes: list[Fax]) -> Sequence[Fax]:
        try:
            listed = await self.provider.sent(min(fax.since for fax in faxes) - MARGIN)
        except PermanentError as error:  # of the question, not of the faxes
            raise UncertainError(f"the provider's list cannot be had: {error}") from error
        rows, asks = by_id(listed), _Questions(self.provider)
        next_look = self.clock() + self._wait(faxes)
        after = []
        for at, fax in enumerate(faxes):
            if at % BREATH == 0:
                await asyncio.sleep(0)  # thousands of faxes must not keep the loop
            after.append(await self._alone(fax, rows.get(fax.provider_id), next_look, asks))
        at_work = (row.id for row in listed if row.phase is Phase.WORKING)
        mine = {fax.provider_id for fax in faxes}
        if self.witness and (shown := next((one for one in at_work if one in mine), "")):
            await self.witness(shown)
        return after

    async def _alone(self, fax: Fax, row: Sent | None, next_look: float, asks: _Questions) -> Fax:
        """One fax of a pass: whatever is wrong with it never keeps the others waiting."""
        try:
            return await self._moved(fax, row, next_look, asks)
        except Exception as error:
            log.exception("fax_not_moved", fax=fax.id)
            return fax.hold(f"its status cannot be understood: {error!r}")

    async def _moved(self, fax: Fax, row: Sent | None, next_look: float, asks: _Questions) -> Fax:
        if row is None and fax.misses + 1 in (3, 6, MISSES):
            if asks.for_later:
                return fax.later(next_look)  # this pass is no proof: nobody was asked
            row = await asks.details(fax.provider_id)
        if row is None:
            return self._missed(fax, next_look)
        match row.phase:
            case Phase.DELIVERED:
                return await self._delivered(fax, row, asks)
            case Phase.FAILED:
                return await self._failed(fax, row, asks)
        if self.clock() - max(fax.since, row.created_at) > STUCK:  # both clocks say so
            return fax.hold(
                f"the provider has not finished it in {STUCK / 3600:.0f} hours (it says "
                f"{row.word!r}); it may still be sent"
            )
        return fax.later(next_look, misses=0, trouble="")

    async def _delivered(self, fax: Fax, row: Sent, asks: _Questions) -> Fax:
        """Lists seldom tell the time on the line: ask once for it, as far as the budget allows."""
        told = row if row.duration else await asks.details(fax.provider_id) or row
        return fax.delivered(pages=row.pages or fax.pages, duration=told.duration)

    async def _failed(self, fax: Fax, row: Sent, asks: _Questions) -> Fax:
        """A list row seldom says why: ask once for the details, in a later pass when it must be."""
        if not row.reason:
            if asks.for_later:
                return fax.later(self.clock(), misses=0)
            row = await asks.details(row.id) or row
        cause = next(
            (c for c, words in _CAUSES if re.search(words, row.reason, re.IGNORECASE)), Cause.LINE
        )
        reason = row.reason or "the provider gave no reason"
        return fax.failed(reason, cause, duration=row.duration)

    def _missed(self, fax: Fax, next_look: float) -> Fax:
        """In no list. One look that finds it starts the count anew."""
        misses = fax.misses + 1
        if misses >= MISSES:
            return fax.hold(
                "outcome unknown: the provider accepted it and lists it no more. It may have "
                "been sent; do not send it again without checking"
            )
        if misses < 3:  # a list lags behind for some seconds
            return fax.later(next_look, misses=misses)
        wait = max(next_look, self.clock() + MISS_WAIT)
        return fax.later(wait, misses=misses, trouble="not in the provider's list")

    def _wait(self, faxes: Sequence[Fax]) -> float:
        """The youngest open fax sets the pace for all: one pass serves every one of them."""
        age = self.clock() - max(fax.since for fax in faxes)
        times = next((factor for limit, factor in _STEPS if age < limit), _SLOWEST)
        return self.interval * times * random.uniform(0.8, 1.2)
