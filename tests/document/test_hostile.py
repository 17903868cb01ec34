"""Bombs, loops and lies: each ends in its cause or as pages and leaves nothing behind (A25-A28)."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pikepdf
import pytest

from gateway.document import Prepared, PrepareTask, Workshop
from gateway.document.limits import Limits
from gateway.errors import Cause, PermanentError, TransientError
from tests.document import files, hostile

pytestmark = pytest.mark.anyio

QUICK = Limits(seconds=20.0, cpu=15)
ACTS = {
    *("/OpenAction", "/AA", "/Names", "/JS", "/JavaScript", "/A", "/Annots", "/AcroForm"),
    *("/EmbeddedFiles", "/EF", "/AF", "/Metadata", "/PieceInfo"),
}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
async def workshop(anyio_backend: str, scratch: Path) -> AsyncIterator[Workshop]:
    async with Workshop(limits=QUICK, scratch=scratch) as workshop:
        yield workshop


def task(tmp_path: Path, content: bytes, name: str) -> PrepareTask:
    message = tmp_path / "message.eml"
    message.write_bytes(files.mail(files.part(content, "application/octet-stream", name)))
    (tmp_path / "made").mkdir(exist_ok=True)
    return PrepareTask(message, tmp_path / "made" / "out.pdf", tmp_path / "made" / "first.png")


async def twice(workshop: Workshop, task: PrepareTask) -> Prepared:
    """As the daemon: a crash is tried once more, and that is the end."""
    try:
        return await workshop.prepare(task)
    except TransientError:
        return await workshop.prepare(task, last_try=True)


@pytest.mark.parametrize("name", hostile.SAMPLES)
async def test_sample(workshop: Workshop, tmp_path: Path, scratch: Path, name: str) -> None:
    make, expected = hostile.SAMPLES[name]
    given = task(tmp_path, make(), name)
    try:
        outcome: int | Cause = (await twice(workshop, given)).pages
    except PermanentError as refused:
        assert str(refused).startswith(name)
        assert list((tmp_path / "made").iterdir()) == []
        outcome = refused.cause
    assert outcome == expected if isinstance(expected, int) else outcome in expected
    (home,) = scratch.iterdir()
    assert list(home.iterdir()) == []
    assert workshop._server
    server = workshop._server.process.pid
    assert Path(f"/proc/{server}/task/{server}/children").read_text() == ""


async def test_nothing_that_acts_is_faxed(workshop: Workshop, tmp_path: Path) -> None:
    for name in ("acting.pdf", "zip.pdf"):
        given = task(tmp_path, hostile.SAMPLES[name][0](), name)
        await workshop.prepare(given)
        assert b"MZ evil" not in given.document.read_bytes()
        with pikepdf.open(given.document) as document:
            keys = {
                key
                for thing in (*document.objects, document.Root)
                if isinstance(thing, pikepdf.Dictionary | pikepdf.Stream)
                for key in thing.keys()  # noqa: SIM118 - no mapping
            }
        assert not keys & ACTS


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: torn(files.tiff(), 0.4, 0.5), "hole.tif"),
        (lambda: torn(files.tiff(), 0.5, 1.0), "rest.tif"),
        (lambda: cut_stream(0.5, b""), "cut.pdf"),
        (lambda: cut_stream(0.5, bytes(500)), "hole.pdf"),
    ],
)
async def test_half_a_page_is_no_page(
    workshop: Workshop, tmp_path: Path, make: files.Make, name: str
) -> None:
    """Files copied in part, with zeros for the rest: readers show the half they find."""
    with pytest.raises(PermanentError, match="damaged") as refused:
        await workshop.prepare(task(tmp_path, make(), name))
    assert refused.value.cause is Cause.DOCUMENT


def torn(tiff: bytes, start: float, stop: float) -> bytes:
    """Zeros in its strip, which lies between header and directory."""
    end = int.from_bytes(tiff[4:8], "little")
    first, last = 8 + int((end - 8) * start), 8 + int((end - 8) * stop)
    return tiff[:first] + bytes(last - first) + tiff[last:]


def cut_stream(share: float, rest: bytes) -> bytes:
    drawing = b"".join(b"72 %d m %d %d l S\n" % (y, y * 7 % 612, y) for y in range(9, 700))
    packed = zlib.compress(drawing)
    content = packed[: int(len(packed) * share)] + rest
    return files.one_page(files.stream(content, b"/Filter /FlateDecode"))


async def test_flushed_but_not_ended_is_whole(workshop: Workshop, tmp_path: Path) -> None:
    """Acrobat writes such streams."""
    packer = zlib.compressobj()
    flushed = packer.compress(hostile.LINE) + packer.flush(zlib.Z_SYNC_FLUSH)
    whole = files.one_page(files.stream(flushed, b"/Filter /FlateDecode"))
    assert (await workshop.prepare(task(tmp_path, whole, "a.pdf"))).pages == 1


async def test_the_workshop_has_survived(workshop: Workshop, tmp_path: Path) -> None:
    assert (await workshop.prepare(task(tmp_path, files.pdf(2), "a.pdf"))).pages == 2
