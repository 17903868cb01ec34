"""The only way out, for webhooks and document_url: to this machine unless told otherwise."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import httpx

from gateway.provider.simulator.connection import is_loopback
from gateway.provider.simulator.documents import Upload

PATIENCE = 10.0


class Outside:
    def __init__(self, *, remote_hooks: bool) -> None:
        self._remote_hooks = remote_hooks
        self._client: httpx.AsyncClient | None = None

    async def post(self, url: str, body: bytes, media_type: str) -> tuple[int, str]:
        """Status of the answer, or 0 and why there is none."""
        if not (self._remote_hooks or is_local(url)):
            return 0, "not a loopback address; the sandbox was not started with remote hooks"
        headers = {"content-type": media_type, "user-agent": "fax-simulator"}
        try:
            async with asyncio.timeout(PATIENCE):
                async with self._open().stream("POST", url, content=body, headers=headers) as reply:
                    return reply.status_code, ""
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
            return 0, repr(error)

    async def fetch(self, url: str, upload: Upload, most: int) -> bool:
        """Read a loopback document into `upload`; False = it cannot be had."""
        try:
            async with asyncio.timeout(PATIENCE), self._open().stream("GET", url) as reply:
                async for piece in reply.aiter_bytes():
                    upload.write(piece)
                    if upload.size > most:
                        return False
                return reply.is_success
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError):
            return False

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:  # the TLS context costs more than a simulator that needs none
            self._client = httpx.AsyncClient(trust_env=False, timeout=PATIENCE)
        return self._client


def is_web(url: str) -> bool:
    """Whether that is an http or https address at all."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(httpx.URL(url).host)
    except (ValueError, httpx.InvalidURL):
        return False


def is_local(url: str) -> bool:
    """As httpx will read it, not as another parser might."""
    return is_web(url) and is_loopback(httpx.URL(url).host)
