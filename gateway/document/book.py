"""The book: the one PDF that is faxed, made of PDFs and pictures, the same bytes for the same."""

from __future__ import annotations

from pathlib import Path

from pikepdf import Dictionary, Name, ObjectStreamMode, Page, Pdf, Stream

from gateway.document.image import Picture
from gateway.document.sheet import Sheet

_FILTERS = {"g4": Name.CCITTFaxDecode, "flate": Name.FlateDecode, "jpeg": Name.DCTDecode}


def add_picture(book: Pdf, picture: Picture, sheet: Sheet) -> None:
    """A page with nothing but the picture on it."""
    left, bottom, width, height = sheet.box
    drawing = f"q {width:.3f} 0 0 {height:.3f} {left:.3f} {bottom:.3f} cm /P Do Q\n"
    page = Dictionary(
        Type=Name.Page,
        MediaBox=[0, 0, round(sheet.width, 3), round(sheet.height, 3)],
        Resources=Dictionary(XObject=Dictionary(P=_image(book, picture))),
        Contents=book.make_stream(drawing.encode()),
    )
    book.pages.append(Page(book.make_indirect(page)))


def _image(book: Pdf, picture: Picture) -> Stream:
    image = book.make_stream(
        picture.content,
        Type=Name.XObject,
        Subtype=Name.Image,
        Width=picture.across,
        Height=picture.down,
        ColorSpace=Name.DeviceGray,
        BitsPerComponent=1 if picture.packing == "g4" else 8,
        Filter=_FILTERS[picture.packing],
    )
    if picture.packing == "g4":
        image.DecodeParms = Dictionary(
            K=-1, Columns=picture.across, Rows=picture.down, BlackIs1=picture.black_is_1
        )
    return image


def write(book: Pdf, path: Path) -> int:
    """Its size in bytes. No date, no random id: the same pages are the same file."""
    book.remove_unreferenced_resources()
    book.save(
        path,
        deterministic_id=True,
        compress_streams=True,
        object_stream_mode=ObjectStreamMode.generate,
        fix_metadata_version=False,
    )
    return path.stat().st_size
