"""What a door may know of a message without parsing it: searched, bounded, never raising.

The daemon itself calls this, so there is no MIME parser in here: `mime` counts the structure and
stops at its limits, `headers` reads a few fields of the first block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.mail import headers, mime

MOST_HOPS = 50  # Received fields
OUR_MARK = "x-fax-gateway"  # on every mail that we send
_COMMENT = re.compile(r"[;(]")
_MESSAGE_ID = re.compile(r"<[!#-;=?A-~]{1,200}@[!#-;=?A-~]{1,200}>")


@dataclass(frozen=True, slots=True)
class Scan:
    """Facts of a message; each text is "" when there is nothing to say."""

    auto: str = ""  # why nobody should answer it: a machine or a list wrote it
    loop: str = ""  # why it has been here before
    complex: str = ""  # why no reader should be tried with it
    has_nul: bool = False
    subject: str = ""  # one clean line
    message_id: str = ""  # with its angle brackets


def scan(data: mime.Data) -> Scan:
    """The facts of a whole message, given as bytes or as a memory map."""
    too_complex = _complexity(data)
    try:
        end, _ = mime.head_end(data)
    except mime.TooComplexError:
        end = mime.HEADER_BYTES
    found = headers.fields(data[:end])
    message_id = _MESSAGE_ID.search(headers.first(found, "message-id"))
    return Scan(
        auto=_auto(found),
        loop=_loop(found),
        complex=too_complex,
        has_nul=data.find(b"\0") >= 0,
        subject=headers.clean(headers.words(headers.first(found, "subject"))),
        message_id=message_id[0] if message_id else "",
    )


def _complexity(data: mime.Data) -> str:
    try:
        for _ in mime.leaves(data):
            pass
    except mime.TooComplexError as error:
        return str(error)
    return ""


def _auto(found: list[tuple[str, str]]) -> str:
    submitted = _COMMENT.split(headers.first(found, "auto-submitted"))[0].strip().lower()
    if submitted not in ("", "no"):
        return headers.clean(f"Auto-Submitted: {submitted}")
    precedence = headers.first(found, "precedence").lower()
    if precedence in ("bulk", "list", "junk"):
        return f"Precedence: {precedence}"
    if headers.first(found, "list-id"):
        return "List-Id"
    kind, _ = headers.parameters(headers.first(found, "content-type"))
    return kind if kind == "multipart/report" else ""


def _loop(found: list[tuple[str, str]]) -> str:
    names = [name for name, _ in found]
    if OUR_MARK in names:
        return "X-Fax-Gateway"
    hops = names.count("received")
    return f"{hops} Received fields" if hops > MOST_HOPS else ""
