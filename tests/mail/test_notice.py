"""Notices: everything a sender wants to know, in plain words, and nothing of the fax itself."""

from __future__ import annotations

import email
import re
from email import policy
from pathlib import Path

import pytest

from gateway.errors import Cause
from gateway.mail import notice
from gateway.mail.compose import header_lines, write
from gateway.model import Fax, State
from gateway.wishes import Wishes
from tests.make import outbound

FROM = "Fax Gateway <fax@fax.local>"
NOW = 1_770_000_100.0


def delivered(state: State = State.DELIVERED, **facts: object) -> Fax:
    common = {"pages": 3, "result_pages": 3, "duration": 61, "calls": 1, "provider_id": "fax_1"}
    return outbound(state, **(common | facts))


def test_delivered() -> None:
    fax = delivered()
    mail = notice.result(fax, FROM, NOW, None)
    assert mail.subject == "Fax to +1 415 555 0100 delivered (3 pages): Contract"
    assert mail.to == ("ann@example.com",)
    for fact in ("+1 415 555 0100", "3 of 3", "1:01 min", fax.id, "fax_1", "Contract"):
        assert fact in mail.text
        assert fact in mail.html
    assert mail.headers["Auto-Submitted"] == "auto-replied"
    assert mail.headers["In-Reply-To"] == "<1@example.com>"
    assert mail.message_id == f"<{fax.id}.delivered@fax.local>"


def test_delivered_in_part() -> None:
    """Already the subject says so: who reads no further must not think that all is well."""
    mail = notice.result(delivered(result_pages=1), FROM, NOW, None)
    assert mail.subject == "Fax to +1 415 555 0100 delivered in part (1 of 3 pages): Contract"
    assert "Only 1 of 3 pages of your fax" in mail.text


@pytest.mark.parametrize(
    ("pages", "confirmed", "shown"),
    [(3, 3, "3 of 3"), (3, 0, "3"), (3, 4, "3, 4 at the provider"), (0, 0, "")],
)
def test_pages(pages: int, confirmed: int, shown: str) -> None:
    mail = notice.result(delivered(pages=pages, result_pages=confirmed), FROM, NOW, None)
    found = re.search(r"^Pages: +(.*)$", mail.text, re.MULTILINE)
    assert (found[1] if found else "") == shown


@pytest.mark.parametrize("cause", Cause)
def test_failed_says_why_and_what_to_do(cause: Cause) -> None:
    fax = outbound(State.FAILED, cause=str(cause), reason="contract.pdf has a password")
    mail = notice.result(fax, FROM, NOW, None)
    assert mail.subject == "Fax to +1 415 555 0100 FAILED: Contract"
    assert mail.text.count("contract.pdf has a password") == 1
    assert "Please " in mail.text or "Nothing was faxed." in mail.text
    assert "#c62828" in mail.html


def test_the_cause_is_plain_and_the_providers_words_are_a_detail() -> None:
    fax = outbound(State.FAILED, cause="busy", reason="USER_BUSY (17)", calls=3)
    text = notice.result(fax, FROM, NOW, None).text
    assert "The line was busy.\n\nPlease send it again later, in a new mail." in text
    assert re.search(r"^Calls: +3\n", text, re.MULTILINE)
    assert re.search(r"^Details: +USER_BUSY \(17\)$", text, re.MULTILINE)


@pytest.mark.parametrize(
    "why",
    [
        "outcome unknown: the provider does not list it. It may have been sent",
        "unknown whether sent, and no list to look in: the provider answered 500",
        "the provider has not finished it in 6 hours (it says 'sending'); it may still be sent",
        "'NoneType' object is not subscriptable",
    ],
)
@pytest.mark.parametrize("state", [State.PREPARED, State.SUBMITTED])
def test_held_after_an_upload_may_have_begun(state: State, why: str) -> None:
    """Whatever held it: its sender must not send it again unasked."""
    fax = outbound(state, held=why)
    mail = notice.held(fax, FROM, NOW, None)
    assert "it is not known whether it was sent" in mail.subject
    assert "It may have been sent.\n\nPlease do not send it again without" in mail.text
    assert mail.message_id == f"<{fax.id}.held@fax.local>"


def test_held_before_anything_was_sent() -> None:
    mail = notice.held(outbound(State.ACCEPTED, held="KeyError('x')"), FROM, NOW, None)
    assert mail.subject == "Fax to +1 415 555 0100 is on hold: Contract"
    assert "It has not been sent." in mail.text
    assert "KeyError" not in mail.text, "an error of ours is for the administrator"


@pytest.mark.parametrize("state", [State.DELIVERED, State.FAILED])
def test_held_after_its_end_is_told_its_end(state: State) -> None:
    fax = delivered(held="the smarthost did not take the answer", state=state)
    told = notice.held(fax, FROM, NOW, None)
    assert told == notice.result(fax, FROM, NOW, None)
    assert told.message_id == f"<{fax.id}.{state}@fax.local>"


def test_the_administrator_hears_whose_fax_it_is_and_why_but_not_its_subject() -> None:
    fax = outbound(State.PREPARED, held="stuck", subject="Divorce papers")
    mail = notice.alarm(fax, FROM, "Admin <admin@example.com>", NOW, "it is held: stuck")
    for fact in ("It is held: stuck.", f"fax-gateway show {fax.id}", "ann@example.com"):
        assert fact in mail.text
    assert "Divorce" not in mail.subject + mail.text + mail.html
    assert mail.headers["Auto-Submitted"] == "auto-generated"
    assert "In-Reply-To" not in mail.headers


def test_nobody_is_promised_an_administrator_who_is_not_there() -> None:
    fax = outbound(State.PREPARED, held="stuck")
    assert "has been told" in notice.held(fax, FROM, NOW, None).text
    assert "Please tell your admin" in notice.held(fax, FROM, NOW, None, admin=False).text


def test_a_mail_in_which_no_number_was_found() -> None:
    """A mailbox takes every mail: only then is it seen that nothing says where to fax it."""
    fax = outbound(
        State.FAILED, number="", recipient="fax@fax.local", cause="number",
        reason="no fax number in its subject; write for instance [fax to=+14155550100]",
    )  # fmt: skip
    mail = notice.result(fax, FROM, NOW, None)
    assert mail.subject == "Your mail was not faxed: Contract"
    say = "Your mail was not faxed: No fax number in its subject; write for instance [fax to="
    assert mail.text.startswith(say)
    assert mail.text.lower().count("no fax number in its subject") == 1
    assert "No fax machine answers" not in mail.text
    assert re.search(r"^To: +fax@fax\.local$", mail.text, re.MULTILINE)
    assert "#c62828" in mail.html


def test_the_senders_own_reference_comes_back() -> None:
    fax = delivered(wishes=Wishes(ref="4711/<b>").text())
    for mail in (notice.result(fax, FROM, NOW, None), notice.held(fax, FROM, NOW, None)):
        assert re.search(r"^Your reference: +4711/<b>$", mail.text, re.MULTILINE)
        assert "4711/&lt;b&gt;" in mail.html
    assert "reference" not in notice.result(delivered(), FROM, NOW, None).text


def test_the_same_trouble_is_the_same_mail() -> None:
    fax = outbound(State.PREPARED, version=7)
    one = notice.alarm(fax, FROM, "admin@example.com", NOW, "no route")
    again = notice.alarm(outbound(id=fax.id, version=9), FROM, "admin@example.com", NOW, "no route")
    other = notice.alarm(fax, FROM, "admin@example.com", NOW, "disk full")
    assert one.message_id == again.message_id != other.message_id
    assert one.to == ("admin@example.com",)


def test_what_strangers_wrote_is_only_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\r\nBcc: x@example.com"
    fax = outbound(State.FAILED, subject=evil, reason=evil, skipped=f"{evil}: logo", cause="line")
    mail = notice.result(fax, FROM, NOW, None)
    assert "<script>" not in mail.html
    names = [name for name, _ in header_lines(mail)]
    assert "Bcc" not in names


def test_the_first_page_is_shown(tmp_path: Path) -> None:
    picture = tmp_path / "first.png"
    picture.write_bytes(b"\x89PNG")
    mail = notice.result(delivered(), FROM, NOW, picture)
    (attachment,) = mail.attachments
    assert f"cid:{attachment.content_id}" in mail.html


@pytest.mark.parametrize(
    ("number", "nice"),
    [("+14155550100", "+1 415 555 0100"), ("+49301234567", "+49301234567"), ("", "")],
)
def test_numbers_are_written_as_people_write_them(number: str, nice: str) -> None:
    assert notice.nicely(number) == nice


@pytest.mark.parametrize(
    "subject",
    [
        "Contract " * 22,
        "Vertrag für Müller 🎉👩‍👩‍👧 " * 9,
        "契約書" * 66,
        "=?utf-8?q?x=0D=0ABcc=3A_evil=40x?=",
        "\u202etxt.exe\0\r\nBcc: x@example.com",
        "",
    ],
)
def test_as_a_strict_mail_program_reads_it(subject: str, tmp_path: Path) -> None:
    """No defect, one of each header, and it threads with the mail that it answers."""
    fax = delivered(subject=subject, skipped="logo.png: a picture of the signature")
    picture = tmp_path / "first.png"
    picture.write_bytes(b"\x89PNG")
    write(notice.result(fax, FROM, NOW, picture), tmp_path / "mail.eml")
    content = (tmp_path / "mail.eml").read_bytes()
    assert max(map(len, content.split(b"\r\n"))) <= 78
    mail = email.message_from_bytes(content, policy=policy.strict)
    headers = {"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type",
               "Auto-Submitted", "X-Fax-Gateway", "In-Reply-To", "References"}  # fmt: skip
    assert sorted(mail.keys()) == sorted(headers)
    assert mail["In-Reply-To"] == mail["References"] == "<1@example.com>"
    assert mail["Auto-Submitted"] == "auto-replied"
    assert not any(mail[name].defects for name in headers)
    assert str(mail["Subject"]).startswith("Fax to +1 415 555 0100 delivered (3 pages)")
    body = mail.get_body(("plain",))
    assert body is not None
    assert "logo.png: a picture" in body.get_content()
