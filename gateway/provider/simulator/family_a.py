"""Family A: /v2/accounts/{account}/faxes, JSON in an envelope, as the first document has it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gateway.provider.simulator.clock import iso
from gateway.provider.simulator.documents import Document, Upload, sample
from gateway.provider.simulator.exchange import Exchange, Operation, download, text, whole_number
from gateway.provider.simulator.inbound import RECEIVED, InboundFax
from gateway.provider.simulator.outbound import NEVER_STORED, REFUSED, OutboundFax, suffix
from gateway.provider.simulator.outside import is_local, is_web
from gateway.provider.simulator.replies import RefusedError, Reply, envelope

NUMBER = re.compile(r"\+?[0-9]{3,20}")
PUNCTUATION = re.compile(r"[\s().-]")
ACCEPTED = {"application/pdf", "image/tiff", "image/png", "image/jpeg", "image/jpg"}
UNTOLD = {"", "application/octet-stream"}  # the bytes decide

Fax = OutboundFax | InboundFax


async def list_all(exchange: Exchange) -> Reply:
    return _page(exchange, [*exchange.account.sent(), *exchange.account.received()])


async def inbox(exchange: Exchange) -> Reply:
    return _page(exchange, list(exchange.account.received()))


async def outbox(exchange: Exchange) -> Reply:
    """Faxes that left the queue, also without success."""
    now = exchange.clock.now()
    return _page(exchange, [fax for fax in exchange.account.sent() if fax.plan.over(now)])


async def send(exchange: Exchange) -> Reply:
    to_number, from_number, document = await _submission(exchange)
    if suffix(to_number) == NEVER_STORED:
        fax_id = exchange.account.swallow(to_number, from_number, document)
        row = {"id": fax_id, "status": "pending"}
    else:
        fax = exchange.account.submit(to_number, from_number, document)
        row = _row(fax, exchange.clock.now()) | {"status": "pending"}
    await exchange.clock.pause(exchange.clock.scaled(exchange.account.settings.timing.t_accept))
    return _reply(exchange, row, exchange.account.settings.profile.submit_code)


async def details(exchange: Exchange) -> Reply:
    fax, now = _found(exchange), exchange.clock.now()
    path = FAXES.format(account=exchange.args["account"])
    row = _row(fax, now) | {"document_url": f"{exchange.base}{path}/{fax.id}/attachment"}
    if isinstance(fax, OutboundFax) and fax.plan.over(now):
        row["duration"] = round(fax.plan.on_line)
        if fax.plan.ending.error:
            row["error"] = fax.plan.ending.error.format(from_number=fax.from_number)
    return _reply(exchange, row)


async def attachment(exchange: Exchange) -> Reply:
    fax = _found(exchange)
    if isinstance(fax, InboundFax) and fax.ready_at > exchange.clock.now():
        raise RefusedError(404, "the document is not there yet")
    return await download(exchange, fax.document)


async def delete(exchange: Exchange) -> Reply:
    """Also a fax still in the queue: it is never called."""
    fax = _found(exchange)
    exchange.account.delete(fax.id)
    code = exchange.account.settings.profile.delete_code
    return Reply(204) if code == 204 else _reply(exchange, {"id": fax.id}, code)


async def authenticate(exchange: Exchange) -> Reply:
    """An api key becomes a token."""
    data = (await exchange.json()).get("data")
    key = text(data if isinstance(data, dict) else {}, "api_key")
    settings = exchange.account.settings
    if key != settings.api_key:
        raise RefusedError(401, "invalid credentials")
    exchange.token = exchange.account.issue_token()
    return _reply(exchange, {"account_id": settings.account_id, "owner_id": ""}, 201)


FAXES = "/v2/accounts/{account}/faxes"
OPERATIONS = (
    Operation(
        "GET", FAXES, "list all faxes (?paginate=false, or page_size and start_key)", list_all
    ),
    Operation("PUT", FAXES, "send a fax: JSON with document_url, or form-data with document", send),
    Operation("GET", FAXES + "/inbox", "list received faxes", inbox),
    Operation("GET", FAXES + "/outbox", "list sent faxes", outbox),
    Operation("GET", FAXES + "/{id}", "details of a fax", details),
    Operation("GET", FAXES + "/{id}/attachment", "download its document", attachment),
    Operation("DELETE", FAXES + "/{id}", "delete it", delete),
    Operation("PUT", "/v2/api_auth", "an api key for a token", authenticate, needs_token=False),
)


async def _submission(exchange: Exchange) -> tuple[str, str, Document]:
    """Numbers and document, or the provider's refusal."""
    if exchange.media_type == "multipart/form-data":
        form = await exchange.form()
        numbers = _numbers(dict(form.fields))
        return *numbers, await _uploaded(form.uploads.get("document"))
    if exchange.media_type not in ("application/json", ""):
        raise RefusedError(415, "send application/json or multipart/form-data")
    data = (await exchange.json()).get("data")
    if not isinstance(data, dict):
        raise RefusedError(400, "Field is required but missing", "data")
    numbers = _numbers(data)
    return *numbers, await _named(exchange, text(data, "document_url"))


def _numbers(fields: dict[str, Any]) -> tuple[str, str]:
    to_number, from_number = text(fields, "to_number"), text(fields, "from_number")
    if not NUMBER.fullmatch(PUNCTUATION.sub("", to_number)):
        raise RefusedError(400, "to_number is not a fax number", "to_number")
    if suffix(to_number) in REFUSED:
        raise RefusedError(*REFUSED[suffix(to_number)])
    return to_number, from_number


async def _uploaded(upload: Upload | None) -> Document:
    if upload is None or not upload.size:
        raise RefusedError(400, "Field is required but missing", "document")
    declared = upload.declared.partition(";")[0].strip().lower()
    if declared not in ACCEPTED | UNTOLD or not upload.sniff():
        raise RefusedError(415, "a document is PDF, TIFF, PNG or JPG")
    return await upload.keep()


async def _named(exchange: Exchange, url: str) -> Document:
    """The document behind an address of this machine, for who is on it; else, one page."""
    if not is_web(url):
        raise RefusedError(400, "document_url is not an http address", "document_url")
    shelf, name = exchange.account.shelf, url.partition("?")[0].rpartition("/")[2]
    if not (is_local(url) and exchange.from_here):
        return await shelf.store(sample(), name)
    upload = shelf.upload(name)
    exchange.held.callback(upload.discard)
    if await exchange.sender.outside.fetch(url, upload, exchange.account.settings.max_body):
        return await upload.keep()
    return await shelf.store(b"", name)  # the provider, too, would find out only later


def _found(exchange: Exchange) -> Fax:
    fax = exchange.account.find(exchange.args["id"])
    if fax is None:
        raise RefusedError(404, "bad identifier")
    return fax


def _row(fax: Fax, now: float) -> dict[str, Any]:
    """The documented fields."""
    outbound = isinstance(fax, OutboundFax)
    return {
        "id": fax.id,
        "direction": "outbound" if outbound else "inbound",
        "from_number": fax.from_number,
        "to_number": fax.to_number,
        "status": fax.status(now) if isinstance(fax, OutboundFax) else RECEIVED,
        "pages": fax.pages(now) if isinstance(fax, OutboundFax) else fax.pages,
        "timestamp": iso(fax.at),
    }


def _page(exchange: Exchange, faxes: Iterable[Fax]) -> Reply:
    """Newest first, from `start_key` on; the last page names no next key."""
    newest, now = sorted(faxes, key=lambda fax: -fax.serial), exchange.clock.now()
    request, profile = exchange.request, exchange.account.settings.profile
    if request.param("paginate") == "false":
        return _reply(exchange, [_row(fax, now) for fax in newest])
    size = whole_number(request, "page_size", profile.page_default, 1)
    size = min(size, profile.page_max)
    key = request.param("start_key")
    if key:
        newest = [fax for fax in newest if fax.serial <= _serial(key)]
    rows = [_row(fax, now) for fax in newest[:size]]
    more: dict[str, Any] = {"page_size": len(rows)}
    if key:
        more["start_key"] = key
    if len(newest) > size:
        more["next_start_key"] = f"k{newest[size].serial:x}"
    return _reply(exchange, rows, more=more)


def _serial(key: str) -> int:
    if not re.fullmatch(r"k[0-9a-f]{1,12}", key):
        raise RefusedError(400, "start_key is not one of ours", "start_key")
    return int(key[1:], 16)


def _reply(
    exchange: Exchange, content: object, status: int = 200, more: dict[str, Any] | None = None
) -> Reply:
    return envelope(content, exchange.token, exchange.request_id, status, more or {})
