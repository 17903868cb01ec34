"""More connections than places, and than the system lets us open: nobody else is hurt by it."""

from __future__ import annotations

import resource
import smtplib
from pathlib import Path

import pytest

from tests.bench.connections import come_and_go, descriptors, open_many, settled
from tests.journeys.house import House, house, letter, wait_for
from tests.make import pdf

PLACES, MANY = 50, 400
FILES = 256  # that the daemon may open (F-N2)


def settings(places: int) -> dict[str, str]:
    return {
        "INBOUND": "off", "SMTP_MAX_CONNECTIONS": str(places),
        "SMTP_MAX_CONNECTIONS_PER_IP": str(places),
    }  # fmt: skip


def process(home: House) -> int:
    assert home.daemon.process
    return home.daemon.process.pid


def address(home: House) -> tuple[str, int]:
    host, _, port = home.smtp.rpartition(":")
    return host, int(port)


def test_the_rest_is_told_to_come_later(tmp_path: Path) -> None:
    with house(tmp_path, settings=settings(PLACES)) as home:
        base = descriptors(process(home))
        many = open_many(address(home), MANY)
        assert set(many.answers) == {"220", "421"}
        assert many.answers["220"] >= PLACES  # more, where somebody made room for others
        assert descriptors(process(home)) <= base + PLACES + 5
        many.close()
        come_and_go(address(home), 1000)
        assert settled(process(home), base) <= base
        home.send("+14155640000@fax.local", content=pdf(1))
        home.all_closed(1)


@pytest.mark.parametrize(("mails", "first"), [(0, False), (3, False), (3, True)])
def test_no_more_files_can_be_opened(tmp_path: Path, mails: int, first: bool) -> None:
    """New clients wait or are cut; who is in hears 250 or 4xx; later all is as before."""
    with house(tmp_path, settings=settings(1000)) as home:
        before = [] if first else [8]  # the first mail must not need files that no other needs
        assert all(send_one(home, n) for n in before)
        resource.prlimit(process(home), resource.RLIMIT_NOFILE, (FILES, FILES))
        home.all_closed(len(before))
        base = descriptors(process(home))
        with smtplib.SMTP(*address(home), timeout=30) as inside:
            inside.ehlo("client.example.com")
            many = open_many(address(home), MANY)
            assert many.answers["220"] > FILES - base - 30, "nearly all files were in use"
            accepted = [send(inside, n) for n in range(mails)]
            print("taken while no file could be opened:", accepted)
        many.close()
        assert settled(process(home), base) <= base
        assert send_one(home, 9)
        numbers = [number(n) for n, taken in enumerate(accepted) if taken] + [
            number(n) for n in (*before, 9)
        ]
        home.all_closed(len(numbers))
        assert sorted(job["to_number"] for job in home.jobs()) == sorted(numbers)


def number(n: int) -> str:
    return f"+1415566100{n}"


def send(client: smtplib.SMTP, n: int) -> bool:
    """Was it accepted? If not, for now only."""
    to = f"{number(n)}@fax.local"
    try:
        client.sendmail("ann@example.com", [to], letter(to, content=pdf(1)))
    except smtplib.SMTPRecipientsRefused as error:
        assert error.recipients[to][0] in range(400, 500), error
        return False
    except smtplib.SMTPResponseException as error:
        assert error.smtp_code in range(400, 500), error
        return False
    return True


def send_one(home: House, n: int) -> bool:
    def look() -> bool:
        with smtplib.SMTP(*address(home), timeout=30) as client:
            return send(client, n)

    return wait_for(look, "mail to be taken again")
