"""Bytes are what their own marks say (A25)."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gateway.mail.sniff import Kind, describe, is_text, picture_size, sniff


def picture(kind: str, size: tuple[int, int], **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("L", size).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("head", "kind", "words"),
    [
        (b"", Kind.EMPTY, "empty"),
        (b"%PDF-1.7", Kind.PDF, "a PDF"),
        (b"x" * 1019 + b"%PDF-", Kind.PDF, "a PDF"),
        (b"x" * 1020 + b"%PDF-", Kind.OTHER, "plain text"),
        (b"%pdf-1.7", Kind.OTHER, "plain text"),
        (picture("TIFF", (9, 9)), Kind.TIFF, "a TIFF"),
        (b"MM\0*" + bytes(9), Kind.TIFF, "a TIFF"),
        (picture("PNG", (9, 9)), Kind.PNG, "a PNG picture"),
        (picture("JPEG", (9, 9)), Kind.JPEG, "a JPEG picture"),
        (picture("GIF", (9, 9)), Kind.OTHER, "a GIF picture"),
        (picture("BMP", (9, 9)), Kind.OTHER, "a BMP picture"),
        (picture("WEBP", (9, 9)), Kind.OTHER, "a WebP picture"),
        (b"BM, he said", Kind.OTHER, "plain text"),
        (b"\0\0\0\x18ftypheic", Kind.OTHER, "a HEIC photo"),
        (b"\0\0\0\x18ftypmp42", Kind.OTHER, "a video"),
        (b"MZ\x90\0", Kind.OTHER, "a Windows program"),
        (b"PK\x03\x04" + bytes(9), Kind.OTHER, "a ZIP archive"),
        (b"PK\x03\x04" + bytes(9) + b"xl/workbook.xml", Kind.OTHER, "an Excel file"),
        (b"PK\x03\x04mimetypeapplication/vnd.oasis.opendocument.text", Kind.OTHER,
         "an OpenDocument file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind.OTHER, "an old Office file"),
        (b"\x78\x9f\x3e\x22\1", Kind.OTHER, "an Outlook package (winmail.dat)"),
        (b"%!PS-Adobe", Kind.OTHER, "a PostScript file"),
        (b"{\\rtf1", Kind.OTHER, "an RTF text"),
        (b"\xef\xbb\xbf \n<!DOCTYPE html>", Kind.OTHER, "a web page (HTML)"),
        (b"<?xml version", Kind.OTHER, "an XML file"),
        (b'{"a": 1}', Kind.OTHER, "JSON data"),
        (b"BEGIN:VCARD", Kind.OTHER, "an address card"),
        (b"hello", Kind.OTHER, "plain text"),
        ("grüß".encode("latin-1"), Kind.OTHER, "plain text"),
        (b"\x1b$BF|K\\\x1b(B", Kind.OTHER, "plain text"),
        (b"a\0b", Kind.OTHER, "data of an unknown kind"),
        (bytes(range(1, 32)), Kind.OTHER, "data of an unknown kind"),
    ],
)  # fmt: skip
def test_marks(head: bytes, kind: Kind, words: str) -> None:
    assert (sniff(head), describe(head)) == (kind, words)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(1, 1), (99, 100), (1728, 2200)])
def test_picture_size(kind: str, size: tuple[int, int]) -> None:
    assert picture_size(picture(kind, size)) == size


def test_picture_size_of_a_jpeg_with_much_before_it() -> None:
    content = picture("JPEG", (30, 40), comment=b"\xff\xc0" * 9000, progressive=True)
    assert picture_size(content) == (30, 40)
    assert picture_size(content[:2] + b"\xff\xff\xff" + content[2:]) == (30, 40)  # fill bytes


@given(st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"%PDF"]), st.binary())
def test_any_bytes(mark: bytes, tail: bytes) -> None:
    content = mark + tail
    across, down = picture_size(content)
    assert across >= 0 <= down
    assert describe(content)
    assert isinstance(is_text(content), bool)
    assert (sniff(content) is Kind.EMPTY) == (content == b"")
