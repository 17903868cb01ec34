"""The parts of a message, found by searching bytes: no copy, no recursion, hard limits.

Works on bytes or a memory map. Only what RFC 2046 calls the structure is read: header blocks,
boundaries, messages in messages. Malformed mail is read as its sender probably meant it.
"""

from __future__ import annotations

import mmap
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from gateway.mail import headers

Data: TypeAlias = bytes | mmap.mmap
Spans: TypeAlias = Sequence[tuple[int, int]]
"""Where there may be dashes: from, to; in order. Nearly all of a scan in base64 has none."""

HEADER_BYTES = 64 * 1024
HEADER_LINES = 500
ALL_HEADER_BYTES = 256 * 1024  # of all parts together
PARTS = 200
DEPTH = 20
MESSAGES = ("message/rfc822", "message/global", "message/news")
DASHED_LINES = 20_000  # that might have been boundaries: a bound on our own work
_LINE = re.compile(rb"(?:[!-9;-~]{1,200}[ \t]*:|>?From |" + headers.GOES_ON + rb")[^\n]*(?:\n|\Z)")
_BLANK = re.compile(rb"\r?\n")
_DASHED = re.compile(rb"\n--([^\r\n]{0,250})[^\n]*")


class TooComplexError(Exception):
    """More structure than any honest mail has; the text says of what."""


@dataclass(frozen=True, slots=True)
class Container:
    """A multipart or an embedded message that is open."""

    type: str
    boundary: bytes
    start: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part that holds content: offsets into the message."""

    start: int  # of its header block
    body: int
    end: int
    containers: tuple[Container, ...]

    def fields(self, data: Data) -> list[tuple[str, str]]:
        return headers.fields(data[self.start : self.body])


@dataclass(slots=True)
class _Walk:
    """Where a walk is."""

    data: Data
    spans: Spans
    open: list[Container] = field(default_factory=list)
    filled: set[int] = field(default_factory=set)  # starts of containers that have parts
    parts: int = 0
    head_bytes: int = 0
    top: list[tuple[str, str]] | None = None  # fields of the message itself
    dashed: int = 0


def head_end(data: Data, start: int = 0) -> tuple[int, int]:
    """Where the header block that begins at `start` ends, and where its body begins."""
    position, lines = start, 0
    while line := _LINE.match(data, position):
        position, lines = line.end(), lines + 1
        if lines > HEADER_LINES or position - start > HEADER_BYTES:
            raise TooComplexError("its headers are too long")
    blank = _BLANK.match(data, position)
    return position, blank.end() if blank else position


def leaves(data: Data, spans: Spans = ()) -> Iterator[Leaf]:
    """All parts with content, in MIME order. TooComplexError: over a limit."""
    yield from _leaves(_Walk(data, spans or ((0, len(data)),)))


def survey(data: Data, spans: Spans = ()) -> tuple[list[tuple[str, str]], str]:
    """The fields of the message, and why it is too complex ("" = it is not)."""
    walk = _Walk(data, spans or ((0, len(data)),))
    trouble = ""
    try:
        deque(_leaves(walk), maxlen=0)
    except TooComplexError as error:
        trouble = str(error)
    top = headers.fields(data[:HEADER_BYTES]) if walk.top is None else walk.top
    return top, trouble


def _leaves(walk: _Walk) -> Iterator[Leaf]:
    start: int | None = 0
    while start is not None:
        body, current = _enter(walk, start)
        here = tuple(walk.open)
        end, next_start = _leave(walk, max(start, body) - 1)
        if current is not None:
            yield Leaf(current, body, max(body, end), here)
        for hollow in here[len(walk.open) :]:
            if hollow.boundary and hollow.start not in walk.filled:  # its boundary never came
                yield Leaf(hollow.start, body, max(body, end), here[: here.index(hollow)])
        start = next_start


def _enter(walk: _Walk, start: int) -> tuple[int, int | None]:
    """Read headers, and those of messages directly inside. The leaf's start, None: a multipart."""
    while True:
        _, body = head_end(walk.data, start)
        walk.head_bytes += body - start
        if walk.head_bytes > ALL_HEADER_BYTES:
            raise TooComplexError("the headers of its parts are too long")
        found = headers.fields(walk.data[start:body])
        if walk.top is None:
            walk.top = found
        declared = headers.first(found, "content-type") or _default(walk)
        kind = headers.kind(declared)
        if kind.startswith("multipart/") and (boundary := _boundary_of(declared)):
            _open(walk, Container(kind, boundary[:250], start))
            return body, None
        if kind not in MESSAGES or _is_encoded(found):
            return body, start
        _open(walk, Container(kind, b"", start))
        start = body


def _boundary_of(declared: str) -> bytes:
    _, given = headers.parameters(declared)
    return given.get("boundary", "").rstrip().encode("utf-8", "replace")


def _default(walk: _Walk) -> str:
    """What a part is that does not say it (RFC 2046 §5.1.5)."""
    inside = walk.open[-1].type if walk.open else ""
    return "message/rfc822" if inside == "multipart/digest" else "text/plain"


def _is_encoded(found: list[tuple[str, str]]) -> bool:
    return headers.first(found, "content-transfer-encoding").lower() not in (
        *("", "7bit", "8bit", "binary"),
    )


def _open(walk: _Walk, container: Container) -> None:
    if container.boundary and any(one.boundary == container.boundary for one in walk.open):
        raise TooComplexError("one of its boundaries is used twice")
    walk.open.append(container)
    if len(walk.open) > DEPTH:
        raise TooComplexError("it is nested too deeply")


def _leave(walk: _Walk, position: int) -> tuple[int, int | None]:
    """The end of what is open at `position`, and where the next part's headers begin."""
    end: int | None = None
    marks = {one.boundary + tail for one in walk.open if one.boundary for tail in (b"", b"--")}
    for line in _dashed(walk, max(0, position)):
        walk.dashed += 1
        if walk.dashed > DASHED_LINES:
            raise TooComplexError("it has too many lines that look like boundaries")
        text = line[1].rstrip()
        found = _boundary(walk, text) if text in marks else None
        if found is None:
            continue
        depth, closes = found
        end = _before(walk.data, line.start()) if end is None else end
        walk.filled.add(walk.open[depth].start)
        del walk.open[depth + 1 :]  # also when it closes: some mails go on after that
        if not closes:
            return end, _count(walk, min(line.end() + 1, len(walk.data)))
    walk.open.clear()
    return len(walk.data) if end is None else end, None


def _dashed(walk: _Walk, position: int) -> Iterator[re.Match[bytes]]:
    """Lines that begin with two dashes, from `position` on."""
    for start, stop in walk.spans:
        if stop > position:
            line_end = walk.data.find(b"\n", stop)
            end = line_end if line_end >= 0 else len(walk.data)
            # from the line end before the first dash to the end of the last dash's line
            yield from _DASHED.finditer(walk.data, max(position, start - 1), end)
            position = max(position, end)


def _boundary(walk: _Walk, text: bytes) -> tuple[int, bool] | None:
    """Which open container the line belongs to, innermost first, and whether it closes it."""
    for depth in range(len(walk.open) - 1, -1, -1):
        boundary = walk.open[depth].boundary
        if boundary and text in (boundary, boundary + b"--"):
            return depth, text != boundary
    return None


def _count(walk: _Walk, start: int) -> int:
    walk.parts += 1
    if walk.parts > PARTS:
        raise TooComplexError("it has too many parts")
    return start


def _before(data: Data, newline: int) -> int:
    """The line end before a boundary belongs to the boundary (RFC 2046 §5.1.1)."""
    return newline - 1 if newline and data[newline - 1 : newline] == b"\r" else newline
