"""The bytes of DATA, block by block, to the one true end: CRLF . CRLF (RFC 5321 §4.1.1.4).

Bare CR, bare LF and NUL are data and end nothing (but see `Reader` about copiers). Nothing here
looks at single lines: all searching is memchr and memmem, and what may begin the end is carried
into the next block. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

BLOCK = 256 * 1024
_IDLE_BUFFERS = 64
_FEW_DOTS = 64

CRLF, LF = b"\r\n", b"\n"
_BEGINS_END = {
    end: tuple((end + b"." + end)[:length] for length in range(2 * len(end), 0, -1))
    for end in (CRLF, LF)
}
_BEFORE = b"\r\n"  # as if a line ended before the first byte: a dot there is at a line's start


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes of one message in a borrowed buffer; a stuffed dot never straddles two blocks."""

    buffer: bytearray
    start: int
    stop: int
    dotted: bool  # holds a dot: may need unstuffing
    last: bool
    line_end: bytes = CRLF

    def content(self) -> bytes | memoryview:
        """What the sender wrote: leading dots undone (RFC 5321 §4.5.2)."""
        stuffed = self.line_end + b"."
        if self.dotted and find_dot(self.buffer, stuffed, b"", 0, self.stop) >= 0:
            raw = bytes(memoryview(self.buffer)[: self.stop])
            return raw.replace(stuffed, self.line_end)[self.start :]
        return memoryview(self.buffer)[self.start : self.stop]


def find_dot(buffer: bytearray, begin: bytes, rest: bytes, start: int, stop: int) -> int:
    """Where `begin`, which ends with a dot, is followed by `rest`; -1 = nowhere.

    From dot to dot, which memchr finds: a scan's mail has a few in its head and then none. Where
    there are many the whole pattern is searched for.
    """
    at = start
    for _ in range(_FEW_DOTS):
        at = buffer.find(b".", at, stop) + 1
        if not at:
            return -1
        found = at - len(begin)
        if (
            found >= start
            and buffer.startswith(begin, found, at)
            and buffer.startswith(rest, at, stop)
        ):
            return found
    return buffer.find(begin + rest, max(start, at - len(begin)), stop)


class Buffers:
    """Buffers that are used again: fresh memory costs more than a copy."""

    def __init__(self, size: int = BLOCK) -> None:
        self._size = size
        self._idle: list[bytearray] = []

    def borrow(self) -> bytearray:
        return self._idle.pop() if self._idle else bytearray(self._size)

    def give_back(self, buffer: bytearray) -> None:
        if len(self._idle) < _IDLE_BUFFERS:
            self._idle.append(buffer)


class Reader:
    """Fills borrowed buffers and hands them on as blocks. At most one buffer is its own.

    A tolerant one takes the first line end of the body for that of all its lines: a copier that
    ends lines with LF ends its mail with LF . LF, and nothing else ends it then.
    """

    def __init__(
        self,
        borrow: Callable[[], bytearray],
        hand_on: Callable[[Block], None],
        *,
        tolerant: bool = False,
    ) -> None:
        self._borrow = borrow
        self._hand_on = hand_on
        self.received = 0
        self.line_end = self.seen_end = CRLF  # what ends a line, and what ended the first one
        self._tolerant, self._undecided = tolerant, True
        self._fill = self._start = 0
        self._begin(_BEFORE, len(_BEFORE))

    def room(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        return self._view[self._fill :]

    def filled(self, count: int) -> bytes | None:
        """So many bytes came in. Returns what followed the end, None = no end yet."""
        self.received += count
        look, self._fill = max(0, self._fill - 4), self._fill + count
        buffer = self._buffer
        if self._undecided:
            self._decide()
        if buffer.find(b".", look, self._fill) >= 0:  # all of base64 holds none
            self._dotted = True
            begin = self.line_end + b"."
            end = find_dot(buffer, begin, self.line_end, look, self._fill)
            if end >= 0:
                mark = begin + self.line_end
                rest = bytes(self._view[end + len(mark) : self._fill])
                self._hand_on(self._block(end + len(self.line_end), last=True))
                return rest
        if len(buffer) - self._fill <= len(buffer) // 8:  # too little for a worthwhile read
            self._turn()
        return None

    def unused(self) -> bytearray:
        """The buffer that nobody was handed yet."""
        return self._buffer

    def _decide(self) -> None:
        """Which line end is this client's?"""
        first = self._buffer.find(b"\n", self._start, self._fill)
        if first >= 0:
            self._undecided = False
            if first == 0 or self._buffer[first - 1] != CRLF[0]:
                self.seen_end = LF
                self.line_end = LF if self._tolerant else CRLF

    def _block(self, stop: int, *, last: bool) -> Block:
        return Block(self._buffer, self._start, stop, self._dotted, last, self.line_end)

    def _turn(self) -> None:
        """Hand on this buffer, go on in another with the bytes that may begin the end."""
        buffer, fill = self._buffer, self._fill
        begins = _BEGINS_END[self.line_end]
        carried = next((len(t) for t in begins if buffer.endswith(t, 0, fill)), 0)
        tail = bytes(self._view[fill - carried : fill])
        block = self._block(fill - carried, last=False)
        self._begin(tail, 0)
        self._hand_on(block)

    def _begin(self, head: bytes, start: int) -> None:
        self._buffer = self._borrow()
        self._view = memoryview(self._buffer)
        self._buffer[: len(head)] = head
        self._fill, self._start = len(head), start
        self._dotted = b"." in head
