"""Message → one fax-ready PDF. Runs in the child."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from pikepdf import Pdf

from gateway.document.book import add_picture, write
from gateway.document.glyphs import is_letter
from gateway.document.image import pictures
from gateway.document.pdf import add_pdf
from gateway.document.raster import prove
from gateway.document.refusal import too_many_pages
from gateway.document.sheet import on_paper
from gateway.document.shrink import shrink
from gateway.document.tasks import Prepared, PrepareTask
from gateway.document.text import boxes, text_pages
from gateway.errors import Cause, PermanentError
from gateway.mail.letter import Letter, Part, read_letter
from gateway.mail.plain import text_of
from gateway.mail.sniff import Kind

Say = Callable[[str], None]
THE_TEXT = "The text of the mail"


def prepare(task: PrepareTask, work: Path, now_at: Say) -> Prepared:
    """Write the document and its thumbnail. `now_at` hears which file is being read."""
    now_at("The mail")
    letter = read_letter(task.message, work)
    book, boxed = Pdf.new(), list[str]()
    if _text_is_faxed(letter, task.body):
        boxed += _add_text(book, task, THE_TEXT, _head(letter, task), letter.text)
    for part in letter.parts:
        now_at(part.title)
        boxed += _add_part(book, part, task)
    if not len(book.pages):
        raise PermanentError(_nothing(letter), Cause.MEDIA)
    title = letter.parts[0].title if len(letter.parts) == 1 else "the document"
    now_at(title)
    size = finish(book, task.document, task.thumbnail, title, task.max_bytes)
    return Prepared(
        pages=len(book.pages),
        digest=digest(task.document),
        size=size,
        subject=letter.subject,
        from_address=letter.from_address,
        message_id=letter.message_id,
        skipped=(*letter.skipped, *boxed),
    )


def finish(book: Pdf, document: Path, thumbnail: Path, title: str, most: int) -> int:
    """Write the book, prove that it shows something, make it small enough; its size."""
    size = write(book, document)
    prove(document, thumbnail, title)
    return shrink(document, title, most) if size > most else size


def digest(document: Path) -> str:
    with document.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text_is_faxed(letter: Letter, body: str) -> bool:
    return bool(letter.text) and (body == "page" or (body == "cover" and not letter.parts))


def _head(letter: Letter, task: PrepareTask) -> list[tuple[str, str]]:
    address = letter.from_address
    sender = f"{letter.from_name} <{address}>" if letter.from_name and address else ""
    return [
        ("From", sender or letter.from_name or address),
        ("To", task.number),
        ("Date", letter.date),
        ("Subject", letter.subject),
    ]


def _add_part(book: Pdf, part: Part, task: PrepareTask) -> list[str]:
    if part.kind is Kind.PDF:
        _add(book, task, part.title, part.path)
    elif part.kind is Kind.TEXT:
        text = text_of(part.path.read_bytes(), {"charset": part.charset})
        return _add_text(book, task, part.title, [("File", part.name)], text)
    else:
        room = task.max_pages - len(book.pages)
        for picture in pictures(part.path, part.kind, part.title, room):
            add_picture(book, picture, on_paper(picture.width, picture.height, task.paper))
    return []


def _add_text(
    book: Pdf, task: PrepareTask, title: str, head: list[tuple[str, str]], text: str
) -> list[str]:
    """What of it shows as boxes. PermanentError: it cannot be read without that."""
    found = boxes(text + "".join(value for _, value in head))
    if missing := "".join(one for one in found if is_letter(one) and one in text):
        raise PermanentError(
            f"{title} has letters that cannot be shown here ({missing[:20]}); "
            "please send it as PDF.",
            Cause.CONVERSION,
        )
    _add(book, task, title, text_pages(head, text, task.paper))
    return [f"{title}: no font here has {found[:20]}"] if found else []


def _add(book: Pdf, task: PrepareTask, title: str, source: Path | bytes) -> None:
    room = task.max_pages - len(book.pages)
    if room <= 0:
        raise too_many_pages(title, room)
    add_pdf(book, source, title, room)


def _nothing(letter: Letter) -> str:
    """Why there is no page."""
    if letter.skipped:
        return (
            f"There is nothing to fax: all the mail has is left out ({'; '.join(letter.skipped)})."
        )
    return "There is nothing to fax: the mail has no text and no document. Please attach a PDF."
