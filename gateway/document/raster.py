"""Rendering with PDFium: the thumbnail, and the proof that a document shows something."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pikepdf
import pypdfium2
from PIL import Image

from gateway.document.refusal import damaged, reading
from gateway.errors import Cause, PermanentError

THUMBNAIL_PIXELS = 300  # of the longer side
THUMBNAIL_BYTES = 30_000
PROOF_SECONDS = 8.0  # CPU: pages beyond are believed
_PAINTS = re.compile(rb"(?<![\w/])(Tj|TJ|'|\"|f\*?|F|B\*?|b\*?|S|s|sh|Do|EI)(?![\w*])")


def prove(document: Path, thumbnail: Path, title: str) -> None:
    """Write the first page's thumbnail; PermanentError when pages do not open or nothing shows."""
    with reading(title):
        pdf = pypdfium2.PdfDocument(document)
        started, shows = time.process_time(), False
        for number in range(len(pdf)):
            image = draw(pdf, number, THUMBNAIL_PIXELS)
            shows = shows or has_ink(image)
            if not number:
                thumbnail.write_bytes(_small_png(image))
            if time.process_time() - started > PROOF_SECONDS:
                break
        pdf.close()
        if not shows and _wants_ink(document):
            raise PermanentError(
                f"{title} shows nothing but white pages. Please check that the right side was "
                "scanned, or print it to a new PDF and send that.",
                Cause.DOCUMENT,
            )


def draw(pdf: pypdfium2.PdfDocument, number: int, longest: int) -> Image.Image:
    """A page in grey, its longer side so many pixels."""
    page = pdf[number]
    width, height = page.get_size()
    if width <= 0 or height <= 0:
        raise damaged("the document")
    image = page.render(scale=longest / max(width, height), grayscale=True).to_pil()
    page.close()
    return image.convert("L")


def has_ink(image: Image.Image) -> bool:
    darkest, _ = image.getextrema()
    return isinstance(darkest, int) and darkest < 255


def _wants_ink(document: Path) -> bool:
    """Whether any page paints at all: an empty page may well be meant."""
    with pikepdf.open(document) as pdf:
        for page in pdf.pages:
            page.contents_coalesce()
            content = page.obj.get("/Contents")
            if isinstance(content, pikepdf.Stream) and _PAINTS.search(content.read_bytes()):
                return True
    return False


def _small_png(image: Image.Image) -> bytes:
    """Sixteen greys are enough to recognise a page; a noisy one becomes smaller."""
    while True:
        buffer = io.BytesIO()
        image.quantize(16).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= THUMBNAIL_BYTES or max(image.size) < 50:
            return buffer.getvalue()
        image.thumbnail((image.width * 3 // 4, image.height * 3 // 4))
