"""How the door bears connections: 2,000 opened and kept, then 10,000 that come and go at once."""

from __future__ import annotations

import argparse
import json
import resource
import select
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.bench.peers import Served

LIMIT = 200  # places of our door
GREETED, TURNED_AWAY = "220", "421"
QUIET = 5.0  # s without any event: those that are left get no answer
AT_ONCE = 50


@dataclass
class Opened:
    """What many clients saw that connected at once and then said nothing."""

    answers: Counter[str] = field(default_factory=Counter)  # code, or how else it ended
    latest: dict[str, float] = field(default_factory=dict)  # s from connect to that answer
    kept: list[socket.socket] = field(default_factory=list)

    def close(self) -> None:
        for one in self.kept:
            one.close()
        self.kept.clear()

    def _answered(self, what: str, late: float) -> None:
        self.answers[what] += 1
        self.latest[what] = max(late, self.latest.get(what, 0.0))


def open_many(address: tuple[str, int], count: int) -> Opened:
    """Connect them all, wait for their first lines; who is greeted stays."""
    opened, poll = Opened(), select.epoll()
    waiting: dict[int, tuple[socket.socket, float]] = {}
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(address)
        waiting[one.fileno()] = one, time.perf_counter()
        poll.register(one.fileno(), select.EPOLLIN)
    while waiting and (events := poll.poll(QUIET)):
        for descriptor, _ in events:
            one, since = waiting.pop(descriptor)
            poll.unregister(descriptor)
            what = _first_line(one)
            opened._answered(what, time.perf_counter() - since)
            opened.kept.append(one)
    for one, _ in waiting.values():
        opened._answered("nothing", QUIET)
        one.close()
    poll.close()
    return opened


def _first_line(one: socket.socket) -> str:
    try:
        return one.recv(200)[:3].decode() or "closed"
    except OSError as error:
        return type(error).__name__


def come_and_go(address: tuple[str, int], count: int) -> float:
    """So many connections that are closed as soon as they are made; a second."""
    begun = time.perf_counter()
    for _ in range(count // AT_ONCE):
        talks = [socket.create_connection(address, 30) for _ in range(AT_ONCE)]
        for talk in talks:
            talk.close()
    return count / (time.perf_counter() - begun)


def descriptors(process: int) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def settled(process: int, base: int, patience: float = 20.0) -> int:
    """Open files when they are as few as before, or when there was time enough for it."""
    end = time.monotonic() + patience
    while (now := descriptors(process)) > base and time.monotonic() < end:
        time.sleep(0.05)
    return now


def resident(process: int) -> float:
    """RSS now, MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@dataclass(frozen=True)
class Facts:
    opened: int
    greeted: int
    turned_away: int
    anything_else: dict[str, int]
    latest_421_ms: float
    latest_220_ms: float
    files: tuple[int, int, int, int]  # before, while open, after, after the flood
    memory: tuple[float, float, float]  # MB before, while open, after the flood
    flood: int
    flood_rate: float  # connections a second


def measure(root: Path, opened: int, flood: int) -> Facts:
    peer = Served("ours", root)
    address = peer.start()
    process = peer._process.pid
    base, before = descriptors(process), resident(process)
    many = open_many(address, opened)
    open_files, open_memory = descriptors(process), resident(process)
    many.close()
    after = settled(process, base)
    rate = come_and_go(address, flood)
    facts = Facts(
        opened, many.answers[GREETED], many.answers[TURNED_AWAY],
        {k: v for k, v in many.answers.items() if k not in (GREETED, TURNED_AWAY)},
        1e3 * many.latest.get(TURNED_AWAY, 0.0), 1e3 * many.latest.get(GREETED, 0.0),
        (base, open_files, after, settled(process, base)),
        (before, open_memory, resident(process)), flood, rate,
    )  # fmt: skip
    peer.stop()
    return facts


def table(facts: Facts) -> str:
    files = dict(zip(("before", "open", "closed", "after the flood"), facts.files, strict=True))
    memory = dict(zip(("before", "open", "after the flood"), facts.memory, strict=True))
    rows = [
        ("opened at once", facts.opened, ""),
        ("greeted with 220", facts.greeted, f"limit {LIMIT}"),
        ("told 421", facts.turned_away, "all the rest"),
        ("anything else", facts.anything_else or 0, "0"),
        ("latest 421, ms", f"{facts.latest_421_ms:.0f}", "< 1000"),
        ("latest 220, ms", f"{facts.latest_220_ms:.0f}", ""),
        (f"came and went, of {facts.flood:,}", f"{facts.flood_rate:,.0f} a second", ""),
        *((f"open files, {when}", count, "") for when, count in files.items()),
        *((f"RSS MB, {when}", f"{mb:.0f}", "") for when, mb in memory.items()),
    ]  # fmt: skip
    return "\n".join(f"{name:32}{value!s:>16}   {goal}" for name, value, goal in rows)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench connections", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="500 and 1,000: a first look")
    chosen = parser.parse_args(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as directory:
        facts = measure(Path(directory), *((500, 1000) if chosen.quick else (2000, 10_000)))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(table(facts))
    print(json.dumps({"connections": asdict(facts)}))
