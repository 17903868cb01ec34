"""Content transfer encodings (RFC 2045 §6): a part's body, decoded to a file in slices."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.mail.mime import Data

SLICE = 1 << 18
HEAD = 4096
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_FOREIGN = bytes(set(range(256)) - set(_ALPHABET))
_UU = ("xuuencode", "uuencode", "uue", "xuue")
_UU_LETTERS = bytes(byte if 32 <= byte <= 96 else 32 for byte in range(256))
_DOCUMENTS = (b"JVBERi0", b"SUkqA", b"TU0AK", b"iVBORw0KGgo", b"/9j/")  # PDF, TIFF, PNG, JPEG


def write_decoded(data: Data, start: int, end: int, encoding: str, path: Path) -> bytes:
    """Write the decoded body to `path`; its first 4 KB are returned."""
    name = re.sub(r"[^a-z0-9]", "", encoding.lower())  # `BASE-64` has been seen
    with path.open("wb") as file:
        if name.startswith("base64") or (name != "quotedprintable" and _is_unlabelled(data, start)):
            _from_base64(data, start, end, file.write)
        elif name == "quotedprintable":
            file.write(binascii.a2b_qp(data[start:end]))
        elif name in _UU:
            file.writelines(_from_uu(data[start:end].splitlines()))
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
        rest += data[position : min(end, position + SLICE)].translate(None, _FOREIGN)
        if b"=" in rest:
            *ended, rest = re.split(rb"=+", rest)
            for run in ended:
                write(_run(run))
        whole = len(rest) - len(rest) % 4
        write(binascii.a2b_base64(rest[:whole]))
        rest = rest[whole:]
    write(_run(rest))


def _run(run: bytes) -> bytes:
    usable = run if len(run) % 4 != 1 else run[:-1]
    return binascii.a2b_base64(usable + b"=" * (-len(usable) % 4))


def _from_uu(lines: list[bytes]) -> Iterator[bytes]:
    """What stands between `begin` and `end`; the number of bytes leads each line."""
    begin = next((at for at, line in enumerate(lines) if line.startswith(b"begin ")), len(lines))
    for line in lines[begin + 1 :]:
        if line == b"end":
            return
        if line:
            groups = (((line[0] - 32) & 63) + 2) // 3
            yield binascii.a2b_uu(line[:1] + line[1 : 1 + 4 * groups].translate(_UU_LETTERS))
