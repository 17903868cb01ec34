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
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesHeaderParser, BytesParser
from email.policy import compat32
from email.utils import format_datetime
from pathlib import Path
from typing import BinaryIO

from gateway.mail.body import PLAIN, Attachment, Report, write_body
from gateway.mail.headers import clean

__all__ = ["ADDRESS", "Attachment", "HeaderError", "Mail", "Report", "is_mailbox", "write"]

_WORD = 45  # bytes of UTF-8 in one encoded word: a line of 73 characters (RFC 2047 §2: 76)
_FIRST = 30  # in the first, which stands on the line of the header's name
_NEXT = "\r\n "  # where a folded line goes on
_LONGEST = 78  # of a line (RFC 5322 §2.1.1)
_FOLD = 66  # characters of plain text on one line of a header: with its name _LONGEST
_MAILBOX = re.compile(r"(?P<name>[^<>\r\n]*)<(?P<inside>[^<>]+)>|(?P<alone>[^<>]+)")
_IDENTIFIER = re.compile(r"<(?!.*=\?)[!-;=?-~]{1,500}>")  # RFC 5322 §3.6.4, as wide as copiers are
_IDENTIFIERS = frozenset({"In-Reply-To", "References"})  # encoded words would end the threading
_NAME = re.compile(r"(?!Content-)[A-Za-z][A-Za-z0-9-]{1,60}")
_OF_BODY = ["Content-Type", "Content-Transfer-Encoding"]
_OF_PART = frozenset({*_OF_BODY, "Content-Disposition", "Content-ID"})
ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}")


class HeaderError(Exception):
    """A header came out other than it was meant: our bug, and such a mail never leaves."""


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
    report: Report | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def write(mail: Mail, path: Path) -> None:
    """Write the mail to a new file, ready for DATA but for the dots. Raises HeaderError."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
        _write(mail, file)


def _write(mail: Mail, file: BinaryIO) -> None:
    meant = header_lines(mail)
    file.writelines(f"{name}: {value}\r\n".encode("ascii") for name, value in meant)
    write_body(file, mail.text, mail.html, mail.attachments, mail.report)
    file.seek(0)
    check(file.read(sum(len(name) + len(value) + 4 for name, value in meant) + 500), meant)


def header_lines(mail: Mail) -> list[tuple[str, str]]:
    """The header block, folded and ASCII; Content-* fields come with the body."""
    if not _IDENTIFIER.fullmatch(mail.message_id):
        raise ValueError(f"{mail.message_id!r} is no message id")
    lines = [
        ("From", mailbox(mail.sender)),
        ("To", f",{_NEXT}".join(mailbox(one) for one in mail.to)),
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
    return _NEXT.join(one for one in written.split()[:20] if _IDENTIFIER.fullmatch(one))


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
    return _NEXT.join(textwrap.wrap(text, _FOLD, break_on_hyphens=False))


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
    return _NEXT.join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in words)


def field_of(name: str, text: str, kind: str = "") -> str:
    """A whole field inside a report, `name: kind; text`, folded; "" when there is no text."""
    text = encoded(clean(text, 400))
    head = f"{name}: {kind};" if kind else f"{name}:"
    fits = len(head) + len(text.partition("\r\n")[0]) < _LONGEST
    return f"{head}{' ' if fits else _NEXT}{text}\r\n" if text else ""


def is_mailbox(address: str) -> bool:
    """An address as it stands in an envelope, in any script (RFC 6531)."""
    plain = "".join(one if one.isascii() else "x" for one in address)
    return address.isprintable() and ADDRESS.fullmatch(plain) is not None


def mailbox(written: str) -> str:
    """`Name <address>` or an address, safe in a header. Raises ValueError on anything else.

    Our headers are ASCII: an address in another script is shown as a group's name (RFC 6857 §3.1).
    """
    name, address = _mailbox(written)
    if not address.isascii():
        return f"{encoded(address)} :;"
    if not name:
        return address
    if PLAIN.fullmatch(name):
        return f'"{name}" <{address}>'
    return f"{encoded(name)}{_NEXT}<{address}>"


def address(written: str) -> str:
    """The address alone. Raises ValueError like `mailbox`: both read the same in it."""
    return _mailbox(written)[1]


def _mailbox(written: str) -> tuple[str, str]:
    match = _MAILBOX.fullmatch(written)
    address = (match["inside"] or match["alone"]) if match else ""
    if not match or not is_mailbox(address):
        raise ValueError(f"{written!r} is no mail address")
    return clean((match["name"] or "").strip().strip('"')), address


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
        report=Report(
            "delivery-status", field_of("X-Test", vector, "x"), field_of("Subject", vector)
        ),
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
    exact = message.keys() == [*names, "Content-Type"] and len(message.get_payload()) == 3
    return exact and not strangers and longest <= 998
