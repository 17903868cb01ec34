"""Durable intake: our door, spool and queue against Postfix (hold) and stock aiosmtpd + fsync.

A 250 means: file and row are on disk. Ten sessions truly at once, runs interleaved, medians.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.load import load, stuffed
from tests.bench.peers import Held, Peer, Served
from tests.postfix import missing

SESSIONS = 10
SIZES = {"5 KB": 5_000, "200 KB": 200_000, "2 MB": 2_000_000, "10 MB": 10_000_000}
COUNTS = {"5 KB": 1500, "200 KB": 400, "2 MB": 120, "10 MB": 40}
GOALS = {  # msg/s and CPU a message against Postfix, msg/s against stock
    "5 KB": (1.0, 1.0, 2.0), "200 KB": (1.0, 0.7, 5.0),
    "2 MB": (1.8, 0.35, 14.0), "10 MB": (2.5, 0.25, 22.0),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One server, one size, one go."""

    rate: float  # messages a second
    cpu: float  # server milliseconds a message
    p99: float  # milliseconds, MAIL to the last 250
    memory: float  # MB


@dataclass(frozen=True)
class Figures:
    """The median of the runs of one server with one size."""

    server: str
    size: str
    rate: float
    rate_least: float
    rate_most: float
    cpu: float
    p99: float
    memory: float


def mail(size: int) -> bytes:
    """A scanner's mail: a few lines of text and one attachment."""
    head = (
        b"From: scan@bench.example\r\nTo: fax@fax.local\r\nSubject: Scan\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
        b"Content-Type: text/plain\r\n\r\nSee the attached scan. It has a page.\r\n"
        b"--b\r\nContent-Type: application/pdf; name=scan.pdf\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n"
    )
    pages = os.urandom((size - len(head) - 8) * 57 // 78)
    lines = base64.encodebytes(pages).replace(b"\n", b"\r\n")
    return head + lines + b"--b--\r\n"


def measure(peer: Peer, size: str, messages: int) -> Run:
    address = peer.start()
    try:
        body = stuffed(mail(SIZES[size]))
        load(address, body, messages=SESSIONS, sessions=SESSIONS)  # warm
        before = peer.cpu()
        result = load(address, body, messages=messages, sessions=SESSIONS)
        cpu = (peer.cpu() - before) / messages
        if result.answers:
            raise AssertionError(f"{peer.name} answered {result.answers}")
        return Run(result.rate, cpu * 1e3, result.p99 * 1e3, peer.memory())
    finally:
        peer.stop()


def lateness(root: Path, name: str) -> dict[str, float]:
    """The event loop's lateness with ten of the largest in flight, ms."""
    peer = Served(name, root, lag=True)
    address = peer.start()
    body = stuffed(mail(SIZES["10 MB"]))
    load(address, body, messages=20, sessions=SESSIONS)
    return {key: value * 1e3 for key, value in peer.stop().items()}


def in_flight(root: Path) -> float:
    """Peak RSS of our server with 50 x 10 MB in flight, MB."""
    peer = Served("ours", root)
    address = peer.start()
    load(address, stuffed(mail(SIZES["10 MB"])), messages=100, sessions=50)
    peak = peer.memory()
    peer.stop()
    return peak


def figures(server: str, size: str, runs: Sequence[Run]) -> Figures:
    rates = [run.rate for run in runs]
    return Figures(
        server, size, statistics.median(rates), min(rates), max(rates),
        statistics.median(run.cpu for run in runs), statistics.median(run.p99 for run in runs),
        max(run.memory for run in runs),
    )  # fmt: skip


def compare(root: Path, size: str, *, rounds: int, share: float) -> list[Figures]:
    peers = [Served("ours", root), Served("stock", root)]
    everyone: list[Peer] = [*peers, *([] if missing() else [Held(root)])]
    runs: dict[str, list[Run]] = {peer.name: [] for peer in everyone}
    for _ in range(rounds):
        for peer in everyone:
            # stock is slower by far: fewer of its messages take as long
            few = max(SESSIONS, COUNTS[size] // 4) if peer.name == "stock" else COUNTS[size]
            runs[peer.name].append(measure(peer, size, max(SESSIONS, int(few * share))))
    return [figures(name, size, done) for name, done in runs.items()]


def table(all_figures: Sequence[Figures]) -> str:
    head = f"{'size':7}{'server':9}{'msg/s (min–max)':>24}{'CPU ms':>9}{'p99 ms':>9}{'MB':>6}"
    lines = [head + f"{'rate/Postfix':>19}{'CPU/Postfix':>19}{'rate/stock':>17}"]
    by = {(one.size, one.server): one for one in all_figures}
    for one in all_figures:
        spread = f"{one.rate:.1f} ({one.rate_least:.1f}–{one.rate_most:.1f})"
        line = (
            f"{one.size:7}{one.server:9}{spread:>24}{one.cpu:9.2f}{one.p99:9.1f}{one.memory:6.0f}"
        )
        if one.server == "ours":
            line += _ratios(one, by)
        lines.append(line)
    return "\n".join(lines)


def _ratios(ours: Figures, by: dict[tuple[str, str], Figures]) -> str:
    rate, cpu, stock = GOALS[ours.size]
    text = ""
    postfix = by.get((ours.size, "postfix"))
    if postfix:
        text += f"{ours.rate / postfix.rate:11.2f} (≥ {rate:.1f})"
        text += f"{ours.cpu / postfix.cpu:11.2f} (≤ {cpu:.2f})"
    text += f"{ours.rate / by[ours.size, 'stock'].rate:11.1f} (≥ {stock:.0f})"
    return text


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench intake", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: a first look")
    parser.add_argument("--dir", help="where files go; its disk is what is measured")
    parser.add_argument("--sizes", default=",".join(SIZES), help="which, comma-separated")
    chosen = parser.parse_args(arguments)
    rounds, share = (1, 0.3) if chosen.quick else (5, 1.0)
    with tempfile.TemporaryDirectory(dir=chosen.dir) as directory:
        root = Path(directory)
        root.chmod(0o755)  # Postfix has users of its own
        all_figures = [
            one
            for size in chosen.sizes.split(",")
            for one in compare(root, size, rounds=rounds, share=share)
        ]
        late = {name: lateness(root, name) for name in ("ours", "stock")}
        peak = in_flight(root)
    print(table(all_figures))
    print(f"loop lateness, 10 x 10 MB in flight, ms: {late} (ours: p99 ≤ 10, max ≤ 50)")
    print(f"peak RSS with 50 x 10 MB in flight: {peak:.0f} MB (≤ 180)")
    if why := missing():
        print(f"peer missing: {why}")
    print(json.dumps({"intake": [asdict(one) for one in all_figures], "late": late, "rss": peak}))
