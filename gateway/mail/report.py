"""What a sender asked to hear of (RFC 3461, RFC 8098), and what machines read in a notice. Pure.

A result has one mail: a delivery status notification (RFC 3464), or instead of it the receipt
that the mail asked for (RFC 8098), or both when both were asked for expressly.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import StrEnum
from typing import Literal, TypeAlias

from gateway.errors import STATUS, Cause
from gateway.mail.compose import ADDRESS, Report, field_of
from gateway.mail.headers import clean
from gateway.model import Fax, State
from gateway.wishes import wishes_of

Kind: TypeAlias = Literal["delivery-status", "disposition-notification"]

MAYBE_SENT = frozenset({State.PREPARED, State.SUBMITTED})  # an upload may have begun
_VERBATIM = 510  # characters; longer is no ORCPT and no ENVID
_AUTOMATIC = "automatic-action/MDN-sent-automatically"


class Event(StrEnum):
    """In the words of NOTIFY (RFC 3461 §4.1)."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


_HEARD = {  # of `Wishes.notify`; a fax on hold is trouble
    "ok": frozenset({Event.SUCCESS}),
    "fail": frozenset({Event.FAILURE, Event.DELAY}),
    "none": frozenset[Event](),
}
_ACTION = {Event.SUCCESS: "delivered", Event.FAILURE: "failed", Event.DELAY: "delayed"}


def event(fax: Fax) -> Event:
    """A fax of which pages are missing has failed: who asked for failures only must hear of it."""
    match fax.state:
        case State.DELIVERED:
            return Event.FAILURE if in_part(fax) else Event.SUCCESS
        case State.FAILED:
            return Event.FAILURE
    return Event.DELAY


def in_part(fax: Fax) -> bool:
    return 0 < fax.result_pages < fax.pages


def hearers(fax: Fax) -> tuple[str, ...]:
    """Who is told: those named instead of the sender, else the sender."""
    named = (one.strip() for one in wishes_of(fax.wishes).tell.split(","))
    instead = tuple(dict.fromkeys(one for one in named if ADDRESS.fullmatch(one)))
    return instead or ((fax.sender,) if fax.sender else ())


def kinds(fax: Fax) -> tuple[Kind, ...]:
    """The mails that this event has, in order; () = nobody wants to hear of it."""
    wishes, now = wishes_of(fax.wishes), event(fax)
    if not hearers(fax):
        return ()
    receipt = _wants_receipt(fax)
    if wishes.dsn:  # said in the envelope: it goes before all that is said elsewhere
        status = now in wishes.dsn.split(",")
    else:
        status = now in _HEARD.get(wishes.notify, Event) and not receipt
    both: tuple[tuple[Kind, bool], ...] = (
        ("delivery-status", status),
        ("disposition-notification", receipt),
    )
    return tuple(kind for kind, wanted in both if wanted)


def _wants_receipt(fax: Fax) -> bool:
    """Of an end only, and to nobody but the sender (RFC 8098 §2.1)."""
    wishes = wishes_of(fax.wishes)
    nothing = wishes.dsn == "NEVER" or (not wishes.dsn and wishes.notify == "none")
    to_sender = bool(wishes.mdn and fax.sender) and hearers(fax) == (fax.sender,)
    return to_sender and not nothing and event(fax) is not Event.DELAY


def silence(fax: Fax) -> str:
    """Why nobody is told, where `kinds` has none."""
    wishes = wishes_of(fax.wishes)
    if not hearers(fax):
        return "nobody is told: the mail had no sender"
    said = f"NOTIFY={wishes.dsn}" if wishes.dsn else f"notify={wishes.notify}"
    return f"nobody is told, as the sender wished: {said}"


def delivery(faxes: Sequence[Fax], domain: str) -> Report:
    """RFC 3464, of faxes from one mail. Of it only subject and ids come back (R10).

    RET=FULL is a wish that a gateway need not grant (RFC 3461 §5.2.4 e, §6.2).
    """
    mail = faxes[0]
    fields = (
        _verbatim("Original-Envelope-Id", wishes_of(mail.wishes).envid),
        field_of("Reporting-MTA", domain, "dns" if "." in domain else "x-local-hostname"),
        field_of("Arrival-Date", _date(mail.created_at)),
        *(field for fax in faxes for field in _outcome(fax)),
    )
    return Report("delivery-status", "".join(fields), _original(mail, domain))


def from_one_mail(faxes: Sequence[Fax]) -> bool:
    """Can they be told in one report?"""
    mails = {(fax.message_id, fax.created_at, wishes_of(fax.wishes).envid) for fax in faxes}
    return len(mails) == 1


def _outcome(fax: Fax) -> tuple[str, ...]:
    return (
        "\r\n",
        *_recipient(fax),
        field_of("Action", _ACTION[event(fax)]),
        field_of("Status", status(fax)),
        field_of("Diagnostic-Code", _diagnosis(fax), "x-fax"),
        field_of("Last-Attempt-Date", _date(fax.since) if fax.calls else ""),
        field_of("Final-Log-ID", fax.id),
    )


def disposition(fax: Fax, domain: str) -> Report:
    """RFC 8098: faxed is "dispatched" (§3.2.6.2), and what failed was "processed" with an error."""
    done = "dispatched" if fax.state is State.DELIVERED else "processed"
    trouble = "" if event(fax) is Event.SUCCESS else "/error"
    fields = (
        field_of("Reporting-UA", f"{domain}; fax-gateway"),
        *_recipient(fax),
        _verbatim("Original-Message-ID", fax.message_id),
        field_of("Disposition", f"{done}{trouble}", _AUTOMATIC),
        field_of("Error", _diagnosis(fax)),
    )
    return Report("disposition-notification", "".join(fields), _original(fax, domain))


def status(fax: Fax) -> str:
    """The enhanced status code (RFC 3463)."""
    match event(fax), fax.state:
        case (Event.SUCCESS, _):
            return "2.0.0"
        case (Event.FAILURE, State.DELIVERED):
            return STATUS[Cause.LINE]
        case (Event.FAILURE, _):
            return STATUS[Cause(fax.cause) if fax.cause else Cause.INTERNAL]
    return STATUS[Cause.UNKNOWN] if fax.state in MAYBE_SENT else "4.3.0"


def _diagnosis(fax: Fax) -> str:
    """In words. Why a fax is held is for the administrator."""
    match event(fax), fax.state:
        case (Event.SUCCESS, _):
            return ""
        case (Event.FAILURE, State.DELIVERED):
            return f"only {fax.result_pages} of {fax.pages} pages arrived"
        case (Event.FAILURE, _):
            return f"{fax.cause or Cause.INTERNAL}: {fax.reason}"
    if fax.state in MAYBE_SENT:
        return "on hold; it is not known whether it was sent: it may have been sent"
    return "on hold; it has not been sent"


def _recipient(fax: Fax) -> tuple[str, str]:
    """With its whole number: the sender knows it. No number was found: the address as written."""
    kind, final = "fax", clean(fax.number, 40)
    if not final and ADDRESS.fullmatch(fax.recipient):
        kind, final = "rfc822", fax.recipient
    return (
        _verbatim("Original-Recipient", wishes_of(fax.wishes).orcpt.replace(";", "; ", 1)),
        field_of("Final-Recipient", final or "unknown", kind),
    )


def _original(fax: Fax, domain: str) -> str:
    """What we know of it: two of its fields, and the one that we would have put on top."""
    received = f"by {domain} id {fax.id}; {_date(fax.created_at)}"
    return "".join(
        (
            field_of("Received", received),
            _verbatim("Message-ID", fax.message_id),
            field_of("Subject", fax.subject),
        )
    )


def _verbatim(name: str, text: str) -> str:
    """Not folded, not encoded: programs compare it with what they wrote."""
    as_it_is = text.isascii() and text.isprintable() and 0 < len(text) <= _VERBATIM
    return f"{name}: {text}\r\n" if as_it_is else ""


def _date(at: float) -> str:
    return format_datetime(datetime.fromtimestamp(at, UTC)) if at else ""
