"""ANNOUNCED → FETCHED: ask the provider what the fax is, download it, look at it in the child.

The announcement was only a hint: numbers, pages and document all come from the provider's API.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.document import Inspected, InspectTask, Workshop
from gateway.errors import PermanentError, TransientError
from gateway.model import Fax
from gateway.provider import Inbox, Received
from gateway.spool import Kind, Spool

UNKNOWN_LIFE = 86400.0  # s that we keep asking for an id that the provider does not know
TRIES = 3  # downloads that say the same, until that is what the fax is


@dataclass(frozen=True, slots=True)
class Fetch:
    """The room and what it works with. `downloads` bounds the whole gateway (10 by contract)."""

    provider: Inbox
    spool: Spool
    workshop: Workshop
    downloads: asyncio.Semaphore
    max_pages: int
    clock: Callable[[], float] = time.time

    async def __call__(self, fax: Fax) -> Fax:
        told = await self.provider.received(fax.provider_id)
        if told is None:
            return self._unknown(fax)
        facts = {
            "number": e164(told.from_number),
            "line": e164(told.to_number),
            "name": told.from_name,
        }
        part = self.spool.part()
        try:
            async with self.downloads:
                size = await self.provider.download(fax.provider_id, part)
            await self.spool.keep(part, [(fax.id, Kind.RECEIVED)])
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        last_try = fax.attempts >= TRIES
        try:
            seen = await self._look(fax, last_try=last_try)
        except PermanentError as error:
            if not last_try:  # it may have broken on the way: fetch it anew
                raise TransientError(str(error)) from error
            return fax.fetched(pages=told.pages, digest="", reason=str(error), **facts)
        warning = _differs(told, seen, size)
        if warning and not last_try:
            raise TransientError(warning)
        return fax.fetched(pages=seen.pages, digest=seen.digest, reason=warning, **facts)

    def _unknown(self, fax: Fax) -> Fax:
        """A forged or early hint: ask again for a day, then forget it (A46)."""
        if self.clock() - fax.created_at > UNKNOWN_LIFE:
            return fax.closed("the provider does not know this fax")
        raise TransientError("the provider does not know this fax (yet)")

    async def _look(self, fax: Fax, *, last_try: bool) -> Inspected:
        document, thumbnail = self.spool.part(), self.spool.part()
        source = self.spool.path(fax.id, Kind.RECEIVED)
        task = InspectTask(source, document, thumbnail, self.max_pages)
        try:
            seen = await self.workshop.inspect(task, last_try=last_try)
            await self.spool.keep(document, [(fax.id, Kind.DOCUMENT)])
            await self._keep_thumbnail(fax, thumbnail)
        finally:
            for part in (document, thumbnail):
                await asyncio.to_thread(part.unlink, missing_ok=True)
        return seen

    async def _keep_thumbnail(self, fax: Fax, thumbnail: Path) -> None:
        if await asyncio.to_thread(thumbnail.exists):
            await self.spool.keep(thumbnail, [(fax.id, Kind.THUMBNAIL)])


def e164(written: str) -> str:
    """A number as the provider writes it, in E.164 where it is one; else as it is."""
    digits = re.sub(r"[\s().-]", "", written)
    if re.fullmatch(r"\+?[1-9]\d{9,14}", digits):
        return "+" + digits.removeprefix("+")
    return written


def _differs(told: Received, seen: Inspected, size: int) -> str:
    """What the provider announced and did not send; "" = all as announced."""
    if told.pages and told.pages != seen.pages:
        return f"the provider says {told.pages} pages, the document has {seen.pages}"
    if told.size and told.size != size:
        return f"the provider says {told.size} bytes, the document has {size}"
    return ""
