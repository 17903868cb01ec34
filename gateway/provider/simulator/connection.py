"""HTTP/1.1 on one connection: h11 over streams, because faults need control of every byte."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import parse_qsl

import h11

from gateway.provider.simulator.clock import Clock
from gateway.provider.simulator.replies import RefusedError, Reply, phrase

MOST_HEAD = 64 * 1024
PIECE = 64 * 1024
IDLE = 120.0  # seconds without a byte
LINGER = 5.0
NO_BODY = {204, 304}


class BrokenError(Exception):
    """The peer is gone, or what it says is not HTTP; then `status` is what to answer, else 0."""

    def __init__(self, status: int = 0) -> None:
        super().__init__(f"connection broken ({status})")
        self.status = status


class DroppedError(Exception):
    """We hang up on purpose. `reset`: not even politely."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("connection dropped")
        self.reset = reset


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str]  # lower-case names

    def param(self, name: str) -> str:
        return next((text for known, text in self.query if known == name), "")


class Connection:
    """One peer. `request`, then `piece` until empty, then `send`; again while `again` says so."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int
    ) -> None:
        self.received = 0  # body bytes of this request
        self.sent = 0  # body bytes of its reply
        self.answered = 0  # its status, once the head is on its way
        self._reader = reader
        self._writer = writer
        self._most = most
        self._head_only = False
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)

    @property
    def peer(self) -> str:
        address = self._writer.get_extra_info("peername")
        return str(address[0]) if address else ""

    async def request(self) -> Request | None:
        """The next request's head; None = the peer has no more."""
        self.received = self.sent = self.answered = 0
        event = await self._event()
        if not isinstance(event, h11.Request):
            return None
        self._head_only = event.method == b"HEAD"
        return _request(event)

    async def piece(self) -> bytes:
        """The next piece of the body; b"" = that was all."""
        if self._h11.their_state is not h11.SEND_BODY:
            return b""
        if self._h11.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
            await self._write(go_on)
        event = await self._event()
        if not isinstance(event, h11.Data):
            return b""
        self.received += len(event.data)
        if self.too_big:
            raise RefusedError(413, f"a body has at most {self._most} bytes")
        return bytes(event.data)

    @property
    def too_big(self) -> bool:
        return self.received > self._most

    async def drain(self) -> None:
        """Read and forget the rest of the body, so that the peer gets to read our answer."""
        if self._h11.they_are_waiting_for_100_continue:
            return  # the answer comes instead of the body (RFC 9110 §10.1.1)
        with contextlib.suppress(RefusedError):  # too big: answered all the same, then hung up on
            while not self.too_big and await self.piece():
                pass

    async def send(self, reply: Reply, clock: Clock) -> None:
        head, reason = _headers(reply, clock), phrase(reply.status)
        if self._h11.their_state is h11.SEND_BODY:  # and we did not want it
            head["connection"] = "close"
        response = h11.Response(status_code=reply.status, headers=[*head.items()], reason=reason)
        await self._write(response)
        self.answered = reply.status
        if reply.status not in NO_BODY and not self._head_only:
            async for piece in self._paced(reply, clock):
                await self._write(h11.Data(data=piece))
                self.sent += len(piece)
            if 0 <= reply.pace.cut < len(reply.body) or reply.pace.chunked:
                raise DroppedError
        await self._write(h11.EndOfMessage())

    def again(self) -> bool:
        """Whether another request may follow."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True

    async def wait(self, clock: Clock, seconds: float) -> None:
        """No word for that long (of our clock), or until the peer has had enough."""
        over = asyncio.ensure_future(clock.pause(seconds))
        gone = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait({over, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not over.done():
                raise BrokenError
        finally:
            over.cancel()
            gone.cancel()
            await asyncio.gather(over, gone, return_exceptions=True)

    async def _gone(self) -> None:
        """Returns when the peer hangs up."""
        with contextlib.suppress(OSError, h11.RemoteProtocolError):
            while content := await self._reader.read(PIECE):
                if self._h11.their_state is not h11.SEND_BODY:  # a body that nobody wanted
                    self._h11.receive_data(content)

    async def refuse(self, status: int, clock: Clock) -> None:
        """The answer to what is not HTTP, as far as it can still be given."""
        if status and self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.sent = 0
            await self.send(Reply(status, headers=(("connection", "close"),)), clock)

    async def linger(self) -> None:
        """Let the peer read our answer before we close: unread bytes would make it a reset."""
        with contextlib.suppress(OSError, TimeoutError):
            if self._writer.can_write_eof():
                self._writer.write_eof()
            async with asyncio.timeout(LINGER):
                while await self._reader.read(PIECE):
                    pass

    def drop(self, *, reset: bool) -> None:
        if reset:
            raw = self._writer.get_extra_info("socket")  # None = closed already
            with contextlib.suppress(OSError, AttributeError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER):
                await self._writer.wait_closed()
        self._writer.transport.abort()

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        try:
            while (event := self._h11.next_event()) is h11.NEED_DATA:
                await self._receive()
        except h11.RemoteProtocolError as error:
            raise BrokenError(error.error_status_hint) from error
        return event  # type: ignore[return-value]  # NEED_DATA is what the loop waits out

    async def _receive(self) -> None:
        try:
            async with asyncio.timeout(IDLE):
                content = await self._reader.read(PIECE)
            self._h11.receive_data(content)
        except (OSError, TimeoutError, h11.RemoteProtocolError) as error:
            raise BrokenError from error
        if not content and self._h11.their_state is not h11.IDLE:
            raise BrokenError

    async def _write(self, event: h11.Event) -> None:
        content = self._h11.send(event)
        if not content:
            return
        try:
            self._writer.write(content)
            async with asyncio.timeout(IDLE):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise BrokenError from error

    async def _paced(self, reply: Reply, clock: Clock) -> AsyncIterator[bytes]:
        pace, whole = reply.pace, reply.body
        end = len(whole) if pace.cut < 0 else min(pace.cut, len(whole))
        step = max(1, min(PIECE, int(pace.rate / 10))) if pace.rate > 0 else PIECE
        at = 0
        while at < end:
            if at == pace.stall_after:
                await self.wait(clock, pace.stall)
            stop = min(at + step, end)
            if at < pace.stall_after < stop:
                stop = pace.stall_after
            yield whole[at:stop]
            at = stop
            if pace.rate > 0 and at < end:
                await self.wait(clock, step / pace.rate)


def _request(event: h11.Request) -> Request:
    target = event.target.decode("latin-1")
    path, _, query = target.partition("?")
    try:
        params = tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise BrokenError(400) from error
    if not re.match(r"/(?!/)", path):
        raise BrokenError(400)
    headers = {name.decode("latin-1"): text.decode("latin-1") for name, text in event.headers}
    return Request(event.method.decode("latin-1"), path, params, headers)


def _headers(reply: Reply, clock: Clock) -> dict[str, str]:
    """Ours, unless the reply brings its own of that name."""
    headers = {"date": formatdate(clock.now(), usegmt=True), "server": "fax-simulator"}
    if reply.status not in NO_BODY:
        if reply.pace.chunked:
            headers["transfer-encoding"] = "chunked"
        else:
            headers["content-length"] = str(len(reply.body))
        if reply.media_type:
            headers["content-type"] = reply.media_type
    return headers | {name.lower(): text for name, text in reply.headers}
