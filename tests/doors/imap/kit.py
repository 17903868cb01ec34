"""A mail, a policy and a running door, each in a line."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.doors.imap import ImapDoor, ImapSettings
from gateway.model import Fax, State
from gateway.outbound.intake import Intake
from gateway.outbound.permit import Defaults, Policy
from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store
from tests.doors.imap.script import Server
from tests.make import LINE

SERVER = "mx.example.com"
ANN = "ann@example.com"
BOX = "fax@example.com"
TO = "14155550100@fax.local"
PROOF = f"Authentication-Results: {SERVER}; dmarc=pass header.from=example.com\n"
QUICK: dict[str, Any] = {
    "patience": 5.0, "first_wait": 0.01, "longest_wait": 0.1, "again": 0.005, "poll": 0.05,
    "settled": 0.0, "farewell": 0.2,
}  # fmt: skip
_IDS = itertools.count(1)


def mail(to: str = TO, body: str = "hello", proof: str = PROOF, **fields: str) -> bytes:
    """`From`, `Subject` and so on as names; `X_Fax_To` is X-Fax-To; "" leaves one out."""
    given = {
        "Received": f"from x by {SERVER} id {next(_IDS)}", "From": f"Ann <{ANN}>", "To": to,
        "Subject": "Contract", "Message_ID": f"<{next(_IDS)}@example.com>",
        "Date": "Mon, 23 Nov 2026 10:00:00 +0000",
    } | fields  # fmt: skip
    head = proof + "".join(f"{n.replace('_', '-')}: {v}\n" for n, v in given.items() if v)
    return f"{head}\n{body}\n".replace("\n", "\r\n").encode()


def policy(**rules: Any) -> Policy:
    """Whoever is at example.com may fax to the US."""
    given = {"sender": [{"domain": "example.com"}]} | rules
    return Policy(Rules.model_validate(given), Defaults(LINE, "US"))


@dataclass
class House:
    """What a door hands its mails to."""

    spool: Spool
    store: Store
    policy: Policy = field(default_factory=policy)
    refusals: list[tuple[str, str]] = field(default_factory=list)  # event, reply
    pages: list[str] = field(default_factory=list)  # that the administrator gets
    clock: Callable[[], float] = time.time

    def door(self, port: int, **facts: Any) -> ImapDoor:
        common: dict[str, Any] = {
            "host": "localhost", "port": port, "user": BOX, "password": "secret",
            "authserv_id": SERVER, "max_message": 100_000,
        }  # fmt: skip
        settings = ImapSettings(**(common | QUICK | facts))
        intake = Intake(self.spool, self.store, LINE, self.clock)
        return ImapDoor(
            settings, intake, self.spool, self.store, lambda: self.policy, self.clock,
            note=self._note, page=lambda title, _what: self.pages.append(title),
        )  # fmt: skip

    async def faxes(self) -> list[Fax]:
        """Oldest first; of one moment by number."""
        found = await self.store.latest(10_000)
        return sorted(found, key=lambda fax: (fax.created_at, fax.number))

    async def numbers(self) -> list[str]:
        return sorted(fax.number for fax in await self.faxes() if fax.state is State.ACCEPTED)

    async def reasons(self) -> list[str]:
        return [fax.reason for fax in await self.faxes() if fax.state is State.FAILED]

    def _note(self, _door: str, _peer: str, reply: str, *, because: str, **_: str) -> None:
        self.refusals.append((because, reply))


@asynccontextmanager
async def running(door: ImapDoor) -> AsyncIterator[None]:
    """Run it for the length of the block; it must end when it is told to."""
    stop = asyncio.Event()
    task = asyncio.create_task(door.run(stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


async def power_cut(server: Server, door: Callable[..., ImapDoor]) -> None:
    """A life of the gateway that ends where the server's one fault strikes."""
    stop, slow = asyncio.Event(), {"patience": 60.0, "first_wait": 60.0, "longest_wait": 60.0}
    life = asyncio.create_task(door(**slow).run(stop))
    await until(lambda: not server.faults)
    life.cancel()
    with pytest.raises(asyncio.CancelledError):
        await life


async def until(what: Callable[[], Any], seconds: float = 20.0, pause: float = 0.01) -> None:
    """Wait for what others bring about: files of a mail server, rows of a queue."""
    async with asyncio.timeout(seconds):
        while True:
            found = what()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(pause)
