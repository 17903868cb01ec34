"""The pages of an attached PDF as small pictures, drawn where all documents are: in the child."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, field
from pathlib import Path

import pikepdf

from gateway.document import InspectTask, Workshop
from gateway.spool import Spool

MOST_PAGES = 12  # shown of one document; the rest is in the file itself


@dataclass
class Pictures:
    """Draws each page once."""

    workshop: Workshop
    spool: Spool
    _drawn: dict[tuple[bytes, int], bytes] = field(default_factory=dict)

    async def page(self, document: bytes, number: int) -> bytes:
        """PNG of a page, counted from 0. Raises what the workshop raises."""
        key = (document, number)
        if key not in self._drawn:
            self._drawn[key] = await self._draw(document, number)
        return self._drawn[key]

    async def _draw(self, document: bytes, number: int) -> bytes:
        source, copy, picture = (self.spool.part() for _ in range(3))
        try:
            await asyncio.to_thread(_write_page, document, number, source)
            await self.workshop.inspect(InspectTask(source, copy, picture))
            return await asyncio.to_thread(picture.read_bytes)
        finally:
            for path in (source, copy, picture):
                path.unlink(missing_ok=True)


def _write_page(document: bytes, number: int, path: Path) -> None:
    with pikepdf.open(io.BytesIO(document)) as whole, pikepdf.new() as one:
        one.pages.append(whole.pages[number])
        one.save(path)
