"""Many results in one mail, where one mail for each would be a flood (M18). A line for each fax.

What failed comes first. A receipt (RFC 8098) that was asked for is this line too.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from gateway.mail import notice, report, sheet
from gateway.mail.compose import Mail
from gateway.mail.headers import clean
from gateway.mail.sheet import Sheet
from gateway.model import Fax, State
from gateway.wishes import wishes_of

_COLORS = {  # what became of it, in the order of the lines
    "FAILED": notice.RED,
    "delivered in part": notice.AMBER,
    "delivered": notice.GREEN,
}
_ORDER = tuple(_COLORS)
_NOWHERE = "not to a number"  # short as those are: it makes a column, which is never wrapped
_FAILED = "What FAILED is not tried any more. Beside each number stands what you can do."
_TOGETHER = (
    "You were told of many faxes in this hour, so these results come in one mail. "
    "Those of other faxes follow."
)


def results(faxes: Sequence[Fax], mail_from: str, now: float) -> Mail:
    """The answer to a sender of many faxes that ended. Told again, it is the same mail."""
    mail, one = replace(_mail(faxes, mail_from, now), to=report.hearers(faxes[0])), faxes[0]
    if not report.from_one_mail(faxes):
        return mail
    status = all("delivery-status" in report.kinds(fax) for fax in faxes)
    answers = {"In-Reply-To": one.message_id, "References": one.message_id}
    return replace(
        mail,
        subject=f"{mail.subject}: {one.subject}" if one.subject else mail.subject,
        report=report.delivery(_in_order(faxes), notice.domain_of(mail_from)) if status else None,
        headers={**mail.headers, **answers},
    )


def alarm(faxes: Sequence[Fax], mail_from: str, admin: str, now: float, why: str) -> Mail:
    """To the administrator: nobody can be told of these. Their subjects are not theirs."""
    who = f"Sender: {clean(faxes[0].sender)}. Whole time line of a fax: fax-gateway show ID"
    nameless = [replace(fax, subject="") for fax in faxes]
    mail = _mail(nameless, mail_from, now, notice.sentence(why), who)
    return replace(mail, to=(admin,), subject=f"Fax gateway: nobody heard of {mail.subject}")


def _mail(faxes: Sequence[Fax], mail_from: str, now: float, *say: str) -> Mail:
    title, in_order, named = _title(faxes), _in_order(faxes), not report.from_one_mail(faxes)
    left_out = [clean(one) for fax in faxes for one in fax.skipped.splitlines() if one]
    shown = Sheet(
        title,
        _COLORS[_outcome(in_order[0])],
        [*(say or _say(title, faxes))],
        [_line(fax, named=named) for fax in in_order],
        list(dict.fromkeys(left_out)),
    )
    mark = hashlib.sha256(" ".join(sorted(fax.id for fax in faxes)).encode()).hexdigest()[:24]
    return Mail(
        sender=mail_from, to=(), subject=title, text=sheet.text(shown), html=sheet.html(shown),
        message_id=f"<{mark}.{'alarm' if say else 'summary'}@{notice.domain_of(mail_from)}>",
        date=now,
        headers={"Auto-Submitted": "auto-replied", "X-Fax-Gateway": "summary"},
    )  # fmt: skip


def _in_order(faxes: Sequence[Fax]) -> list[Fax]:
    return sorted(faxes, key=lambda fax: (_ORDER.index(_outcome(fax)), fax.created_at, fax.id))


def _title(faxes: Sequence[Fax]) -> str:
    """`48 faxes: 3 FAILED, 45 delivered`."""
    counts = Counter(map(_outcome, faxes))
    if len(counts) == 1:
        return f"{len(faxes)} faxes {_outcome(faxes[0])}"
    return f"{len(faxes)} faxes: " + ", ".join(f"{counts[o]} {o}" for o in _ORDER if counts[o])


def _say(title: str, faxes: Sequence[Fax]) -> list[str]:
    failed = any(fax.state is State.FAILED for fax in faxes)
    return [f"{title}.", *([_FAILED] if failed else []), _TOGETHER]


def _outcome(fax: Fax) -> str:
    if fax.state is not State.DELIVERED:
        return "FAILED"
    return "delivered in part" if report.in_part(fax) else "delivered"


def _line(fax: Fax, *, named: bool) -> tuple[str, str]:
    """`+1 415 555 0100`, `FAILED. The line was busy. Please send it again later. (fax …)`."""
    said = [f"{_outcome(fax)}."]
    if fax.state is not State.DELIVERED:
        said += notice.why(fax) if fax.number else [notice.sentence(fax.reason)]
    elif report.in_part(fax):
        said += [f"{fax.result_pages} of {notice.in_pages(fax.pages)} arrived.", notice.MISSING]
    else:
        said = [f"delivered, {notice.in_pages(fax.result_pages or fax.pages)}."]
    ref, subject = clean(wishes_of(fax.wishes).ref), clean(fax.subject) if named else ""
    known = (
        f"to {clean(fax.recipient)}" if fax.recipient and not fax.number else "",
        f'your subject "{subject}"' if subject else "",
        f"your reference {ref}" if ref else "",
        f"ended {notice.when(fax.since)}",
        f"fax id {fax.id}",
    )
    said.append(f"({', '.join(filter(None, known))})")
    return notice.nicely(fax.number) or _NOWHERE, " ".join(said)
