"""A document that is too big is drawn once more as a fax machine would: 204 dpi, black or grey."""

from __future__ import annotations

from pathlib import Path

import pypdfium2
from pikepdf import Pdf

from gateway.document.book import add_picture, write
from gateway.document.image import Picture, g4, jpeg
from gateway.document.raster import draw
from gateway.document.refusal import reading, too_large
from gateway.document.sheet import natural

FAX_DPI = 204
LONGEST = 14 * FAX_DPI  # pixels: a Legal sheet
BETWEEN = range(64, 192)  # greys that text has at its edges only
MOST_BETWEEN = 0.08  # of the pixels: more is a photo
QUALITY = 45


def shrink(document: Path, title: str, most: int) -> int:
    """Replace the document by drawings of its pages; its size. PermanentError: still too big."""
    with reading(title):
        pdf, book = pypdfium2.PdfDocument(document), Pdf.new()
        for number in range(len(pdf)):
            picture = _draw(pdf, number)
            add_picture(book, picture, natural(picture.width, picture.height))
        pdf.close()
    size = write(book, document)
    if size > most:
        raise too_large(title, f"is too big for a fax ({size / 1e6:.1f} MB, {most / 1e6:.1f} fit)")
    return size


def _draw(pdf: pypdfium2.PdfDocument, number: int) -> Picture:
    width, height = pdf.get_page_size(number)
    longest = min(LONGEST, round(max(width, height) / 72 * FAX_DPI))
    grey = draw(pdf, number, max(longest, 1))
    histogram = grey.histogram()
    if sum(histogram[level] for level in BETWEEN) > MOST_BETWEEN * sum(histogram):
        return Picture(*grey.size, width, height, "jpeg", jpeg(grey, QUALITY))
    bilevel = grey.point([0] * 160 + [255] * 96, "1")
    return Picture(*bilevel.size, width, height, "g4", g4(bilevel), black_is_1=True)
