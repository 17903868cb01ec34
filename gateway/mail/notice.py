"""Notices: what the gateway tells people about a fax, in plain words. Never the fax itself.

One mail for each fax and event, with a Message-ID made from both: a repeat is recognisable. What
machines read in it is `report`'s; many results in one mail are `summary`'s.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parseaddr
from pathlib import Path

from gateway.errors import Cause
from gateway.mail import report, sheet
from gateway.mail.compose import Attachment, Mail
from gateway.mail.headers import clean
from gateway.mail.sheet import Sheet
from gateway.model import Direction, Fax, State
from gateway.wishes import wishes_of

GREEN, AMBER, RED = "#1a7f37", "#b35900", "#c62828"
_OURS = frozenset({Cause.MEDIA, Cause.DOCUMENT, Cause.CONVERSION, Cause.LIMIT})
MISSING = "Please ask the recipient which pages are missing, and send those again."
_ASK = "Please ask your administrator, and give the fax id."
_WORDS = {  # what happened, and what to do; the provider's own words are a detail
    Cause.BUSY: ("The line was busy.", "Please send it again later, in a new mail."),
    Cause.NO_ANSWER: (
        "Nobody answered.",
        "Please check the number, or send it again later, in a new mail.",
    ),
    Cause.NUMBER: ("No fax machine answers at this number.", "Please check the number."),
    Cause.LINE: (
        "The call failed; some pages may have arrived.",
        "Please send a new mail. If it fails again, ask the recipient about their fax machine.",
    ),
    Cause.EXPIRED: (
        "It could not be sent in time, and is not tried any more.",
        "Please send it again in a new mail, or ask your administrator.",
    ),
    Cause.REJECTED: ("The fax provider refused it.", _ASK),
}


def news(
    fax: Fax, mail_from: str, now: float, thumbnail: Path | None, *, admin: bool = True
) -> list[Mail]:
    """All that is to be told about a fax that ended or is held, as its sender wished."""
    kinds = report.kinds(fax)
    if not kinds:
        return []
    mail = held(fax, mail_from, now, thumbnail, admin=admin)
    mails = {"delivery-status": mail, "disposition-notification": _receipt(fax, mail)}
    return [mails[kind] for kind in kinds]


def result(fax: Fax, mail_from: str, now: float, thumbnail: Path | None) -> Mail:
    """The answer to the sender about a fax that ended."""
    number = nicely(fax.number)
    if not number:  # a mailbox took the mail, and nothing in it says where to
        title = subject = "Your mail was not faxed"
        say, color = [f"{title}: {sentence(fax.reason)}"], RED
    elif fax.state is not State.DELIVERED:
        title = subject = f"Fax to {number} FAILED"
        say, color = [f"Your fax to {number} was not delivered.", *why(fax)], RED
    elif report.in_part(fax):
        confirmed = f"{fax.result_pages} of {in_pages(fax.pages)}"
        title = f"Fax to {number} delivered in part"
        subject = f"{title} ({confirmed})"
        say, color = [f"Only {confirmed} of your fax to {number} arrived."], AMBER
        say.append(MISSING)
    else:
        title = f"Fax to {number} delivered"
        subject = f"{title} ({in_pages(fax.result_pages or fax.pages)})"
        say, color = [f"Your fax to {number} was delivered."], GREEN
    return _answer(fax, mail_from, now, subject, Sheet(title, color, say, _facts(fax)), thumbnail)


def held(
    fax: Fax, mail_from: str, now: float, thumbnail: Path | None, *, admin: bool = True
) -> Mail:
    """To the sender of a fax that waits for a person. Why it does is for the administrator."""
    if fax.state in (State.DELIVERED, State.FAILED):  # it has ended; only telling was difficult
        return result(fax, mail_from, now, thumbnail)
    number = nicely(fax.number)
    title = f"Fax to {number} is on hold"
    say = [f"Your fax to {number} waits for a person to look at it. It has not been sent."]
    if fax.state in report.MAYBE_SENT:
        title = f"Fax to {number}: it is not known whether it was sent"
        say = [
            f"It is not known whether your fax to {number} was sent. It may have been sent.",
            "Please do not send it again without asking the recipient or your administrator.",
        ]
    say.append(
        "Your administrator has been told."
        if admin
        else "Please tell your administrator, and give the fax id below."
    )
    shown = Sheet(title, AMBER, say, _facts(fax))
    return _answer(fax, mail_from, now, title, shown, thumbnail)


def alarm(fax: Fax, mail_from: str, admin: str, now: float, what: str) -> Mail:
    """To the administrator: something about a fax needs a person. Its subject is not theirs."""
    title = f"Fax gateway: {fax.direction} fax {fax.id} needs you"
    say = [sentence(what), f"Its whole time line: fax-gateway show {fax.id}"]
    shown = Sheet(
        title, AMBER, say, [("Sender", clean(fax.sender)), *_facts(replace(fax, subject=""))]
    )
    mail = _mail(fax, mail_from, now, title, shown)
    mark = hashlib.sha256(what.encode()).hexdigest()[:8]  # the same trouble told again is a copy
    return replace(
        mail,
        to=(admin,),
        message_id=f"<{fax.id}.alarm.{mark}@{domain_of(mail_from)}>",
        headers={"Auto-Submitted": "auto-generated", "X-Fax-Gateway": fax.id},
    )


def page(  # noqa: PLR0913, PLR0917 - the parts of a mail, each of them once
    title: str, what: str, mail_from: str, admin: str, now: float, mark: str
) -> Mail:
    """To the administrator: trouble that is no single fax's."""
    shown = Sheet(title, AMBER, [sentence(what)], [("Since", when(now))])
    return Mail(
        sender=mail_from, to=(admin,), subject=f"Fax gateway: {title}", text=sheet.text(shown),
        html=sheet.html(shown), message_id=f"<page.{mark}@{domain_of(mail_from)}>", date=now,
        headers={"Auto-Submitted": "auto-generated", "X-Fax-Gateway": "page"},
    )  # fmt: skip


def _receipt(fax: Fax, mail: Mail) -> Mail:
    """The same told in the form that the mail asked for (RFC 8098)."""
    domain = domain_of(mail.sender)
    return replace(
        mail,
        message_id=f"<{fax.id}.{fax.state}.mdn@{domain}>",
        report=report.disposition(fax, domain),
    )


def nicely(number: str) -> str:
    """A North American number in groups as people write it; others as they are."""
    if number.startswith("+1") and len(number) == 12:
        return f"+1 {number[2:5]} {number[5:8]} {number[8:]}"
    return clean(number, 40)


def _answer(  # noqa: PLR0913, PLR0917 - the parts of an answer, each of them once
    fax: Fax, mail_from: str, now: float, subject: str, shown: Sheet, thumbnail: Path | None
) -> Mail:
    """The sender's own words come back: with ten faxes a day, nobody knows numbers by heart."""
    subject = f"{subject}: {fax.subject}" if fax.subject else subject
    shown = replace(shown, left_out=[clean(one) for one in fax.skipped.splitlines() if one])
    mail = _mail(fax, mail_from, now, subject, replace(shown, picture=_picture(fax, thumbnail)))
    told = report.delivery([fax], domain_of(mail_from))
    return replace(mail, to=report.hearers(fax), report=told)


def _mail(fax: Fax, mail_from: str, now: float, subject: str, shown: Sheet) -> Mail:
    ended = fax.state in (State.DELIVERED, State.FAILED)
    event = "held" if fax.held and not ended else fax.state
    return Mail(
        sender=mail_from,
        to=(),
        subject=subject,
        text=sheet.text(shown),
        html=sheet.html(shown),
        message_id=f"<{fax.id}.{event}@{domain_of(mail_from)}>",
        date=now,
        attachments=(shown.picture,) if shown.picture else (),
        headers={
            "Auto-Submitted": "auto-replied",
            "X-Fax-Gateway": fax.id,
            "In-Reply-To": fax.message_id,
            "References": fax.message_id,
        },
    )


def why(fax: Fax) -> list[str]:
    """What happened to a fax that failed, and what to do."""
    cause = Cause(fax.cause) if fax.cause else Cause.INTERNAL
    if cause in _OURS:  # the reason says itself what to do
        return [sentence(fax.reason), "Nothing was faxed."]
    return list(_WORDS.get(cause, (sentence(fax.reason), _ASK)))


def _facts(fax: Fax) -> list[tuple[str, str]]:
    inbound = fax.direction is Direction.INBOUND
    ended = fax.state in (State.DELIVERED, State.FAILED)
    facts = [
        ("From" if inbound else "To", nicely(fax.number) or clean(fax.recipient)),
        ("Your subject", clean(fax.subject)),
        ("Your reference", clean(wishes_of(fax.wishes).ref)),
        ("Pages", _confirmed(fax)),
        ("Time on the line", _minutes(fax.duration) if fax.duration else ""),
        ("Calls", str(fax.calls or "")),
        ("Announced" if inbound else "Handed in", when(fax.created_at)),
        ("Ended", when(fax.since) if ended else ""),
        ("Details", clean(fax.reason, 300) if fax.cause in _WORDS and fax.number else ""),
        ("Fax id", fax.id),
        ("At the provider", clean(fax.provider_id)),
    ]
    return [(name, value) for name, value in facts if value]


def _confirmed(fax: Fax) -> str:
    if 0 < fax.result_pages <= fax.pages:
        return f"{fax.result_pages} of {fax.pages}"
    more = f", {fax.result_pages} at the provider" if fax.result_pages else ""
    return f"{fax.pages}{more}" if fax.pages else ""


def _picture(fax: Fax, thumbnail: Path | None) -> Attachment | None:
    if thumbnail is None or not thumbnail.exists():
        return None
    return Attachment("first-page.png", "image/png", thumbnail, f"first-page.{fax.id}")


def sentence(text: str) -> str:
    said = clean(text, 600)
    first = said.partition(" ")[0]
    if first.isalpha():  # not a file's name or an address
        said = said[:1].upper() + said[1:]
    return said + ("" if said.endswith((".", "!", "?")) else ".")


def in_pages(count: int) -> str:
    return f"{count} page" if count == 1 else f"{count} pages"


def _minutes(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02} min"


def when(at: float) -> str:
    """In the zone of this machine, with its offset."""
    if not at:
        return ""
    local = datetime.fromtimestamp(at, UTC).astimezone()
    return local.strftime("%Y-%m-%d %H:%M:%S %z")


def domain_of(mail_from: str) -> str:
    return parseaddr(mail_from)[1].rpartition("@")[2] or "localhost"
