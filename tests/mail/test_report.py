"""Reports: who hears of what (RFC 3461 §5.2), and what machines read in it, byte for byte."""

from __future__ import annotations

import email
import tempfile
from email import policy
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.errors import STATUS, Cause
from gateway.mail import notice, report
from gateway.mail.compose import ADDRESS, Mail, write
from gateway.model import Fax, State
from gateway.wishes import Wishes
from tests.make import SENDER, outbound

FROM = "Fax Gateway <fax@fax.example>"
NOW = 1_770_000_100.0
BOTH = ["delivery-status", "disposition-notification"]


def ended(state: State = State.DELIVERED, wishes: Wishes | None = None, **facts: Any) -> Fax:
    common: dict[str, Any] = {"pages": 3, "result_pages": 3, "calls": 1, "since": 1_770_000_060.0}
    if state is State.FAILED:
        common |= {"result_pages": 0, "cause": "busy", "reason": "USER_BUSY (17)"}
    if wishes:
        common["wishes"] = wishes.text()
    return outbound(state, **(common | {"id": "abcdefghjkmn"} | facts))


def written(mail: Mail) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "mail.eml"
        write(mail, path)
        return path.read_bytes()


def news(fax: Fax) -> list[Mail]:
    return notice.news(fax, FROM, NOW, None)


def part(content: bytes, kind: str) -> str:
    """The body of a part as it stands in the mail."""
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
    assert content.count(head.encode()) == 1
    return content.decode("ascii").partition(head)[2].partition("\r\n--")[0]


# what machines read


def test_delivered() -> None:
    asked = Wishes(envid="QQ314159", orcpt="rfc822;+14155550100@fax.example", dsn="SUCCESS")
    (mail,) = news(ended(wishes=asked))
    content = written(mail)
    assert b'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="' in content
    assert part(content, "message/delivery-status") == (
        "Original-Envelope-Id: QQ314159\r\n"
        "Reporting-MTA: dns; fax.example\r\n"
        "Arrival-Date: Mon, 02 Feb 2026 02:40:00 +0000\r\n"
        "\r\n"
        "Original-Recipient: rfc822; +14155550100@fax.example\r\n"
        "Final-Recipient: fax; +14155550100\r\n"
        "Action: delivered\r\n"
        "Status: 2.0.0\r\n"
        "Last-Attempt-Date: Mon, 02 Feb 2026 02:41:00 +0000\r\n"
        "Final-Log-ID: abcdefghjkmn\r\n"
    )
    assert part(content, "text/rfc822-headers") == (
        "Received: by fax.example id abcdefghjkmn; Mon, 02 Feb 2026 02:40:00 +0000\r\n"
        "Message-ID: <1@example.com>\r\n"
        "Subject: Contract\r\n"
    )


def test_failed_and_nothing_asked() -> None:
    (mail,) = news(ended(State.FAILED, sender="ann@example.com"))
    assert part(written(mail), "message/delivery-status") == (
        "Reporting-MTA: dns; fax.example\r\n"
        "Arrival-Date: Mon, 02 Feb 2026 02:40:00 +0000\r\n"
        "\r\n"
        "Final-Recipient: fax; +14155550100\r\n"
        "Action: failed\r\n"
        "Status: 5.4.1\r\n"
        "Diagnostic-Code: x-fax; busy: USER_BUSY (17)\r\n"
        "Last-Attempt-Date: Mon, 02 Feb 2026 02:41:00 +0000\r\n"
        "Final-Log-ID: abcdefghjkmn\r\n"
    )


PREPARED, SUBMITTED = State.PREPARED, State.SUBMITTED


@pytest.mark.parametrize(
    ("state", "facts", "action", "status", "words"),
    [
        (State.DELIVERED, {"result_pages": 0}, "delivered", "2.0.0", ""),
        (State.DELIVERED, {"result_pages": 4}, "delivered", "2.0.0", ""),
        (State.DELIVERED, {"result_pages": 1}, "failed", "5.4.2", "only 1 of 3 pages arrived"),
        (State.FAILED, {"cause": "", "reason": "x"}, "failed", "5.3.0", "internal: x"),
        (State.ACCEPTED, {"held": "KeyError"}, "delayed", "4.3.0", "on hold; it has not been sent"),
        (PREPARED, {"held": "KeyError"}, "delayed", "4.4.2", "may have been sent"),
        (SUBMITTED, {"held": "KeyError"}, "delayed", "4.4.2", "may have been sent"),
        (State.FAILED, {"held": "no smarthost"}, "failed", "5.4.1", "busy"),
        *((State.FAILED, {"cause": str(one)}, "failed", STATUS[one], str(one)) for one in Cause),
    ],
)
def test_action_and_status(
    state: State, facts: dict[str, Any], action: str, status: str, words: str
) -> None:
    (mail,) = news(ended(state, **facts))
    fields = blocks(written(mail))[1]
    assert (fields["Action"], fields["Status"]) == (action, status)
    said = str(fields["Diagnostic-Code"] or "").replace("\r\n", "")
    assert words in said
    assert bool(said) == bool(words)
    assert "KeyError" not in said, "an error of ours is for the administrator"


def blocks(content: bytes) -> list[Message]:
    """The groups of fields in the second part, as the standard library reads them."""
    message = email.message_from_bytes(content)
    (status,) = [one for one in message.walk() if one.get_content_type() in MACHINES]
    return within(status)


def within(message: Message) -> list[Message]:
    parts = message.get_payload()
    assert isinstance(parts, list)
    return [one for one in parts if isinstance(one, Message)]


MACHINES = tuple(f"message/{kind}" for kind in BOTH)


def test_receipt() -> None:
    asked = Wishes(mdn=SENDER, orcpt="rfc822;14155550100@fax.example")
    (mail,) = news(ended(wishes=asked))
    content = written(mail)
    assert b"multipart/report; report-type=disposition-notification;" in content
    assert part(content, "message/disposition-notification") == (
        "Reporting-UA: fax.example; fax-gateway\r\n"
        "Original-Recipient: rfc822; 14155550100@fax.example\r\n"
        "Final-Recipient: fax; +14155550100\r\n"
        "Original-Message-ID: <1@example.com>\r\n"
        "Disposition: automatic-action/MDN-sent-automatically; dispatched\r\n"
    )
    assert mail.message_id == "<abcdefghjkmn.delivered.mdn@fax.example>"
    assert mail.headers["Auto-Submitted"] == "auto-replied"


@pytest.mark.parametrize(
    ("fax", "disposition", "error"),
    [
        (ended(result_pages=1), "dispatched/error", "only 1 of 3 pages arrived"),
        (ended(State.FAILED), "processed/error", "busy: USER_BUSY (17)"),
    ],
)
def test_receipt_of_trouble(fax: Fax, disposition: str, error: str) -> None:
    (fields,) = blocks(written(news(with_wishes(fax, Wishes(mdn=SENDER)))[0]))
    assert fields["Disposition"] == f"automatic-action/MDN-sent-automatically; {disposition}"
    assert fields["Error"] == error


def with_wishes(fax: Fax, wishes: Wishes) -> Fax:
    return ended(
        fax.state, wishes, result_pages=fax.result_pages, sender=fax.sender,
        cause=fax.cause, reason=fax.reason,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("recipient", "final"),
    [
        ("fax@fax.example", "rfc822; fax@fax.example"),
        ("Fax <fax@fax.example>", "fax; unknown"),
        ("", "fax; unknown"),
    ],
)
def test_no_number_was_found(recipient: str, final: str) -> None:
    fax = ended(State.FAILED, number="", recipient=recipient, cause="number", reason="no number")
    assert blocks(written(news(fax)[0]))[1]["Final-Recipient"] == final


@pytest.mark.parametrize(
    ("domain", "reporter"),
    [("fax.example", "dns; fax.example"), ("localhost", "x-local-hostname; localhost")],
)
def test_a_host_without_a_domain_is_no_dns_name(domain: str, reporter: str) -> None:
    """RFC 3461 §6.3 (b)."""
    mail = notice.result(ended(), f"fax@{domain}", NOW, None)
    assert blocks(written(mail))[0]["Reporting-MTA"] == reporter


def test_what_was_never_called_has_no_last_attempt() -> None:
    fields = blocks(written(news(ended(State.FAILED, cause="document", calls=0))[0]))[1]
    assert fields["Last-Attempt-Date"] is None
    assert fields["Status"] == "5.6.0"


@pytest.mark.parametrize("wrong", ["a\r\nBcc: b", "ü", "\u202ex", "x" * 600, "\0"])
def test_what_cannot_come_back_as_it_was_does_not(wrong: str) -> None:
    fax = ended(wishes=Wishes(envid=wrong, orcpt=f"rfc822;{wrong}"), message_id=wrong)
    message, recipient = blocks(written(news(fax)[0]))
    assert message["Original-Envelope-Id"] is None
    assert recipient["Original-Recipient"] is None


# who hears of what

OK, PART, FAIL, HELD = (
    ended(), ended(result_pages=1), ended(State.FAILED), ended(PREPARED, held="stuck"),
)  # fmt: skip


def heard(wishes: Wishes, sender: str = SENDER) -> list[list[str]]:
    """For a success, a part, a failure and a hold: the mails that leave."""
    kinds = []
    for fax in (OK, PART, FAIL, HELD):
        one = ended(fax.state, wishes, result_pages=fax.result_pages, held=fax.held, sender=sender)
        mails = [mail.report.kind for mail in news(one) if mail.report]
        assert mails == list(report.kinds(one))
        assert bool(mails) or report.silence(one).startswith("nobody is told")
        kinds.append(["dsn" if kind == BOTH[0] else "mdn" for kind in mails])
    return kinds


DSN, MDN, NONE, TWO = ["dsn"], ["mdn"], list[str](), ["dsn", "mdn"]


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        (Wishes(), [DSN, DSN, DSN, DSN]),
        (Wishes(notify="all"), [DSN, DSN, DSN, DSN]),
        (Wishes(notify="ok"), [DSN, NONE, NONE, NONE]),
        (Wishes(notify="fail"), [NONE, DSN, DSN, DSN]),
        (Wishes(notify="none"), [NONE, NONE, NONE, NONE]),
        (Wishes(notify="later"), [DSN, DSN, DSN, DSN]),  # a newer gateway's word: rather too much
        (Wishes(dsn="NEVER"), [NONE, NONE, NONE, NONE]),
        (Wishes(dsn="SUCCESS"), [DSN, NONE, NONE, NONE]),
        (Wishes(dsn="FAILURE"), [NONE, DSN, DSN, NONE]),
        (Wishes(dsn="DELAY"), [NONE, NONE, NONE, DSN]),
        (Wishes(dsn="SUCCESS,FAILURE"), [DSN, DSN, DSN, NONE]),
        (Wishes(dsn="SUCCESS,FAILURE,DELAY"), [DSN, DSN, DSN, DSN]),
        (Wishes(dsn="FAILURE", notify="none"), [NONE, DSN, DSN, NONE]),  # the envelope goes first
        (Wishes(dsn="NEVER", notify="all"), [NONE, NONE, NONE, NONE]),
        (Wishes(mdn=SENDER), [MDN, MDN, MDN, DSN]),
        (Wishes(mdn=SENDER, notify="fail"), [MDN, MDN, MDN, DSN]),
        (Wishes(mdn=SENDER, notify="none"), [NONE, NONE, NONE, NONE]),
        (Wishes(mdn=SENDER, dsn="NEVER"), [NONE, NONE, NONE, NONE]),
        (Wishes(mdn=SENDER, dsn="FAILURE"), [MDN, TWO, TWO, NONE]),
        (Wishes(mdn=SENDER, dsn="SUCCESS,FAILURE,DELAY"), [TWO, TWO, TWO, DSN]),
        (Wishes(mdn=SENDER, tell="bob@example.com"), [DSN, DSN, DSN, DSN]),  # a receipt is personal
    ],
    ids=lambda value: value.text() if isinstance(value, Wishes) else "",
)
def test_who_hears_of_what(wishes: Wishes, told: list[list[str]]) -> None:
    assert heard(wishes) == told


def test_nobody_answers_nobody() -> None:
    assert heard(Wishes(mdn=SENDER), sender="") == [NONE] * 4


@pytest.mark.parametrize(
    ("tell", "hearers"),
    [
        ("", (SENDER,)),
        ("bob@example.com", ("bob@example.com",)),
        ("bob@example.com,eve@example.com", ("bob@example.com", "eve@example.com")),
        (" bob@example.com , bob@example.com ", ("bob@example.com",)),
        ("bob, Bob <bob@example.com>,eve@example.com,", ("eve@example.com",)),
        ("bob", (SENDER,)),  # nobody reachable is named: rather the sender than nobody
        (",", (SENDER,)),
    ],
)
def test_hearers(tell: str, hearers: tuple[str, ...]) -> None:
    (mail,) = news(ended(wishes=Wishes(tell=tell)))
    assert mail.to == hearers


def test_two_reports_are_two_mails() -> None:
    one, other = news(ended(wishes=Wishes(dsn="SUCCESS", mdn=SENDER)))
    assert one.message_id != other.message_id
    assert one.to == other.to == (SENDER,)


# whatever strangers write

HOSTILE = [
    "x\r\nBcc: evil@example.com", "x\n\n--b\n", "=?utf-8?q?x=0D=0ABcc=3A_evil=40x?=", "\u202ex",
    "ü" * 500, "x" * 10_000, "x y " * 3000, "=?", "\0", "\ud800", "a;b; c", "(", '"', " ", "\x85y",
    "--", "Content-Type: text/html", "\u2028z", "a: b",
]  # fmt: skip
TEXT = st.sampled_from(HOSTILE) | st.text(max_size=80)
FIELDS = (
    "number", "line", "recipient", "subject", "message_id", "reason", "skipped", "provider_id",
    "held", "name",
)  # fmt: skip
WISHES = ("ref", "envid", "orcpt", "subaddress", "ret", "body")
HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Fax-Gateway",
           "In-Reply-To", "References", "MIME-Version", "Content-Type"]  # fmt: skip
MUST = ["Reporting-MTA", "Arrival-Date", "Final-Recipient", "Action", "Status", "Final-Log-ID"]
MAY = ["Original-Envelope-Id", "Original-Recipient", "Diagnostic-Code", "Last-Attempt-Date"]
MUST_MDN, MAY_MDN = (
    ["Reporting-UA", "Final-Recipient", "Disposition"],
    ["Original-Recipient", "Original-Message-ID", "Error"],
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    st.fixed_dictionaries(dict.fromkeys(FIELDS, TEXT)),
    st.fixed_dictionaries(dict.fromkeys(WISHES, TEXT)),
    st.sampled_from([State.DELIVERED, State.FAILED, State.SUBMITTED, State.ACCEPTED]),
    st.sampled_from(["", *Cause]),
)
@example(dict.fromkeys(FIELDS, HOSTILE[0]), dict.fromkeys(WISHES, HOSTILE[0]), State.FAILED, "")
@example(dict.fromkeys(FIELDS, HOSTILE[2]), dict.fromkeys(WISHES, HOSTILE[2]), State.FAILED, "busy")
@example(dict.fromkeys(FIELDS, "x" * 10_000), dict.fromkeys(WISHES, "x" * 400), State.FAILED, "")
def test_any_text_gives_exactly_these_headers_and_parts(
    facts: dict[str, str], wishes: dict[str, str], state: State, cause: str
) -> None:
    asked = Wishes(**wishes, mdn=SENDER, dsn="SUCCESS,FAILURE,DELAY")  # type: ignore[arg-type]
    fax = ended(state, asked, cause=cause, **facts)
    mails = news(fax)
    assert len(mails) == (2 if state in (State.DELIVERED, State.FAILED) else 1)
    for mail, kind in zip(mails, BOTH, strict=False):
        content = written(mail)
        content.decode("ascii")
        assert max(map(len, content.split(b"\r\n"))) <= 998
        for rules in (policy.compat32, policy.default):
            look(email.message_from_bytes(content, policy=rules), kind)


def look(message: Message, kind: str) -> None:
    names = list(message.keys())
    assert [name for name in HEADERS if name in names] == names, "known ones, each once, in order"
    assert set(HEADERS) - set(names) <= {"In-Reply-To", "References"}
    assert not list(message.defects)
    shown, machine, original = within(message)
    assert [one.get_content_type() for one in (shown, machine, original)] == [
        "multipart/alternative", f"message/{kind}", "text/rfc822-headers",
    ]  # fmt: skip
    assert [one.get_content_type() for one in shown.walk()][1:] == ["text/plain", "text/html"]
    must, may = (MUST, MAY) if kind == BOTH[0] else (MUST_MDN, MAY_MDN)
    groups = within(machine)
    assert len(groups) == (2 if kind == BOTH[0] else 1)
    found = [name for group in groups for name, _ in group.items()]  # reading each
    assert len(set(found)) == len(found)
    assert set(must) <= set(found) <= {*must, *may}
    returned = email.message_from_string(str(original.get_payload()))
    assert set(returned.keys()) <= {"Received", "Message-ID", "Subject"}
    assert len(returned.keys()) == len(set(returned.keys()))
    assert not str(returned.get_payload()).strip()


@pytest.mark.parametrize("state", [State.DELIVERED, State.FAILED, State.SUBMITTED])
def test_as_a_strict_mail_program_reads_it(state: State) -> None:
    asked = Wishes(mdn=SENDER, dsn="SUCCESS,FAILURE,DELAY", orcpt="rfc822;a@b.example", ref="4711")
    for mail in news(ended(state, asked, subject="Vertrag für Müller", reason="Ü" * 99)):
        content = written(mail)
        assert max(map(len, content.split(b"\r\n"))) <= 78
        message = email.message_from_bytes(content, policy=policy.strict)
        assert not any(one.defects for one in message.walk())
        assert ADDRESS.fullmatch(message["To"])
