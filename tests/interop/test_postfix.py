"""Postfix as the office's mail server in front of the gateway: TLS, bounces, bursts, DSN."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.home import ANN, Home, home, mail_to, two
from tests.interop.postfix import Office, postfix
from tests.journeys.house import wait_for

REFUSED = "+18765550100"  # Jamaica


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home(tmp_path_factory.mktemp("house")) as there:
        yield there


@pytest.fixture(scope="module")
def relay(house: Home) -> Iterator[Office]:
    with postfix(house) as there:
        yield there
        wait_for(lambda: there.queue() == "", "every mail to leave")


def to(*numbers: str) -> list[str]:
    return [f"{number}@fax.local" for number in numbers]


def test_a_mail_to_two_numbers(house: Home, relay: Office) -> None:
    numbers = two(10)
    relay.send(ANN, to(*numbers), mail_to(*numbers))
    house.faxed(*numbers)
    assert "Verified TLS connection established to localhost" in relay.log()


def test_one_bad_recipient_among_good_ones(house: Home, relay: Office) -> None:
    numbers = two(11)
    relay.send("bob@example.com", to(*numbers, REFUSED), mail_to(*numbers))
    house.faxed(*numbers)
    bounce = house.sink.first("bob@example.com", "Undelivered")
    said = bounce.as_string()
    assert "550 5.7.1 Destination not permitted" in " ".join(said.split())
    assert f"Final-Recipient: rfc822; {REFUSED}@fax.local" in said
    assert not [n for n in numbers if f"Final-Recipient: rfc822; {n}" in said]


def test_thirty_mails_at_once(house: Home, relay: Office) -> None:
    numbers = [f"+1415578{n:04}" for n in range(1000, 1030)]
    for number in numbers:
        relay.send(ANN, to(number), mail_to(number, subject=number))
    house.faxed(*numbers)


def test_a_report_of_success(house: Home, relay: Office) -> None:
    """Postfix hands NOTIFY on, so it is the gateway that reports: when the fax has arrived."""
    numbers = two(13)
    mail = mail_to(*numbers, subject="Please confirm")
    relay.send("carl@example.com", to(*numbers), mail, "NOTIFY=SUCCESS")
    house.faxed(*numbers)
    report = house.sink.first("carl@example.com", "Please confirm")
    assert report.get_content_type() == "multipart/report"
    assert "Action: delivered" in report.as_string()
    assert "Original-Recipient: rfc822;" in report.as_string()


def test_nobody_is_told_who_wants_no_word(house: Home, relay: Office) -> None:
    numbers = two(14)
    relay.send("dora@example.com", to(*numbers), mail_to(*numbers), "NOTIFY=NEVER")
    house.faxed(*numbers)
    wait_for(lambda: relay.queue() == "", "Postfix to have handed it on")
    assert not [m for m in list(house.sink.mailbox.mails) if "dora@example.com" in m.recipients]
