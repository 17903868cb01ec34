"""What bytes are, by their own marks: never by a name or a label."""

from __future__ import annotations

from enum import StrEnum

WEB_PAGE = "a web page (HTML)"
PDF_WITHIN = 1024  # Acrobat's rule: junk may stand before the header


class Kind(StrEnum):
    """The four that become pages; "text" by decision of the reader; all else."""

    PDF = "pdf"
    TIFF = "tiff"
    PNG = "png"
    JPEG = "jpeg"
    TEXT = "text"
    OTHER = "other"
    EMPTY = "empty"


FAXABLE = frozenset({Kind.PDF, Kind.TIFF, Kind.PNG, Kind.JPEG})
PICTURES = frozenset({Kind.PNG, Kind.JPEG})
_MARKS: tuple[tuple[bytes, Kind, str], ...] = (
    (b"%PDF-", Kind.PDF, "a PDF"),
    (b"II*\0", Kind.TIFF, "a TIFF"),
    (b"MM\0*", Kind.TIFF, "a TIFF"),
    (b"II+\0", Kind.TIFF, "a TIFF"),
    (b"MM\0+", Kind.TIFF, "a TIFF"),
    (b"\x89PNG\r\n\x1a\n", Kind.PNG, "a PNG picture"),
    (b"\xff\xd8\xff", Kind.JPEG, "a JPEG picture"),
    (b"GIF8", Kind.OTHER, "a GIF picture"),
    (b"BM", Kind.OTHER, "a BMP picture"),
    (b"MZ", Kind.OTHER, "a Windows program"),
    (b"\x7fELF", Kind.OTHER, "a program"),
    (b"#!", Kind.OTHER, "a script"),
    (b"PK\x03\x04", Kind.OTHER, "a ZIP archive"),
    (b"PK\x05\x06", Kind.OTHER, "an empty ZIP archive"),
    (b"Rar!", Kind.OTHER, "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", Kind.OTHER, "a 7-Zip archive"),
    (b"\x1f\x8b", Kind.OTHER, "a gzip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind.OTHER, "an old Office file"),
    (b"{\\rtf", Kind.OTHER, "an RTF text"),
    (b"\x78\x9f\x3e\x22", Kind.OTHER, "an Outlook package (winmail.dat)"),
    (b"%!PS", Kind.OTHER, "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", Kind.OTHER, "a PostScript file"),
    (b"\x1b%-12345X", Kind.OTHER, "a print job"),
    (b"\0\0\0\x0cjP  ", Kind.OTHER, "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", Kind.OTHER, "a JPEG 2000 picture"),
)
_OFFICE = (
    (b"word/", "a Word file"),
    (b"xl/", "an Excel file"),
    (b"ppt/", "a PowerPoint file"),
    (b"application/vnd.oasis.opendocument", "an OpenDocument file"),
)
_TEXTS = (
    (b"<!doctype html", WEB_PAGE),
    (b"<html", WEB_PAGE),
    (b"<?xml", "an XML file"),
    (b"{", "JSON data"),
    (b"begin:vcalendar", "a calendar entry"),
    (b"begin:vcard", "an address card"),
)


def sniff(head: bytes) -> Kind:
    """The kind of what begins with these bytes; give at least 4 KB."""
    return _look(head)[0]


def describe(head: bytes) -> str:
    """The same for people: "a Word file"."""
    return _look(head)[1]


def is_text(head: bytes) -> bool:
    """No NUL and few controls: a person could read it, or a program as source."""
    controls = sum(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in head[:1024])
    return b"\0" not in head and controls <= len(head[:1024]) // 20


def _look(head: bytes) -> tuple[Kind, str]:
    if not head:
        return Kind.EMPTY, "empty"
    for mark, kind, words in _MARKS:
        if head.startswith(mark) and (mark != b"BM" or head[6:10] == bytes(4)):
            return kind, _archive(head) or words
    if b"%PDF-" in head[:PDF_WITHIN]:
        return Kind.PDF, "a PDF"
    return Kind.OTHER, _container(head) or _text(head)


def _archive(head: bytes) -> str:
    if not head.startswith(b"PK\x03\x04"):
        return ""
    return next((words for mark, words in _OFFICE if mark in head), "")


def _container(head: bytes) -> str:
    """RIFF and ISO boxes say what they are four or eight bytes in."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP picture"
    if head[4:8] == b"ftyp":
        return "a HEIC photo" if head[8:12] in (b"heic", b"heix", b"mif1", b"avif") else "a video"
    return ""


def _text(head: bytes) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:200].lower()
    for mark, words in _TEXTS:
        if start.startswith(mark):
            return words
    return "plain text" if is_text(head) else "data of an unknown kind"


def picture_size(content: bytes) -> tuple[int, int]:
    """Pixels across and down of a PNG or JPEG by its header; (0, 0): not found."""
    if content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) >= 24:
        return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    position = 2
    while content[:2] == b"\xff\xd8" and position + 9 < len(content):
        if content[position] != 0xFF:
            return 0, 0
        mark, length = content[position + 1], int.from_bytes(content[position + 2 : position + 4])
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
            down, across = (
                content[position + 5 : position + 7],
                content[position + 7 : position + 9],
            )
            return int.from_bytes(across, "big"), int.from_bytes(down, "big")
        position += 2 + length if mark != 0xFF else 1
    return 0, 0
