"""A mailbox that takes every mail and shows it: the demo's smarthost, and the tests'.

A real SMTP server on our loop. Mails stay in memory, newest last; with a ledger each also becomes
one durable JSON line. As a program: `python -m gateway.demo.mailbox --listen 127.0.0.1:2500`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any

import pikepdf
from aiosmtpd.smtp import SMTP, Envelope, Session

MOST_MAILS = 10_000


@dataclass(frozen=True, slots=True)
class File:
    """An attachment of a mail."""

    name: str
    kind: str
    content: bytes
    content_id: str = ""  # of a picture inside the HTML

    @property
    def pages(self) -> int:
        """Of a PDF; 0 = it is none that opens."""
        if self.kind != "application/pdf":
            return 0
        try:
            with pikepdf.open(io.BytesIO(self.content)) as document:
                return len(document.pages)
        except pikepdf.PdfError:
            return 0


def _file(part: Message) -> File:
    content = part.get_payload(decode=True)
    return File(
        name=part.get_filename() or "",
        kind=part.get_content_type(),
        content=content if isinstance(content, bytes) else b"",
        content_id=str(part.get("Content-ID", "")).strip("<> "),
    )


@dataclass(frozen=True, slots=True)
class Got:
    """One mail as it came in."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    at: float

    @property
    def mail(self) -> EmailMessage:
        parsed = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)  # noqa: S101 - what this policy makes
        return parsed

    @property
    def files(self) -> list[File]:
        return [_file(part) for part in self.mail.walk() if part.get_filename()]

    def text(self, kind: str = "plain") -> str:
        body = self.mail.get_body((kind,))
        return str(body.get_content()) if body else ""

    def line(self) -> dict[str, Any]:
        """What the ledger keeps."""
        mail = self.mail
        return {
            "at": self.at,
            "sender": self.sender,
            "recipients": list(self.recipients),
            "message_id": str(mail.get("Message-ID", "")),
            "in_reply_to": str(mail.get("In-Reply-To", "")),
            "auto_submitted": str(mail.get("Auto-Submitted", "")),
            "subject": str(mail.get("Subject", "")),
            "text": self.text(),
            "files": [
                {"name": f.name, "kind": f.kind, "sha256": hashlib.sha256(f.content).hexdigest(),
                 "pages": f.pages, "inline": bool(f.content_id)}
                for f in self.files
            ],
        }  # fmt: skip


@dataclass
class Trouble:
    """What the server does to the next mails, for tests: so many times the same."""

    times: int = 0
    reply: str = ""  # instead of 250 to the body; "" = cut the connection
    after_taking: bool = False  # the mail was taken all the same


@dataclass
class Mailbox:
    """Takes every mail for everybody."""

    ledger: Path | None = None
    mails: deque[Got] = field(default_factory=lambda: deque(maxlen=MOST_MAILS))
    refuse_rcpt: dict[str, str] = field(default_factory=dict)  # address → reply
    trouble: Trouble = field(default_factory=Trouble)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._arrived = asyncio.Condition()
        self._server = await loop.create_server(
            lambda: SMTP(self, hostname="mailbox.local", enable_SMTPUTF8=True, loop=loop,
                         data_size_limit=200_000_000),
            host, port,
        )  # fmt: skip
        self.address: tuple[str, int] = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        self._server.close()

    async def wait_for(self, wanted: Callable[[Got], bool], seconds: float = 20.0) -> Got:
        """The first mail that is wanted, now or as soon as it comes. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._arrived:
            while True:
                found = next((got for got in self.mails if wanted(got)), None)
                if found:
                    return found
                await self._arrived.wait()

    # aiosmtpd calls these

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: object
    ) -> str:
        if address in self.refuse_rcpt:
            return self.refuse_rcpt[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        trouble = self.trouble if self.trouble.times > 0 else None
        if trouble is None or trouble.after_taking:
            await self._take(envelope)
        if trouble is None:
            return "250 2.0.0 ok"
        trouble.times -= 1
        if not trouble.reply and isinstance(server.transport, asyncio.WriteTransport):
            server.transport.abort()
        return trouble.reply or "451 4.3.0 cut"

    async def _take(self, envelope: Envelope) -> None:
        sender = (envelope.mail_from or "").removeprefix("<").removesuffix(">")
        content = envelope.content
        assert isinstance(content, bytes)  # noqa: S101 - decode_data is off
        got = Got(sender, tuple(envelope.rcpt_tos), content, time.time())
        if self.ledger:
            await asyncio.to_thread(_append, self.ledger, got)
        async with self._arrived:
            self.mails.append(got)
            self._arrived.notify_all()


def _append(ledger: Path, got: Got) -> None:
    with ledger.open("a", encoding="utf-8") as file:
        file.write(json.dumps(got.line()) + "\n")
        file.flush()
        os.fsync(file.fileno())


async def _serve(listen: str, ledger: Path | None) -> None:
    host, _, port = listen.rpartition(":")
    mailbox = Mailbox(ledger)
    await mailbox.start(host, int(port))
    sys.stdout.write(f"mailbox ready {mailbox.address[0]}:{mailbox.address[1]}\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await mailbox.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--ledger", type=Path)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.listen, arguments.ledger))


if __name__ == "__main__":
    main()
