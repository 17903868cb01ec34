"""What becomes of one part of a mail: a page, text, left out with a reason, or a refusal.

Magic bytes decide what a part is. Its label and its name only say what the sender believed, which
is what a refusal talks about. Nothing is faxed in part: one bad document refuses the mail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.errors import Cause, PermanentError
from gateway.mail.mime import MESSAGES, Container
from gateway.mail.sniff import (
    FAXABLE,
    PICTURES,
    WEB_PAGE,
    Kind,
    describe,
    is_text,
    picture_size,
    sniff,
)

LARGEST_TEXT = 2_400_000  # bytes of an attached text: some 600 pages
TINY = 100  # pixels: what is smaller both ways is a logo or a counter
_LABELS = {
    **dict.fromkeys(("application/pdf", "application/x-pdf"), "a PDF"),
    **dict.fromkeys(("image/tiff", "image/tif"), "a TIFF"),
    **dict.fromkeys(("image/jpeg", "image/jpg", "image/pjpeg"), "a JPEG picture"),
    "image/png": "a PNG picture",
}
_ENDINGS = {
    "pdf": "a PDF",
    **dict.fromkeys(("tif", "tiff"), "a TIFF"),
    **dict.fromkeys(("jpg", "jpeg"), "a JPEG picture"),
    "png": "a PNG picture",
}
_OLD_OFFICE = {
    "doc": "a Word file",
    "dot": "a Word file",
    "xls": "an Excel file",
    "ppt": "a PowerPoint file",
    "msg": "an Outlook message",
}
_LEFT_OUT = {
    **dict.fromkeys(("text/vcard", "text/x-vcard", "text/directory"), "an address card"),
    **dict.fromkeys(("text/calendar", "application/ics"), "a calendar entry"),
    "application/pkcs7-signature": "a signature",
    "application/x-pkcs7-signature": "a signature",
    "application/pgp-signature": "a signature",
    "application/pgp-keys": "a key",
    "application/applefile": "a Macintosh file header",
    "message/delivery-status": "a delivery report",
    "message/disposition-notification": "a receipt",
    "text/rfc822-headers": "headers of another mail",
}
_LEFT_OUT_ENDINGS = {"vcf": "an address card", "ics": "a calendar entry", "p7s": "a signature"}
_ENCRYPTED = ("application/pkcs7-mime", "application/x-pkcs7-mime", "application/pgp-encrypted")
_FIELDS_OF_PARTS = re.compile(rb"(?im)^content-(type|transfer-encoding|disposition)[ \t]*:")
_PRINTED = frozenset(  # attached texts that are pages as they are
    {"plain text", "JSON data", "an XML file", "a script", "a calendar entry", "an address card"}
)


class Fate(StrEnum):
    DOCUMENT = "document"  # becomes pages
    BODY = "body"
    HTML = "html"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Raw:
    """One part as found: what its headers say, and where its decoded bytes are."""

    index: int
    name: str
    declared: str
    parameters: dict[str, str]
    is_attachment: bool  # says so, or has a name
    content_id: str
    containers: tuple[Container, ...]
    path: Path
    head: bytes
    size: int

    @property
    def title(self) -> str:
        return self.name or f"An attachment without a name ({self.declared})"

    @property
    def ending(self) -> str:
        return self.name.rpartition(".")[2].lower() if "." in self.name else ""

    def inside(self, kind: str) -> bool:
        return any(container.type == kind for container in self.containers)


def fate(raw: Raw, cited: frozenset[str]) -> tuple[Fate, Kind, str]:
    """What it becomes, its kind, and why when it is left out. PermanentError: refuse the mail.

    `cited` are the content ids that the mail's HTML shows inside its text.
    """
    kind = _kind(raw)
    if _is_reported(raw):
        return Fate.LEFT_OUT, kind, "part of a delivery report"
    _refuse_closed(raw)
    if why := _left_out(raw, kind, cited):
        return Fate.LEFT_OUT, kind, why
    if kind in FAXABLE:
        return Fate.DOCUMENT, kind, ""
    if not raw.is_attachment and _is_text(raw) and is_text(raw.head):
        is_page = raw.declared == "text/html" or describe(raw.head) == WEB_PAGE
        return Fate.HTML if is_page else Fate.BODY, Kind.TEXT, ""
    if raw.declared == "text/plain" and describe(raw.head) in _PRINTED and not _believed(raw):
        if raw.size > LARGEST_TEXT:
            raise PermanentError(f"{raw.title} is too long for a fax.", Cause.LIMIT)
        return Fate.DOCUMENT, Kind.TEXT, ""
    raise PermanentError(_unfit(raw, kind), Cause.MEDIA)


def _kind(raw: Raw) -> Kind:
    kind = sniff(raw.head)
    is_text = raw.declared.startswith("text/") and not raw.is_attachment
    if kind is Kind.PDF and is_text and not raw.head.startswith(b"%PDF-"):
        return Kind.OTHER  # somebody writes about PDF
    return kind


def _believed(raw: Raw) -> str:
    """The faxable kind that the sender thinks this is; "" when none."""
    return _LABELS.get(raw.declared) or _ENDINGS.get(raw.ending, "")


# left out


def _is_reported(raw: Raw) -> bool:
    """What a report (RFC 6522) says by itself is its first part; the others are for machines."""
    return raw.inside("multipart/report") and (
        raw.index > 1 or any(raw.inside(kind) for kind in MESSAGES)
    )


def _left_out(raw: Raw, kind: Kind, cited: frozenset[str]) -> str:
    if kind in FAXABLE - PICTURES:
        return ""
    if _is_picture(raw, kind):
        return _ornament(raw, cited)
    if why := _LEFT_OUT.get(raw.declared) or _LEFT_OUT_ENDINGS.get(raw.ending):
        return why
    inside = raw.containers[-1].type if raw.containers else ""
    if inside == "multipart/alternative" and not (raw.is_attachment or raw.name or _is_text(raw)):
        return "another version of the mail's text"
    is_body = _is_text(raw) and not raw.is_attachment
    return "it is empty" if kind is Kind.EMPTY and not raw.name and not is_body else ""


def _is_text(raw: Raw) -> bool:
    return raw.declared in ("text/plain", "text/html", "text") or raw.declared.startswith(
        "multipart/"  # one without parts is read as the text of the mail
    )


def _is_picture(raw: Raw, kind: Kind) -> bool:
    return kind in PICTURES or (
        raw.declared.startswith("image/") and raw.declared not in ("image/tiff", "image/tif")
    )


def _ornament(raw: Raw, cited: frozenset[str]) -> str:
    if raw.content_id and raw.content_id in cited:
        return "a picture inside the mail's text"
    across, down = _pixels(raw)
    if 0 < across < TINY and 0 < down < TINY:
        return f"a tiny picture ({across} x {down} pixels)"
    return ""


def _pixels(raw: Raw) -> tuple[int, int]:
    if raw.head.startswith(b"GIF8"):
        return (
            int.from_bytes(raw.head[6:8], "little"),
            int.from_bytes(raw.head[8:10], "little"),
        )
    with raw.path.open("rb") as file:
        return picture_size(file.read(1 << 20))


# refused


def _refuse_closed(raw: Raw) -> None:
    """Mails whose content is not in them, or not for us to read."""
    if raw.declared == "message/partial":
        raise PermanentError(
            "This mail is only one piece of a split message. Please switch off splitting "
            "(message/partial) in the sending device and send it again.",
            Cause.MEDIA,
        )
    if raw.inside("multipart/encrypted") or raw.declared in _ENCRYPTED or raw.ending == "p7m":
        signed = raw.parameters.get("smime-type", "").lower() == "signed-data"
        what = "signed in a way that hides its content" if signed else "encrypted"
        raise PermanentError(
            f"The mail is {what}. Please send it as an ordinary mail.", Cause.MEDIA
        )
    if raw.declared.startswith("multipart/") and _FIELDS_OF_PARTS.search(raw.head):
        raise PermanentError(
            "The mail is damaged: nobody can tell where its parts begin. Please send it again.",
            Cause.MEDIA,
        )
    if raw.declared == "message/external-body":
        raise PermanentError(
            f"{raw.title} is only a reference to a file elsewhere; please attach the file itself.",
            Cause.MEDIA,
        )


def _unfit(raw: Raw, kind: Kind) -> str:
    believed = _believed(raw)
    if kind is Kind.EMPTY:
        return f"{raw.title} is empty; please send the file again."
    what = _what(raw)
    if believed:
        return (
            f"{raw.title} is called {believed} but is {what}; "
            "please send the document itself as PDF."
        )
    if what.startswith("an Outlook package"):
        return (
            f"{raw.title} is {what}: it hides the attachments. Please switch Outlook from "
            "Rich Text to HTML or plain text for this mail and send it again."
        )
    return f"{raw.title} is {what}, and cannot be faxed; please send it as PDF."


def _what(raw: Raw) -> str:
    what = describe(raw.head)
    if what == "an old Office file":
        return _OLD_OFFICE.get(raw.ending, what)
    if raw.declared in MESSAGES:
        return "a mail that is packed"
    if what in ("plain text", "data of an unknown kind"):
        known = raw.declared not in _LABELS and raw.declared != "application/octet-stream"
        return f"a file of the type {raw.declared}" if known and raw.name else "of an unknown kind"
    return what
