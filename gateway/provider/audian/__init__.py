"""The Audian cloud fax API: two families of paths, one client.

Family A, `/v2/accounts/{id}/faxes`, sends and follows; family B, `/v2/fax`, receives. Profile
`documented`: the provider's two documents to the letter.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from gateway.errors import TransientError, UncertainError
from gateway.provider import Received, Sent
from gateway.provider.audian import read
from gateway.provider.audian.http import Access, Http
from gateway.provider.audian.upload import Upload

PAGE = 100  # rows of family B at a time, its maximum
MOST_PAGES = 1000  # a list that never ends is a fault, not a list

__all__ = ["Access", "Audian"]


class Audian:
    """Both roads over one account; implements `gateway.provider.Provider`."""

    def __init__(
        self,
        access: Access,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = Http(access, clock, steady)
        self._faxes = f"/v2/accounts/{access.account}/faxes"
        self._received = "/v2/fax/received"

    async def close(self) -> None:
        await self._http.close()

    # mail → fax

    async def send(self, *, to: str, line: str, document: Path, reference: str) -> str:
        upload = Upload({"to_number": to, "from_number": line}, document, f"{reference}.pdf")
        answer = await self._http.upload(self._faxes, upload, reference)
        if not (fax_id := read.submitted_id(answer)):
            raise UncertainError("the provider accepted the fax but named no id")
        return fax_id

    async def sent(self, since: float) -> list[Sent]:
        """The documented list has no window: all of it, `paginate=false`; older rows are left out.

        A row without a time is kept: it may be the one that is looked for.
        """
        answer = await self._http.get(self._faxes, paginate="false")
        rows, offset = self._rows(answer), self._http.clock_offset

        def read_all() -> list[Sent]:
            found = [read.sent(row, offset) for row in rows]
            return [s for s in found if s and (not s.created_at or s.created_at >= since)]

        return await asyncio.to_thread(read_all)  # tens of thousands: not on the loop

    async def details(self, provider_id: str) -> Sent | None:
        answer = await self._http.get(f"{self._faxes}/{_path(provider_id, read.SENT_ID)}")
        inside = _inside(answer)
        return read.sent(inside, self._http.clock_offset) if inside else None

    # fax → mail

    async def unprocessed(self) -> list[Received]:
        """All pages before anything is done: marking a fax would shift the pages behind it."""
        found: dict[str, Received] = {}
        for page in range(MOST_PAGES):
            answer = await self._http.get(
                self._received, status="received", limit=PAGE, offset=page * PAGE
            )
            rows = self._rows(answer)
            new = [r for row in rows if (r := read.received(row, self._http.clock_offset))]
            fresh = {r.id: r for r in new if r.id not in found}
            found |= fresh
            if len(rows) < PAGE or not fresh:
                return list(found.values())
        raise TransientError(f"the list of received faxes has more than {MOST_PAGES} pages")

    async def received(self, fax_id: str) -> Received | None:
        answer = await self._http.get(f"{self._received}/{_path(fax_id)}")
        inside = None if answer is None else read.payload(answer)
        found = read.received(inside, self._http.clock_offset) if isinstance(inside, dict) else None
        if answer is not None and (found is None or found.id != fax_id):
            raise TransientError("the provider answered with another fax")
        return found

    async def download(self, fax_id: str, to: Path) -> int:
        size = await self._http.download(f"{self._received}/{_path(fax_id)}/download", to)
        if size is None:
            raise TransientError("the document is not there yet")
        return size

    async def mark_processed(self, fax_id: str) -> None:
        await self._http.change("PUT", f"{self._received}/{_path(fax_id)}", {"status": "processed"})

    async def archive(self, fax_id: str) -> None:
        await self._http.change("POST", f"{self._received}/{_path(fax_id)}/archive")

    async def register_webhook(self, url: str) -> None:
        """Ask to be told of received faxes there. Twice may double the events: a person does it."""
        body = {"url": url, "events": ["fax_received"], "enabled": True, "format": "json"}
        await self._http.change("POST", "/v2/fax/webhooks", body)

    def _rows(self, answer: object) -> list[dict[str, object]]:
        try:
            return [dict(row) for row in read.rows(answer)]
        except read.UnreadableError as error:
            raise TransientError(f"the provider's list cannot be read: {error}") from error


def _inside(answer: object) -> dict[str, object]:
    """The one object of an answer; {} = it holds none."""
    try:
        inside = read.payload(answer)
    except read.UnreadableError as error:
        raise TransientError(f"the provider's answer cannot be read: {error}") from error
    return inside if isinstance(inside, dict) else {}


def _path(fax_id: str, allowed: re.Pattern[str] = read.ID) -> str:
    """An id as one path segment: never another place with our token."""
    if not allowed.fullmatch(fax_id):
        raise TransientError("the id is none of the provider's")
    return quote(fax_id, safe="")
