"""The life of one forked child: be confined, do one task, answer in JSON lines, end.

| line                              | means                                               |
|-----------------------------------|-----------------------------------------------------|
| `{"at": name}`                    | this file is being read: who to name if we die now  |
| `{"done": {…}}`                   | the answer                                          |
| `{"refused": reason, "cause": …}` | a `PermanentError`                                  |
| `{"retry": reason}`               | a `TransientError`                                  |
| `{"bug": text}`                   | anything else                                       |
"""

from __future__ import annotations

import errno
import json
import os
import traceback
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

from gateway.document.cage import lock_calls, lock_files
from gateway.document.limits import Limits, confine
from gateway.document.tasks import InspectTask, PrepareTask, task_of
from gateway.errors import Cause, PermanentError, TransientError

Task = PrepareTask | InspectTask
DOCUMENT, THUMBNAIL = "document.pdf", "first.png"  # in the child's directory
OUR_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}


def live(line: Mapping[str, Any], work: Path, pipe: int, limits: Limits) -> NoReturn:
    """Never returns; nothing of the fork server survives in here but its libraries."""
    status = 1
    try:
        pipe = _let_go(pipe)
        os.chdir(work)
        task = _own(task_of(line), work)
        confine(limits)
        lock_files(work, task.message if isinstance(task, PrepareTask) else task.source)
        lock_calls()
        answer = _answer(task, work, pipe)
        _say(pipe, answer)
        status = 0 if "done" in answer else 1
    finally:
        os._exit(status)


def _own(task: Task, work: Path) -> Task:
    """The task with its results in the child's own directory; the fork server hands them on."""
    return replace(task, document=work / DOCUMENT, thumbnail=work / THUMBNAIL)


def _let_go(pipe: int) -> int:
    """Own session, no descriptors but the pipe (now 3); the standard ones lead nowhere."""
    os.setsid()
    os.dup2(pipe, 3)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    return 3


def _answer(task: Task, work: Path, pipe: int) -> dict[str, Any]:
    try:
        return {"done": _do(task, work, pipe)}
    except PermanentError as error:
        return {"refused": str(error), "cause": str(error.cause)}
    except TransientError as error:
        return {"retry": str(error)}
    except MemoryError:
        return {"refused": "", "cause": str(Cause.LIMIT)}  # the daemon knows the file's name
    except Exception as error:  # noqa: BLE001 - it travels to the daemon, which raises it there
        return _trouble(error)


def _trouble(error: Exception) -> dict[str, Any]:
    if isinstance(error, OSError) and error.errno in OUR_DISK:
        return {"retry": f"the disk does not take the pages: {error.strerror}"}
    return {"bug": "".join(traceback.format_exception(error, limit=-4))[-2000:]}


def _do(task: Task, work: Path, pipe: int) -> dict[str, Any]:
    from gateway.document.examine import examine  # noqa: PLC0415 - the fork server has them warm
    from gateway.document.prepare import prepare  # noqa: PLC0415

    def now_at(name: str) -> None:
        _say(pipe, {"at": name})

    if isinstance(task, PrepareTask):
        return asdict(prepare(task, work, now_at))
    return asdict(examine(task, now_at))


def _say(pipe: int, line: Mapping[str, Any]) -> None:
    content = json.dumps(line).encode() + b"\n"
    while content:
        content = content[os.write(pipe, content) :]
