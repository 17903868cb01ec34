"""DATA: while it lasts, the connection belongs to a `Body`, which passes blocks to the writers.

A connection holds at most three buffers: one being filled, one waiting, one being written. When
one waits reading pauses, so a fast sender waits for the disk and memory stays constant.
"""

from __future__ import annotations

import asyncio

from gateway.doors.smtp.guests import Guest
from gateway.doors.smtp.part import Part
from gateway.doors.smtp.reader import LF, Block, Reader
from gateway.doors.smtp.shared import Shared


class Body(asyncio.BufferedProtocol):
    """Receives one message into a part, then gives the connection back to its session.

    `taken` is done when the part has all blocks; cancelled when the sender left before the end.
    The part of a message that never ended is removed.
    """

    def __init__(
        self,
        owner: asyncio.Protocol,
        transport: asyncio.Transport,
        shared: Shared,
        guest: Guest,
        part: Part,
    ) -> None:
        self.part = part
        self.taken: asyncio.Future[None] = shared.loop.create_future()
        self.ended = False
        self.since = self.heard = shared.loop.time()
        self._owner = owner
        self._transport = transport
        self._shared = shared
        self._guest = guest
        self._reader = Reader(shared.buffers.borrow, self._hand_on, tolerant=part.tolerant)
        self._begun = self._writing = self._left = False
        self._waiting: Block | None = None

    @property
    def size(self) -> int:
        """Bytes as they came in."""
        return self._reader.received

    @property
    def line_ends(self) -> str:
        return "LF" if self._reader.seen_end == LF else "CRLF"

    # the transport calls

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        self.heard = self._shared.loop.time()
        self._guest.received(nbytes, self.heard)
        rest = self._reader.filled(nbytes)
        if rest is not None:
            self.ended = True
            self._guest.waits(self.heard)
            self._transport.set_protocol(self._owner)
            if rest:
                self._owner.data_received(rest)
        elif self._reader.received > 2 * self.part.most:
            self._transport.abort()

    def eof_received(self) -> bool | None:
        self._transport.abort()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._left = True
        self._shared.buffers.give_back(self._reader.unused())
        if not self._writing:
            self._drop()
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        self._owner.resume_writing()

    # blocks go to the writers, one at a time

    def release(self) -> None:
        """The part is finished: its held block is no longer needed."""
        if self.part.held:
            self._shared.buffers.give_back(self.part.held.buffer)
            self.part.held = None

    def _hand_on(self, block: Block) -> None:
        if block.last and not self._begun:
            self.part.held = block
            self.taken.set_result(None)
        elif self._writing:
            self._waiting = block
            if not block.last:
                self._transport.pause_reading()
        else:
            self._write(block)

    def _write(self, block: Block) -> None:
        self._begun = self._writing = True
        self._shared.writers.do(lambda: self.part.write(block), lambda: self._wrote(block))

    def _wrote(self, block: Block) -> None:
        self._writing = False
        self._shared.buffers.give_back(block.buffer)
        if self._left:
            self._drop()
        elif block.last:
            self.taken.set_result(None)
        elif self._waiting:
            following, self._waiting = self._waiting, None
            if not following.last:
                self.heard = self._shared.loop.time()  # it was us who did not listen
                self._transport.resume_reading()
            self._write(following)

    def _drop(self) -> None:
        if self._waiting:
            self._shared.buffers.give_back(self._waiting.buffer)
        self._shared.writers.do(self.part.discard, lambda: None)
        self.taken.cancel()
