"""Polling: lists the provider's new faxes and announces what no webhook did."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from gateway.doors.announce import ID, announce
from gateway.errors import PermanentError, TransientError, UncertainError
from gateway.provider import Inbox
from gateway.store import Store, StoreError

log = structlog.get_logger()

REMEMBERED = 100_000  # ids that need no second look into the store


@dataclass
class Poll:
    """The door. `interval`: seconds between looks; doubled after each failure, up to ten times."""

    provider: Inbox
    store: Store
    interval: float
    clock: Callable[[], float] = time.time
    _seen: set[str] = field(default_factory=set)
    _failures: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Look now and at every interval until `stop`. An error never ends it."""
        while not stop.is_set():
            await self._try()
            wait = self.interval * min(2**self._failures, 10) * random.uniform(0.8, 1.2)
            try:
                async with asyncio.timeout(wait):
                    await stop.wait()
            except TimeoutError:
                continue

    async def look(self) -> int:
        """One complete pass; returns how many faxes were new. All pages first, then rows."""
        listed = [fax.id for fax in await self.provider.unprocessed()]
        odd = [fax_id for fax_id in listed if not ID.fullmatch(fax_id)]
        if odd:
            log.warning("announcement_refused", ids=[fax_id[:80] for fax_id in odd[:10]])
        fresh = [fax_id for fax_id in listed if fax_id not in self._seen and fax_id not in odd]
        added = await announce(self.store, fresh, self.clock())
        if len(self._seen) > REMEMBERED:
            self._seen.clear()
        self._seen.update(fresh)
        return sum(not one.duplicate for one in added)

    async def _try(self) -> None:
        try:
            await self.look()
        except (TransientError, UncertainError, PermanentError, StoreError) as error:
            if not self._failures:
                log.warning("poll_failed", error=str(error))
            self._failures += 1
            return
        if self._failures:
            log.info("poll_recovered", failures=self._failures)
        self._failures = 0
