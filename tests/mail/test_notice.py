"""Notices: everything a sender wants to know, in plain words, and nothing of the fax itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import Cause
from gateway.mail import notice
from gateway.mail.compose import header_lines
from gateway.model import Fax, State
from tests.make import outbound

FROM = "Fax Gateway <fax@fax.local>"
NOW = 1_770_000_100.0


def delivered(**facts: object) -> Fax:
    common = {"pages": 3, "result_pages": 3, "duration": 61, "calls": 1, "provider_id": "fax_1"}
    return outbound(State.DELIVERED, **(common | facts))


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
    mail = notice.result(delivered(result_pages=1), FROM, NOW, None)
    assert "delivered in part: 1 of 3 pages" in mail.text


@pytest.mark.parametrize("cause", Cause)
def test_failed_says_why_and_what_to_do(cause: Cause) -> None:
    fax = outbound(State.FAILED, cause=str(cause), reason="contract.pdf has a password")
    mail = notice.result(fax, FROM, NOW, None)
    assert mail.subject == "Fax to +1 415 555 0100 FAILED: Contract"
    assert "contract.pdf has a password." in mail.text
    assert "Please " in mail.text or "Nothing was faxed." in mail.text


def test_held_and_unknown() -> None:
    fax = outbound(State.PREPARED, held="outcome unknown: it may have been sent")
    mail = notice.held(fax, FROM, NOW, None)
    assert "it is not known whether it was sent" in mail.subject
    assert "do not send it again" in mail.text
    assert mail.message_id == f"<{fax.id}.held@fax.local>"


def test_nobody_is_promised_an_administrator_who_is_not_there() -> None:
    fax = outbound(State.PREPARED, held="stuck")
    assert "has been told" in notice.held(fax, FROM, NOW, None).text
    assert "Please tell your admin" in notice.held(fax, FROM, NOW, None, admin=False).text


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
