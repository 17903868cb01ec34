"""The control API, /_sim/: what a user or a test does to the sandbox. For this machine only."""

from __future__ import annotations

import base64
import re
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from gateway.provider.simulator.documents import Document, Opened, sample
from gateway.provider.simulator.exchange import Exchange, Operation, text
from gateway.provider.simulator.faults import rule
from gateway.provider.simulator.guide import guide
from gateway.provider.simulator.outside import USER_AGENT
from gateway.provider.simulator.replies import RefusedError, Reply, bare

if TYPE_CHECKING:
    from gateway.provider.simulator.server import Simulator

PREFIX = "/_sim/"
TOLD = ("from_number", "from_name", "to_number", "pages")
WHOLE = re.compile("[0-9]{1,6}")
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
                    "a fax comes in (from_number, from_name, to_number, document, pages)",
                    self.inject,
                ),
                ("POST", "advance", "move the clock forward by seconds", self.advance),
                ("GET", "faults", "the fault rules in force", self.list_faults),
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
        content = exchange.held.enter_context(closing(Opened(fax.document.path)))
        return Reply(200, content, fax.document.media_type)

    async def inject(self, exchange: Exchange) -> Reply:
        fields, document = await _injected(exchange)
        fax = exchange.account.receive(
            fields.get("from_number") or FROM_NUMBER,
            fields.get("to_number") or TO_NUMBER,
            document,
            fields.get("from_name", ""),
            int(fields.get("pages") or 0),
        )
        exchange.sender.received(exchange.account, fax, exchange.base)
        return bare({"id": fax.id}, 201)

    async def advance(self, exchange: Exchange) -> Reply:
        seconds = (await exchange.json()).get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
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
        return replace(await self.list_faults(exchange), status=201)

    async def list_faults(self, exchange: Exchange) -> Reply:
        return bare({"faults": [one.as_json() for one in exchange.account.faults.rules]})

    async def clear_faults(self, exchange: Exchange) -> Reply:
        exchange.account.faults.clear()
        return bare({"faults": []})

    async def reset(self, _: Exchange) -> Reply:
        await self._simulator.reset()
        return bare(self._simulator.state())

    async def hooks_log(self, exchange: Exchange) -> Reply:
        return bare({"tries": [asdict(one) for one in exchange.account.ledger.hook_tries]})


def is_control(path: str) -> bool:
    return path in ("/", "/_sim") or path.startswith(PREFIX)


def guard(exchange: Exchange) -> None:
    """Only from this machine, and nothing that a stranger made a webhook do."""
    if not exchange.from_here:
        raise RefusedError(403, "the control API is for this machine only")
    writes = exchange.request.method != "GET"
    if writes and exchange.request.headers.get("user-agent") == USER_AGENT:
        raise RefusedError(403, "the control API takes no webhooks")


async def _injected(exchange: Exchange) -> tuple[dict[str, str], Document]:
    """The fields and the document of a fax to inject; a sample page when none is given."""
    shelf = exchange.account.shelf
    if exchange.media_type == "multipart/form-data":
        form = await exchange.form()
        fields, upload = _checked({**form.fields}), form.uploads.get("document")
        return fields, await upload.keep() if upload else await shelf.store(sample())
    content: dict[str, Any] = await exchange.json(exchange.account.settings.max_body)
    fields = _checked({name: told for name, told in content.items() if name != "document"})
    if "document" not in content:
        return fields, await shelf.store(sample())
    try:
        document = base64.b64decode(text(content, "document"), validate=True)
    except ValueError as error:
        raise RefusedError(400, "document is not base64", "document") from error
    return fields, await shelf.store(document)


def _checked(fields: dict[str, Any]) -> dict[str, str]:
    """Only what an injection knows: a misspelt field must not pass for a default."""
    for name, told in fields.items():
        if name not in TOLD:
            raise RefusedError(400, f"no field {name}; there is: document, {', '.join(TOLD)}", name)
        right = WHOLE.fullmatch(str(told)) if name == "pages" else isinstance(told, str)
        if not right:
            raise RefusedError(400, f"{name} cannot be {told!r}", name)
    return {name: str(told) for name, told in fields.items()}
