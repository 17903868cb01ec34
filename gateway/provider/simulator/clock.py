"""Wall time that can be moved forward. Knobs shrink by the scale, dates stay near the truth."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

SHORTEST_NAP = 0.001  # a clock that stands still must not make us spin
MOST_AHEAD = 1e10  # three centuries: dates must stay dates


class Clock:
    def __init__(self, wall: Callable[[], float], scale: float) -> None:
        if not (math.isfinite(scale) and scale >= 0):
            raise ValueError(f"a time scale is 0 or more, not {scale!r}")
        self.scale = scale
        self._wall = wall
        self._ahead = 0.0
        self._moved = asyncio.Event()

    def now(self) -> float:
        return self._wall() + self._ahead

    def scaled(self, seconds: float) -> float:
        return seconds * self.scale if math.isfinite(seconds) else seconds

    def advance(self, seconds: float) -> None:
        if not 0 <= self._ahead + seconds <= MOST_AHEAD:
            raise ValueError(f"a clock is at most {MOST_AHEAD:.0f} seconds ahead")
        self._ahead += seconds
        self._wake()

    def restart(self) -> None:
        """Back to the wall's time."""
        self._ahead = 0.0
        self._wake()

    async def until(self, at: float) -> None:
        while (left := at - self.now()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(left, SHORTEST_NAP)):
                    await self._moved.wait()

    async def pause(self, seconds: float) -> None:
        await self.until(self.now() + seconds)

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


def iso(at: float) -> str:
    """As in the documents: 2026-02-04T10:30:00Z."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 date or time, UTC unless it says otherwise.

    Raises:
        ValueError: it is neither.
    """
    plus = r"(:[0-9.]+) ([0-9]{2}:?[0-9]{2})$"  # of a zone, when nobody encoded it
    when = datetime.fromisoformat(re.sub(plus, r"\1+\2", text.strip()))
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
