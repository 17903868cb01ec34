"""The spool: whole or absent, in the right order, and alone on its directory."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from gateway.spool import FsyncError, Kind, Spool

pytestmark = pytest.mark.anyio


def written(spool: Spool, content: bytes = b"x") -> Path:
    part = spool.part()
    part.write_bytes(content)
    return part


async def test_one_part_many_names(spool: Spool) -> None:
    part = written(spool, b"mail")
    await spool.keep(part, [("a", Kind.MESSAGE), ("b", Kind.MESSAGE)])
    assert not part.exists()
    assert [spool.path(fax, Kind.MESSAGE).read_bytes() for fax in "ab"] == [b"mail", b"mail"]
    await spool.drop("a")
    assert [path.name for path in spool.kept()] == ["b.message.eml"]


async def test_keeping_again_replaces(spool: Spool) -> None:
    """A room that was killed after keeping does its work again."""
    for content in (b"first", b"second"):
        await spool.keep(written(spool, content), [("a", Kind.DOCUMENT), ("b", Kind.DOCUMENT)])
    assert spool.path("b", Kind.DOCUMENT).read_bytes() == b"second"


async def test_private(spool: Spool) -> None:
    assert stat.S_IMODE(spool.root.stat().st_mode) == 0o700


async def test_a_second_gateway_is_refused(spool: Spool) -> None:
    with pytest.raises(BlockingIOError):
        await Spool(spool.root).open()


async def test_parts_of_a_dead_process_are_swept(tmp_path: Path) -> None:
    first = Spool(tmp_path / "d")
    await first.open()
    part = written(first)
    await first.close()
    second = Spool(tmp_path / "d")
    await second.open()
    assert not part.exists()
    await second.close()


async def test_a_symlink_is_not_followed(spool: Spool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    part = spool.part()
    part.symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        await spool.keep(part, [("a", Kind.MESSAGE)])
    assert not spool.kept()


async def test_order_of_system_calls(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync the file, then rename, then fsync the directory (ALICE, OSDI '14)."""
    calls: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        calls.append("fsync directory" if is_directory else "fsync file")
        real_fsync(descriptor)

    def rename(path: Path, target: str) -> None:
        calls.append("rename")
        real_rename(path, target)

    monkeypatch.setattr("gateway.spool.os.fsync", fsync)
    monkeypatch.setattr("gateway.spool.os.rename", rename)
    await spool.keep(written(spool), [("a", Kind.MESSAGE)])
    assert calls == ["fsync file", "rename", "fsync directory"]


@pytest.mark.parametrize(
    ("code", "error", "broken"), [(errno.ENOSPC, OSError, False), (errno.EIO, FsyncError, True)]
)
async def test_a_failed_fsync(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, code: int, error: type[OSError], broken: bool
) -> None:
    """Never kept, never tried again; after an I/O error the process must end (fsyncgate)."""

    def fail(descriptor: int) -> None:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr("gateway.spool.os.fsync", fail)
    with pytest.raises(error):
        await spool.keep(written(spool), [("a", Kind.MESSAGE)])
    assert not spool.path("a", Kind.MESSAGE).exists()
    assert spool.broken.is_set() is broken
    monkeypatch.undo()
    if broken:  # the kernel tells it once; a second fsync that succeeds proves nothing
        with pytest.raises(FsyncError):
            await spool.keep(written(spool), [("b", Kind.MESSAGE)])
        assert not spool.kept()
    else:
        await spool.keep(written(spool), [("b", Kind.MESSAGE)])


async def test_a_failed_close_hides_no_failed_fsync(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network's disk may tell both of the same loss."""
    part, real = written(spool), os.close

    def fail(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), part.stat()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def close(descriptor: int) -> None:
        real_stat = os.fstat(descriptor)
        real(descriptor)
        if os.path.samestat(real_stat, part.stat()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr("gateway.spool.os.fsync", fail)
        patch.setattr("gateway.spool.os.close", close)
        with pytest.raises(FsyncError):
            await spool.keep(part, [("a", Kind.MESSAGE)])
    assert spool.broken.is_set()


async def test_a_lack_of_descriptors_passes(spool: Spool) -> None:
    """F-N2: refused for the moment, and no reason to end."""
    part = spool.part()
    descriptor = os.open(part, os.O_CREAT | os.O_RDWR, 0o600)

    class Written:
        path = part
        small = b""

        def finish(self) -> int:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptor, limits[1]))
            return descriptor

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = []
    while (taken := os.dup(descriptor)) < descriptor:  # no number below is free
        spare.append(taken)
    os.close(taken)
    try:
        with pytest.raises(OSError, match="Too many open files"):
            await spool.keep(Written(), [("a", Kind.MESSAGE)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for taken in spare:
            os.close(taken)
    assert not spool.broken.is_set()
    await spool.keep(written(spool), [("b", Kind.MESSAGE)])


async def test_no_room_on_the_disk(spool: Spool, tmp_path: Path) -> None:
    """A writer that finds the disk full: its error, nothing kept, others go on."""
    part = spool.part()

    class Full:
        path = part
        small = b""

        def finish(self) -> int:
            part.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    outcomes = await asyncio.gather(
        spool.keep(Full(), [("a", Kind.MESSAGE)]),
        spool.keep(written(spool), [("b", Kind.MESSAGE)]),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], OSError)
    assert outcomes[1] is None
    assert [path.name for path in spool.kept()] == ["b.message.eml"]
    assert not spool.broken.is_set()


async def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child that opens them works in another directory."""
    monkeypatch.chdir(tmp_path)
    spool = Spool(Path("data"))
    assert spool.path("a", Kind.DOCUMENT).is_absolute()
    assert spool.part().is_absolute()
