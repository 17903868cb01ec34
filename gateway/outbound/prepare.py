"""ACCEPTED → PREPARED: the mail becomes one fax-ready PDF, in the limited child."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.document import PrepareTask, Workshop
from gateway.model import Fax
from gateway.spool import Kind, Spool
from gateway.wishes import wishes_of

GONE = "its mail is gone from the disk; was an older database put back?"


@dataclass(frozen=True, slots=True)
class Prepare:
    """The room and what it works with."""

    small: Callable[[str], Awaitable[bytes]]  # the mail of a fax, b"" = it is a file
    spool: Spool
    workshop: Workshop
    max_pages: int
    paper: str
    body: str = "cover"  # where the sender does not say

    async def __call__(self, fax: Fax) -> Fax:
        message, document, thumbnail = (self.spool.part() for _ in range(3))
        wishes = wishes_of(fax.wishes)
        try:
            task = PrepareTask(
                message=await self._message(fax, message),
                document=document,
                thumbnail=thumbnail,
                number=fax.number,
                max_pages=self.max_pages,
                paper=self.paper,
                body=wishes.body or self.body,
            )
            prepared = await self.workshop.prepare(task, last_try=fax.attempts > 1)
            await self.spool.keep(document, [(fax.id, Kind.DOCUMENT)])
            if thumbnail.exists():
                await self.spool.keep(thumbnail, [(fax.id, Kind.THUMBNAIL)])
        finally:
            for part in (message, document, thumbnail):
                await asyncio.to_thread(part.unlink, missing_ok=True)
        return fax.prepared(
            pages=prepared.pages,
            digest=prepared.digest,
            skipped="\n".join(prepared.skipped),
            due_at=wishes.at or wishes.turn(fax.created_at),
        )

    async def _message(self, fax: Fax, copy: Path) -> Path:
        """The mail as a file; of a small one a copy that nobody needs afterwards."""
        content = await self.small(fax.id)
        if not content:
            path = self.spool.path(fax.id, Kind.MESSAGE)
            if not await asyncio.to_thread(path.exists):  # a person must say if it was sent
                raise FileNotFoundError(GONE)
            return path
        await asyncio.to_thread(copy.write_bytes, content)
        return copy
