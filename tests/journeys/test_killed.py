"""The daemon is killed with SIGKILL at random moments under load. Nothing is lost or doubled."""

from __future__ import annotations

import os
import random
import signal
import smtplib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from gateway.store import SMALL
from tests.doors.imap.dovecot import PASSWORD, PROGRAM, Box, dovecot
from tests.doors.imap.kit import SERVER, mail
from tests.journeys.house import ROUTES, House, house, letter, wait_for
from tests.make import pdf

RULES = f'{ROUTES}[[sender]]\ndomain = "example.com"\n'
KILLS = int(os.environ.get("FAX_KILLS", "30"))
MAILERS = 9  # workers that write mails: notices 4, received faxes 4, alarms 1
SENDERS = 3
MAILBOX_KILLS = int(os.environ.get("FAX_MAILBOX_KILLS", "5"))


class Sender(threading.Thread):
    """A mail client that keeps what was acknowledged, and tries the rest again like a real one."""

    def __init__(self, home: House, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.home, self.number, self.stop = home, number, stop
        self.acknowledged: dict[str, str] = {}  # called number → Message-ID
        self.document = pdf(1)

    def run(self) -> None:
        count = 0
        while not self.stop.is_set():
            count += 1
            number = f"+1415{200 + self.number}{count:04}"
            if number.endswith(("0013", "0009", "0006", "0007", "0012", "0011")):
                continue  # numbers with which the simulator loses or refuses faxes on purpose
            address = f"{number}@fax.local"
            mail = letter(address, content=self.document, subject=number)
            if count % 2:  # a large one, which becomes a file: nothing of the end is faxed
                mail += b"epilogue\r\n" * (SMALL // 10)
            while not self.stop.is_set():
                try:
                    self.home.send_bytes(mail, address)
                except (OSError, smtplib.SMTPException, AssertionError):
                    time.sleep(0.05)  # no 250: the client keeps the mail and comes again
                    continue
                self.acknowledged[number] = number
                break
            time.sleep(0.15)


@contextmanager
def mailbox() -> Iterator[tuple[Box, dict[str, str]]]:
    """A mailbox, and the settings of a gateway that empties it."""
    with TemporaryDirectory(prefix="dovecot-") as run, dovecot(Path(run)) as server:
        box = server.box()
        yield box, {
            "IMAP_URL": f"imaps://{box.user.replace('@', '%40')}@localhost:{server.port}/INBOX",
            "IMAP_PASSWORD": PASSWORD, "IMAP_AUTHSERV_ID": SERVER,
            "SSL_CERT_FILE": f"{run}/ca.pem", "FAX_ABSENT_AFTER": "3s",
        }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_again_and_again(tmp_path: Path) -> None:
    seed = int(os.environ.get("FAX_SEED", str(random.randrange(1 << 30))))
    chance = random.Random(seed)
    print(f"seed {seed}")
    settings = {"INBOUND_POLL_INTERVAL": "300ms", "FAX_ABSENT_AFTER": "3s"}
    with house(tmp_path, settings=settings, time_scale="0.05") as home:
        stop = threading.Event()
        senders = [Sender(home, n, stop) for n in range(SENDERS)]
        for sender in senders:
            sender.start()
        injected = set()
        for _ in range(KILLS):
            injected.add(home.inject(pdf(1)))
            time.sleep(chance.uniform(0.05, 1.2))
            home.daemon.end(signal.SIGKILL)
            home.start()
        stop.set()
        for sender in senders:
            sender.join(30)
        settle(home, {n for s in senders for n in s.acknowledged}, injected)


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.skipif(not PROGRAM, reason="install dovecot-imapd")
def test_killed_while_it_empties_a_mailbox(tmp_path: Path) -> None:
    """K33 to K36, wherever it strikes: each mail is one fax, and the box ends tidy."""
    seed = int(os.environ.get("FAX_SEED", str(random.randrange(1 << 30))))
    chance = random.Random(seed)
    print(f"seed {seed}")
    numbers = [f"+1415299{count:04}" for count in range(100, 100 + 6 * MAILBOX_KILLS)]
    with mailbox() as (box, access), house(tmp_path, settings=access, rules=RULES) as home:
        for start in range(0, len(numbers), 6):
            for number in numbers[start : start + 6]:
                box.put(mail(f"{number}@fax.local", Message_ID=f"<{number}@example.com>"))
            time.sleep(chance.uniform(0.0, 0.3))
            home.daemon.end(signal.SIGKILL)
            home.start()
        wait_for(lambda: box.has(Done=len(numbers)), "the mailbox to be empty")
        settle(home, set(numbers), set(), kills=MAILBOX_KILLS)


def settle(home: House, acknowledged: set[str], injected: set[str], kills: int = KILLS) -> None:
    """Run to quiet, then hold the three ledgers against each other."""

    def quiet() -> bool:
        faxes = home.faxes()
        inbound = [f for f in faxes if f["direction"] == "inbound"]
        done = all(f["state"] == "closed" or (f["held"] and f["told"]) for f in faxes)
        return done and {f["provider_id"] for f in inbound} >= injected

    try:
        wait_for(quiet, "every fax to close", patience=120)
    except AssertionError:
        open_faxes = [f for f in home.faxes() if f["state"] != "closed"]
        raise AssertionError(f"still open: {open_faxes}") from None
    held = {f["number"] for f in home.faxes() if f["held"]}
    for fax in home.faxes():
        needs_a_person = hit_twice(home, fax) or "the gateway died" in fax["held"]
        assert not fax["held"] or needs_a_person, f"held without need: {fax}"
    dialled = Counter(job["to_number"] for job in home.jobs())
    assert acknowledged <= set(dialled) | held, f"lost: {acknowledged - set(dialled) - held}"
    doubled = {number for number, count in dialled.items() if count > 1}
    assert not doubled, f"faxed twice: {doubled}"

    mails = home.mails()
    copies = Counter(mail["message_id"] for mail in mails)
    extra = sum(count - 1 for count in copies.values())
    # a kill catches each worker that was between the smarthost's 250 and its commit (P5)
    assert extra <= kills * MAILERS, f"{extra} extra copies in {kills} kills"
    delivered = {m["message_id"] for m in mails if "office@example.com" in m["recipients"]}
    inbound = [f for f in home.faxes() if f["direction"] == "inbound"]
    # the fifth death may have come before its mail, then the admin was told, or right after it
    mailed = {f["id"] for f in inbound if any(f["id"] in m for m in delivered)}
    assert len(delivered) == len(mailed), "one mail a received fax"
    assert len(inbound) == len(injected), "each received fax once"
    assert mailed | {f["id"] for f in inbound if f["held"]} == {f["id"] for f in inbound}
    told = {m["message_id"] for m in mails if "ann@example.com" in m["recipients"]}
    outbound = [f for f in home.faxes() if f["direction"] == "outbound"]
    assert len(told) == len(outbound), "every sender is told of each fax once"
    print(
        f"{kills} kills, {len(acknowledged)} mails acknowledged, {len(outbound)} faxes, "
        f"{len(held)} of them held, {len(injected)} received, {extra} extra copies of a mail"
    )


def hit_twice(home: House, fax: dict[str, Any]) -> bool:
    """Two kills struck two uploads of it: nothing is sent a third time without a person."""
    connection = sqlite3.connect(f"file:{home.data / 'gateway.db'}?mode=ro", uri=True)
    outcomes = [
        row[0]
        for row in connection.execute(
            "SELECT outcome FROM attempt WHERE fax = ? ORDER BY started_at", (fax["id"],)
        )
    ]
    connection.close()
    return outcomes == ["absent", "unknown"]
