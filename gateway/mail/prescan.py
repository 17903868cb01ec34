"""What a door may know of a message without parsing it: searched, bounded, never raising.

The daemon itself calls this, so there is no MIME parser in here: `mime` counts the structure and
stops at its limits, `headers` reads a few fields of the first block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from gateway.mail import headers, mime
from gateway.options import LONGEST_VALUE, without_tail

MOST_HOPS = 50  # Received fields
OUR_MARK = "x-fax-gateway"  # on every mail that we send
_COMMENT = re.compile(r"[;(]")
_MESSAGE_ID = re.compile(r"<[!#-;=?A-~]{1,200}@[!#-;=?A-~]{1,200}>")
OPTION = "x-fax-"  # what the names of a sender's own wishes begin with
SPLIT = (  # what is told of a `partial` one
    "Split mail (message/partial) is not faxed: switch splitting off in the copier or mail program"
)
MOST_OPTIONS = 20
_RECEIPT = "disposition-notification-to"  # RFC 8098 §2.1
_ADDRESS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}"
_ONE_MAILBOX = re.compile(
    rf"""(?:"(?:[^"\\]|\\.)*+"[ \t]*+|[^"<>(),:;@\[\]\\]*+)<({_ADDRESS})>|({_ADDRESS})"""
)


@dataclass(frozen=True, slots=True)
class Scan:
    """Facts of a message; each text is "" when there is nothing to say."""

    auto: str = ""  # why nobody should answer it: a machine or a list wrote it
    loop: str = ""  # why it has been here before
    partial: bool = False  # it is one piece of a split mail
    complex: str = ""  # why no reader should be tried with it
    subject: str = ""  # one clean line, with what may stand at its end for us
    message_id: str = ""  # with its angle brackets
    mdn: str = ""  # the one address that wants to hear what became of it
    options: tuple[tuple[str, str], ...] = ()  # X-Fax-* fields: name in lower case, clean value

    @property
    def title(self) -> str:
        """The Subject as people see it: options are for us, and never printed."""
        return headers.clean(without_tail(self.subject))


def scan(data: mime.Data, spans: mime.Spans = ()) -> Scan:
    """The facts of a whole message, given as bytes or as a memory map."""
    found, too_complex = mime.survey(data, spans)
    message_id = _MESSAGE_ID.search(headers.first(found, "message-id"))
    options, subject = _options(found), headers.first(found, "subject")
    return Scan(
        auto=_auto(found),
        loop=_loop(found),
        partial=headers.kind(headers.first(found, "content-type")) == "message/partial",
        complex=too_complex or _excess(subject, options),
        subject=headers.clean(headers.words(subject), headers.LONGEST_VALUE),
        message_id=message_id[0] if message_id else "",
        mdn=_mdn(found),
        options=options[:MOST_OPTIONS],
    )


def _auto(found: list[tuple[str, str]]) -> str:
    submitted = _COMMENT.split(headers.first(found, "auto-submitted"))[0].strip().lower()
    if submitted not in ("", "no"):
        return headers.clean(f"Auto-Submitted: {submitted}")
    precedence = headers.first(found, "precedence").lower()
    if precedence in ("bulk", "list", "junk"):
        return f"Precedence: {precedence}"
    if headers.first(found, "list-id"):
        return "List-Id"
    kind = headers.kind(headers.first(found, "content-type"))
    return kind if kind == "multipart/report" else ""


def _mdn(found: list[tuple[str, str]]) -> str:
    """Several fields or several addresses are an answer to nobody (RFC 8098 §2.1)."""
    asked = [value for name, value in found if name == _RECEIPT]
    one = _ONE_MAILBOX.fullmatch(asked[0]) if len(asked) == 1 else None
    return one[1] or one[2] if one else ""


def _options(found: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """One more than there may be shows that there are too many: none is passed over in silence."""
    ours = (one for one in found if one[0].startswith(OPTION) and one[0] != OUR_MARK)
    return tuple(
        (name, headers.clean(headers.words(value), LONGEST_VALUE + 1))
        for name, value in islice(ours, MOST_OPTIONS + 1)
    )


def _excess(subject: str, options: Sequence[tuple[str, str]]) -> str:
    """What was cut has lost what its sender asks for."""
    if len(subject) >= headers.LONGEST_VALUE:
        return "its Subject is too long"
    return "it has too many X-Fax fields" if len(options) > MOST_OPTIONS else ""


def _loop(found: list[tuple[str, str]]) -> str:
    names = [name for name, _ in found]
    if OUR_MARK in names:
        return "X-Fax-Gateway"
    hops = names.count("received")
    return f"{hops} Received fields" if hops > MOST_HOPS else ""
