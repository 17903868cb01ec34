"""Many results in one mail: every fax with its end and what to do, and one report for machines."""

from __future__ import annotations

import email
import re
import tempfile
from collections.abc import Sequence
from email import policy
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Cause
from gateway.mail import notice, summary
from gateway.mail.compose import Mail, write
from gateway.model import Fax, State
from gateway.wishes import Wishes
from tests.mail.test_report import FIELDS, TEXT, WISHES
from tests.make import SENDER, outbound

FROM = "Fax Gateway <fax@fax.example>"
ADMIN = "admin@example.com"
NOW = 1_770_000_100.0


def ended(last: int, state: State = State.DELIVERED, **facts: Any) -> Fax:
    common: dict[str, Any] = {
        "id": f"fax{last}", "number": f"+1415555{last:04}", "pages": 3, "calls": 1,
        "result_pages": 3 if state is State.DELIVERED else 0,
    }  # fmt: skip
    return outbound(state, **(common | facts))


def failed(last: int, cause: Cause, reason: str = "x", **facts: Any) -> Fax:
    return ended(last, State.FAILED, cause=str(cause), reason=reason, **facts)


MIXED = [
    ended(1), failed(2, Cause.BUSY), ended(3, result_pages=1), ended(4, pages=1, result_pages=0),
    failed(5, Cause.DOCUMENT, "contract.pdf has a password"),
]  # fmt: skip
MISSING = "Please ask the recipient which pages are missing, and send those again."
LINES = [
    "+1 415 555 0002:  FAILED. The line was busy. Please send it again later, in a new mail.",
    "+1 415 555 0005:  FAILED. contract.pdf has a password. Nothing was faxed.",
    f"+1 415 555 0003:  delivered in part. 1 of 3 pages arrived. {MISSING}",
    "+1 415 555 0001:  delivered, 3 pages.",
    "+1 415 555 0004:  delivered, 1 page.",
]


def written(mail: Mail) -> Message:
    with tempfile.TemporaryDirectory() as place:
        write(mail, Path(place) / "mail.eml")
        content = (Path(place) / "mail.eml").read_bytes()
    content.decode("ascii")
    assert max(map(len, content.split(b"\r\n"))) <= 998
    return email.message_from_bytes(content, policy=policy.default)


def test_every_fax_its_end_and_what_to_do_the_worst_first() -> None:
    mail = summary.results(MIXED, FROM, NOW)
    assert mail.subject == "5 faxes: 2 FAILED, 1 delivered in part, 2 delivered: Contract"
    assert mail.to == (SENDER,)
    assert [line for line in mail.text.splitlines() if line.startswith("+")] == [
        f"{line} (ended {notice.when(1_770_000_000)}, fax id fax{line[14]})" for line in LINES
    ]
    assert "What FAILED is not tried any more." in mail.text
    assert all(f">{line.partition(':')[0]}</td>" in mail.html for line in LINES)
    assert mail.headers["In-Reply-To"] == "<1@example.com>"
    assert mail.headers["Auto-Submitted"] == "auto-replied"


@pytest.mark.parametrize(
    ("faxes", "title", "color"),
    [
        ([ended(1), ended(2)], "2 faxes delivered", "#1a7f37"),
        ([ended(1), ended(2, result_pages=1)], "2 faxes: 1 delivered in part, 1 del", "#b35900"),
        ([failed(1, Cause.BUSY)] * 2, "2 faxes FAILED", "#c62828"),
        ([ended(1), failed(2, Cause.LINE)], "2 faxes: 1 FAILED, 1 delivered", "#c62828"),
    ],
)
def test_the_subject_and_the_color_tell_at_a_glance(
    faxes: list[Fax], title: str, color: str
) -> None:
    mail = summary.results(faxes, FROM, NOW)
    assert mail.subject.startswith(title)
    assert color in mail.html
    assert ("What FAILED" in mail.text) == ("FAILED" in title)


def test_of_several_mails_each_line_names_its_own() -> None:
    refused = failed(
        9, Cause.NUMBER, "no fax number in its subject", number="", recipient="someone@fax.example",
        subject="Lost", message_id="<3@example.com>",
    )  # fmt: skip
    other = ended(2, subject="Offer", message_id="<2@example.com>", skipped="logo.png: small",
                  wishes=Wishes(ref="4711").text())  # fmt: skip
    mail = summary.results([ended(1), other, refused], FROM, NOW)
    assert mail.subject == "3 faxes: 1 FAILED, 2 delivered"
    assert (
        "\nnot to a number:  FAILED. No fax number in its subject. "
        '(to someone@fax.example, your subject "Lost", ended' in mail.text
    )
    assert '3 pages. (your subject "Offer", your reference 4711, ended' in mail.text
    assert "Not on the fax:\n- logo.png: small" in mail.text
    assert "\n+1 415 555 0002:  delivered" in mail.text
    assert mail.report is None, "a report is about one mail (RFC 3464 §2.1)"
    assert "In-Reply-To" not in mail.headers


@pytest.mark.parametrize("recipient", ["", "someone@fax.example", "x" * 300])
def test_no_name_is_too_long_for_its_column(recipient: str) -> None:
    """It is never wrapped: a long one pushed what is said out of the window."""
    refused = failed(9, Cause.NUMBER, number="", recipient=recipient)
    for mail in (
        summary.results([ended(1), refused], FROM, NOW),
        summary.alarm([ended(1), refused], FROM, ADMIN, NOW, "no"),
    ):
        names = re.findall(r"nowrap\">([^<]*)</td>", mail.html)
        assert names == ["not to a number", "+1 415 555 0001"]


def test_one_report_with_a_group_for_each_number() -> None:
    """RFC 3464 §2.1: of one mail, in one report."""
    asked = Wishes(envid="Q1", dsn="SUCCESS,FAILURE").text()
    faxes = [ended(1, wishes=asked), failed(2, Cause.BUSY, wishes=asked)]
    message = written(summary.results(faxes, FROM, NOW))
    assert message.get_content_type() == "multipart/report"
    (status,) = [one for one in message.walk() if one.get_content_type().endswith("y-status")]
    groups = status.get_payload()
    assert isinstance(groups, list)
    first, *others = [one for one in groups if isinstance(one, Message)]
    assert first["Original-Envelope-Id"] == "Q1"
    told = [(str(one["Final-Recipient"]), one["Action"], one["Status"]) for one in others]
    assert told == [
        ("fax; +14155550002", "failed", "5.4.1"), ("fax; +14155550001", "delivered", "2.0.0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        {"message_id": "<2@example.com>"},
        {"created_at": 1.0},
        {"wishes": Wishes(envid="Q2").text()},
        {"wishes": Wishes(mdn=SENDER).text()},  # asked for a receipt instead
    ],
)
def test_no_report_that_would_mix(other: dict[str, Any]) -> None:
    assert summary.results([ended(1), ended(2)], FROM, NOW).report
    assert summary.results([ended(1), ended(2, **other)], FROM, NOW).report is None


def test_the_same_faxes_are_the_same_mail() -> None:
    one = summary.results(MIXED, FROM, NOW)
    again = summary.results(MIXED[::-1], FROM, NOW)
    assert one == again
    others = [summary.results(MIXED[1:], FROM, NOW), summary.alarm(MIXED, FROM, ADMIN, NOW, "no")]
    assert one.message_id not in [other.message_id for other in others]


def test_the_administrator_hears_what_nobody_else_could_but_no_subject() -> None:
    faxes = [ended(1, subject="Divorce"), failed(2, Cause.BUSY, subject="Merger")]
    mail = summary.alarm(faxes, FROM, ADMIN, NOW, "the sender could not be told: 550 no such user")
    assert mail.to == (ADMIN,)
    assert mail.text.startswith("The sender could not be told: 550 no such user.\n\n")
    for fact in ("ann@example.com", "+1 415 555 0002:  FAILED. The line was busy.", "fax2"):
        assert fact in mail.text
    assert not re.search("Divorce|Merger", mail.subject + mail.text + mail.html)
    assert "In-Reply-To" not in mail.headers


@st.composite
def strange(draw: st.DrawFn) -> Fax:
    """A fax that ended, with whatever strangers wrote."""
    facts = draw(st.fixed_dictionaries(dict.fromkeys(FIELDS, TEXT)))
    asked = draw(st.fixed_dictionaries(dict.fromkeys(WISHES, TEXT)))
    state = draw(st.sampled_from([State.DELIVERED, State.FAILED]))
    pages = draw(st.sampled_from([0, 1, 3]))
    wishes = Wishes(**asked).text()  # type: ignore[arg-type]
    cause = draw(st.sampled_from(["", *Cause]))
    return outbound(state, wishes=wishes, cause=cause, result_pages=pages, pages=2, **facts)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(strange(), min_size=2, max_size=4), st.booleans())
def test_any_text_makes_a_mail(faxes: Sequence[Fax], same: bool) -> None:
    """One fax of a stranger must not keep the results of others from being told."""
    if same:
        faxes = [faxes[0]] * len(faxes)
    for mail in (summary.results(faxes, FROM, NOW), summary.alarm(faxes, FROM, ADMIN, NOW, "x")):
        message = written(mail)
        assert message["To"] == mail.to[0]
        assert "Bcc" not in message
        assert not message.defects
        assert all(fax.id in mail.text and fax.id in mail.html for fax in faxes)
