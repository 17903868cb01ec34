"""Content transfer encodings (RFC 2045 §6): a part's body, decoded to a file in slices."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from email.message import Message
from pathlib import Path

from gateway.mail.mime import Data

SLICE = 1 << 20
HEAD = 4096
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_FOREIGN = bytes(set(range(256)) - set(_ALPHABET))
_UU = ("xuuencode", "uuencode", "uue", "xuue")
_DOCUMENTS = (b"JVBERi0", b"SUkqA", b"TU0AK", b"iVBORw0KGgo", b"/9j/")  # PDF, TIFF, PNG, JPEG


def write_decoded(data: Data, start: int, end: int, encoding: str, path: Path) -> bytes:
    """Write the decoded body to `path`; its first 4 KB are returned."""
    name = re.sub(r"[^a-z0-9]", "", encoding.lower())  # `BASE-64` has been seen
    with path.open("wb") as file:
        if name == "base64" or (name != "quotedprintable" and _is_unlabelled(data, start)):
            _from_base64(data, start, end, file.write)
        elif name == "quotedprintable":
            file.write(binascii.a2b_qp(data[start:end]))
        elif name in _UU:
            file.write(_from_uu(data[start:end]))
        else:
            for position in range(start, end, SLICE):
                file.write(data[position : min(end, position + SLICE)])
    with path.open("rb") as file:
        return file.read(HEAD)


def _is_unlabelled(data: Data, start: int) -> bool:
    """A document in base64 that nobody said is base64."""
    return data[start : start + 80].lstrip().startswith(_DOCUMENTS)


def _from_base64(data: Data, start: int, end: int, write: Callable[[bytes], object]) -> None:
    """Foreign bytes are dropped; padding ends a run, and another may follow."""
    rest = b""
    for position in range(start, end, SLICE):
        piece = data[position : min(end, position + SLICE)].translate(None, _FOREIGN)
        *ended, rest = re.split(rb"=+", rest + piece)
        for run in ended:
            write(_run(run))
        whole = len(rest) - len(rest) % 4
        write(binascii.a2b_base64(rest[:whole]))
        rest = rest[whole:]
    write(_run(rest))


def _run(run: bytes) -> bytes:
    usable = run if len(run) % 4 != 1 else run[:-1]
    return binascii.a2b_base64(usable + b"=" * (-len(usable) % 4))


def _from_uu(body: bytes) -> bytes:
    part = Message()
    part["Content-Transfer-Encoding"] = "x-uuencode"
    part.set_payload(body.decode("latin-1"))
    decoded = part.get_payload(decode=True)
    return decoded if isinstance(decoded, bytes) else b""
