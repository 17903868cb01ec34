"""The control API, /_sim/: what a user or a test does to the sandbox. For this machine only."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gateway.provider.simulator.connection import is_loopback
from gateway.provider.simulator.documents import sample
from gateway.provider.simulator.exchange import Exchange, Operation, text
from gateway.provider.simulator.faults import rule
from gateway.provider.simulator.guide import guide
from gateway.provider.simulator.replies import RefusedError, Reply, bare

if TYPE_CHECKING:
    from gateway.provider.simulator.server import Simulator

PREFIX = "/_sim/"
FROM_NUMBER, TO_NUMBER = "+14155550123", "+14155550100"


class Control:
    """Each method is one operation."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.operations = tuple(
            Operation(method, PREFIX + path, summary, run, needs_token=False)
            for method, path, summary, run in (
                ("GET", "", "this page, or the same as JSON", self.index),
                (
                    "GET",
                    "state",
                    "the clock, all faxes, hooks, routes, numbers and faults",
                    self.state,
                ),
                ("GET", "ledger", "what was stored and asked: the oracle of tests", self.ledger),
                ("GET", "documents/{id}", "the document of any fax", self.document),
                (
                    "POST",
                    "inject",
                    "a fax comes in (from_number, to_number, document)",
                    self.inject,
                ),
                ("POST", "advance", "move the clock forward by seconds", self.advance),
                ("POST", "faults", "add a fault rule, or a list of them", self.add_faults),
                ("DELETE", "faults", "forget all fault rules", self.clear_faults),
                ("POST", "reset", "forget everything", self.reset),
                ("GET", "hooks/log", "every try of every webhook", self.hooks_log),
            )
        )

    async def index(self, exchange: Exchange) -> Reply:
        operations = (*self._simulator.operations, *self.operations)
        return guide(exchange, operations)

    async def state(self, _: Exchange) -> Reply:
        return bare(self._simulator.state())

    async def ledger(self, exchange: Exchange) -> Reply:
        return bare(exchange.account.ledger.as_json())

    async def document(self, exchange: Exchange) -> Reply:
        account, fax_id = exchange.account, exchange.args["id"]
        fax = account.outbound.get(fax_id) or account.inbound.get(fax_id)
        if fax is None:
            raise RefusedError(404, "no fax has that id")
        return Reply(200, fax.document.read(), fax.document.media_type)

    async def inject(self, exchange: Exchange) -> Reply:
        fields, document = await _injected(exchange)
        fax_id = await self._simulator.inject(
            from_number=fields.get("from_number") or FROM_NUMBER,
            to_number=fields.get("to_number") or TO_NUMBER,
            document=document,
            from_name=fields.get("from_name", ""),
        )
        return bare({"id": fax_id}, 201)

    async def advance(self, exchange: Exchange) -> Reply:
        seconds = (await exchange.json()).get("seconds")
        if not isinstance(seconds, int | float) or not seconds >= 0:
            raise RefusedError(400, "a number of seconds, 0 or more", "seconds")
        try:
            self._simulator.advance(seconds)
        except ValueError as error:
            raise RefusedError(400, str(error), "seconds") from error
        return bare({"now": exchange.clock.now()})

    async def add_faults(self, exchange: Exchange) -> Reply:
        content = await exchange.any_json()
        try:
            rules = [rule(one) for one in (content if isinstance(content, list) else [content])]
        except ValueError as error:
            raise RefusedError(400, str(error)) from error
        for one in rules:
            self._simulator.add_fault(one)
        return bare({"faults": [one.as_json() for one in exchange.account.faults.rules]}, 201)

    async def clear_faults(self, exchange: Exchange) -> Reply:
        exchange.account.faults.clear()
        return bare({"faults": []})

    async def reset(self, _: Exchange) -> Reply:
        await self._simulator.reset()
        return bare(self._simulator.state())

    async def hooks_log(self, exchange: Exchange) -> Reply:
        return bare({"tries": [asdict(one) for one in exchange.account.ledger.hook_tries]})


def guard(exchange: Exchange) -> None:
    """Only from this machine, and not from a web page that a browser of this machine shows."""
    headers = exchange.request.headers
    try:
        named = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        named = ""
    if not (is_loopback(exchange.connection.peer) and is_loopback(named)) or "origin" in headers:
        raise RefusedError(403, "the control API is for this machine only")


async def _injected(exchange: Exchange) -> tuple[dict[str, str], bytes]:
    """The fields and the document of a fax to inject; a sample page when none is given."""
    if exchange.media_type == "multipart/form-data":
        form = await exchange.form()
        upload = form.uploads.get("document")
        return form.fields, (await upload.keep()).read() if upload else sample()
    content: dict[str, Any] = await exchange.json(exchange.account.settings.max_body)
    if "document" not in content:
        return _texts(content), sample()
    try:
        document = base64.b64decode(text(content, "document"), validate=True)
    except ValueError as error:
        raise RefusedError(400, "document is not base64", "document") from error
    return _texts(content), document


def _texts(content: dict[str, Any]) -> dict[str, str]:
    return {name: text(content, name) for name in content if name != "document"}
