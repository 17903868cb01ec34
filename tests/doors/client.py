"""A raw SMTP client for tests: sends bytes, returns reply lines, knows when it was hung up on."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trustme

from gateway.doors.refusals import Refusals
from gateway.doors.smtp import Kind, Listener, Services, SmtpDoor, SmtpSettings
from gateway.doors.smtp.settings import LOOPBACK
from gateway.doors.smtp.tls import Certificates
from gateway.doors.transcripts import Transcripts
from gateway.outbound.intake import Intake
from gateway.outbound.permit import Defaults, Policy
from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store

LINE = "+14155550199"
TIMEOUT = 10.0

HELLO = "EHLO client.example"
FROM = "MAIL FROM:<ann@example.com>"
TO = "RCPT TO:<+14155550100@fax.local>"
OK = "250 2.1.5 Recipient ok"
HEAD = b"From: ann@example.com\r\nSubject: x\r\n"
TEXT = HEAD + b"\r\nHello\r\n"
END = b"\r\n.\r\n"
MODES = ("plain", "starttls", "tls")


@cache
def pair() -> tuple[Certificates, ssl.SSLContext]:
    """One certificate for all doors of a run, and a client that trusts nobody else's."""
    authority = trustme.CA()
    made = authority.issue_cert("localhost", "127.0.0.1")
    with TemporaryDirectory() as folder:
        cert, key = Path(folder, "cert.pem"), Path(folder, "key.pem")
        made.cert_chain_pems[0].write_to_path(cert)
        made.private_key_pem.write_to_path(key)
        certificates = Certificates(cert, key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return certificates, context


@dataclass
class Client:
    """One connection; every wait ends."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def reply(self) -> str:
        """One reply, its lines joined; "" = the server hung up."""
        lines = []
        async with asyncio.timeout(TIMEOUT):
            while line := (await self.reader.readline()).decode():
                lines.append(line.rstrip("\r\n"))
                if line[3:4] != "-":
                    break
        return "\n".join(lines)

    async def say(self, command: str | bytes) -> str:
        self.send(command)
        return await self.reply()

    def send(self, command: str | bytes) -> None:
        content = command if isinstance(command, bytes) else f"{command}\r\n".encode()
        self.writer.write(content)

    async def is_over(self) -> bool:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    async def start_tls(self) -> None:
        """Straight after 220 to STARTTLS."""
        async with asyncio.timeout(TIMEOUT):
            await self.writer.start_tls(pair()[1], server_hostname="localhost")

    async def push(self, content: bytes) -> None:
        """Send much; ConnectionError when the server had enough."""
        self.send(content)
        async with asyncio.timeout(TIMEOUT):
            await self.writer.drain()

    async def mail(self, body: bytes, *recipients: str, sender: str = "ann@example.com") -> str:
        """A whole mail after the greeting; the reply to its body."""
        assert (await self.say("EHLO client.example")).startswith("250")
        assert (await self.say(f"MAIL FROM:<{sender}>")).startswith("250")
        for recipient in recipients or ("+14155550100@fax.local",):
            assert (await self.say(f"RCPT TO:<{recipient}>")).startswith("250")
        assert (await self.say("DATA")).startswith("354")
        return await self.say(body + b"\r\n.\r\n")


@dataclass
class Connect:
    """Calling it connects a client that has read the greeting."""

    listener: SmtpDoor
    kind: Kind = Kind.MAIN
    mode: str = "plain"
    clients: list[Client] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        return self.listener.addresses[self.kind]

    async def __call__(self, *, greeted: bool = True) -> Client:
        client = Client(*await asyncio.open_connection(*self.address, **self._tls))
        self.clients.append(client)
        if greeted:
            assert await client.reply() == "220 fax.example ESMTP"
            if self.mode == "starttls":
                assert (await client.say(HELLO)).endswith("\n250 STARTTLS")
                assert await client.say("STARTTLS") == "220 2.0.0 Ready to start TLS"
                await client.start_tls()
        return client

    @property
    def _tls(self) -> dict[str, Any]:
        return {"ssl": pair()[1], "server_hostname": "localhost"} if self.mode == "tls" else {}

    async def ready(self, *commands: str) -> Client:
        """A client after EHLO and these commands."""
        client = await self()
        for command in (HELLO, *commands):
            assert (await client.say(command)).startswith(("250", "354")), command
        return client

    def hurry(self, **limits: float) -> None:
        """Other deadlines from now on, also for who is connected: setting up takes its time."""
        shared = self.listener._shared
        shared.settings = replace(shared.settings, **limits)  # type: ignore[arg-type]
        self.listener._sweeper.cancel()
        self.listener._sweeper = shared.loop.create_task(self.listener._sweep())


async def until(look: Callable[[], bool]) -> None:
    """Ask until it is so; there is no event for what another thread does to the disk."""
    async with asyncio.timeout(TIMEOUT):
        while not look():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)


@asynccontextmanager
async def door(
    store: Store,
    spool: Spool,
    kind: Kind = Kind.MAIN,
    rules: Rules | None = None,
    more: dict[str, Any] | None = None,
    mode: str = "plain",
    **facts: Any,
) -> AsyncIterator[Connect]:
    """A real listener; `more` are further services, `facts` settings, `mode` one of `MODES`."""
    kind = Kind.TLS if mode == "tls" else kind
    more = {"certificates": pair()[0] if mode != "plain" else None} | (more or {})
    common: dict[str, Any] = {
        "hostname": "fax.example", "max_message": 100_000, "trusted": LOOPBACK,
        "listeners": (Listener(kind, port=0),),
    }  # fmt: skip
    settings = SmtpSettings(**(common | facts))
    defaults = Defaults(LINE, trusted=settings.trusted, devices=settings.devices)
    services = Services(
        Intake(spool, store, LINE), store, spool, Policy(rules or Rules(), defaults),
        Refusals(store), Transcripts(store), **more,
    )  # fmt: skip
    listener = SmtpDoor(settings, services)
    await listener.start()
    connect = Connect(listener, kind, mode)
    try:
        yield connect
    finally:
        for client in connect.clients:
            client.writer.close()
        await listener.stop(1.0)
