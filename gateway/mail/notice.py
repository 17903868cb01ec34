"""Notices: what the gateway tells people about a fax, in plain words. Never the fax itself.

One mail for each fax and event, with a Message-ID made from both: a repeat is recognisable.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parseaddr
from html import escape
from pathlib import Path

from gateway.errors import Cause
from gateway.mail.compose import Attachment, Mail
from gateway.mail.headers import clean
from gateway.model import Direction, Fax, State

_THUMBNAIL = "first-page"
_ADVICE = {
    Cause.BUSY: "The line was busy. Please send the mail again later.",
    Cause.NO_ANSWER: "Nobody answered. Please check the number, or send the mail again later.",
    Cause.LINE: "Please send the mail again; if it fails again, ask the recipient about the fax.",
    Cause.NUMBER: "Please check the number.",
    Cause.EXPIRED: "Please send the mail again, or ask your administrator.",
    **dict.fromkeys(  # their reasons say themselves what to do
        (Cause.MEDIA, Cause.DOCUMENT, Cause.CONVERSION, Cause.LIMIT), "Nothing was faxed."
    ),
}
_OTHER_ADVICE = "Please ask your administrator, and give the fax number below."


def result(fax: Fax, mail_from: str, now: float, thumbnail: Path | None) -> Mail:
    """The answer to the sender about a fax that ended."""
    ok = fax.state is State.DELIVERED
    number = nicely(fax.number)
    if ok:
        title = f"Fax to {number} delivered"
        subject = f"{title} ({_pages(fax.result_pages or fax.pages)})"
        say = [f"Your fax to {number} was delivered."]
        if 0 < fax.result_pages < fax.pages:
            confirmed = f"{fax.result_pages} of {_pages(fax.pages)}"
            say = [
                f"Your fax to {number} was delivered in part: {confirmed} were confirmed.",
                "Please ask the recipient what is missing.",
            ]
    else:
        title = subject = f"Fax to {number} FAILED"
        say = [f"Your fax to {number} was not delivered.", _sentence(fax.reason), _advice(fax)]
    return _mail(fax, mail_from, now, _with_subject(subject, fax), title, say, thumbnail)


def held(
    fax: Fax, mail_from: str, now: float, thumbnail: Path | None, *, admin: bool = True
) -> Mail:
    """To the sender of a fax that waits for a person."""
    number = nicely(fax.number)
    title = f"Fax to {number} is on hold"
    say = [f"Your fax to {number} is on hold: {_sentence(fax.held)}"]
    if "may have been sent" in fax.held:
        title = f"Fax to {number}: it is not known whether it was sent"
        say.append("Please do not send it again before you or your administrator have checked.")
    say.append(
        "Your administrator has been told."
        if admin
        else "Please tell your administrator, and give the fax id below."
    )
    return _mail(fax, mail_from, now, _with_subject(title, fax), title, say, thumbnail)


def alarm(fax: Fax, mail_from: str, admin: str, now: float, what: str) -> Mail:
    """To the administrator: something about a fax needs a person."""
    title = f"Fax gateway: {fax.direction} fax {fax.id} needs you"
    say = [_sentence(what), f"Its whole time line: fax-gateway show {fax.id}"]
    mail = _mail(fax, mail_from, now, title, title, say)
    mark = hashlib.sha256(what.encode()).hexdigest()[:8]  # the same trouble told again is a copy
    return replace(
        mail,
        to=(admin,),
        message_id=f"<{fax.id}.alarm.{mark}@{_domain(mail_from)}>",
        headers={"Auto-Submitted": "auto-generated", "X-Fax-Gateway": fax.id},
    )


def nicely(number: str) -> str:
    """A North American number in groups as people write it; others as they are."""
    if number.startswith("+1") and len(number) == 12:
        return f"+1 {number[2:5]} {number[5:8]} {number[8:]}"
    return clean(number, 40)


def _mail(  # noqa: PLR0913, PLR0917 - the parts of a notice, each of them once
    fax: Fax,
    mail_from: str,
    now: float,
    subject: str,
    title: str,
    say: list[str],
    thumbnail: Path | None = None,
) -> Mail:
    facts = _facts(fax)
    skipped = [line for line in fax.skipped.splitlines() if line]
    image = _image(fax, thumbnail)
    return Mail(
        sender=mail_from,
        to=(fax.sender,) if fax.sender else (),
        subject=subject,
        text=_text(say, facts, skipped),
        html=_html(title, say, facts, skipped, image),
        message_id=f"<{fax.id}.{'held' if fax.held else fax.state}@{_domain(mail_from)}>",
        date=now,
        attachments=image,
        headers={
            "Auto-Submitted": "auto-replied",
            "X-Fax-Gateway": fax.id,
            "In-Reply-To": fax.message_id,
            "References": fax.message_id,
        },
    )


def _facts(fax: Fax) -> list[tuple[str, str]]:
    inbound = fax.direction is Direction.INBOUND
    confirmed = f"{fax.result_pages} of {fax.pages}" if fax.result_pages else str(fax.pages or "")
    facts = [
        ("From" if inbound else "To", nicely(fax.number)),
        ("Your subject", clean(fax.subject)),
        ("Pages", confirmed),
        (
            "Time on the line",
            f"{fax.duration // 60}:{fax.duration % 60:02} min" if fax.duration else "",
        ),
        ("Calls", str(fax.calls or "")),
        ("Handed in", _when(fax.created_at)),
        ("Ended", _when(fax.since) if fax.state in (State.DELIVERED, State.FAILED) else ""),
        ("Fax", fax.id),
        ("At the provider", clean(fax.provider_id)),
    ]
    return [(name, value) for name, value in facts if value]


def _text(say: list[str], facts: list[tuple[str, str]], skipped: list[str]) -> str:
    blocks = ["\n\n".join(say), "\n".join(f"{name + ':':<18}{value}" for name, value in facts)]
    if skipped:
        blocks.append("Not on the fax:\n" + "\n".join(f"- {clean(line)}" for line in skipped))
    return "\n\n".join(blocks) + "\n"


def _html(
    title: str,
    say: list[str],
    facts: list[tuple[str, str]],
    skipped: list[str],
    image: tuple[Attachment, ...],
) -> str:
    rows = "".join(
        f'<tr><td style="padding:2px 16px 2px 0;color:#666;vertical-align:top">{escape(name)}</td>'
        f'<td style="padding:2px 0">{escape(value)}</td></tr>'
        for name, value in facts
    )
    left_out = "".join(f"<li>{escape(clean(line))}</li>" for line in skipped)
    picture = (
        f'<p><img src="cid:{image[0].content_id}" alt="First page" width="200" '
        'style="border:1px solid #ccc"></p>'
        if image
        else ""
    )
    return (
        '<!doctype html><html><body style="font-family:sans-serif;font-size:15px;color:#222;'
        f'max-width:36em"><h2 style="font-size:19px">{escape(title)}</h2>'
        + "".join(f"<p>{escape(one)}</p>" for one in say)
        + f'<table style="font-size:14px;border-collapse:collapse">{rows}</table>'
        + (f"<p>Not on the fax:</p><ul>{left_out}</ul>" if skipped else "")
        + picture
        + "</body></html>\n"
    )


def _image(fax: Fax, thumbnail: Path | None) -> tuple[Attachment, ...]:
    if thumbnail is None or not thumbnail.exists():
        return ()
    return (Attachment("first-page.png", "image/png", thumbnail, f"{_THUMBNAIL}.{fax.id}"),)


def _with_subject(title: str, fax: Fax) -> str:
    """The sender's own words come back: with ten faxes a day, nobody knows numbers by heart."""
    return f"{title}: {fax.subject}" if fax.subject else title


def _advice(fax: Fax) -> str:
    return _ADVICE.get(Cause(fax.cause), _OTHER_ADVICE) if fax.cause else _OTHER_ADVICE


def _sentence(text: str) -> str:
    said = clean(text, 600)
    first = said.partition(" ")[0]
    if first.isalpha():  # not a file's name or an address
        said = said[:1].upper() + said[1:]
    return said + ("" if said.endswith((".", "!", "?")) else ".")


def _pages(count: int) -> str:
    return f"{count} page" if count == 1 else f"{count} pages"


def _minutes(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02} min"


def _when(at: float) -> str:
    """In the zone of this machine, with its offset."""
    if not at:
        return ""
    local = datetime.fromtimestamp(at, UTC).astimezone()
    return local.strftime("%Y-%m-%d %H:%M:%S %z")


def _domain(mail_from: str) -> str:
    return parseaddr(mail_from)[1].rpartition("@")[2] or "localhost"
