"""A received fax: is it a document, does it open, how many pages has it. Runs in the child."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pikepdf import Pdf

from gateway.document.book import add_picture
from gateway.document.image import pictures
from gateway.document.pdf import add_pdf
from gateway.document.prepare import digest, finish
from gateway.document.sheet import natural
from gateway.document.tasks import Inspected, InspectTask
from gateway.errors import Cause, PermanentError
from gateway.mail.sniff import Kind, describe, sniff

TITLE = "The received fax"
NO_LIMIT = 1 << 30


def examine(task: InspectTask, now_at: Callable[[str], None]) -> Inspected:
    """Write it as PDF with its thumbnail. PermanentError: it is no fax, and what it is instead."""
    now_at(TITLE)
    kind = _kind(task.source)
    book = Pdf.new()
    if kind is Kind.PDF:
        add_pdf(book, task.source, TITLE, task.max_pages)
    else:
        for picture in pictures(task.source, kind, TITLE, task.max_pages):
            add_picture(book, picture, natural(picture.width, picture.height))
    size = finish(book, task.document, task.thumbnail, TITLE, NO_LIMIT)
    return Inspected(len(book.pages), digest(task.document), size, str(kind))


def _kind(source: Path) -> Kind:
    with source.open("rb") as file:
        head = file.read(4096)
    kind = sniff(head)
    if kind not in (Kind.PDF, Kind.TIFF):
        raise PermanentError(f"{TITLE} is {describe(head)}, not a PDF or TIFF.", Cause.DOCUMENT)
    return kind
