"""The one account of the sandbox: its faxes, hooks, numbers, tokens, and the ledger of it all."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from gateway.provider.simulator.clock import Clock
from gateway.provider.simulator.documents import Document, Shelf
from gateway.provider.simulator.faults import Faults
from gateway.provider.simulator.inbound import InboundFax
from gateway.provider.simulator.ledger import Ledger, Stored
from gateway.provider.simulator.outbound import (
    GONE,
    Ending,
    Lines,
    OutboundFax,
    digits,
    ending,
    plan,
)
from gateway.provider.simulator.outside import web
from gateway.provider.simulator.profile import Settings

EVENTS = ("fax_received", "fax_processed")


@dataclass(frozen=True, slots=True)
class Hook:
    id: str
    url: str
    events: tuple[str, ...] = EVENTS
    enabled: bool = True
    format: str = "json"


class Account:
    """Everything that a reset forgets."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.ledger = Ledger()
        self.shelf = Shelf()
        self.faults = Faults(settings.faults, Random(f"faults {settings.seed}"), self.elapsed)
        self.outbound: dict[str, OutboundFax] = {}
        self.inbound: dict[str, InboundFax] = {}
        self.hooks = [Hook(f"hook_{at}", web(url)) for at, url in enumerate(settings.hooks, 1)]
        self.routes: list[dict[str, Any]] = []
        self.numbers: list[str] = []
        self._clock = clock
        self._began = clock.now()
        self._rng = Random(settings.seed)
        self._serial = itertools.count(1)
        self._lines = Lines(settings.max_outbound)
        self._called: Counter[str] = Counter()
        self._tokens: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def elapsed(self) -> float:
        return self._clock.now() - self._began

    def submit(self, to_number: str, from_number: str, document: Document) -> OutboundFax:
        """Accept one fax and draw its whole future."""
        timing, now = self.settings.timing, self._clock.now()
        endings = self._endings(to_number, document)
        fax = OutboundFax(
            id=self.new_id("fax"),
            serial=next(self._serial),
            to_number=to_number,
            from_number=from_number,
            document=document,
            at=now,
            listed_at=now + self._clock.scaled(self._rng.uniform(0, timing.t_index_lag)),
            plan=plan(
                endings,
                document.pages,
                timing,
                self._rng.uniform(0, timing.t_queue),
                at=now,
                lines=self._lines,
                scaled=self._clock.scaled,
            ),
        )
        self.outbound[fax.id] = fax
        self.ledger.stored.append(_stored(fax.id, to_number, from_number, document, now))
        return fax

    def swallow(self, to_number: str, from_number: str, document: Document) -> str:
        """Accept one fax as far as anyone is told, and never store it."""
        fax_id = self.new_id("fax")
        row = _stored(fax_id, to_number, from_number, document, self._clock.now())
        self.ledger.swallowed.append(row)
        document.path.unlink()
        return fax_id

    def receive(
        self, from_number: str, to_number: str, document: Document, from_name: str, pages: int
    ) -> InboundFax:
        timing, now = self.settings.timing, self._clock.now()
        listed_at = now + self._clock.scaled(timing.t_list)
        fax = InboundFax(
            id=self.new_id("fax_received"),
            serial=next(self._serial),
            from_number=from_number,
            from_name=from_name,
            to_number=to_number,
            document=document,
            pages=pages or document.pages,
            at=now,
            listed_at=listed_at,
            ready_at=listed_at + self._clock.scaled(self._rng.uniform(0, timing.t_attach)),
        )
        self.inbound[fax.id] = fax
        self.ledger.injected.append(_stored(fax.id, to_number, from_number, document, now))
        return fax

    def sent(self) -> Iterator[OutboundFax]:
        """The outbound faxes that lists show now, oldest first."""
        now = self._clock.now()
        return (
            fax
            for fax in self.outbound.values()
            if fax.listed_at <= now and fax.status(now) != GONE
        )

    def received(self) -> Iterator[InboundFax]:
        now = self._clock.now()
        return (fax for fax in self.inbound.values() if fax.listed_at <= now)

    def find(self, fax_id: str) -> OutboundFax | InboundFax | None:
        """A fax that exists for whoever asks for it by id."""
        now = self._clock.now()
        sent = self.outbound.get(fax_id)
        if sent is not None:
            return sent if sent.status(now) != GONE else None
        received = self.inbound.get(fax_id)
        return received if received is not None and received.listed_at <= now else None

    def delete(self, fax_id: str) -> None:
        fax = self.outbound.pop(fax_id, None) or self.inbound.pop(fax_id)
        fax.document.path.unlink(missing_ok=True)
        self.ledger.deleted.append(fax_id)

    def new_id(self, kind: str) -> str:
        return f"{kind}_{self._rng.getrandbits(48):012x}"

    def issue_token(self) -> str:
        """A token that looks like the provider's, with the time it ends inside."""
        self.ledger.auths += 1
        now = self._clock.now()
        ends = now + self.settings.token_ttl
        claims = {"iss": "fax-simulator", "account_id": self.settings.account_id, "exp": int(ends)}
        parts = (json.dumps({"typ": "JWT", "alg": "RS256"}), json.dumps(claims))
        signature = base64.urlsafe_b64encode(self._rng.randbytes(32)).decode().rstrip("=")
        token = ".".join([*(_unpadded(part) for part in parts), signature])
        self._tokens = {known: end for known, end in self._tokens.items() if end > now}
        self._tokens[token] = ends
        return token

    def knows(self, token: str) -> bool:
        if token in {self.settings.token, self.settings.api_key} - {""}:
            return True
        return self._tokens.get(token, 0.0) > self._clock.now()

    def secrets(self) -> list[str]:
        """What no ledger may show, the longest first."""
        known = {self.settings.token, self.settings.api_key, *self._tokens} - {""}
        return sorted(known, key=len, reverse=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """A webhook on its way; it ends with the account at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.shelf.clear()

    def _endings(self, to_number: str, document: Document) -> list[Ending]:
        """How the provider's own calls end: it dials again until one succeeds or it gives up."""
        endings = []
        for _ in range(max(self.settings.calls, 1)):
            endings.append(ending(to_number, document, self._called[digits(to_number)]))
            self._called[digits(to_number)] += 1
            if endings[-1].reached == "end":
                break
        return endings


def _stored(fax_id: str, to_number: str, from_number: str, document: Document, at: float) -> Stored:
    return Stored(
        id=fax_id,
        from_number=from_number,
        to_number=to_number,
        sha256=document.sha256,
        pages=document.pages,
        bytes=document.size,
        format=document.format,
        name=document.name,
        at=at,
    )


def _unpadded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
