"""The body of a mail, in a stream: an attachment is never in memory as a whole.

report( mixed( alternative( text, related( html, inline… ) ), attachment… ), fields, original ),
and of these only as many boxes as there are things to put in.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal
from urllib.parse import quote

from gateway.mail.headers import clean

LINE = 57  # bytes of an attachment on one base64 line of 76 characters (RFC 2045 §6.8)
_BLOCK = LINE * 4096
PLAIN = re.compile(r"(?!.*=\?)[A-Za-z0-9!#$%&'*+/=?^_`{|}~ .-]{0,60}")  # safe between quotes
_KIND = re.compile(r"[a-z]{1,20}/[a-z0-9.+-]{1,60}")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a mail. With a `content_id` it is shown inside the HTML, not listed."""

    name: str
    kind: str  # media type
    source: Path | bytes
    content_id: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What machines read in a mail (RFC 6522): header fields, written already, ASCII and CR LF."""

    kind: Literal["delivery-status", "disposition-notification"]
    fields: str
    original: str  # a few headers of the mail that it is about


def write_body(
    out: BinaryIO, text: str, html: str, attachments: Sequence[Attachment], report: Report | None
) -> None:
    """From its Content-Type on."""
    inline = [partial(_write_file, one) for one in attachments if one.content_id]
    listed = [partial(_write_file, one) for one in attachments if not one.content_id]
    body = partial(_write_text, text, "plain")
    if html:
        page = partial(_write_text, html, "html")
        shown = partial(_write_parts, [page, *inline], "related") if inline else page
        body = partial(_write_parts, [body, shown], "alternative")
    if listed:
        body = partial(_write_parts, [body, *listed], "mixed")
    if report:
        fields = partial(_write_fields, f"message/{report.kind}", report.fields)
        original = partial(_write_fields, "text/rfc822-headers", report.original)
        kind = f"report; report-type={report.kind}"
        body = partial(_write_parts, [body, fields, original], kind)
    body(out)


def _write_fields(kind: str, fields: str, out: BinaryIO) -> None:
    """7bit: no encoding is safe in message/* (RFC 3464 §2.1, RFC 6522 §4)."""
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
    out.write(f"{head}{fields}\r\n".encode("ascii"))


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
    if PLAIN.fullmatch(name):
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
