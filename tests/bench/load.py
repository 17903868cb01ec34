"""An SMTP load generator: one epoll loop, raw sockets, all sessions truly at once.

The message is dot-stuffed once; each one that is sent differs by its Message-ID, so that no
server may answer from memory.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import select
import socket
import time
from dataclasses import dataclass, field

DONE = "done"
STUCK = 60.0  # s without any event: the server hangs
_serial = itertools.count()
_run = secrets.token_hex(6)


@dataclass
class Result:
    """What the clients saw."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # s, MAIL to the last 250
    answers: dict[str, int] = field(default_factory=dict)  # anything but success

    def add(self, client: Client) -> None:
        client.socket.close()
        if client.verdict == DONE:
            self.latencies.append(client.took)
        else:
            self.answers[client.verdict] = self.answers.get(client.verdict, 0) + 1

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    @property
    def p99(self) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] if ordered else 0.0


class Client:
    """One connection, one message."""

    def __init__(self, address: tuple[str, int], body: bytes) -> None:
        number = next(_serial)
        recipient = f"+1415555{100 + number % 100:04d}@fax.local"
        head = f"Message-ID: <{_run}.{number}@bench.example>\r\n".encode()
        self._script = [
            b"EHLO bench.example\r\n",
            f"MAIL FROM:<scan@bench.example> SIZE={len(head) + len(body)}\r\n".encode(),
            f"RCPT TO:<{recipient}>\r\n".encode(),
            b"DATA\r\n",
            b"",
            b"QUIT\r\n",
        ]
        self._body = (head, body)
        self._step = -1
        self._inbox = b""
        self._out: list[memoryview] = []
        self._begun = self.took = 0.0
        self.verdict = ""  # how it ended
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BlockingIOError):
            self.socket.connect(address)

    @property
    def wants(self) -> int:
        return select.EPOLLIN | (select.EPOLLOUT if self._out else 0)

    def turn(self, event: int) -> None:
        try:
            if event & select.EPOLLOUT:
                self._write()
            if event & ~select.EPOLLOUT:
                self._read()
        except OSError as error:
            self.verdict = repr(error)

    def _read(self) -> None:
        received = self.socket.recv(65536)
        self._inbox += received
        if not received:
            self.verdict = "closed by the server"
        while b"\r\n" in self._inbox and not self.verdict:
            line, _, self._inbox = self._inbox.partition(b"\r\n")
            if line[:1] in b"45":
                self.verdict = line.decode()
            elif line[3:4] != b"-":
                self._next()

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._out:
                sent = self.socket.sendmsg(self._out)
                while self._out and sent >= len(self._out[0]):
                    sent -= len(self._out.pop(0))
                if sent:
                    self._out[0] = self._out[0][sent:]

    def _next(self) -> None:
        self._step += 1
        if self._step == len(self._script):
            self.verdict = DONE
            return
        if self._step == 1:
            self._begun = time.perf_counter()
        if self._step == len(self._script) - 1:
            self.took = time.perf_counter() - self._begun
        text = self._script[self._step]
        self._out = [memoryview(text)] if text else [memoryview(part) for part in self._body]
        self._write()


def stuffed(message: bytes) -> bytes:
    """As it goes over the wire, with its end."""
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


def load(address: tuple[str, int], body: bytes, *, messages: int, sessions: int) -> Result:
    """Send so many messages, a new connection each, so many at once."""
    result, poll = Result(), select.epoll()
    clients: dict[int, Client] = {}
    left = iter(range(messages))

    def start() -> None:
        if next(left, None) is not None:
            client = Client(address, body)
            clients[client.socket.fileno()] = client
            poll.register(client.socket.fileno(), select.EPOLLIN)

    begun = time.perf_counter()
    for _ in range(sessions):
        start()
    while clients:
        events = poll.poll(STUCK)
        if not events:
            raise TimeoutError(f"no server event for {STUCK} s")
        for descriptor, event in events:
            client = clients[descriptor]
            client.turn(event)
            if client.verdict:
                result.add(clients.pop(descriptor))
                start()
            else:
                poll.modify(descriptor, client.wants)
    result.seconds = time.perf_counter() - begun
    poll.close()
    return result
