"""The daemon's side of the limited child: hand in a task, wait, get an answer or an error.

The fork server (`forkserver`) is started when it is needed and again when it died. Whatever the
child did is an error of ours by what to do about it: it refused, or needs too much work or memory
→ `PermanentError`; it crashed or did not end → `TransientError`, on the last try `PermanentError`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from gateway.document.limits import Limits
from gateway.document.tasks import (
    Inspected,
    InspectTask,
    Prepared,
    PrepareTask,
    answers_of,
    inspected_of,
    prepared_of,
    task_line,
)
from gateway.errors import Cause, PermanentError, TransientError

START_SECONDS = 60.0
STOP_SECONDS = 5.0
LONGEST_LINE = 4 << 20  # of the fork server: the child's output, each byte escaped
HOME = Path(__file__).resolve().parents[2]  # where the package lies: our own, not the caller's


@dataclass(frozen=True, slots=True)
class _Server:
    process: asyncio.subprocess.Process
    scratch: Path
    waiting: dict[int, asyncio.Future[dict[str, Any]]]


class Workshop:
    """Prepares and inspects documents, `at_once` of them; `scratch` is for files of the moment."""

    def __init__(
        self, *, at_once: int = 2, limits: Limits | None = None, scratch: Path | None = None
    ) -> None:
        self._limits = limits or Limits()
        self._scratch = scratch or Path(tempfile.gettempdir())
        self._at_once = asyncio.Semaphore(at_once)
        self._starting = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._server: _Server | None = None
        self._reader: asyncio.Task[None] | None = None
        self._stopped = False

    async def start(self) -> None:
        """TransientError: it does not start."""
        self._stopped = False
        await self._running()

    async def stop(self) -> None:
        """Tasks in flight raise TransientError."""
        self._stopped = True
        async with self._starting:
            if self._server:
                await _end(self._server)
            if self._reader:
                await self._reader

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def prepare(self, task: PrepareTask, *, last_try: bool = False) -> Prepared:
        """The mail's fax-ready PDF, written to `task.document`, and its first page as thumbnail."""
        prepared = prepared_of(await self._done(task, last_try=last_try))
        await _check_size(task.document, prepared.size)
        return prepared

    async def inspect(self, task: InspectTask, *, last_try: bool = False) -> Inspected:
        """The received fax as a PDF that opens, written to `task.document`."""
        inspected = inspected_of(await self._done(task, last_try=last_try))
        await _check_size(task.document, inspected.size)
        return inspected

    # the way to the child and back

    async def _done(self, task: PrepareTask | InspectTask, *, last_try: bool) -> dict[str, Any]:
        async with self._at_once:
            server = await self._running()
            end = await self._run(server, task)
        said = answers_of(end["output"])
        name = next((line["at"] for line in reversed(said) if "at" in line), "")
        return _read_end(end, said[-1] if said else {}, _speakable(name), last_try=last_try)

    async def _run(self, server: _Server, task: PrepareTask | InspectTask) -> dict[str, Any]:
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        server.waiting[number] = answer
        try:
            _order(server, {"id": number, "task": task_line(task)})
            return await answer
        except asyncio.CancelledError:
            _order(server, {"cancel": number})
            raise
        finally:
            del server.waiting[number]

    async def _running(self) -> _Server:
        async with self._starting:
            if self._stopped:
                raise TransientError("the document workshop is closed")
            if not self._server or self._server.process.returncode is not None:
                if self._reader:
                    await self._reader
                self._server = await _start(self._limits, self._scratch)
                self._reader = asyncio.create_task(_read(self._server), name="workshop")
            return self._server


async def _start(limits: Limits, scratch: Path) -> _Server:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-s", "-X", "utf8", "-m", "gateway.document.forkserver"),
        json.dumps(asdict(limits) | {"scratch": str(scratch)}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=_environment(),
        cwd="/",
        limit=LONGEST_LINE,
        start_new_session=True,  # a Ctrl-C at the terminal is for the daemon
    )
    assert process.stdout  # noqa: S101 - asked for above
    try:
        async with asyncio.timeout(START_SECONDS):
            ready = json.loads(await process.stdout.readline())
    except BaseException as error:
        process.kill()
        await process.wait()
        if isinstance(error, ValueError | TimeoutError):
            raise TransientError("the document workshop does not start") from error
        raise
    return _Server(process, Path(ready["ready"]), {})


def _environment() -> dict[str, str]:
    """No secrets, nothing of the daemon's: what Python and the libraries need to start."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "PYTHONPATH": str(HOME),
        "MALLOC_ARENA_MAX": "1",  # an arena a thread would eat the address space we allow
        "RAYON_NUM_THREADS": "1",
    }


async def _read(server: _Server) -> None:
    """Hand each end to whoever waits for it, until the fork server is gone."""
    assert server.process.stdout  # noqa: S101
    try:
        while line := await server.process.stdout.readline():
            end = json.loads(line)
            answer = server.waiting.get(end["id"])
            if answer and not answer.done():
                answer.set_result(end)
    finally:
        await _gone(server.process)
        for answer in server.waiting.values():
            if not answer.done():
                answer.set_exception(TransientError("the document workshop ended"))
        await asyncio.to_thread(shutil.rmtree, server.scratch, ignore_errors=True)


def _order(server: _Server, line: Mapping[str, Any]) -> None:
    """Short lines: the pipe's buffer takes them. A dead server is noticed by its reader."""
    assert server.process.stdin  # noqa: S101
    server.process.stdin.write(json.dumps(line).encode() + b"\n")


async def _end(server: _Server) -> None:
    assert server.process.stdin  # noqa: S101
    server.process.stdin.close()
    await _gone(server.process)


async def _gone(process: asyncio.subprocess.Process) -> None:
    """It ends with its input or output; when it does not, it is made to."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


# what the end of a child means


def _read_end(
    end: Mapping[str, Any], last: Mapping[str, Any], name: str, *, last_try: bool
) -> dict[str, Any]:
    match last:
        case {"done": dict()}:
            return dict(last["done"])
        case {"refused": "", "cause": _}:
            raise PermanentError(_too_much(name, "needs too much memory"), Cause.LIMIT)
        case {"refused": str(reason), "cause": str(cause)}:
            raise PermanentError(_speakable(reason), Cause(cause))
        case {"retry": str(reason)}:
            raise TransientError(_speakable(reason))
        case {"bug": str(text)}:
            raise RuntimeError(text)
    if end["code"] == signal.SIGXCPU or (end["end"] == "late" and last_try):
        raise PermanentError(_too_much(name, "takes too long to read"), Cause.LIMIT)
    if not last_try:
        raise TransientError(f"{name}: its reader crashed ({end['end']} {end['code']})")
    raise PermanentError(
        f"{name} cannot be read: it is damaged or needs too much memory. "
        "Please print it to a new PDF and send that.",
        Cause.CONVERSION,
    )


def _too_much(name: str, what: str) -> str:
    return f"{name} {what}. Please print it to a new, simpler PDF and send that."


def _speakable(text: Any) -> str:  # noqa: ANN401 - the child said it: it may be anything
    said = "".join(c for c in str(text)[:500] if c.isprintable())
    return said or "The document"


async def _check_size(document: Path, size: int) -> None:
    found = await asyncio.to_thread(lambda: document.stat().st_size)
    if found != size:
        raise RuntimeError(f"the document has {found} bytes, the child said {size}")
