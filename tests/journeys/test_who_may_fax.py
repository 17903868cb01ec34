"""Rules at work in the whole house: who may fax, from which number, how much, and what changes."""

from __future__ import annotations

import re
import signal
import smtplib
from pathlib import Path

from tests.journeys.house import ROUTES, House, house
from tests.make import pdf

RULES = """
[[sender]]
address = "ann@example.com"
from_number = "+14155550111"
tell = "team@example.com"
faxes_per_hour = 2
[aliases]
sales = ["+14155530001", "+14155530002"]
"""


def rcpt(home: House, sender: str, *recipients: str) -> list[str]:
    """The replies of the door to each command."""
    host, _, port = home.smtp.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=30) as client:
        client.ehlo("client.example.com")
        replies = [client.mail(sender), *(client.rcpt(one) for one in recipients)]
    return [f"{code} {said.decode()}" for code, said in replies]


def test_rules_from_the_door_to_the_line(tmp_path: Path) -> None:
    with house(tmp_path, rules=RULES + ROUTES) as home:
        for stranger in ("eve@example.com", "ann@example.com.evil.example"):
            strange = rcpt(home, stranger, "+14155530003@fax.local", "postmaster@fax.local")
            assert strange[1:] == ["550 5.7.1 Sender not listed", "250 2.1.5 Recipient ok"]
        home.send("sales@fax.local", content=pdf(1))
        home.all_closed(2)
        called = {(job["to_number"], job["from_number"]) for job in home.jobs()}
        assert called == {(f"+1415553000{n}", "+14155550111") for n in (1, 2)}
        assert home.notice("team@example.com")["recipients"] == ["team@example.com"]
        said = rcpt(home, "Ann@Example.com", "+14155530003@fax.local")[-1]
        assert re.fullmatch(r"451 4\.7\.1 Quota, retry after (.* )?\d\d:\d\d\b.*", said)
        more = RULES.replace("faxes_per_hour = 2", "faxes_per_hour = 3")
        (tmp_path / "rules.toml").write_text(more + ROUTES)
        assert home.daemon.process
        home.daemon.process.send_signal(signal.SIGHUP)
        home.daemon.said('"rules_loaded"')
        home.send("+14155530003@fax.local", content=pdf(1))
        faxes = home.all_closed(3)
        assert {fax["identity"] for fax in faxes} == {"address:ann@example.com"}
        assert len(home.jobs()) == 3


def test_more_pages_than_are_ever_allowed(tmp_path: Path) -> None:
    """The door cannot count them: the fax fails in words, nothing is sent, others go."""
    with house(tmp_path, rules="[limits]\npages_per_day = 5\n" + ROUTES) as home:
        home.send("+14155530001@fax.local", content=pdf(6))
        (fax,) = home.all_closed(1)
        assert (fax["cause"], home.jobs()) == ("policy", [])
        assert "6 pages; no more are allowed than 5 pages a day in all" in fax["reason"]
        home.notice("ann@example.com")
        home.send("+14155530001@fax.local", content=pdf(5))
        home.all_closed(2)
        assert len(home.jobs()) == 1
