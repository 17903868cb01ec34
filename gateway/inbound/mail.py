"""The mail that brings a received fax: who, to which line, how many pages, when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parseaddr

from gateway.mail.compose import Attachment, Mail
from gateway.mail.headers import clean
from gateway.mail.notice import nicely
from gateway.model import Fax

_NAME = 60  # characters of what a caller calls itself, in a subject


def fax_mail(  # noqa: PLR0913 - all that it tells
    fax: Fax, mail_from: str, to: tuple[str, ...], file: Attachment | None, *,
    received_at: float, now: float,
) -> Mail:  # fmt: skip
    """Its Message-ID is the fax's: a copy is recognisable."""
    name = clean(fax.name, _NAME)
    caller = nicely(fax.number) or "an unknown number"
    pages = f"{fax.pages} page{'s' if fax.pages != 1 else ''}" if fax.pages else "pages unknown"
    named = f"{caller} ({name})" if name else caller
    facts = [
        ("From", caller),
        ("Name", f"{name} (as the sending machine says)" if name else ""),
        ("To", nicely(fax.line) or "an unknown line"),
        ("Pages", str(fax.pages or "unknown")),
        ("Received", _when(received_at)),
        ("Fax id", fax.id),
        ("At the provider", fax.provider_id),
    ]
    subject = f"Fax from {named}, {pages}" + ("" if file else ", cannot be read")
    lines = [f"{label + ':':<17}{value}" for label, value in facts if value]
    text = "\n".join([*_say(fax, file), "", *lines])
    return Mail(
        sender=mail_from, to=to, subject=subject, text=text,
        message_id=f"<rx.{fax.id}@{_domain(mail_from)}>", date=now,
        attachments=(file,) if file else (),
        headers={"Auto-Submitted": "auto-generated", "X-Fax-Gateway": fax.id},
    )  # fmt: skip


def without_pages(mail: Mail, fax: Fax, said: str) -> Mail:
    """The same fax told without its document, which the mail system did not take."""
    text = (
        "A fax has arrived, but your mail system did not take the mail with its pages:\n"
        f"{clean(said, 300)}\n\n"
        "The fax is kept. Please ask your administrator for it, and give the fax id below.\n\n"
        + mail.text.partition("\n\n")[2]
    )
    domain = _domain(mail.sender)
    return replace(
        mail, text=text, attachments=(), message_id=f"<rx.{fax.id}.refused@{domain}>",
        subject=f"{mail.subject}, could not be delivered by mail",
    )  # fmt: skip


def _say(fax: Fax, file: Attachment | None) -> list[str]:
    """What there is to know at once, in one paragraph."""
    if file is None:
        return [
            "A fax has arrived, but its document cannot be read:",
            f"{fax.reason.rstrip('.')}.",
            "It is kept at the fax provider. Please ask your administrator for it.",
        ]
    said = ["A fax has arrived. It is attached as a PDF."]
    if fax.reason:
        said.append(f"Please check its pages: {fax.reason.rstrip('.')}.")
    return said


def _when(at: float) -> str:
    """In the zone of this machine, with its offset."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M %z") if at else ""


def _domain(mail_from: str) -> str:
    return parseaddr(mail_from)[1].rpartition("@")[2]
