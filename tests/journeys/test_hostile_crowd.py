"""T18: 320 hostile clients try at once and again and again; people go on sending mail."""

from __future__ import annotations

import asyncio
import json
import smtplib
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest

from gateway.spool import Spool
from gateway.store import Store
from tests.doors.client import door, until
from tests.journeys.crowd import CROWD, Address, crowd
from tests.journeys.house import House, house, letter, wait_for
from tests.make import pdf

BOUND = 10.0  # s; the goal is 2, and this machine has others to serve as well
MEMORY = 180  # MB (P8)
PEOPLE = 3
HOMES = [f"127.0.1.{n}" for n in range(1, 17)]  # enough of them for every place of the house


@pytest.fixture
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    settings = {"INBOUND": "off", "SMTP_TRUSTED_NETWORKS": request.param}
    with house(tmp_path, settings=settings) as home:
        yield home


def address_of(home: House) -> Address:
    host, _, port = home.smtp.rpartition(":")
    return host, int(port)


def number(person: int, mail: int) -> str:
    return f"+1415563{person}{mail:03}"


def send(address: Address, person: int, mail: int) -> float:
    """As a mail client does: when there is no place it asks again. Returns how long it took."""
    to = f"{number(person, mail)}@fax.local"
    content = letter(to, content=pdf(1), subject=f"Mail {mail} of {person}")
    begun = time.monotonic()
    while True:
        try:
            with smtplib.SMTP(*address, timeout=BOUND) as client:
                client.sendmail(f"person{person}@example.com", [to], content)
            return time.monotonic() - begun
        except (smtplib.SMTPException, OSError):
            if time.monotonic() - begun > BOUND:
                raise
            time.sleep(0.1)


def work(address: Address, person: int, mails: int) -> list[float]:
    return [send(address, person, mail) for mail in range(mails)]


def memory(home: House) -> int:
    """Peak RSS of the daemon, MB."""
    assert home.daemon.process
    status = Path(f"/proc/{home.daemon.process.pid}/status").read_text("ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) >> 10


def descriptors(home: House) -> int:
    assert home.daemon.process
    return len(list(Path(f"/proc/{home.daemon.process.pid}/fd").iterdir()))


@pytest.mark.parametrize(
    ("home", "homes", "crowded", "mails"),
    [
        ("127.0.0.1/32", HOMES, 180, 20),
        ("127.0.0.0/8", HOMES, 180, 10),
        ("127.0.0.0/8", ["127.0.0.1"], 15, 3),
    ],
    indirect=["home"],
    ids=["strangers", "neighbours", "same_address"],
)
def test_people_go_on_sending(home: House, homes: list[str], crowded: int, mails: int) -> None:
    """Strangers may talk only; neighbours get as far as DATA; some share the people's address."""
    address, before = address_of(home), descriptors(home)
    with crowd(address, homes) as facts, ThreadPoolExecutor(PEOPLE) as people:
        wait_for(lambda: descriptors(home) - before >= crowded, "the crowd to be there")
        days = people.map(lambda person: work(address, person, mails), range(PEOPLE))
        took = sorted(chain.from_iterable(days))
        peak = memory(home)
    print(f"median {took[len(took) // 2]:.2f} s, worst {took[-1]:.2f} s (goal 2), {peak} MB", facts)
    assert took[-1] <= BOUND
    assert peak <= MEMORY
    assert facts["connected"] >= len(CROWD)
    wanted = {number(person, mail) for person in range(PEOPLE) for mail in range(mails)}
    assert Counter(fax["number"] for fax in home.faxes()) == Counter(wanted)
    assert max(told(home, "conn_limit").values(), default=0) <= 2, "a line a minute for an address"
    assert max(told(home, "reply").values(), default=0) <= 200


def told(home: House, word: str) -> Counter[str]:
    """Refusals in the log for each address."""
    lines = home.daemon.output.read_text("utf-8").splitlines()
    refused = [json.loads(line) for line in lines if f'"{word}"' in line and "mail_refused" in line]
    return Counter(str(event["peer"]) for event in refused)


@pytest.mark.anyio
async def test_the_bad_are_gone_after_their_deadlines(store: Store, spool: Spool) -> None:
    async with door(store, spool) as connect:
        connect.hurry(idle=1.0, unread=1.0, life=2.0)
        shared = connect.listener._shared
        with crowd(connect.address, HOMES, once=True) as facts:
            await until(lambda: len(shared.guests) >= 150)
            await until(lambda: not shared.connections)
            await asyncio.sleep(0)
        assert len(shared.guests) == 0
        assert facts["connected"] == len(CROWD)
        await until(lambda: not list(spool.incoming.iterdir()))
