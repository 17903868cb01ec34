"""Durable documents: whole or absent, every name begins with the id of its fax.

All names of one fax lie beside each other in one flat directory (`<id>.message.eml`,
`<id>.document.pdf`, …): then one directory fsync makes a whole batch of mails durable, where a
directory for each fax would cost two more of them for every mail.

The order is always: write, fsync the file, rename, fsync the directory. A failed fsync is never
tried again (the kernel may have dropped the pages): the file is refused and the daemon ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from gateway.committer import Committer, Next

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class Kind(StrEnum):
    """The files a fax may have."""

    MESSAGE = "message.eml"  # the mail as it came in
    DOCUMENT = "document.pdf"  # the pages as they are faxed, or as they are mailed
    THUMBNAIL = "first.png"  # the first page, small
    RECEIVED = "received.bin"  # the provider's bytes, before anybody looked at them


class FsyncError(OSError):
    """The disk did not take what it was given: nothing on it can be vouched for any more."""


class Unfinished(Protocol):
    """A part whose writer left the end to the spool's thread: one hand-over less for each mail."""

    @property
    def path(self) -> Path: ...

    @property
    def small(self) -> bytes:
        """All of it, where it is no file yet, and whoever `then` names may keep it."""

    def finish(self) -> int | None:
        """Write what is left; returns the open file, which the spool makes durable and closes.

        None = it is small: it becomes a file only when it has names.
        """


Name = tuple[str, Kind]  # of which fax, and what it is to it


@dataclass(frozen=True, slots=True)
class _Keep:
    part: Path | Unfinished
    names: Callable[[], list[str]]  # paths; as text, since every mail comes by here
    then: Callable[[], Next] | None


class Spool:
    """Documents of all faxes below one directory of ours (mode 0700)."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()  # the child works in another directory
        self.incoming = self.root / "incoming"  # parts being written; emptied at every start
        self.broken = asyncio.Event()  # set by a failed fsync: the process must end
        self._fails = False  # the same for the spool's thread
        self._kept = self.root / "spool"
        self._parts = itertools.count()
        self._lock = -1

    async def open(self) -> None:
        """Take the directory for this process alone; BlockingIOError: another process has it."""
        await asyncio.to_thread(self._open)
        self._committer: Committer[_Keep, Any] = Committer("spool", self._commit)

    async def close(self) -> None:
        await self._committer.close()
        os.close(self._lock)

    def path(self, fax: str, kind: Kind) -> Path:
        return self._kept / f"{fax}.{kind}"

    def part(self) -> Path:
        """A fresh name for a file that somebody is about to write."""
        return self.incoming / str(next(self._parts))

    async def keep(
        self,
        part: Path | Unfinished,
        names: Sequence[Name] | Callable[[], Sequence[Name]],
        then: Callable[[], Next] | None = None,
    ) -> Any:  # noqa: ANN401 - what `then` comes to
        """Make a part durable under all these names (hard links); the part is gone then.

        Where names depend on what `finish` finds out, they are asked for after it; what is small
        may have none. `then` says, in the spool's thread, who goes on with it; without it this
        returns None. Raises what `finish` or `names` raise: then nothing was kept.
        """

        def paths() -> list[str]:
            wanted = names() if callable(names) else names
            return [f"{self._kept}/{fax}.{kind}" for fax, kind in wanted]

        return await self._committer(_Keep(part, paths, then))

    async def drop(self, fax: str, kinds: Sequence[Kind] = tuple(Kind)) -> None:
        """Remove the files of a fax; those that are not there are gone already."""

        def unlink() -> None:
            for kind in kinds:
                self.path(fax, kind).unlink(missing_ok=True)

        await asyncio.to_thread(unlink)

    def free(self) -> int:
        """Bytes that this process may still write."""
        return shutil.disk_usage(self._kept).free

    def kept(self) -> list[Path]:
        """Every durable file; for the janitor."""
        return sorted(self._kept.iterdir())

    def _open(self) -> None:
        for directory in (self.root, self.incoming, self._kept):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.root / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise
        for left_over in self.incoming.iterdir():  # nobody was told yes for these
            left_over.unlink() if not left_over.is_dir() else shutil.rmtree(left_over)
        sync_directory(self.root)

    def _commit(self, batch: list[_Keep]) -> list[BaseException | Next | None]:
        if self._fails:  # and until it has ended, nobody is told yes
            raise FsyncError(errno.EIO, "the disk failed an fsync before")
        outcomes: list[BaseException | Next | None] = []
        has_files = False
        for keep in batch:
            try:
                has_files = _make_durable(keep) or has_files
                outcomes.append(keep.then() if keep.then else None)
            except Exception as error:  # noqa: BLE001 - it is that one caller's
                outcomes.append(error)
                if isinstance(error, FsyncError):
                    self._break()
        try:
            if has_files:
                sync_directory(self._kept)
        except FsyncError:  # not any error: a lack of descriptors passes
            self._break()
            raise
        return outcomes

    def _break(self) -> None:
        self._fails = True
        self._committer.loop.call_soon_threadsafe(self.broken.set)


def _make_durable(keep: _Keep) -> bool:
    """False: there is no file to it."""
    path, small = keep.part, b""
    descriptor: int | None
    if isinstance(path, Path):
        descriptor = os.open(path, _READ)
    else:
        descriptor, small, path = path.finish(), path.small, path.path
    try:
        names = keep.names()
        if descriptor is None:
            if not names:
                return False
            descriptor = os.open(path, CREATE, 0o600)
            write_all(descriptor, small)
        _fsync(descriptor)
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):  # it must not hide what fsync said
                os.close(descriptor)
    first, *others = names
    for name in others:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108 - see _Keep
        os.link(path, name)
    os.rename(path, first)  # noqa: PTH104
    return True


def sync_directory(path: Path) -> None:
    """A rename is durable only when its directory is."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """A short write is gone on with."""
    written = os.write(descriptor, content)
    while written < len(content):
        written += os.write(descriptor, memoryview(content)[written:])


def _fsync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # known not written; told as disk full
            raise
        raise FsyncError(error.errno, error.strerror) from error
