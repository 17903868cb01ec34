"""A house with all three listeners, a certificate, people with passwords; and a sink to look into.

What each program sends is the same mail: a PDF of two pages for two numbers.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trustme

from gateway.demo.mailbox import Got, Mailbox
from gateway.doors.smtp.users import hash_line
from tests.journeys.house import House, letter, wait_for
from tests.make import pdf

T = TypeVar("T")

ANN = "ann@example.com"
PASSWORD = "correct horse"
PAGES = 2
TRUSTED, COPIER = "127.0.0.2", "127.0.0.4"  # may send without a login


class Sink:
    """The smarthost, on a loop of its own: mails stay whole, so that their parts can be read."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sink")

    def start(self) -> str:
        self._thread.start()
        self._do(self.mailbox.start())
        return "{}:{}".format(*self.mailbox.address)

    def stop(self) -> None:
        self._do(self.mailbox.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def first(self, to: str, words: str = "") -> EmailMessage:
        """Wait for a mail to somebody with these words in its Subject."""

        def look() -> Got | None:
            mails = [m for m in list(self.mailbox.mails) if to in m.recipients]
            return next((m for m in mails if words in str(m.mail["Subject"])), None)

        return wait_for(look, f"a mail to {to} about {words!r}; there are {self}").mail

    def __repr__(self) -> str:
        return str([(m.recipients, str(m.mail["Subject"])) for m in list(self.mailbox.mails)])

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


@dataclass
class Home(House):
    """SMTP, SMTPS and device listeners; the sink is asked by `sink`."""

    sink: Sink = field(default_factory=Sink)

    def open(self) -> None:
        self.simulator.start()
        self.provider = self.simulator.said(r"ready url=(\S+)")[1]
        self.relay = self.sink.start()
        self._credentials()
        self.start()
        line = self.daemon.said(r'\{[^\n]*"gateway_started"[^\n]*\}\n')[0]
        self.ports = {k: v for k, v in json.loads(line).items() if k in ("smtp", "smtps", "device")}

    def close(self) -> None:
        self.daemon.end()
        self.simulator.end()
        self.sink.stop()

    def port(self, listener: str = "smtp") -> int:
        return int(self.ports[listener].rpartition(":")[2])

    def _credentials(self) -> None:
        authority = trustme.CA()
        made = authority.issue_cert("localhost", "127.0.0.1")
        self.authority = self.root / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        cert, key, users = (self.root / name for name in ("cert.pem", "key.pem", "users"))
        cert.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())
        users.write_text(f"{hash_line(ANN, PASSWORD)}\n")
        for file in (key, users):
            file.chmod(0o600)
        self.settings |= {
            "INBOUND": "off", "SMTP_TLS_LISTEN": "127.0.0.1:0", "SMTP_TLS_CERT": str(cert),
            "SMTP_TLS_KEY": str(key), "SMTP_USERS_FILE": str(users),
            "SMTP_DEVICE_LISTEN": "127.0.0.1:0", "SMTP_DEVICE_NETWORKS": f"{COPIER}/32",
            "SMTP_TRUSTED_NETWORKS": f"{TRUSTED}/32",
        }  # fmt: skip

    def faxed(self, *numbers: str) -> None:
        """Wait until each number's fax is closed; nobody got a second one, or other pages."""
        mine = set(numbers)

        def closed() -> bool:
            return mine <= {f["number"] for f in self.faxes() if f["state"] == "closed"}

        wait_for(closed, f"faxes to {numbers}; there are {self.faxes()}")
        jobs = [job for job in self.jobs() if job["to_number"] in mine]
        assert sorted(job["to_number"] for job in jobs) == sorted(mine)
        assert {job["pages"] for job in jobs} == {PAGES}


@contextmanager
def home(root: Path, **facts: Any) -> Iterator[Home]:
    there = Home(root, **facts)
    try:
        there.open()
        yield there
    finally:
        there.close()


def two(tag: int) -> tuple[str, str]:
    """Numbers of one test's mail."""
    return f"+1415577{tag:02}00", f"+1415577{tag:02}01"


def mail_to(*numbers: str, **facts: Any) -> bytes:
    recipients = [f"{number}@fax.local" for number in numbers]
    return letter(*recipients, content=pdf(PAGES), sender=ANN, **facts)


def need(program: str, package: str = "") -> str:
    """Its path, or the test is skipped with what to install."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if not path:
        pytest.skip(f"{program} is missing: apt-get install {package or program}")
    return path
