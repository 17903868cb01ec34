"""The simulator: listens, lets faults strike, has requests answered, and keeps the ledger."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from typing import Any, Self

import h11
import structlog

from gateway.provider.simulator import family_a, family_b
from gateway.provider.simulator.account import Account
from gateway.provider.simulator.clock import Clock
from gateway.provider.simulator.connection import BrokenError, Connection, DroppedError, Request
from gateway.provider.simulator.control import PREFIX, Control, guard, is_control
from gateway.provider.simulator.exchange import Exchange
from gateway.provider.simulator.faults import Phase, Rule
from gateway.provider.simulator.hooks import HookSender
from gateway.provider.simulator.ledger import Ledger, Seen, redacted, redacted_query
from gateway.provider.simulator.misbehave import afterwards, instead
from gateway.provider.simulator.outside import Outside
from gateway.provider.simulator.profile import Settings
from gateway.provider.simulator.replies import RefusedError, Reply
from gateway.provider.simulator.router import operate, refusal

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,100}")
BACKLOG = 4096  # connections that wait for us; more would wait for a second SYN
MOST_TEXT = 1000  # of a request's words in the ledger
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
DEFAULTS = Settings()
log = structlog.get_logger()


class Simulator:
    """`async with Simulator(settings) as sim:` listens on a free port of 127.0.0.1: `sim.url`."""

    def __init__(
        self, settings: Settings = DEFAULTS, *, wall: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.clock = Clock(wall, settings.time_scale)
        self.account = Account(settings, self.clock)
        self.url = ""
        self.operations = (*family_a.OPERATIONS, *family_b.OPERATIONS)
        self._control = Control(self)
        self._sender = HookSender(self.clock, Outside(remote_hooks=settings.remote_hooks))
        self._server: asyncio.Server | None = None
        self._peers: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = await asyncio.start_server(self._accept, host, port, backlog=BACKLOG)
        bound, port = self._server.sockets[0].getsockname()[:2]
        name = ANYWHERE.get(bound, bound)
        self.url = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"

    async def stop(self, *, keep: bool = False) -> None:
        """Hang up on everyone. `keep`: an outage; everything is there again after `start`."""
        if self._server is not None:
            self._server.close()
        peers = list(self._peers)
        for peer in peers:
            peer.cancel()
        await asyncio.gather(*peers, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None
        if not keep:
            await self.account.close()

    @property
    def ledger(self) -> Ledger:
        return self.account.ledger

    async def inject(  # noqa: PLR0913 - what a received fax is told by
        self,
        from_number: str,
        to_number: str,
        document: bytes,
        from_name: str = "",
        *,
        pages: int = 0,
        announce: bool = True,
    ) -> str:
        """A fax comes in; its id. `pages`: as the provider claims, 0 = as counted."""
        account = self.account
        kept = await account.shelf.store(document)
        fax = account.receive(from_number, to_number, kept, from_name, pages)
        if announce:
            self._sender.received(account, fax, self.url)
        return fax.id

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def add_fault(self, rule: Rule) -> None:
        self.account.faults.add(rule)

    def document(self, fax_id: str) -> bytes:
        """The bytes of any fax, as they came."""
        fax = self.account.outbound.get(fax_id) or self.account.inbound[fax_id]
        return fax.document.read()

    async def reset(self) -> None:
        """Forget everything: faxes, hooks, faults, tokens, ledger, and the time advanced."""
        self.clock.restart()
        old, self.account = self.account, Account(self.settings, self.clock)
        await old.close()

    def state(self) -> dict[str, Any]:
        account, now = self.account, self.clock.now()
        return {
            "profile": self.settings.profile.name,
            "now": now,
            "elapsed": account.elapsed(),
            "time_scale": self.clock.scale,
            "account_id": self.settings.account_id,
            "outbound": [
                {"id": fax.id, "to_number": fax.to_number, "status": fax.status(now)}
                for fax in account.outbound.values()
            ],
            "inbound": [
                {"id": fax.id, "from_number": fax.from_number, "status": fax.status}
                for fax in account.inbound.values()
            ],
            "hooks": [asdict(hook) for hook in account.hooks],
            "routes": account.routes,
            "numbers": account.numbers,
            "faults": [rule.as_json() for rule in account.faults.rules],
        }

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One peer, from its first byte to its last; nothing it says ends more than this."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - streams run us in one
        self._peers.add(task)
        task.add_done_callback(self._peers.discard)
        connection = Connection(reader, writer, self.settings.max_body)
        try:
            await self._attend(connection)
            await connection.close()
        except asyncio.CancelledError:  # only `stop` cancels us, and it waits
            connection.drop(reset=True)

    async def _attend(self, connection: Connection) -> None:
        try:
            await self._converse(connection)
        except DroppedError as dropped:
            connection.drop(reset=dropped.reset)
        except BrokenError as broken:
            with suppress(BrokenError, h11.LocalProtocolError):
                await connection.refuse(broken.status, self.clock)
                await connection.linger()
        except Exception as error:
            log.exception("connection_failed", error=repr(error))

    async def _converse(self, connection: Connection) -> None:
        while (request := await connection.request()) is not None:
            with ExitStack() as held:
                await self._answer(self._exchange(connection, request, held))
            if not connection.again():
                await connection.linger()
                return

    async def _answer(self, exchange: Exchange) -> None:
        if is_control(exchange.request.path):
            reply = await self._controlled(exchange)
            return await self._send(exchange, reply)
        ledger, seen = exchange.account.ledger, _seen(exchange)
        ledger.requests.append(seen)
        with ledger.at_once.one():
            try:
                await self._send(exchange, await self._reply(exchange, seen))
            finally:
                told = exchange.connection
                seen.status, seen.received, seen.sent = told.answered, told.received, told.sent
        return None

    async def _reply(self, exchange: Exchange, seen: Seen) -> Reply:
        """The operation's answer, unless a fault strikes before or after it."""
        faults, request = exchange.account.faults, exchange.request
        if rule := faults.pick(Phase.BEFORE, request.method, request.path):
            seen.fault = rule.action
            return await instead(rule, exchange)
        reply = await operate(exchange, self.operations)
        accepted = reply.status < 300
        if accepted and (rule := faults.pick(Phase.AFTER, request.method, request.path)):
            seen.fault = rule.action
            return await afterwards(rule, reply, exchange)
        return reply

    async def _controlled(self, exchange: Exchange) -> Reply:
        if not exchange.request.path.startswith(PREFIX):
            exchange.request = replace(exchange.request, path=PREFIX)  # the front door
        try:
            guard(exchange)
        except RefusedError as refused:
            return refusal(exchange, refused)
        return await operate(exchange, self._control.operations)

    async def _send(self, exchange: Exchange, reply: Reply) -> None:
        await exchange.connection.drain()
        named = (*reply.headers, ("x-request-id", exchange.request_id))
        await exchange.connection.send(replace(reply, headers=named), self.clock)

    def _exchange(self, connection: Connection, request: Request, held: ExitStack) -> Exchange:
        own = f"req_{next(self._numbers):08x}"
        given = request.headers.get("x-request-id", "")
        return Exchange(
            request=request,
            connection=connection,
            account=self.account,
            clock=self.clock,
            sender=self._sender,
            base=self.url,
            request_id=given if REQUEST_ID.fullmatch(given) else own,
            held=held,
        )


def _seen(exchange: Exchange) -> Seen:
    request, secrets = exchange.request, exchange.account.secrets()
    return Seen(
        at=exchange.clock.now(),
        method=request.method,
        path=redacted(request.path, secrets)[:MOST_TEXT],
        query=redacted_query(request.query, secrets)[:MOST_TEXT],
        request_id=redacted(request.headers.get("x-request-id", ""), secrets)[:MOST_TEXT],
        user_agent=redacted(request.headers.get("user-agent", ""), secrets)[:MOST_TEXT],
    )
