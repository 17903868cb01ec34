"""The mail that brings a fax, read as its people and their programs read it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from typing import Any

import pytest

from gateway.demo.mailbox import Got
from gateway.inbound.mail import fax_mail
from gateway.spool import Kind
from tests.inbound.road import FROM, Road
from tests.journeys.test_mail_becomes_a_fax import picture
from tests.make import inbound

pytestmark = pytest.mark.anyio


def text_of(got: Got) -> str:
    return got.text().replace("\r\n", "\n")


@pytest.fixture
def denver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/Denver")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("denver")
async def test_as_an_office_worker_reads_it(road: Road) -> None:
    fax = await road.inject(picture("TIFF", 3))
    road.simulator.account.inbound[fax.provider_id].at = 1_769_990_400.0
    fetched = await road.fetch(fax)
    await road.deliver(fetched)
    (got,) = road.mailbox.mails
    mail = message_from_bytes(got.content, policy=policy.default)
    assert mail["Subject"] == "Fax from +1 202 555 1234 (John Smith), 3 pages"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"] == f"<rx.{fetched.id}@fax.local>"
    assert text_of(got) == (
        "A fax has arrived. It is attached as a PDF.\n"
        "\n"
        "From:            +1 202 555 1234\n"
        "Name:            John Smith (as the sending machine says)\n"
        "To:              +1 415 555 0199\n"
        "Pages:           3\n"
        "Received:        2026-02-01 17:00 -0700\n"
        f"Fax id:          {fetched.id}\n"
        f"At the provider: {fetched.provider_id}\n"
    )
    (part,) = mail.iter_attachments()
    content = part.get_content()
    assert (part.get_content_type(), part.get_filename()) == (
        "application/pdf",
        f"fax-{fetched.id}.pdf",
    )
    assert content == road.spool.path(fetched.id, Kind.DOCUMENT).read_bytes()
    assert hashlib.sha256(content).hexdigest() == fetched.digest
    assert got.files[0].pages == 3


async def test_a_fax_without_facts(road: Road) -> None:
    await road.deliver(await road.fetched(from_number="", from_name="", to_number=""))
    (got,) = road.mailbox.mails
    assert got.mail["Subject"] == "Fax from an unknown number, 2 pages"
    assert "From:            an unknown number\n" in text_of(got)
    assert "To:              an unknown line\n" in text_of(got)
    assert "Name:" not in text_of(got)


HOSTILE = [
    "Eve\r\nBcc: x@example.com",
    "Eve\n\nbody",
    "\u202eevil\u2066\u200f",
    "\u2028\u2029\x85\x0b\x1c",
    "../../etc/passwd",
    "x" * 10_240,
    "=?utf-8?q?x=0D=0ABcc:_x=40example.com?=",
    "=?utf-8?b?" + "QmNj" * 200 + "?=",
    '"><script>alert(1)</script>',
    "\ud800",
    "Zoë 株式会社",
]


@pytest.mark.parametrize("field", ["from_name", "from_number", "to_number"])
async def test_what_callers_call_themselves(road: Road, field: str) -> None:
    for text in HOSTILE:
        facts: dict[str, Any] = {field: text}
        fetched = await road.fetched(**facts)
        await road.deliver(fetched)
        harmless(road.mailbox.mails[-1], fetched.id)


def harmless(got: Got, fax: str) -> None:
    """A52: one clean line in the subject, no other header, no other file name."""
    assert set(got.mail.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Fax-Gateway",
        "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert got.recipients == ("office@example.com", "copy@example.com")
    assert [file.name for file in got.files] == [f"fax-{fax}.pdf"]
    subject, body = str(got.mail["Subject"]), text_of(got)
    assert len(subject) < 160
    assert subject.isprintable()
    assert len(re.findall(r"(?m)^(From|To|Pages):", body)) == 3
    assert all(line.isprintable() for line in body.split("\n"))


def test_times_that_the_provider_does_not_tell() -> None:
    mail = fax_mail(inbound(), FROM, ("a@example.com",), None, received_at=0.0, now=1.0)
    assert "Received:" not in mail.text
