"""The limited child: every document becomes pages or a sentence, whatever it tries (A24–A27)."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pikepdf
import pytest

from gateway.document import InspectTask, Prepared, PrepareTask, Workshop
from gateway.document.limits import Limits
from gateway.errors import Cause, PermanentError, TransientError
from tests.document import files

pytestmark = pytest.mark.anyio

QUICK = Limits(seconds=20.0, cpu=15)


@pytest.fixture(scope="module")
async def workshop(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Workshop]:
    async with Workshop(limits=QUICK, scratch=tmp_path_factory.mktemp("scratch")) as workshop:
        yield workshop


async def faxed(workshop: Workshop, tmp_path: Path, mail: bytes, **options: object) -> Prepared:
    message = tmp_path / "message.eml"
    message.write_bytes(mail)
    task = PrepareTask(message, tmp_path / "out.pdf", tmp_path / "first.png", **options)  # type: ignore[arg-type]
    return await workshop.prepare(task)


def sheets(tmp_path: Path) -> list[tuple[float, float]]:
    with pikepdf.open(tmp_path / "out.pdf") as document:
        boxes = [[float(x) for x in page.mediabox] for page in document.pages]
    return [(round(box[2] - box[0]), round(box[3] - box[1])) for box in boxes]


PDF, TIFF = files.pdf(2), files.tiff(files.sheet(), files.sheet())
PNG = files.encoded(files.sheet(mode="L"), "PNG")
JPG = files.encoded(files.sheet(mode="RGB"), "JPEG")


@pytest.mark.parametrize(
    ("parts", "pages"),
    [
        ([files.part(PDF)], 2),
        ([files.part(PDF, "application/octet-stream", "SCAN.PDF")], 2),
        ([files.part(b"junk\r\n" + PDF, name="a.pdf")], 2),
        ([files.part(TIFF, "image/tiff", "a.tif")], 2),
        ([files.part(PNG, "image/png", "a.png")], 1),
        ([files.part(JPG, "image/jpeg", "a.jpg")], 1),
        ([files.text("see below"), files.part(PDF, name="a.pdf")], 2),
        ([files.part(PDF, name="a.pdf"), files.part(TIFF, "image/tiff", "b.tif"),
          files.part(JPG, "image/jpeg", "c.jpg")], 5),
        ([files.text("Hello Ann,\n\nsee you.\n")], 1),
        ([files.text("<p>Hello</p><script>x</script>", "html")], 1),
        ([files.text("line\n" * 150)], 4),
    ],
)  # fmt: skip
async def test_pages(workshop: Workshop, tmp_path: Path, parts: list[bytes], pages: int) -> None:
    prepared = await faxed(workshop, tmp_path, files.mail(*parts), number="+14155550100")
    assert prepared.pages == len(sheets(tmp_path)) == pages
    assert (tmp_path / "first.png").read_bytes().startswith(b"\x89PNG")


async def test_the_order_of_the_mail(workshop: Workshop, tmp_path: Path) -> None:
    wide = files.pdf(1)
    with pikepdf.open(io.BytesIO(wide)) as document:
        document.pages[0].MediaBox = [0, 0, 792, 612]
        wide = files.saved(document)
    await faxed(workshop, tmp_path, files.mail(files.part(wide), files.part(files.pdf(1))))
    assert sheets(tmp_path) == [(792, 612), (612, 792)]


async def test_fax_pixels_are_not_square(workshop: Workshop, tmp_path: Path) -> None:
    """204×98 dpi: half as many lines for the same sheet of paper (M11)."""
    coarse = files.tiff(files.sheet((1728, 1078)), dpi=(204, 98))
    await faxed(workshop, tmp_path, files.mail(files.part(coarse, "image/tiff", "a.tif")))
    ((width, height),) = sheets(tmp_path)
    assert 1.2 < height / width < 1.5


async def test_the_same_mail_gives_the_same_document(workshop: Workshop, tmp_path: Path) -> None:
    mail = files.mail(files.part(PDF), files.part(JPG, "image/jpeg"))
    first = await faxed(workshop, tmp_path, mail)
    assert (await faxed(workshop, tmp_path, mail)).digest == first.digest


def locked(user: str, owner: str) -> bytes:
    with pikepdf.open(io.BytesIO(PDF)) as document:
        return files.saved(document, encryption=pikepdf.Encryption(user=user, owner=owner))


@pytest.mark.parametrize(
    ("content", "label", "name", "cause", "words"),
    [
        (locked(user="x", owner="y"), "application/pdf", "locked.pdf", Cause.DOCUMENT, "password"),
        (PDF[: len(PDF) // 3], "application/pdf", "half.pdf", Cause.DOCUMENT, "damaged"),
        (b"%PDF-1.7\n", "application/pdf", "none.pdf", Cause.DOCUMENT, ""),
        (files.saved(pikepdf.new()), "application/pdf", "empty.pdf", Cause.DOCUMENT, "page"),
        (TIFF[:200], "image/tiff", "half.tif", Cause.DOCUMENT, ""),
        (JPG[: len(JPG) // 8], "image/jpeg", "half.jpg", Cause.DOCUMENT, ""),
        (b"MZ" + bytes(4000), "application/pdf", "tool.pdf", Cause.MEDIA, ""),
        (b"PK\x03\x04" + bytes(400), "application/zip", "a.zip", Cause.MEDIA, "PDF"),
        (b"%!PS-Adobe-3.0\nshowpage", "application/postscript", "a.ps", Cause.MEDIA, "PDF"),
        (files.content_bomb(), "application/pdf", "bomb.pdf", Cause.LIMIT, ""),
        (files.page_tree_loop(), "application/pdf", "loop.pdf", None, ""),
        (files.many_pages(20_000), "application/pdf", "many.pdf", Cause.LIMIT, "room for 198"),
        (files.pdf(201), "application/pdf", "long.pdf", Cause.LIMIT, "room for 198 pages"),
        (files.g4_bomb(), "image/tiff", "bomb.tif", Cause.LIMIT, ""),
        (
            files.one_page(files.stream(b"0 0 m 9 9 l S"), b"[0 0 200000 200000]"),
            "application/pdf", "huge.pdf", None, "",
        ),
    ],
)  # fmt: skip
async def test_refused_by_name(
    workshop: Workshop, tmp_path: Path, content: bytes, label: str, name: str,
    cause: Cause | None, words: str,
) -> None:  # fmt: skip
    """Nothing is faxed in part: one bad file refuses the mail, and the sentence names it."""
    mail = files.mail(files.part(PDF, name="good.pdf"), files.part(content, label, name))
    with pytest.raises(PermanentError) as refused:
        await faxed(workshop, tmp_path, mail)
    assert name in str(refused.value)
    assert words in str(refused.value)
    if cause:
        assert refused.value.cause is cause


@pytest.mark.parametrize(
    "mail",
    [files.mail(files.text("")), b"", b"\r\n\r\n", files.mail(files.text("<p> </p>", "html"))],
)
async def test_nothing_to_fax(workshop: Workshop, tmp_path: Path, mail: bytes) -> None:
    with pytest.raises(PermanentError, match="nothing to fax"):
        await faxed(workshop, tmp_path, mail)


async def test_what_is_left_out_is_listed(workshop: Workshop, tmp_path: Path) -> None:
    card = files.part(b"BEGIN:VCARD\r\nEND:VCARD\r\n", "text/vcard", "ann.vcf")
    prepared = await faxed(workshop, tmp_path, files.mail(files.part(PDF), card))
    assert prepared.pages == 2
    assert any("ann.vcf" in line for line in prepared.skipped)


async def test_letters_no_font_has(workshop: Workshop, tmp_path: Path) -> None:
    """A text of boxes is not faxed; a name of boxes is, and the sender hears of it."""
    with pytest.raises(PermanentError, match="\U00014400") as refused:
        await faxed(workshop, tmp_path, files.mail(files.text("Dear \U00014400,")))
    assert refused.value.cause is Cause.CONVERSION
    head = "From: =?utf-8?b?8JSQgA==?= <a@example.com>\nSubject: Order 7\n"
    prepared = await faxed(workshop, tmp_path, files.mail(files.text("Hello"), head=head))
    assert prepared.skipped == ("The text of the mail: no font here has \U00014400",)


@pytest.mark.parametrize(("source", "kind", "pages"), [(PDF, "pdf", 2), (TIFF, "tiff", 2)])
async def test_received(
    workshop: Workshop, tmp_path: Path, source: bytes, kind: str, pages: int
) -> None:
    (tmp_path / "in").write_bytes(source)
    task = InspectTask(tmp_path / "in", tmp_path / "out.pdf", tmp_path / "first.png")
    seen = await workshop.inspect(task)
    assert (seen.kind, seen.pages, len(sheets(tmp_path))) == (kind, pages, pages)


@pytest.mark.parametrize(
    "source",
    [b"", b"<html>please log in</html>", b'{"status":"error"}', TIFF[:300], PDF[:300], PNG],
)
async def test_received_and_no_good(workshop: Workshop, tmp_path: Path, source: bytes) -> None:
    (tmp_path / "in").write_bytes(source)
    task = InspectTask(tmp_path / "in", tmp_path / "out.pdf", tmp_path / "first.png")
    with pytest.raises(PermanentError) as refused:
        await workshop.inspect(task, last_try=True)
    assert refused.value.cause is Cause.DOCUMENT


async def test_the_fork_server_is_killed_and_comes_back(tmp_path: Path) -> None:
    async with Workshop(limits=QUICK, scratch=tmp_path) as workshop:
        assert workshop._server
        os.kill(workshop._server.process.pid, signal.SIGKILL)
        await workshop._server.process.wait()
        prepared = await faxed(workshop, tmp_path, files.mail(files.part(PDF)))
        assert prepared.pages == 2


async def test_a_task_that_is_given_up_ends_its_child(tmp_path: Path) -> None:
    async with Workshop(at_once=1, limits=QUICK, scratch=tmp_path) as workshop:
        slow = asyncio.create_task(
            faxed(workshop, tmp_path, files.mail(files.part(files.form_bomb(), name="slow.pdf")))
        )
        await asyncio.sleep(0.2)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        async with asyncio.timeout(10):
            prepared = await faxed(workshop, tmp_path, files.mail(files.part(PDF)))
        assert prepared.pages == 2


async def test_closed(tmp_path: Path) -> None:
    workshop = Workshop(scratch=tmp_path)
    await workshop.start()
    await workshop.stop()
    with pytest.raises(TransientError, match="closed"):
        await faxed(workshop, tmp_path, files.mail(files.part(PDF)))
