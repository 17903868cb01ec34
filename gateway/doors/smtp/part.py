"""One message on its way to disk, and the few threads that write it: no file call in the loop.

A part is written block by block, by one thread at a time; with the last block it is looked over
by the pre-scan. Whatever is wrong with a message is remembered, no more of it is stored, and the
sender hears it at the end of data.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import mmap
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from gateway.doors.smtp.reader import Block
from gateway.mail.prescan import Scan, scan
from gateway.spool import CREATE, write_all
from gateway.store import SMALL

LONGEST_LINE = 4096


class Unwanted(Exception):  # noqa: N818 - the sender's fault, nobody's error
    """The message is refused; the part knows why."""


class Part:
    """A message file that nobody vouches for yet.

    Blocks are written as they come; a mail that is one block is held until the spool finishes
    the part, so that it meets one thread only.
    """

    def __init__(self, path: Path, most: int, *, tolerant: bool = False) -> None:
        self.path = path
        self.size = 0
        self.too_big = self.nul = self.long_line = False
        self.failure: Exception | None = None
        self.scan = Scan()
        self.held: Block | None = None
        self.small = b""  # the whole of a mail that needs no file
        self.most = most
        self.tolerant = tolerant
        self.longest = 0  # line of a copier's mail, as `device doctor` tells it
        self._hash = hashlib.sha256()
        self._descriptor = -1
        self._dashed = False  # does the block hold a dash, and where are all those that do?
        self._dashes: list[tuple[int, int]] = []
        self._line = 0  # length of the line that the next block goes on with

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    @property
    def subject(self) -> str:
        return self.scan.title

    @property
    def message_id(self) -> str:
        return self.scan.message_id

    @property
    def is_wanted(self) -> bool:
        flaws = (self.too_big, self.nul, self.long_line, self.failure)
        scan = self.scan
        return not any(flaws) and not (scan.complex or scan.loop or scan.auto or scan.partial)

    def write(self, block: Block) -> None:
        """In a thread: judge, hash and store a block; after the last, look over the whole."""
        try:
            self._judge(block)
            content = block.content() if self.is_wanted else b""
            if self.is_wanted:
                self._store(content)
            if self.is_wanted and block.last:
                self.scan = self._look(content)
        except Exception as error:  # noqa: BLE001 - told at the end of data
            self.failure = error

    def finish(self) -> int | None:
        """In the spool's thread: store what is held, hand over the open file of a large one."""
        if self.held:
            self.write(self.held)
        if not self.is_wanted:
            raise self.failure or Unwanted()
        if self.small:
            return None
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def to_file(self) -> None:
        """In a thread: whoever reads it now wants a file."""
        if self.small:
            self._append(self.small)

    def discard(self) -> None:
        """In a writer thread: nobody wants it."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):  # what it tells of is thrown away; the thread lives
                os.close(self._descriptor)
            self._descriptor = -1
        with contextlib.suppress(OSError):  # the sweep at the next start finds it
            self.path.unlink()

    def _judge(self, block: Block) -> None:
        buffer, start, stop = block.buffer, block.start, block.stop
        self.nul = self.nul or buffer.find(b"\0", start, stop) >= 0
        self._dashed = buffer.find(b"-", start, stop) >= 0
        if self.tolerant:
            lines = [*map(len, bytes(memoryview(buffer)[start:stop]).split(b"\n"))]
            lines[0] += self._line
            self.longest, self._line = max(self.longest, *lines), lines[-1]
        elif not self.long_line:
            self._line = open_line(buffer, start, stop, self._line)
            self.long_line = self._line > LONGEST_LINE

    def _store(self, content: bytes | memoryview) -> None:
        if self._dashed:
            self._dashes.append((self.size, self.size + len(content)))
        self.size += len(content)
        self.too_big = self.size > self.most
        if self.too_big:
            return
        self._hash.update(content)
        if self.held and 0 < self.size <= SMALL:
            self.small = bytes(content)
        else:
            self._append(content)

    def _append(self, content: bytes | memoryview) -> None:
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, CREATE, 0o600)
        write_all(self._descriptor, content)

    def _look(self, last: bytes | memoryview) -> Scan:
        if self.held:
            return scan(self.small or bytes(last), self._dashes)
        with mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ) as content:
            return scan(content, self._dashes)


def open_line(
    buffer: bytearray, start: int, stop: int, begun: int, longest: int = LONGEST_LINE
) -> int:
    """Length of the line still open at `stop`, or that of the first one that is too long.

    Looks only where a line must have ended: a few steps for each 4,096 bytes.
    """
    line = start - begun
    while stop - line > longest:
        end = buffer.rfind(b"\n", max(line, start), line + longest)
        if end < 0:
            return stop - line
        line = end + 1
    last = buffer.rfind(b"\n", max(line, start), stop)
    return stop - (last + 1 if last >= 0 else line)


class Writers:
    """A few threads for file work that raises nothing."""

    def __init__(self, threads: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[Callable[[], None], Callable[[], None]] | None]
        self._queue = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"smtp-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def do(self, work: Callable[[], None], then: Callable[[], None]) -> None:
        """Run `work` in a thread, then `then` in the loop."""
        self._queue.put((work, then))

    async def close(self) -> None:
        """Finish what was handed in, then end the threads."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _run(self) -> None:
        while task := self._queue.get():
            work, then = task
            work()
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                self._loop.call_soon_threadsafe(then)
