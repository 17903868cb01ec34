"""SUBMITTED → DELIVERED or FAILED: one list pass for all open faxes, not a request for each.

The provider's list is the truth. An unknown word means it is still working, a missing row or a
404 means nothing for a long while, and only an explicit word ends a fax.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from gateway.errors import Cause, PermanentError, TransientError, UncertainError
from gateway.model import Fax, State
from gateway.provider import Outbox, Phase, Sent, by_id

log = structlog.get_logger()

STUCK = 6 * 3600.0  # s without a final word: a person must look
MISSES = 13  # passes in which a fax was in no list, a minute apart, until it counts as lost
MISS_WAIT = 60.0
ASKED_A_PASS = 5  # delivered faxes whose details (time on the line) are asked for in one pass
MARGIN = 3600.0  # s before the oldest open fax from which on the list is asked for
_STEPS = ((120.0, 1), (600.0, 2), (3600.0, 4))  # age of the youngest open fax → × interval
_SLOWEST = 20  # × interval, for older ones

_CAUSES = (
    (Cause.BUSY, r"busy|\b486\b|\b17\b"),
    (Cause.NO_ANSWER, r"no.?answer|no.?user|timed? ?out waiting|\b480\b"),
    (Cause.NUMBER, r"invalid (fax )?number|unallocated|not (a|in) (fax|service)"),
)


@dataclass(frozen=True, slots=True)
class Track:
    """The room and what it works with. `interval`: s between looks at a young fax."""

    provider: Outbox
    interval: float = 15.0
    clock: Callable[[], float] = time.time
    witness: Callable[[str], Awaitable[None]] | None = None  # told of a fax listed while at work

    async def __call__(self, faxes: list[Fax]) -> Sequence[Fax]:
        listed = await self.provider.sent(min(fax.since for fax in faxes) - MARGIN)
        rows = by_id(listed)
        next_look = self.clock() + self._wait(faxes)
        after = [await self._alone(fax, rows.get(fax.provider_id), next_look) for fax in faxes]
        after = await self._timed(after)
        at_work = (row.id for row in listed if row.phase is Phase.WORKING)
        mine = {fax.provider_id for fax in faxes}
        if self.witness and (shown := next((one for one in at_work if one in mine), "")):
            await self.witness(shown)
        return after

    async def _alone(self, fax: Fax, row: Sent | None, next_look: float) -> Fax:
        """One fax of a pass: whatever is wrong with it never keeps the others waiting."""
        try:
            return await self._moved(fax, row, next_look)
        except Exception as error:
            log.exception("fax_not_moved", fax=fax.id)
            return fax.hold(f"its status cannot be understood: {error!r}")

    async def _moved(self, fax: Fax, row: Sent | None, next_look: float) -> Fax:
        if row is None and fax.misses + 1 in (3, 6, MISSES):
            row = await self._details(fax.provider_id)
        if row is None:
            return self._missed(fax, next_look)
        match row.phase:
            case Phase.DELIVERED:
                return fax.delivered(pages=row.pages or fax.pages, duration=row.duration)
            case Phase.FAILED:
                return await self._failed(fax, row)
        if self.clock() - fax.since > STUCK:
            return fax.hold(
                f"the provider has not finished it in {STUCK / 3600:.0f} hours (it says "
                f"{row.word!r}); it may still be sent"
            )
        return fax.later(next_look, misses=0, trouble="")

    async def _timed(self, faxes: list[Fax]) -> list[Fax]:
        """Lists seldom tell the time on the line: ask once for it, as far as the budget allows."""
        asked = 0
        for at, fax in enumerate(faxes):
            if fax.state is State.DELIVERED and not fax.duration and asked < ASKED_A_PASS:
                asked += 1
                row = await self._details(fax.provider_id)
                faxes[at] = replace(fax, duration=row.duration) if row else fax
        return faxes

    async def _details(self, provider_id: str) -> Sent | None:
        """More than the list tells, where the provider answers; it is never worth a second try."""
        with contextlib.suppress(TransientError, UncertainError, PermanentError):
            return await self.provider.details(provider_id)
        return None

    async def _failed(self, fax: Fax, row: Sent) -> Fax:
        """A list row seldom says why: ask once for the details."""
        if not row.reason:
            row = await self._details(row.id) or row
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
