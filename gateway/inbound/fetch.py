"""ANNOUNCED → FETCHED: ask the provider what the fax is, download it, look at it in the child.

The announcement was only a hint: numbers, pages and document all come from the provider's API.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.document import Inspected, InspectTask, Workshop
from gateway.errors import PermanentError, TransientError
from gateway.model import Fax
from gateway.provider import Inbox, Received, has_two_spellings, without_month
from gateway.spool import Kind, Spool

UNKNOWN_LIFE = 86400.0  # s that we keep asking for an id that the provider does not know
TRIES = 3  # downloads that are no good, until that is what the fax is
ANEW_AFTER = 60.0  # s until a document is fetched again that is none: outages answer in HTML, too


@dataclass(frozen=True, slots=True)
class Fetch:
    """The room and what it works with. `downloads` bounds the whole gateway (10 by contract)."""

    provider: Inbox
    spool: Spool
    workshop: Workshop
    downloads: asyncio.Semaphore
    max_pages: int
    clock: Callable[[], float] = time.time
    _bad: Counter[str] = field(default_factory=Counter)  # downloads that were no good, by fax

    async def __call__(self, fax: Fax) -> Fax:
        told = await self._told(fax)
        if told is None:
            return self._unknown(fax)
        size = await self._download(told, fax)
        facts: dict[str, Any] = {
            "number": e164(told.from_number),
            "line": e164(told.to_number),
            "name": told.from_name,
            "provider_id": told.id,
        }
        try:
            seen = await self._look(fax)
            facts |= {"pages": seen.pages, "digest": seen.digest}
            if complaint := _differs(told, seen, size):
                self._once_more(fax, complaint)
        except PermanentError as error:
            complaint = str(error)
            self._once_more(fax, complaint, after=ANEW_AFTER)
            facts |= {"pages": told.pages, "digest": ""}
        self._bad.pop(fax.id, None)
        return fax.fetched(reason=complaint, **facts)

    async def _told(self, fax: Fax) -> Received | None:
        """Its details. The list has the last word on whether there is such a fax.

        A hint may name it without the month that it has in the list.
        """
        doubtful = has_two_spellings(fax.provider_id) or self._is_old(fax)
        try:
            told = await self.provider.received(fax.provider_id)
        except PermanentError:  # anybody may make up an id: nobody shall have to look at it
            told, doubtful = None, True
        if told or not doubtful:
            return told
        wanted = without_month(fax.provider_id)
        listed = await self.provider.unprocessed()
        return next((one for one in listed if without_month(one.id) == wanted), None)

    def _unknown(self, fax: Fax) -> Fax:
        """A forged or early hint: ask again for a day, then forget it (A46)."""
        if self._is_old(fax):
            return fax.closed("the provider does not know this fax")
        raise TransientError("the provider does not know this fax (yet)")

    def _is_old(self, fax: Fax) -> bool:
        return self.clock() - fax.created_at > UNKNOWN_LIFE

    async def _download(self, told: Received, fax: Fax) -> int:
        """Keep the provider's bytes; the file's time is that of the fax's reception."""
        part = self.spool.part()
        received_at = told.received_at if 0 < told.received_at < self.clock() + 86400 else 0.0
        try:
            async with self.downloads:
                size = await self.provider.download(told.id, part)
            await asyncio.to_thread(os.utime, part, (received_at, received_at))
            await self.spool.keep(part, [(fax.id, Kind.RECEIVED)])
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        return size

    async def _look(self, fax: Fax) -> Inspected:
        document, thumbnail = self.spool.part(), self.spool.part()
        source = self.spool.path(fax.id, Kind.RECEIVED)
        task = InspectTask(source, document, thumbnail, self.max_pages)
        try:
            seen = await self.workshop.inspect(task, last_try=self._bad[fax.id] >= TRIES - 1)
            await self.spool.keep(document, [(fax.id, Kind.DOCUMENT)])
            await self._keep_thumbnail(fax, thumbnail)
        except TransientError:  # the child died of it
            self._bad[fax.id] += 1
            raise
        finally:
            for part in (document, thumbnail):
                await asyncio.to_thread(part.unlink, missing_ok=True)
        return seen

    async def _keep_thumbnail(self, fax: Fax, thumbnail: Path) -> None:
        if await asyncio.to_thread(thumbnail.exists):
            await self.spool.keep(thumbnail, [(fax.id, Kind.THUMBNAIL)])

    def _once_more(self, fax: Fax, complaint: str, after: float = 0.0) -> None:
        """It may have broken on the way: raises until it was fetched often enough."""
        self._bad[fax.id] += 1
        if self._bad[fax.id] < TRIES:
            raise TransientError(complaint, after=after)


def e164(written: str) -> str:
    """A number as the provider writes it, in E.164 where it is one; else as it is.

    Ten digits without a plus are a North American number: the provider is.
    """
    digits = re.sub(r"[\s().-]", "", written)
    if re.fullmatch(r"[2-9]\d\d[2-9]\d{6}", digits):
        return "+1" + digits
    if re.fullmatch(r"\+[1-9]\d{6,14}|[1-9]\d{10,14}", digits):
        return "+" + digits.removeprefix("+")
    return written


def _differs(told: Received, seen: Inspected, size: int) -> str:
    """What the provider announced and did not send; "" = all as announced."""
    if told.pages and told.pages != seen.pages:
        return f"the provider says {told.pages} pages, the document has {seen.pages}"
    if told.size and told.size != size:
        return f"the provider says {told.size} bytes, the document has {size}"
    return ""
