"""A PDF is opened, judged and brought into the book: the one PDF that will be faxed.

Only pages come over, and of a page only what is seen: no scripts, links, embedded files, metadata.
"""

from __future__ import annotations

import io
from pathlib import Path

import pikepdf
from pikepdf import Array, Dictionary, Name, Object, Pdf

from gateway.document.bomb import weigh
from gateway.document.refusal import damaged, reading, too_large, too_many_pages
from gateway.errors import Cause, PermanentError

LARGEST_BOX = 14_400.0  # points: 200 inches, what Acrobat allows
LETTER = [0, 0, 612, 792]
KEPT = {"/Type", "/Parent", "/Resources", "/MediaBox", "/CropBox", "/Contents", "/Rotate"} | {
    "/UserUnit",
    "/Group",
}


def add_pdf(book: Pdf, source: Path | bytes, title: str, most: int) -> int:
    """Append its pages, at most so many; their number. PermanentError: why not."""
    with reading(title):
        pdf = _open(source, title)
        pages = _count(pdf, title, most)
        _refuse_shells(pdf, title)
        _print_annotations(pdf)
        before = len(book.objects)
        for page in pdf.pages:
            _strip(page.obj, title)
            book.pages.append(page)
        _keep_layers(book, pdf)
        weigh(list(book.objects)[before:], title)
    return pages


def _open(source: Path | bytes, title: str) -> Pdf:
    try:
        pdf = Pdf.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except pikepdf.PasswordError as error:
        raise PermanentError(
            f"{title} is protected with a password; please send it without one.", Cause.DOCUMENT
        ) from error
    except pikepdf.PdfError as error:
        if "unsupported encryption" not in str(error):
            raise
        raise PermanentError(
            f"{title} is encrypted for certain people only; please send it without encryption.",
            Cause.DOCUMENT,
        ) from error
    if pdf.get_warnings() and not _is_whole(source):
        raise damaged(title)  # what a reader saves of half a file is half a fax
    return pdf


def _is_whole(source: Path | bytes) -> bool:
    """Whether it ends as a PDF does: `%%EOF` in the last 2 KiB."""
    if isinstance(source, bytes):
        return b"%%EOF" in source[-2048:]
    with source.open("rb") as file:
        file.seek(max(0, source.stat().st_size - 2048))
        return b"%%EOF" in file.read()


def _count(pdf: Pdf, title: str, most: int) -> int:
    pages = len(pdf.pages)
    if not pages:
        raise PermanentError(f"{title} has no pages; please check the file.", Cause.DOCUMENT)
    if pages > most:
        raise too_many_pages(title, most)
    return pages


def _refuse_shells(pdf: Pdf, title: str) -> None:
    """Files whose pages only say "open me in Adobe Reader"."""
    if "/Collection" in pdf.Root:
        raise PermanentError(
            f"{title} is a PDF portfolio; please send the files in it as ordinary PDFs.",
            Cause.MEDIA,
        )
    if pdf.Root.get("/NeedsRendering", False):
        raise PermanentError(
            f"{title} is a form that only Adobe Reader can show; "
            "please print it to a new PDF and send that.",
            Cause.MEDIA,
        )


def _print_annotations(pdf: Pdf) -> None:
    """Filled-in fields and stamps become part of the page, as a printer would show them."""
    if not any("/Annots" in page.obj for page in pdf.pages):
        return
    form = pdf.Root.get("/AcroForm")
    if isinstance(form, Dictionary) and form.get("/NeedAppearances", False):
        pdf.generate_appearance_streams()
    pdf.flatten_annotations("print")


def _strip(page: Object, title: str) -> None:
    for key in set(page.keys()) - KEPT:
        del page[key]
    _check_box(page, title)


def _check_box(page: Object, title: str) -> None:
    box = pikepdf.Page(page).mediabox if "/MediaBox" in page or "/Parent" in page else None
    try:
        left, bottom, right, top = (float(number) for number in box or LETTER)
    except (TypeError, ValueError):
        raise damaged(title) from None
    unit = float(page.get("/UserUnit", 1))
    width, height = abs(right - left) * unit, abs(top - bottom) * unit
    if not (0 < width <= LARGEST_BOX and 0 < height <= LARGEST_BOX):
        raise too_large(title, f"has a page of {width / 72:,.0f} x {height / 72:,.0f} inches")


def _keep_layers(book: Pdf, pdf: Pdf) -> None:
    """What is switched off in the source stays off: without its catalogue entry it would show."""
    layers = pdf.Root.get("/OCProperties")
    if not isinstance(layers, Dictionary) or not isinstance(layers.get("/OCGs"), Array):
        return
    groups = list(layers.OCGs)
    state = layers.get("/D", Dictionary())
    on = {group.objgen for group in state.get("/ON", [])}
    off = {group.objgen for group in state.get("/OFF", [])}
    if state.get("/BaseState") == Name.OFF:
        off |= {group.objgen for group in groups} - on
    ours = book.Root.get("/OCProperties") or Dictionary(OCGs=[], D=Dictionary(OFF=[]))
    for group in groups:
        copied = book.copy_foreign(group)
        ours.OCGs.append(copied)
        if group.objgen in off:
            ours.D.OFF.append(copied)
    book.Root.OCProperties = ours
