"""Files of real programs, of each kind of trouble: as many pages as others count, or why not."""

from __future__ import annotations

import csv
from pathlib import Path

import pypdfium2
import pytest

from gateway.document import PrepareTask, Workshop
from gateway.document.raster import draw, has_ink
from gateway.errors import Cause, PermanentError
from tests.document import files

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of test files is not here"),
]

GOOD = (
    "image/asterisk__udptl__1page.tif",
    "image/chatmail__logo.png",
    "image/chatmail__rectangle2000x1800-rotated.jpg",
    "image/image-tiff__images__12bit.cropped.tiff",
    "image/image-tiff__images__bigtiff__BigTIFF.tif",
    "image/image-tiff__images__cmyk-3c-16b.tiff",
    "image/image-tiff__images__seq__seq-1c-1b-fax3-71f6a21a.tiff",
    "image/image-tiff__images__seq__seq-1c-8b-multipage-adeefdcc.tiff",
    "image/image-tiff__images__tiled-jpeg-rgb-u8.tif",
    "image/image-tiff__libtiffpic__fax2d.tif",
    "image/image-tiff__libtiffpic__smallliz.tif",
    "image/ocrmypdf__baiona_cmyk.jpg",
    "pdf/gotenberg__pages_12.pdf",
    "pdf/ocrmypdf__acroform.pdf",
    "pdf/ocrmypdf__cardinal.pdf",
    "pdf/ocrmypdf__ccitt.pdf",
    "pdf/ocrmypdf__lichtenstein.pdf",
    "pdf/pdfbox__PDFBOX-2984-rotations.pdf",
    "pdf/pdfbox__merge__PDFBOX-5762-722238.pdf",
    "pdf/pdfbox__pdfbox__pdmodel__font__F001u_3_7j.pdf",
    "pdf/pikepdf__form_dd0293.pdf",
    "pdf/pypdf__form_acrobatReader.pdf",
)
REFUSED = {
    "image/image-tiff__images__12bit.cropped.rgb.tiff": (Cause.DOCUMENT, "rare kind"),
    "pdf/ocrmypdf__hugemono.pdf": (Cause.LIMIT, "35000 x 35000"),
    "pdf/ocrmypdf__livecycle.pdf": (Cause.MEDIA, "Adobe Reader"),
    "pdf/pdfbox__pdfbox__encryption__AESkeylength256.pdf": (Cause.DOCUMENT, "certain people"),
    "pdf/pdfbox__pdfbox__testPDFPackage.pdf": (Cause.MEDIA, "portfolio"),
    "pdf/pypdf__crazyones-encrypted-256.pdf": (Cause.DOCUMENT, "password"),
    "pdf/pypdf__selenium-pypdf-issue-177.pdf": (Cause.DOCUMENT, "damaged"),
}


@pytest.fixture(scope="module")
def expected() -> dict[str, int]:
    with (CORPUS / "expectations.tsv").open(newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row["path"]: int(row["pages"]) for row in rows if row["pages"].isdigit()}


def task(tmp_path: Path, name: str) -> PrepareTask:
    content = (CORPUS / name).read_bytes()
    message = tmp_path / "message.eml"
    message.write_bytes(files.mail(files.part(content, "application/octet-stream", "file")))
    return PrepareTask(message, tmp_path / "out.pdf", tmp_path / "first.png")


@pytest.mark.parametrize("name", GOOD)
async def test_good(
    workshop: Workshop, tmp_path: Path, expected: dict[str, int], name: str
) -> None:
    given = task(tmp_path, name)
    prepared = await workshop.prepare(given)
    made = pypdfium2.PdfDocument(given.document)
    assert prepared.pages == len(made) == expected[name]
    assert has_ink(draw(made, 0, 300))


@pytest.mark.parametrize("name", REFUSED)
async def test_refused(workshop: Workshop, tmp_path: Path, name: str) -> None:
    cause, words = REFUSED[name]
    with pytest.raises(PermanentError, match=words) as refused:
        await workshop.prepare(task(tmp_path, name))
    assert refused.value.cause is cause
