"""Small mails for the tests of what becomes of a letter."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.mail.letter import Letter, read_letter
from tests.document.files import CRLF, part, text

PDF = b"%PDF-1.7\nthe pages\n%%EOF\n"
TIFF = b"II*\0\x08\0\0\0" + bytes(40)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xc0\0\x11\x08\x08\x00\x08\x00" + bytes(
    20
)
ZIP = b"PK\x03\x04\x14\0\6\0" + bytes(30)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40)


def png(across: int = 1200, down: int = 800) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + struct.pack(">II", across, down) + bytes(20)


def gif(across: int, down: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", across, down) + bytes(20)


PNG = png()


def read(work: Path, content: bytes) -> Letter:
    message = work / "message.eml"
    message.write_bytes(content)
    return read_letter(message, work)


class Found(NamedTuple):
    """What a letter came to, in short."""

    documents: list[tuple[str, str]]
    text: str = ""
    skipped: Sequence[str] = ()


def found(letter: Letter) -> Found:
    documents = [(one.name, str(one.kind)) for one in letter.parts]
    return Found(documents, letter.text, list(letter.skipped))


def raw(head: str, body: bytes) -> bytes:
    """A part whose header lines are written out."""
    return head.replace("\n", "\r\n").encode() + CRLF * 2 + body


def b64(content: bytes) -> bytes:
    return base64.encodebytes(content).replace(b"\n", CRLF)


def html(words: str, head: str = "") -> bytes:
    return text(words, "html", head)


TWO = part(PDF, name="1.pdf"), part(TIFF, "image/tiff", "2.tif")
