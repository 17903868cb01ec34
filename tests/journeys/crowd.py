"""A crowd of hostile SMTP clients, a process of its own (T18).

`python -m tests.journeys.crowd HOST PORT HOME,HOME [once]`: each comes back soon after it was sent
away, or not. They stay until stdin ends; then it prints how many connections they made and the
server's last words to them, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Address = tuple[str, int]
Facts = dict[str, Any]

ENVELOPE = (
    b"EHLO bad.example\r\nMAIL FROM:<bad@example.com>\r\nRCPT TO:<+14155610000@fax.local>\r\n"
)
FLOOD = b"x" * 65536
COME_BACK = 1.0  # s
TICK = 0.05


@dataclass(frozen=True)
class Manner:
    """What one kind of bad client sends, and how often; all of it again when `every` is over."""

    first: bytes
    then: bytes
    every: float = 0.0  # s; 0 = as fast as the socket takes it
    after: bytes = b"220"  # what it waits for before `then`
    reads: bool = True


TRICKLE = Manner(b"", b"E", 1.0)
TRICKLED_BODY = Manner(ENVELOPE + b"DATA\r\n", b"x", 1.0, after=b"354")
NEVER_READS = Manner(ENVELOPE, b"RCPT TO:<+14155610000@fax.local>\r\n" * 500, reads=False)
NO_LINE_END = Manner(b"", FLOOD)
LINE_BOMB = Manner(ENVELOPE + b"DATA\r\n", FLOOD, after=b"354")
CHATTER = Manner(b"EHLO bad.example\r\n", b"NOOP\r\n", 2.0)

CROWD = (
    *[TRICKLE] * 75, *[TRICKLED_BODY] * 75, *[NEVER_READS] * 50, *[NO_LINE_END] * 50,
    *[LINE_BOMB] * 20, *[CHATTER] * 50,
)  # fmt: skip


@dataclass
class Bad:
    """One of them."""

    manner: Manner
    home: str
    socket: socket.socket | None = None
    due: float = 0.0  # when it speaks, or comes back
    out: bytes = b""
    heard: bytes = b""
    ready: bool = False  # heard what it waited for


class Crowd:
    """They live until `over` says so."""

    def __init__(self, address: Address, homes: Sequence[str], come_back: float) -> None:
        self.last_words: Counter[str] = Counter()  # of the server
        self.connected = 0
        self._address = address
        self._come_back = come_back
        self._selector = selectors.DefaultSelector()
        self._bad = [Bad(manner, homes[n % len(homes)]) for n, manner in enumerate(CROWD)]

    def live(self, over: socket.socket | int) -> None:
        """Until something can be read from `over`."""
        self._selector.register(over, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            for bad in self._bad:
                if bad.due <= now:
                    self._turn(bad, now)
            for key, event in self._selector.select(TICK):
                if key.data is None:
                    return
                self._attend(key.data, event)

    def _turn(self, bad: Bad, now: float) -> None:
        if bad.socket is None:
            self._connect(bad)
            bad.out = b""
        elif bad.ready:
            bad.out += bad.manner.then
        bad.due = now + (bad.manner.every or TICK)
        self._look(bad)

    def _connect(self, bad: Bad) -> None:
        bad.socket = talk = socket.socket()
        self.connected += 1
        if not bad.manner.reads:
            talk.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        talk.bind((bad.home, 0))
        talk.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            talk.connect(self._address)
        self._selector.register(talk, selectors.EVENT_READ, bad)

    def _look(self, bad: Bad) -> None:
        """Wait for what it wants; who reads no more learns by its writes that it was cut."""
        if bad.socket:
            wants = selectors.EVENT_READ if bad.manner.reads or not bad.ready else 0
            wants |= selectors.EVENT_WRITE if bad.out else 0
            with contextlib.suppress(KeyError):
                self._selector.unregister(bad.socket)
            if wants:
                self._selector.register(bad.socket, wants, bad)

    def _attend(self, bad: Bad, event: int) -> None:
        assert bad.socket
        try:
            if event & selectors.EVENT_READ:
                self._read(bad, bad.socket)
            if event & selectors.EVENT_WRITE and bad.socket:
                bad.out = bad.out[bad.socket.send(bad.out) :]
                if not bad.out and not bad.manner.every and bad.ready:
                    bad.out = bad.manner.then
        except BlockingIOError:
            pass
        except OSError as error:
            self._gone(bad, type(error).__name__)
        self._look(bad)

    def _read(self, bad: Bad, talk: socket.socket) -> None:
        heard = talk.recv(65536)
        if not heard:
            return self._gone(bad, bad.heard.decode("latin-1").rstrip().rpartition("\n")[2])
        if not bad.heard:
            bad.out = bad.manner.first
        bad.heard = (bad.heard + heard)[-200:]
        bad.ready = bad.ready or bad.manner.after in bad.heard
        return None

    def _gone(self, bad: Bad, word: str) -> None:
        assert bad.socket
        self.last_words[word or "hung up without a word"] += 1
        with contextlib.suppress(KeyError):
            self._selector.unregister(bad.socket)
        bad.socket.close()
        bad.socket, bad.heard, bad.ready = None, b"", False
        bad.due = time.monotonic() + self._come_back


@contextlib.contextmanager
def crowd(address: Address, homes: Sequence[str], *, once: bool = False) -> Iterator[Facts]:
    """They are there during the block; what it gives is filled when they have left."""
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.journeys.crowd", *map(str, address), ",".join(homes)]
        + ["once"] * once,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    facts: Facts = {}
    try:
        yield facts
    finally:
        said, _ = program.communicate()
        facts |= json.loads(said)


def main() -> None:
    host, port, homes, *once = sys.argv[1:]
    there = Crowd((host, int(port)), homes.split(","), float("inf") if once else COME_BACK)
    there.live(sys.stdin.fileno())
    print(json.dumps({"connected": there.connected, "last_words": there.last_words}))


if __name__ == "__main__":
    main()
