"""The warm parent of the children: one thread, all libraries loaded, no network, no secrets.

It reads tasks as JSON lines from standard input, forks a child for each, and answers on standard
output how the child ended and what it said. What the child made it hands on when the child ended
well. It opens nothing itself and does not read what the children say. It ends when its input does.

    → {"id": 7, "task": {…}}    → {"cancel": 7}
    ← {"ready": directory}      ← {"id": 7, "end": "exit"|"signal"|"late", "code": n, "output": "…"}
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import shutil
import signal
import stat
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gateway.document import child
from gateway.document.limits import Limits, leave_network

POLITENESS = 5  # nice: the daemon's loop comes first


@dataclass(slots=True)
class Run:
    """One child at work."""

    id: int
    pid: int
    pipe: int
    ended: int  # pidfd: readable when the child has ended
    deadline: float
    work: Path
    results: dict[Path, Path]  # in `work` → where the daemon wants them
    output: bytes = b""
    late: bool = False


class ForkServer:
    def __init__(self, limits: Limits, scratch: Path) -> None:
        self._limits = limits
        self._scratch = scratch
        self._selector = selectors.DefaultSelector()
        self._runs: dict[int, Run] = {}
        self._rest = b""
        self._open = True

    def serve(self) -> None:
        """Until standard input ends."""
        self._selector.register(0, selectors.EVENT_READ, self._hear)
        _tell({"ready": str(self._scratch)})
        while self._open:
            for key, _ in self._selector.select(self._patience()):
                key.data()
            self._kill_late()
        for run in self._runs.values():
            _kill(run)

    def _hear(self) -> None:
        received = os.read(0, 1 << 16)
        self._open = bool(received)
        *lines, self._rest = (self._rest + received).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if run := self._runs.get(order.get("cancel", -1)):
                _kill(run)
            elif "task" in order:
                self._start(order["id"], order["task"])

    def _start(self, identity: int, task: dict[str, Any]) -> None:
        work = self._scratch / str(identity)
        work.mkdir()
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            child.live(task, work, theirs, self._limits)
        os.close(theirs)
        os.set_blocking(ours, False)
        deadline = time.monotonic() + self._limits.seconds
        results = {
            work / child.DOCUMENT: Path(task["document"]),
            work / child.THUMBNAIL: Path(task["thumbnail"]),
        }
        run = Run(identity, pid, ours, os.pidfd_open(pid), deadline, work, results)
        self._runs[identity] = run
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._listen(run))
        self._selector.register(run.ended, selectors.EVENT_READ, lambda: self._bury(run))

    def _listen(self, run: Run) -> None:
        with contextlib.suppress(BlockingIOError):
            while received := os.read(run.pipe, 1 << 16):
                run.output += received
                if len(run.output) > self._limits.output:
                    _kill(run)
                    break
            self._selector.unregister(run.pipe)

    def _bury(self, run: Run) -> None:
        if run.pipe in self._selector.get_map():
            self._listen(run)
        _kill(run)  # whatever it left in its session: before its number is free for others
        _, status = os.waitpid(run.pid, 0)
        for descriptor in (run.pipe, run.ended):
            with contextlib.suppress(KeyError):
                self._selector.unregister(descriptor)
            os.close(descriptor)
        del self._runs[run.id]
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            _hand_on(run)
        shutil.rmtree(run.work, ignore_errors=True)
        end = "late" if run.late else "signal" if code < 0 else "exit"
        output = run.output[: self._limits.output].decode(errors="replace")
        _tell({"id": run.id, "end": end, "code": abs(code), "output": output})

    def _patience(self) -> float | None:
        if not self._runs:
            return None
        return max(0.0, min(run.deadline for run in self._runs.values()) - time.monotonic())

    def _kill_late(self) -> None:
        now = time.monotonic()
        for run in self._runs.values():
            if run.deadline <= now:
                run.late = True
                run.deadline = now + 1
                _kill(run)


def _hand_on(run: Run) -> None:
    """What the child made goes where the daemon looks for it: plain files of its own only."""
    for made, wanted in run.results.items():
        with contextlib.suppress(OSError):  # the daemon looks, and finds nothing
            found = made.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                shutil.move(made, wanted)


def _kill(run: Run) -> None:
    """The child and whatever it started. It has its own session from its first step on."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(run.pid, signal.SIGKILL)


def _tell(line: dict[str, Any]) -> None:
    content = json.dumps(line).encode() + b"\n"
    while content:
        content = content[os.write(1, content) :]


def _warm_up() -> None:
    """Import what the tasks use; after this nothing is collected, so pages stay shared."""
    from gateway.document import examine, prepare, text  # noqa: F401, PLC0415

    text.fonts()
    gc.collect()
    gc.freeze()


def main(arguments: list[str]) -> None:
    given = json.loads(arguments[0])
    limits = Limits(**{field.name: given[field.name] for field in fields(Limits)})
    os.umask(0o077)
    os.nice(POLITENESS)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # our end is the end of our input
    leave_network()
    _warm_up()
    with tempfile.TemporaryDirectory(prefix="workshop-", dir=given["scratch"]) as scratch:
        ForkServer(limits, Path(scratch)).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
