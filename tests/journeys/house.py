"""The whole house as real processes: simulator, mailbox, daemon; and what each of them knows."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import smtplib
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import IO, Any, TypeVar

T = TypeVar("T")

PATIENCE = 40.0  # s that anything may take on a slow machine
SECRET = "hook-secret-hook-secret-hook"
TOKEN = "sandbox-token"
ACCOUNT = "acct_sandbox"
ROUTES = '[[route]]\nmail = ["office@example.com"]\n'


def wait_for(look: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """Ask until there is an answer; the only way tests wait."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if (found := look()) is not None and found is not False:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {patience:.0f} s for {what}")


def letter(
    *recipients: str, content: bytes = b"", sender: str = "ann@example.com",
    subject: str = "Contract", kind: str = "application/pdf", name: str = "contract.pdf",
    text: str = "Please see the attachment.", **headers: str,
) -> bytes:  # fmt: skip
    """A mail as a mail program writes it."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, ", ".join(recipients), subject
    mail["Message-ID"] = f"<{time.monotonic_ns()}@example.com>"
    for header, value in headers.items():
        mail[header.replace("_", "-")] = value
    mail.set_content(text)
    if content:
        maintype, _, subtype = kind.partition("/")
        mail.add_attachment(content, maintype=maintype, subtype=subtype, filename=name)
    return mail.as_bytes()


@dataclass
class Program:
    """One of our programs as a process; its output goes to a file."""

    name: str
    arguments: list[str]
    output: Path
    environ: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        out: IO[bytes] = self.output.open("ab")
        with out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments],
                stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **self.environ},
                cwd=Path(__file__).parents[2],
            )  # fmt: skip

    def said(self, pattern: str, since: int = 0) -> re.Match[str]:
        """Wait until the output holds a pattern."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.output.read_text("utf-8", "replace")[since:])
            if found is None and self.process and self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended:\n{self.output.read_text('utf-8')}")
            return found

        return wait_for(look, f"{self.name} to say {pattern}")

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(60)
        self.process = None
        return code


@dataclass
class House:
    """Everything that one journey passes through."""

    root: Path
    settings: dict[str, str] = field(default_factory=dict)
    rules: str = ROUTES
    time_scale: str = "0.001"

    def __post_init__(self) -> None:
        self.data = self.root / "data"
        self.mail_ledger = self.root / "mails.jsonl"
        self.simulator = Program(
            "simulator",
            ["gateway", "simulate", "--listen", "127.0.0.1:0", "--time-scale", self.time_scale],
            self.root / "simulator.log",
        )
        self.mailbox = Program(
            "mailbox",
            ["gateway.demo.mailbox", "--listen", "127.0.0.1:0", "--ledger", str(self.mail_ledger)],
            self.root / "mailbox.log",
        )
        self.daemon = Program("daemon", ["gateway", "run"], self.root / "daemon.log")

    def open(self) -> None:
        for program in (self.simulator, self.mailbox):
            program.start()
        self.provider = self.simulator.said(r"ready url=(\S+)")[1]
        self.relay = self.mailbox.said(r"(127\.0\.0\.1:\d+)")[1]
        self.start()

    def close(self) -> None:
        for program in (self.daemon, self.mailbox, self.simulator):
            program.end()

    def mailbox_back(self) -> None:
        """The smarthost is there again, at its old place and with its ledger."""
        self.mailbox.arguments[2] = self.relay
        self.mailbox.start()

    def provider_back(self) -> None:
        """The provider is there again, at its old place; it has forgotten everything."""
        self.simulator.arguments[3] = self.provider.removeprefix("http://")
        since = len(self.simulator.output.read_text("utf-8"))
        self.simulator.start()
        self.simulator.said(r"ready url=(\S+)", since)

    def start(self) -> None:
        """Start the daemon (again) and wait until its doors are open."""
        rules = self.root / "rules.toml"
        rules.write_text(self.rules)
        self.daemon.environ = {
            "AUDIAN_URL": self.provider, "AUDIAN_ACCOUNT_ID": ACCOUNT, "AUDIAN_AUTH_TOKEN": TOKEN,
            "AUDIAN_REQUESTS_PER_SECOND": "200", "FAX_FROM_NUMBER": "+14155550199",
            "FAX_TRACK_INTERVAL": "300ms", "INBOUND_POLL_INTERVAL": "500ms",
            "SMTP_LISTEN": "127.0.0.1:0", "WEB_LISTEN": "127.0.0.1:0",
            "RELAY_URL": f"smtp://{self.relay}", "MAIL_ADMIN": "admin@example.com",
            "WEBHOOK_SECRET": SECRET, "DATA_DIR": str(self.data), "RULES_FILE": str(rules),
            "LOG_FORMAT": "json", "FAX_MAX_NOTICES": "0",
        } | self.settings  # fmt: skip
        since = len(self.daemon.output.read_text("utf-8")) if self.daemon.output.exists() else 0
        self.daemon.start()
        line = self.daemon.said(r'\{[^\n]*"gateway_started"[^\n]*\}\n', since)[0]
        started = json.loads(line)
        self.smtp = started["smtp"]
        self.web = f"http://{started['web']}"

    # what goes in

    def send(
        self, *recipients: str, content: bytes = b"", sender: str = "ann@example.com",
        subject: str = "Contract", kind: str = "application/pdf", name: str = "contract.pdf",
        text: str = "Please see the attachment.", **headers: str,
    ) -> str:  # fmt: skip
        """Send a mail as a mail program would; returns the server's reply to the body."""
        mail = letter(
            *recipients, content=content, sender=sender, subject=subject, kind=kind, name=name,
            text=text, **headers,
        )  # fmt: skip
        return self.send_bytes(mail, *recipients, sender=sender)

    def send_bytes(self, mail: bytes, *recipients: str, sender: str = "ann@example.com") -> str:
        host, _, port = self.smtp.rpartition(":")
        with smtplib.SMTP(host, int(port), timeout=30) as client:
            client.ehlo("client.example.com")
            client.mail(sender)
            for recipient in recipients:
                code, said = client.rcpt(recipient)
                assert code == 250, said
            code, said = client.data(mail)
            return f"{code} {said.decode()}"

    def inject(self, document: bytes, **facts: Any) -> str:
        """Let a fax arrive at the provider; returns the provider's id."""
        call = {
            "from_number": "+12025551234", "to_number": "+14155550199", "from_name": "John Smith",
            "document": base64.b64encode(document).decode(),
        } | facts  # fmt: skip
        answer = self.control("inject", call)
        return str(answer["id"])

    def hook(self, body: object, secret: str = SECRET, kind: str = "application/json") -> int:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.web}/webhook/{secret}", content, {"Content-Type": kind}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return int(error.code)

    def control(self, path: str, body: object = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.provider}/_sim/{path}", content, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as reply:
            return json.loads(reply.read() or b"null")

    # what each of them knows

    def jobs(self) -> list[dict[str, Any]]:
        """Every fax that the provider stored."""
        return list(self.control("ledger")["stored"])

    def mails(self) -> list[dict[str, Any]]:
        """Every mail that the smarthost took."""
        if not self.mail_ledger.exists():
            return []
        return [json.loads(line) for line in self.mail_ledger.read_text("utf-8").splitlines()]

    def faxes(self) -> list[dict[str, Any]]:
        """Every fax of the gateway, oldest first."""
        connection = sqlite3.connect(f"file:{self.data / 'gateway.db'}?mode=ro", uri=True)
        connection.row_factory = sqlite3.Row
        try:
            rows = connection.execute("SELECT * FROM fax ORDER BY created_at").fetchall()
        finally:
            connection.close()
        return [dict(row) for row in rows]

    def all_closed(self, count: int) -> list[dict[str, Any]]:
        """Wait until that many faxes are there and all are closed."""

        def look() -> list[dict[str, Any]] | None:
            faxes = self.faxes()
            done = len(faxes) == count and all(f["state"] == "closed" for f in faxes)
            return faxes if done else None

        return wait_for(look, f"{count} closed faxes; there are {self.faxes()}")

    def notice(self, to: str = "ann@example.com") -> dict[str, Any]:
        """Wait for the first mail to somebody."""
        return wait_for(
            lambda: next((m for m in self.mails() if to in m["recipients"]), None), f"mail to {to}"
        )


@contextmanager
def house(root: Path, **facts: Any) -> Iterator[House]:
    home = House(root, **facts)
    try:
        home.open()
        yield home
    except BaseException:
        for program in (home.daemon, home.simulator, home.mailbox):
            if program.output.exists():
                sys.stderr.write(f"--- {program.name}\n{program.output.read_text()[-6000:]}\n")
        raise
    finally:
        home.close()
