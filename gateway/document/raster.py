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

PROOF_PIXELS = 600  # of the longer side
THUMBNAIL_PIXELS = 300  # the same page, smoothed
THUMBNAIL_BYTES = 30_000
PROOF_SECONDS = 8.0  # CPU: pages beyond are believed
_PAINTS = re.compile(rb"(?<![\w/])(Tj|TJ|'|\"|f\*?|F|B\*?|b\*?|S|s|sh|EI)(?![\w*])")


def prove(document: Path, thumbnail: Path, title: str) -> None:
    """Write the first page's thumbnail; PermanentError when pages do not open or nothing shows."""
    with reading(title):
        pdf = pypdfium2.PdfDocument(document)
        started, shows = time.process_time(), False
        for number in range(len(pdf)):
            image = draw(pdf, number, PROOF_PIXELS)
            shows = shows or has_ink(image)
            if not number:
                thumbnail.write_bytes(_small_png(image.reduce(PROOF_PIXELS // THUMBNAIL_PIXELS)))
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
    image: Image.Image = page.render(scale=longest / max(width, height), grayscale=True).to_pil()
    page.close()
    return image.convert("L")


def has_ink(image: Image.Image) -> bool:
    return any(image.histogram()[:255])


def _wants_ink(document: Path) -> bool:
    """Whether anything in it paints: an empty page may well be meant."""
    with pikepdf.open(document) as pdf:
        if any(_paints(page.obj.get("/Contents")) for page in pdf.pages):
            return True
        forms = (thing for thing in pdf.objects if isinstance(thing, pikepdf.Stream))
        return any(
            thing.get("/Subtype") == pikepdf.Name.Image
            or (thing.get("/Subtype") == pikepdf.Name.Form and _paints(thing))
            for thing in forms
        )


def _paints(content: pikepdf.Object | None) -> bool:
    if isinstance(content, pikepdf.Array):
        return any(_paints(piece) for piece in list(content))
    return isinstance(content, pikepdf.Stream) and bool(_PAINTS.search(content.read_bytes()))


def _small_png(image: Image.Image) -> bytes:
    """Sixteen greys are enough to recognise a page; a noisy one becomes smaller."""
    while True:
        buffer = io.BytesIO()
        image.quantize(16).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= THUMBNAIL_BYTES or max(image.size) < 50:
            return buffer.getvalue()
        image.thumbnail((image.width * 3 // 4, image.height * 3 // 4))
