"""Smarthost and provider are away for a while: everything waits, nothing is lost or said twice."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.house import House, house, wait_for
from tests.make import pdf

NUMBER = "+14155610000"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path, settings={"INBOUND": "off", "FAX_QUEUE_LIFE": "1h"}) as home:
        yield home


def waits(home: House, state: str) -> None:
    """Until a fax in that state has met its trouble."""
    wait_for(
        lambda: any(f["state"] == state and f["trouble"] for f in home.faxes()) or None,
        f"a fax that waits as {state}",
    )


def test_the_smarthost_is_away_when_the_sender_is_to_be_told(home: House) -> None:
    home.mailbox.end()
    home.send(f"{NUMBER}@fax.local", content=pdf(1))
    waits(home, "delivered")
    assert home.daemon.end(signal.SIGKILL) != 0
    home.start()
    waits(home, "delivered")
    home.mailbox_back()
    home.all_closed(1)
    (mail,) = home.mails()
    assert mail["recipients"] == ["ann@example.com"]
    assert len(home.jobs()) == 1


def test_the_provider_is_away_when_the_fax_is_ready(home: House) -> None:
    home.simulator.end()
    home.send(f"{NUMBER}@fax.local", "+14155620000@fax.local", content=pdf(2))
    waits(home, "prepared")
    assert home.mails() == []
    home.provider_back()
    home.all_closed(2)
    assert Counter(j["to_number"] for j in home.jobs()) == {NUMBER: 1, "+14155620000": 1}
    assert len(home.mails()) == 2


def test_the_provider_stays_away(tmp_path: Path) -> None:
    """Given up by age: the sender hears that, and why; the fax goes out no more."""
    settings = {"INBOUND": "off", "FAX_QUEUE_LIFE": "3s"}
    with house(tmp_path, settings=settings) as home:
        home.simulator.end()
        home.send(f"{NUMBER}@fax.local", content=pdf(1))
        (fax,) = home.all_closed(1)
        assert fax["cause"] == "expired"
        notice = home.notice()
        assert "FAILED" in notice["subject"]
        assert "cannot be reached" in notice["text"]
        home.provider_back()
        home.send("+14155620000@fax.local", content=pdf(1))
        home.all_closed(2)
        assert [job["to_number"] for job in home.jobs()] == ["+14155620000"]
