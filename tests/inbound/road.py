"""The rooms of the inbound road over the real services, for the tests beside this file."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from gateway.demo.mailbox import Mailbox
from gateway.document import Workshop
from gateway.inbound.deliver import Deliver
from gateway.inbound.fetch import Fetch
from gateway.inbound.settle import Settle
from gateway.mail.post import Post
from gateway.mail.smarthost import Relay, Smarthost
from gateway.model import Fax
from gateway.provider.audian import Audian
from gateway.provider.simulator import Simulator
from gateway.rules import Route, Rules
from gateway.spool import Spool
from tests.conftest import Clock
from tests.make import inbound, pdf

FROM = "Fax Gateway <fax@fax.local>"
ADMIN = "Admin <admin@example.com>"
RULES = Rules(route=(Route(mail=("office@example.com", "copy@example.com")),))
DOWNLOAD = r"/download$"


@dataclass
class Road:
    """One road; its clock stands still until it is advanced."""

    simulator: Simulator
    provider: Audian
    workshop: Workshop
    mailbox: Mailbox
    spool: Spool
    clock: Clock
    rules: Rules = RULES
    downloads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(10))

    def __post_init__(self) -> None:
        post = Post(Smarthost(Relay(*self.mailbox.address, timeout=3.0)), self.spool.part)
        self.fetch = Fetch(
            self.provider, self.spool, self.workshop, self.downloads, 500, clock=self.clock
        )
        self.deliver = Deliver(post, self.spool, lambda: self.rules, FROM, ADMIN, self.clock)
        self.settle = Settle(self.provider, archive=True)

    async def inject(self, document: bytes = b"", **facts: Any) -> Fax:
        """A fax that the provider has, as it is announced to us."""
        common: dict[str, Any] = {
            "from_number": "+12025551234", "to_number": "+14155550199",
            "document": document or pdf(2), "from_name": "John Smith", "announce": False,
        }  # fmt: skip
        provider_id = await self.simulator.inject(**common | facts)
        return inbound(
            provider_id=provider_id, created_at=self.clock(), since=self.clock(),
            number="", line="", attempts=1,
        )  # fmt: skip

    async def fetched(self, document: bytes = b"", **facts: Any) -> Fax:
        return await self.fetch(await self.inject(document, **facts))

    def status(self, fax: Fax) -> str:
        return next(
            str(one["status"]) for one in self.simulator.state()["inbound"]
            if one["id"] == fax.provider_id
        )  # fmt: skip
