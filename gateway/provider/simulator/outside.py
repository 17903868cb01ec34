"""The only way out, for webhooks and document_url: to this machine unless told otherwise."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import h11

from gateway.provider.simulator.documents import Upload

USER_AGENT = "fax-simulator"
PATIENCE = 10.0
PIECE = 64 * 1024
CLOSE = ("Connection", "close")
NO_ANSWER = (OSError, ValueError, TimeoutError, h11.ProtocolError)  # ValueError: not a host name


class Outside:
    def __init__(self, *, remote_hooks: bool) -> None:
        self._remote_hooks = remote_hooks

    async def post(self, url: str, body: bytes, media_type: str) -> tuple[int, str]:
        """Status of the answer, or 0 and why there is none."""
        if not (self._remote_hooks or is_local(url)):
            return 0, "not a loopback address; the sandbox was not started with remote hooks"
        headers = [("Content-Type", media_type), ("Content-Length", str(len(body)))]
        try:
            async with asyncio.timeout(PATIENCE):
                return await _ask("POST", url, headers, body, lambda _: None), ""
        except NO_ANSWER as error:
            return 0, repr(error)

    async def fetch(self, url: str, upload: Upload, most: int) -> bool:
        """Read a loopback document into `upload`; False = it cannot be had."""

        def take(piece: bytes) -> None:
            upload.write(piece)
            if upload.size > most:
                raise ValueError("too big")

        try:
            async with asyncio.timeout(PATIENCE):
                return 200 <= await _ask("GET", url, [], b"", take) < 300
        except NO_ANSWER:
            return False


def is_web(url: str) -> bool:
    """Whether that is an http or https address at all."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def web(url: str) -> str:
    """That address.

    Raises:
        ValueError: it is none.
    """
    if not is_web(url):
        raise ValueError(f"{url!r} is not an http address")
    return url


def is_local(url: str) -> bool:
    return is_web(url) and is_loopback(urlsplit(url).hostname or "")


async def _ask(
    method: str,
    url: str,
    headers: list[tuple[str, str]],
    body: bytes,
    take: Callable[[bytes], None],
) -> int:
    """One request on a connection of its own; redirects are answers like any other."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    common = [("Host", parts.netloc.rpartition("@")[2]), ("User-Agent", USER_AGENT)]
    head = h11.Request(method=method, target=target, headers=[*common, *headers, CLOSE])
    state = h11.Connection(h11.CLIENT)
    async with _connected(parts) as (reader, writer):
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(state.send(event) or b"")
        await writer.drain()
        return await _answered(state, reader, take)


async def _answered(
    state: h11.Connection, reader: asyncio.StreamReader, take: Callable[[bytes], None]
) -> int:
    status = 0
    while True:
        match state.next_event():
            case h11.NEED_DATA:
                state.receive_data(await reader.read(PIECE))
            case h11.Response() as response:
                status = response.status_code
            case h11.Data() as piece:
                take(bytes(piece.data))
            case h11.InformationalResponse():
                continue
            case _:
                return status


def is_loopback(host: str) -> bool:
    """Whether that is this machine, without asking any name server."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


@asynccontextmanager
async def _connected(
    parts: SplitResult,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    secure: Any = _tls() if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
