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

_DONE = ("processed", "archived")
_EXPECTED = (TransientError, UncertainError, PermanentError, StoreError)


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
        listed = [
            fax.id for fax in await self.provider.unprocessed() if fax.status.lower() not in _DONE
        ]
        odd = [fax_id for fax_id in listed if not ID.fullmatch(fax_id)]
        if odd:
            log.warning("announcement_refused", ids=[fax_id[:80] for fax_id in odd[:10]])
        good = set(listed) - set(odd)
        added = await announce(self.store, sorted(good - self._seen), self.clock())
        early = [one.fax for one in added if one.duplicate]  # its hint may have been before it
        await asyncio.gather(*map(self.store.nudge, early))
        self._seen = good
        return len(added) - len(early)

    async def _try(self) -> None:
        try:
            await self.look()
        except Exception as error:  # a provider that surprises us must not end the gateway
            if not self._failures:
                bug = None if isinstance(error, _EXPECTED) else error
                log.warning("poll_failed", error=str(error) or repr(error), exc_info=bug)
            self._failures += 1
            return
        if self._failures:
            log.info("poll_recovered", failures=self._failures)
        self._failures = 0
