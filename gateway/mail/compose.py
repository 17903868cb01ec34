"""Every mail that we send is built here: headers from sanitised values, bodies in a stream.

Written by hand, not by `email`: Python 3.11.7 turns an encoded CR LF in a subject into two headers
(CVE-2024-6923), and its generator holds an attachment three times in memory. After writing, the
header block is parsed again and compared with what was meant; a difference raises.
"""

from __future__ import annotations

import base64
import io
import os
import re
import secrets
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesHeaderParser, BytesParser
from email.policy import compat32
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from gateway.mail.headers import clean

LINE = 57  # bytes of an attachment on one base64 line of 76 characters (RFC 2045 §6.8)
_BLOCK = LINE * 4096
_WORD = 45  # bytes of UTF-8 in one encoded word: a line of 73 characters (RFC 2047 §2: 76)
_FIRST = 30  # in the first, which stands on the line of the header's name
_FOLD = 66  # characters of plain text on one line of a header: 78 with its name (RFC 5322 §2.1.1)
_PLAIN = re.compile(r"(?!.*=\?)[A-Za-z0-9!#$%&'*+/=?^_`{|}~ .-]{0,60}")  # safe between quotes
_MAILBOX = re.compile(r"(?P<name>[^<>\r\n]*)<(?P<inside>[^<>]+)>|(?P<alone>[^<>]+)")
_IDENTIFIER = re.compile(r"<(?!.*=\?)[!-;=?-~]{1,500}>")  # RFC 5322 §3.6.4, as wide as copiers are
_IDENTIFIERS = frozenset({"In-Reply-To", "References"})  # encoded words would end the threading
_NAME = re.compile(r"(?!Content-)[A-Za-z][A-Za-z0-9-]{1,60}")
_KIND = re.compile(r"[a-z]{1,20}/[a-z0-9.+-]{1,60}")
_OF_BODY = ["Content-Type", "Content-Transfer-Encoding"]
_OF_PART = frozenset({*_OF_BODY, "Content-Disposition", "Content-ID"})
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
    """One mail to be. `html` is an alternative to `text`.

    Of `headers`, those without a value are left out, and what is no message id is left out of
    In-Reply-To and References.
    """

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
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
        _write(mail, file)


def _write(mail: Mail, file: BinaryIO) -> None:
    meant = header_lines(mail)
    file.writelines(f"{name}: {value}\r\n".encode("ascii") for name, value in meant)
    _write_body(mail, file)
    file.seek(0)
    check(file.read(sum(len(name) + len(value) + 4 for name, value in meant) + 500), meant)


def header_lines(mail: Mail) -> list[tuple[str, str]]:
    """The header block, folded and ASCII; Content-* fields come with the body."""
    if not _IDENTIFIER.fullmatch(mail.message_id):
        raise ValueError(f"{mail.message_id!r} is no message id")
    lines = [
        ("From", mailbox(mail.sender)),
        ("To", ",\r\n ".join(mailbox(one) for one in mail.to)),
        ("Subject", encoded(clean(mail.subject, 400))),
        ("Date", format_datetime(datetime.fromtimestamp(mail.date, UTC))),
        ("Message-ID", mail.message_id),
    ]
    for name, value in mail.headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no header of ours")
        of_ids = name in _IDENTIFIERS
        if line := _identifiers(value) if of_ids else encoded(clean(value)):
            lines.append((name, line))
    return [*lines, ("MIME-Version", "1.0")]


def _identifiers(written: str) -> str:
    return "\r\n ".join(one for one in written.split()[:20] if _IDENTIFIER.fullmatch(one))


def check(written: bytes, meant: list[tuple[str, str]]) -> None:
    """Parse the header block as a stranger would; it must hold what was meant, nothing else."""
    parsed = BytesHeaderParser(policy=compat32).parsebytes(written.partition(b"\r\n\r\n")[0])
    found = [(name, str(value).replace("\r\n", "\n")) for name, value in parsed.items()]
    wanted = [(name, value.replace("\r\n", "\n")) for name, value in meant]
    of_body = [name for name, _ in found[len(wanted) :]]
    if found[: len(wanted)] != wanted or of_body != _OF_BODY[: len(of_body)]:
        raise HeaderError(f"meant {[n for n, _ in wanted]}, came out {[n for n, _ in found]}")


def encoded(text: str) -> str:
    """A header's text, folded: as it is when plain ASCII, else in RFC 2047 words."""
    if not text.isascii() or "=?" in text or any(len(word) > _FOLD for word in text.split()):
        return _encoded_words(text)
    return "\r\n ".join(textwrap.wrap(text, _FOLD, break_on_hyphens=False))


def _encoded_words(text: str) -> str:
    words: list[bytes] = []
    piece = b""
    for character in text:
        more = character.encode("utf-8", "replace")
        if len(piece) + len(more) > (_WORD if words else _FIRST):
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
    if _PLAIN.fullmatch(name):
        return f'"{name}" <{address}>'
    return f"{encoded(name)}\r\n <{address}>"


def self_test() -> list[str]:
    """Header-injection vectors against this composer; returns those that got through."""
    vectors = (
        "=?utf-8?q?x=0D=0ABcc=3A_evil=40x?=", "x\r\nBcc: evil@example.com", "x\nBcc: e@example.com",
        "x\rBcc: e@example.com", "x\0y", "x\u2028Bcc: e@example.com", "x\x85Bcc: e@example.com",
        "x\r\n\r\nbody", "ü" * 500, "x" * 5000,
    )  # fmt: skip
    return [vector for vector in vectors if not _survives(vector)]


def _survives(vector: str) -> bool:
    """The whole mail has the headers it should, in each part, and no line is too long."""
    mail = Mail(
        "Fax <fax@example.com>", ("a@example.com",), vector, vector, "<1@example.com>", 0.0, vector,
        headers={"X-Test": vector, "References": vector},
        attachments=(Attachment(vector, vector, b"", vector), Attachment(vector, vector, b"")),
    )  # fmt: skip
    file = io.BytesIO()
    try:
        _write(mail, file)
    except HeaderError:
        return False
    message = BytesParser(policy=compat32).parsebytes(file.getvalue())
    names = ["From", "To", "Subject", "Date", "Message-ID", "X-Test", "MIME-Version"]
    strangers = {name for part in message.walk() for name in part} - {*names, *_OF_PART}
    longest = max(map(len, file.getvalue().split(b"\r\n")))
    return message.keys() == [*names, "Content-Type"] and not strangers and longest <= 998


# Body: mixed( alternative( text, related( html, inline… ) ), attachment… )


def _write_body(mail: Mail, out: BinaryIO) -> None:
    inline = [partial(_write_file, one) for one in mail.attachments if one.content_id]
    listed = [partial(_write_file, one) for one in mail.attachments if not one.content_id]
    body = partial(_write_text, mail.text, "plain")
    if mail.html:
        html = partial(_write_text, mail.html, "html")
        shown = partial(_write_parts, [html, *inline], "related") if inline else html
        body = partial(_write_parts, [body, shown], "alternative")
    if listed:
        body = partial(_write_parts, [body, *listed], "mixed")
    body(out)


def _write_parts(parts: Sequence[Callable[[BinaryIO], None]], kind: str, out: BinaryIO) -> None:
    boundary = secrets.token_hex(16)
    out.write(f'Content-Type: multipart/{kind};\r\n boundary="{boundary}"\r\n\r\n'.encode())
    for part in parts:
        out.write(f"--{boundary}\r\n".encode())
        part(out)
    out.write(f"--{boundary}--\r\n".encode())


def _write_text(text: str, kind: str, out: BinaryIO) -> None:
    out.write(f"Content-Type: text/{kind}; charset=utf-8\r\n".encode())
    out.write(b"Content-Transfer-Encoding: base64\r\n\r\n")
    lines = "\r\n".join(text.splitlines()) + "\r\n"
    _write_base64([lines.encode("utf-8", "replace")], out)


def _write_file(attachment: Attachment, out: BinaryIO) -> None:
    kind = attachment.kind if _KIND.fullmatch(attachment.kind) else "application/octet-stream"
    how = "inline" if attachment.content_id else "attachment"
    head = [f"Content-Type: {kind}", f"Content-Disposition: {how}{_file_name(attachment.name)}"]
    if attachment.content_id:
        head.append(f"Content-ID: <{quote(clean(attachment.content_id, 80), safe='@')}>")
    head.append("Content-Transfer-Encoding: base64")
    out.write(("\r\n".join(head) + "\r\n\r\n").encode("ascii"))
    _write_base64(_blocks(attachment.source), out)


def _file_name(written: str) -> str:
    """The parameter of Content-Disposition, a long one in pieces (RFC 2231 §3)."""
    name = clean(written, 100) or "document"
    if _PLAIN.fullmatch(name):
        return f';\r\n filename="{name}"'
    pieces = [""]
    for character in name:
        more = quote(character, safe="")
        pieces = [*pieces, more] if len(pieces[-1]) > 50 else [*pieces[:-1], pieces[-1] + more]
    if len(pieces) == 1:
        return f";\r\n filename*=utf-8''{pieces[0]}"
    first, *others = pieces
    more = "".join(f";\r\n filename*{i}*={piece}" for i, piece in enumerate(others, 1))
    return f";\r\n filename*0*=utf-8''{first}{more}"


def _blocks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _write_base64(blocks: Iterable[bytes], out: BinaryIO) -> None:
    for block in blocks:
        text = base64.b64encode(block)
        out.writelines(text[at : at + 76] + b"\r\n" for at in range(0, len(text), 76))
