"""A raw SMTP client for tests: sends bytes, returns reply lines, knows when it was hung up on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.doors.smtp import SmtpDoor, SmtpSettings
from gateway.numbers import DialPlan
from gateway.outbound.intake import Intake
from gateway.spool import Spool
from gateway.store import Store

LINE = "+14155550199"
TIMEOUT = 10.0


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

    async def mail(self, body: bytes, *recipients: str, sender: str = "ann@example.com") -> str:
        """A whole mail after the greeting; the reply to its body."""
        assert (await self.say("EHLO client.example")).startswith("250")
        assert (await self.say(f"MAIL FROM:<{sender}>")).startswith("250")
        for recipient in recipients or ("+14155550100@fax.local",):
            assert (await self.say(f"RCPT TO:<{recipient}>")).startswith("250")
        assert (await self.say("DATA")).startswith("354")
        return await self.say(body + b"\r\n.\r\n")


Connect = Callable[[], Any]


@asynccontextmanager
async def door(store: Store, spool: Spool, **facts: Any) -> AsyncIterator[Connect]:
    """A real listener; what it gives connects a client that has read the greeting."""
    common: dict[str, Any] = {"hostname": "fax.example", "port": 0, "max_message": 100_000}
    settings = SmtpSettings(**(common | facts))
    listener = SmtpDoor(
        settings, DialPlan("US", frozenset({"US"})), Intake(spool, store, LINE), spool
    )
    await listener.start()
    clients: list[Client] = []

    async def connect(*, greeted: bool = True) -> Client:
        client = Client(*await asyncio.open_connection(*listener.address))
        clients.append(client)
        if greeted:
            assert await client.reply() == "220 fax.example ESMTP"
        return client

    try:
        yield connect
    finally:
        for client in clients:
            client.writer.close()
        await listener.stop(1.0)
