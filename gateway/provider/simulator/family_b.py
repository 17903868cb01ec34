"""Family B: /v2/fax, bare JSON, received faxes only, as the second document has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from gateway.provider.simulator.account import EVENTS, Hook
from gateway.provider.simulator.clock import instant, iso
from gateway.provider.simulator.exchange import (
    Exchange,
    Operation,
    download,
    flag,
    text,
    whole_number,
)
from gateway.provider.simulator.inbound import BAUD_RATE, WORDS, InboundFax
from gateway.provider.simulator.outbound import digits
from gateway.provider.simulator.outside import is_web
from gateway.provider.simulator.replies import RefusedError, Reply, bare

LIMIT, MOST_LIMIT = 20, 100


async def list_received(exchange: Exchange) -> Reply:
    """Newest first."""
    wanted = _filters(exchange)
    faxes = [fax for fax in exchange.account.received() if all(want(fax) for want in wanted)]
    faxes.reverse()
    limit = min(whole_number(exchange.request, "limit", LIMIT, 1), MOST_LIMIT)
    offset = whole_number(exchange.request, "offset", 0, 0)
    rows = [_row(exchange, fax) for fax in faxes[offset : offset + limit]]
    return bare({"faxes": rows, "total": len(faxes), "limit": limit, "offset": offset})


async def details(exchange: Exchange) -> Reply:
    return _details(exchange, _found(exchange))


async def fetch(exchange: Exchange) -> Reply:
    fax = _found(exchange)
    if fax.ready_at > exchange.clock.now():
        raise RefusedError(404, "the document is not there yet")
    return await download(exchange, fax.document)


async def mark(exchange: Exchange) -> Reply:
    word = text(await exchange.json(), "status")
    fax = _found(exchange)
    if fax.mark(word):
        told = exchange.sender.announce(exchange.account, "fax_processed", fax, exchange.base)
        exchange.account.spawn(told)
    return _details(exchange, fax)


async def archive(exchange: Exchange) -> Reply:
    fax = _found(exchange)
    fax.archive(exchange.account.settings.profile.archive_twice)
    return _details(exchange, fax)


async def add_hook(exchange: Exchange) -> Reply:
    content = await exchange.json()
    events = content.get("events")
    if not isinstance(events, list) or not events or any(one not in EVENTS for one in events):
        raise RefusedError(400, f"events is a list of {', '.join(EVENTS)}", "events")
    form = content.get("format", "json")
    if form not in ("json", "xml"):
        raise RefusedError(400, "format is json or xml", "format")
    hook = Hook(
        id=exchange.account.new_id("hook"),
        url=_address(content, "url"),
        events=tuple(events),
        enabled=flag(content, "enabled", default=True),
        format=str(form),
    )
    exchange.account.hooks.append(hook)
    return bare(asdict(hook), 201)


async def add_route(exchange: Exchange) -> Reply:
    """A webhook route is a hook for received faxes; an email route is only remembered."""
    content = await exchange.json()
    kind = text(content, "type")
    if kind not in ("email", "webhook"):
        raise RefusedError(400, "type is email or webhook", "type")
    where = _address(content, "destination") if kind == "webhook" else _mailbox(content)
    route: dict[str, Any] = {
        "id": exchange.account.new_id("route"),
        "type": kind,
        "destination": where,
        "attach_document": flag(content, "attach_document", default=False),
        "enabled": flag(content, "enabled", default=True),
    }
    exchange.account.routes.append(route)
    if kind == "webhook":
        hook = Hook(route["id"], where, events=("fax_received",), enabled=route["enabled"])
        exchange.account.hooks.append(hook)
    return bare(route, 201)


async def add_numbers(exchange: Exchange) -> Reply:
    content = await exchange.json()
    area, quantity = text(content, "area_code"), content.get("quantity", 1)
    if not re.fullmatch(r"[2-9][0-9]{2}", area):
        raise RefusedError(400, "area_code is three digits", "area_code")
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
        raise RefusedError(400, "quantity is a whole number, 1 or more", "quantity")
    numbers, most = exchange.account.numbers, exchange.account.settings.max_numbers
    if len(numbers) + quantity > most:
        raise RefusedError(409, f"an account has at most {most} numbers")
    new = [
        f"+1{area}555{at:04d}" for at in range(100 + len(numbers), 100 + len(numbers) + quantity)
    ]
    numbers += new
    return bare({"numbers": new, "area_code": area, "quantity": quantity}, 201)


RECEIVED = "/v2/fax/received"
OPERATIONS = (
    Operation(
        "GET",
        RECEIVED,
        "list received faxes (limit, offset, from_date, to_date, status, from_number)",
        list_received,
    ),
    Operation("GET", RECEIVED + "/{id}", "details of a received fax", details),
    Operation("GET", RECEIVED + "/{id}/download", "download its document", fetch),
    Operation("PUT", RECEIVED + "/{id}", "mark it processed", mark),
    Operation("POST", RECEIVED + "/{id}/archive", "archive it", archive),
    Operation("POST", "/v2/fax/webhooks", "register a webhook", add_hook),
    Operation("POST", "/v2/fax/routing", "route received faxes to email or webhook", add_route),
    Operation("POST", "/v2/fax/numbers", "request fax numbers", add_numbers),
)


def _filters(exchange: Exchange) -> list[Callable[[InboundFax], bool]]:
    """What the query asks of each fax."""
    request, wanted = exchange.request, list[Callable[[InboundFax], bool]]()
    if request.param("from_date"):
        first = _instant(exchange, "from_date")
        wanted.append(lambda fax: fax.at >= first)
    if request.param("to_date"):
        last = _instant(exchange, "to_date")
        wanted.append(lambda fax: int(fax.at) <= last)  # received_at is told in whole seconds
    if status := request.param("status"):
        if status not in WORDS:
            raise RefusedError(400, f"status is one of {', '.join(WORDS)}", "status")
        wanted.append(lambda fax: fax.status == status)
    if number := request.param("from_number"):
        wanted.append(lambda fax: digits(fax.from_number) == digits(number))
    return wanted


def _instant(exchange: Exchange, name: str) -> float:
    try:
        return instant(exchange.request.param(name))
    except (ValueError, OverflowError) as error:
        raise RefusedError(400, "an ISO 8601 time", name) from error


def _found(exchange: Exchange) -> InboundFax:
    fax = exchange.account.find(exchange.args["id"])
    if not isinstance(fax, InboundFax):
        raise RefusedError(404, "no received fax has that id")
    return fax


def _address(content: dict[str, object], name: str) -> str:
    url = text(content, name)
    if not is_web(url):
        raise RefusedError(400, f"{name} is not an http address", name)
    return url


def _mailbox(content: dict[str, object]) -> str:
    mailbox = text(content, "destination")
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", mailbox):
        raise RefusedError(400, "destination is not a mail address", "destination")
    return mailbox


def _row(exchange: Exchange, fax: InboundFax) -> dict[str, Any]:
    return {
        "id": fax.id,
        "from_number": fax.from_number,
        "from_name": fax.from_name,
        "to_number": fax.to_number,
        "pages": fax.pages,
        "received_at": iso(fax.at),
        "status": fax.status,
        "format": fax.format,
        "file_size": fax.document.size,
        "document_url": f"{exchange.base}{RECEIVED}/{fax.id}/download",
        "processed": fax.processed,
    }


def _details(exchange: Exchange, fax: InboundFax) -> Reply:
    more = {"duration": fax.duration, "baud_rate": BAUD_RATE, "created_at": iso(fax.at)}
    return bare(_row(exchange, fax) | more)
