"""Servers as the bench sees them: start, address, CPU so far, memory, stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Protocol

from tests.postfix import Postfix

_TICK = os.sysconf("SC_CLK_TCK")


class Peer(Protocol):
    """A server that takes mail durably."""

    name: str

    def start(self) -> tuple[str, int]: ...
    def cpu(self) -> float: ...
    def memory(self) -> float: ...
    def stop(self) -> dict[str, float]: ...


class Served:
    """One of `served`, in a process of its own."""

    def __init__(self, name: str, root: Path, *, lag: bool = False) -> None:
        self.name = name
        self._parent = root
        self._lag = ["--lag"] if lag else []

    def start(self) -> tuple[str, int]:
        self._root = Path(tempfile.mkdtemp(dir=self._parent, prefix=self.name))
        command = [sys.executable, "-m", "tests.bench.served", self.name, str(self._root)]
        with (self._root / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command + self._lag, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout
        host, port = json.loads(self._process.stdout.readline())
        return host, port

    def cpu(self) -> float:
        return cpu_of(self._process.pid)

    def memory(self) -> float:
        """Peak RSS, MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def stop(self) -> dict[str, float]:
        self._process.send_signal(signal.SIGTERM)
        out, _ = self._process.communicate()
        _make_small(self._root)
        facts: dict[str, float] = json.loads(out)
        return facts


class Held:
    """Postfix: every mail goes to the hold queue, fsynced as it always does."""

    name = "postfix"

    def __init__(self, root: Path) -> None:
        self._parent = root

    def start(self) -> tuple[str, int]:
        root = Path(tempfile.mkdtemp(dir=self._parent, prefix=self.name))
        self._postfix = Postfix(root, _SETTINGS, _HOLD)
        self._postfix.start()
        return "127.0.0.1", self._postfix.port

    def cpu(self) -> float:
        return sum(cpu_of(process) for process in self._processes())

    def memory(self) -> float:
        """PSS of all its processes now, MB: they share most of their pages."""
        total = 0
        for process in self._processes():
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += int(next(x for x in rollup.splitlines() if x.startswith("Pss:")).split()[1])
        return total / 1024

    def stop(self) -> dict[str, float]:
        self._postfix.stop()
        _make_small(self._postfix.root)
        return {}

    def _processes(self) -> list[int]:
        master = self._postfix.master
        return [master, *(pid for pid, parent in _parents() if parent == master)]


def cpu_of(process: int) -> float:
    """Seconds of a process and of those of its children that ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICK


def _parents() -> list[tuple[int, int]]:
    pairs = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended
            continue
        pairs.append((int(stat.parent.name), int(fields[1])))
    return pairs


def _make_small(root: Path) -> None:
    """Give the disk back, but keep the files: ext4 is slow where many were just deleted."""
    for file in root.rglob("*"):
        if file.is_file() and file.stat().st_size > 1_000_000:
            os.truncate(file, 0)


_SETTINGS = """
myhostname = bench.example
default_transport = discard
relay_transport = discard
local_transport = discard
message_size_limit = 50000000
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
in_flow_delay = 0
"""
_HOLD = "\n  -o smtpd_client_restrictions=check_client_access,static:HOLD"
