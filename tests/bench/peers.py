"""Servers as the bench sees them: start, address, CPU so far, memory, stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Protocol

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


class Postfix:
    """A private instance: every mail goes to the hold queue, fsynced as Postfix always does."""

    name = "postfix"

    def __init__(self, root: Path) -> None:
        self._parent = root

    @staticmethod
    def missing() -> str:
        """Why it cannot be measured here, "" = it can."""
        if os.geteuid() != 0:
            return "Postfix runs as root only"
        return "" if shutil.which("postfix") else "Postfix is not installed"

    def start(self) -> tuple[str, int]:
        self._root = Path(tempfile.mkdtemp(dir=self._parent, prefix=self.name))
        etc = self._root / "etc"
        for directory in (self._root / "spool", self._root / "data"):
            directory.mkdir(mode=0o755)
        shutil.copytree("/etc/postfix", etc)
        self._root.chmod(0o755)
        etc.chmod(0o755)
        port = _free_port()
        (etc / "main.cf").write_text(_MAIN_CF.format(root=self._root))
        (etc / "master.cf").write_text(_MASTER_CF.format(port=port))
        shutil.chown(self._root / "data", "postfix")
        self._postfix("set-permissions", "create-missing", check=False)
        self._postfix("start")
        self._master = int((self._root / "spool/pid/master.pid").read_text())
        _wait_for_banner(port)
        return "127.0.0.1", port

    def cpu(self) -> float:
        return cpu_of(self._master) + sum(cpu_of(child) for child in self._children())

    def memory(self) -> float:
        """PSS of all its processes now, MB: they share most of their pages."""
        total = 0
        for process in (self._master, *self._children()):
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += int(next(x for x in rollup.splitlines() if x.startswith("Pss:")).split()[1])
        return total / 1024

    def stop(self) -> dict[str, float]:
        self._postfix("stop")
        _make_small(self._root)
        return {}

    def _children(self) -> list[int]:
        return [pid for pid, parent in _parents() if parent == self._master]

    def _postfix(self, *command: str, check: bool = True) -> None:
        subprocess.run(
            ["postfix", "-c", str(self._root / "etc"), *command], check=check, capture_output=True
        )


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_banner(port: int) -> None:
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.recv(100)
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("Postfix did not start")


def _make_small(root: Path) -> None:
    """Give the disk back, but keep the files: ext4 is slow where many were just deleted."""
    for file in root.rglob("*"):
        if file.is_file() and file.stat().st_size > 1_000_000:
            os.truncate(file, 0)


_MAIN_CF = """
compatibility_level = 3.6
queue_directory = {root}/spool
data_directory = {root}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
default_transport = discard
relay_transport = discard
local_transport = discard
smtpd_peername_lookup = no
disable_dns_lookups = yes
message_size_limit = 50000000
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
in_flow_delay = 0
maillog_file_prefixes = /
maillog_file = {root}/maillog
alias_maps =
alias_database =
smtpd_recipient_restrictions = permit_mynetworks, reject
"""

_MASTER_CF = """
{port}    inet  n       -       n       -       -       smtpd
  -o smtpd_client_restrictions=check_client_access,static:HOLD
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
proxymap  unix  -       -       n       -       -       proxymap
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
anvil     unix  -       -       n       -       1       anvil
postlog   unix-dgram n  -       n       -       1       postlogd
"""
