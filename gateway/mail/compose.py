"""Every mail that we send is built here: headers from sanitised values, bodies in a stream.

Written by hand, not by `email`: Python 3.11.7 turns an encoded CR LF in a subject into two headers
(CVE-2024-6923), and its generator holds an attachment three times in memory. After writing, the
header block is parsed again and compared with what was meant; a difference raises.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import format_datetime
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

from gateway.mail.headers import clean

LINE = 57  # bytes of an attachment on one base64 line of 76 characters (RFC 2045 §6.8)
_BLOCK = LINE * 4096
_WORD = 45  # bytes of UTF-8 in one encoded word: 75 characters at most (RFC 2047 §2)
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ .-]*")
_MAILBOX = re.compile(r"(?P<name>[^<>\r\n]*)<(?P<inside>[^<>]+)>|(?P<alone>[^<>]+)")
ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}")


class HeaderError(Exception):
    """A header came out other than it was meant: our bug, and such a mail never leaves."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a mail. With a `content_id` it is shown inside the HTML, not listed."""

    name: str
    kind: str  # media type
    source: Path | bytes
    content_id: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to be. `html` is an alternative to `text`; `headers` are machine-made values."""

    sender: str
    to: tuple[str, ...]
    subject: str
    text: str
    message_id: str
    date: float
    html: str = ""
    attachments: tuple[Attachment, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def write(mail: Mail, path: Path) -> None:
    """Write the mail to a new file, ready for DATA but for the dots. Raises HeaderError."""
    meant = header_lines(mail)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        for name, value in meant:
            out.write(f"{name}: {value}\r\n".encode("ascii"))
        _write_body(mail, out)
    with path.open("rb") as written:
        head = written.read(sum(len(name) + len(value) + 4 for name, value in meant) + 500)
    check(head, meant)


def header_lines(mail: Mail) -> list[tuple[str, str]]:
    """The header block, folded and ASCII; Content-* fields come with the body."""
    lines = [
        ("From", mailbox(mail.sender)),
        ("To", ",\r\n ".join(mailbox(one) for one in mail.to)),
        ("Subject", encoded(clean(mail.subject, 400))),
        ("Date", format_datetime(datetime.fromtimestamp(mail.date, UTC))),
        ("Message-ID", clean(mail.message_id)),
    ]
    lines += [(name, encoded(clean(value, 900))) for name, value in mail.headers.items() if value]
    return [*lines, ("MIME-Version", "1.0")]


def check(written: bytes, meant: list[tuple[str, str]]) -> None:
    """Parse the header block as a stranger would; it must hold what was meant, nothing else."""
    parsed = BytesHeaderParser(policy=compat32).parsebytes(written.partition(b"\r\n\r\n")[0])
    found = [
        (name, str(value).replace("\r\n", "\n"))
        for name, value in parsed.items()
        if not name.startswith("Content-")
    ]
    wanted = [(name, value.replace("\r\n", "\n")) for name, value in meant]
    if found != wanted:
        raise HeaderError(f"meant {[n for n, _ in wanted]}, came out {[n for n, _ in found]}")


def encoded(text: str) -> str:
    """A header's text: as it is when plain ASCII of one short line, else RFC 2047 words."""
    if text.isascii() and len(text) <= 60 and "=?" not in text:
        return text
    words = []
    piece = b""
    for character in text:
        more = character.encode("utf-8", "replace")
        if len(piece) + len(more) > _WORD:
            words.append(piece)
            piece = b""
        piece += more
    words.append(piece)
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in words)


def mailbox(written: str) -> str:
    """`Name <address>` or an address, safe in a header. Raises ValueError on anything else."""
    match = _MAILBOX.fullmatch(written)
    address = (match["inside"] or match["alone"]) if match else ""
    if not match or not ADDRESS.fullmatch(address):
        raise ValueError(f"{written!r} is no mail address")
    name = clean((match["name"] or "").strip().strip('"'))
    if not name:
        return address
    if _ATOM.fullmatch(name) and len(name) <= 60:
        return f'"{name}" <{address}>'
    return f"{encoded(name)} <{address}>"


def self_test() -> list[str]:
    """Header-injection vectors against this composer; returns those that got through."""
    vectors = (
        "=?utf-8?q?x=0D=0ABcc=3A_evil=40x?=", "x\r\nBcc: evil@example.com", "x\nBcc: e@example.com",
        "x\rBcc: e@example.com", "x\0y", "x\u2028Bcc: e@example.com", "x\x85Bcc: e@example.com",
        "x\r\n\r\nbody", "ü" * 500, "x" * 5000,
    )  # fmt: skip
    return [vector for vector in vectors if not _survives(vector)]


def _survives(vector: str) -> bool:
    mail = Mail(
        "Fax <fax@example.com>", ("a@example.com",), vector, "", "<1@example.com>", 0.0,
        headers={"X-Test": vector},
    )  # fmt: skip
    block = "".join(f"{name}: {value}\r\n" for name, value in header_lines(mail)) + "\r\n"
    parsed = BytesHeaderParser(policy=compat32).parsebytes(block.encode("ascii"))
    names = ["From", "To", "Subject", "Date", "Message-ID", "X-Test", "MIME-Version"]
    return parsed.keys() == names and max(map(len, block.split("\r\n"))) <= 998


# Body: mixed( alternative( text, related( html, inline… ) ), attachment… )


def _write_body(mail: Mail, out: BinaryIO) -> None:
    inline = [one for one in mail.attachments if one.content_id]
    listed = [one for one in mail.attachments if not one.content_id]

    def texts() -> None:
        if not mail.html:
            _write_text(mail.text, "plain", out)
            return
        with _multipart("alternative", out) as part:
            part()
            _write_text(mail.text, "plain", out)
            part()
            with _multipart("related", out) as inner:
                inner()
                _write_text(mail.html, "html", out)
                for one in inline:
                    inner()
                    _write_file(one, out)

    if not listed:
        texts()
        return
    with _multipart("mixed", out) as part:
        part()
        texts()
        for one in listed:
            part()
            _write_file(one, out)


class _multipart:  # noqa: N801 - reads as a statement
    """Calling what `with` gives begins the next part."""

    def __init__(self, subtype: str, out: BinaryIO) -> None:
        self._out = out
        self._boundary = secrets.token_hex(16)
        line = f'Content-Type: multipart/{subtype};\r\n boundary="{self._boundary}"\r\n\r\n'
        out.write(line.encode())

    def __enter__(self) -> Self:
        return self

    def __call__(self) -> None:
        self._out.write(f"--{self._boundary}\r\n".encode())

    def __exit__(self, *_: object) -> None:
        self._out.write(f"--{self._boundary}--\r\n".encode())


def _write_text(text: str, subtype: str, out: BinaryIO) -> None:
    out.write(f"Content-Type: text/{subtype}; charset=utf-8\r\n".encode())
    out.write(b"Content-Transfer-Encoding: base64\r\n\r\n")
    lines = "\r\n".join(text.splitlines()) + "\r\n"
    _write_base64([lines.encode("utf-8", "replace")], out)


def _write_file(attachment: Attachment, out: BinaryIO) -> None:
    name = clean(attachment.name, 100) or "document"
    shown = f'filename="{name}"' if _ATOM.fullmatch(name) else f"filename*=utf-8''{quote(name)}"
    how = "inline" if attachment.content_id else "attachment"
    head = f"Content-Type: {clean(attachment.kind, 60)}\r\nContent-Disposition: {how};\r\n {shown}"
    if attachment.content_id:
        head += f"\r\nContent-ID: <{clean(attachment.content_id, 80)}>"
    out.write(f"{head}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode("ascii", "replace"))
    _write_base64(_blocks(attachment.source), out)


def _blocks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _write_base64(blocks: Iterator[bytes] | list[bytes], out: BinaryIO) -> None:
    for block in blocks:
        text = base64.b64encode(block)
        out.writelines(text[at : at + 76] + b"\r\n" for at in range(0, len(text), 76))
