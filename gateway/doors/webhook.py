"""Webhooks: a hint that some fax came. Takes the id, makes it durable, answers 200.

Whoever knows the path can at worst make us ask the provider once for an id that is none: numbers,
pages and documents all come from its API. So the body is read small and strictly, as JSON, XML
(no DTD) or a form, in all the shapes that the provider's pages show.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from xml.etree.ElementTree import Element, ParseError

import structlog
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from gateway.doors.announce import ID, announce
from gateway.store import Store, StoreError

log = structlog.get_logger()

MOST_BODY = 64 << 10
SLOWEST = 10.0  # s for a whole body
DEEPEST = 16
OFTEN = 5.0  # s in which one id is looked up once at most
SIGNED_WITHIN = 300.0
_WRAPPERS = ("data", "fax", "payload", "webhook", "fax_info")
_IDS = ("fax_id", "id")
_INBOUND = re.compile(r"inbound|incoming|received")
_OTHER = re.compile(r"outbound|outgoing|(^|[._-])(sent|sending|delivered|failed|error|processed)\b")


class RefusedError(Exception):
    """A request that is no announcement: status and words."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


@dataclass
class Webhook:
    """The door, mounted at /webhook/{secret}."""

    store: Store
    secret: str
    hmac_secret: str = ""
    clock: Callable[[], float] = time.time
    patience: float = SLOWEST
    _looked: dict[str, float] = field(default_factory=dict)

    async def __call__(self, request: Request) -> Response:
        try:
            await self._take(request)
        except RefusedError as refused:
            log.warning("webhook_refused", status=refused.status, because=str(refused))
            headers = {"Allow": "POST"} if refused.status == 405 else {}
            if refused.status in (408, 413):
                headers["Connection"] = "close"
            return PlainTextResponse(f"{refused}\n", refused.status, headers)
        except Exception as error:  # whatever is wrong with us, the provider shall come again
            bug = None if isinstance(error, StoreError) else error
            log.error("store_failed", error=str(error), exc_info=bug)  # noqa: TRY400 - or no bug
            return PlainTextResponse("try again\n", 503, {"Retry-After": "60"})
        return PlainTextResponse("ok\n")

    async def _take(self, request: Request) -> None:
        self._known(request.path_params["secret"])
        if request.method != "POST":
            raise RefusedError(405, "POST is wanted")
        body = await _read(request, self.patience)
        self._signed(request, body)
        fax_id = announced_id(body)
        if fax_id:
            await self._announce(fax_id)

    async def _announce(self, fax_id: str) -> None:
        now = self.clock()
        (added,) = await announce(self.store, [fax_id], now)
        if now - self._looked.get(fax_id, 0.0) <= OFTEN:
            return
        if len(self._looked) > 10_000:
            self._looked.clear()
        self._looked[fax_id] = now
        if added.duplicate:
            await self.store.nudge(added.fax)

    def _known(self, secret: str) -> None:
        """Digests, so that neither content nor length shows in the time."""
        ours, theirs = (hashlib.sha256(one.encode()).digest() for one in (self.secret, secret))
        if not hmac.compare_digest(ours, theirs) or not self.secret:
            raise RefusedError(401, "unknown webhook")

    def _signed(self, request: Request, body: bytes) -> None:
        """X-Audian-Signature = hex HMAC-SHA256(key, timestamp + "." + body), where a key is set."""
        if not self.hmac_secret:
            return
        at = request.headers.get("x-audian-timestamp", "")
        signed = hmac.new(self.hmac_secret.encode(), at.encode() + b"." + body, hashlib.sha256)
        shown = request.headers.get("x-audian-signature", "").removeprefix("sha256=")
        if not hmac.compare_digest(signed.hexdigest().encode(), shown.encode()):
            raise RefusedError(401, "wrong signature")
        if not re.fullmatch(r"\d{1,12}", at) or abs(self.clock() - int(at)) > SIGNED_WITHIN:
            raise RefusedError(401, "signature too old")


async def _read(request: Request, patience: float) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > MOST_BODY:
        raise RefusedError(413, "too long")
    body = bytearray()
    try:
        async with asyncio.timeout(patience):
            async for block in request.stream():
                body += block
                if len(body) > MOST_BODY:
                    raise RefusedError(413, "too long")
    except TimeoutError:
        raise RefusedError(408, "too slow") from None
    except ClientDisconnect:
        raise RefusedError(400, "the body broke off") from None
    return bytes(body)


def announced_id(body: bytes) -> str:
    """The id of the fax that a webhook tells of; "" = it is about something else.

    Raises RefusedError: 415 for what is neither JSON, XML nor a form, 400 for a damaged one.
    """
    facts = _facts(body.lstrip(b"\xef\xbb\xbf \t\r\n"))
    if _is_of_another(facts):
        return ""
    fax_id = next((text for name in _IDS if (text := _text(facts.get(name)))), "")
    if not fax_id:
        return ""
    if not ID.fullmatch(fax_id):
        raise RefusedError(400, "no id of a fax")
    return fax_id


def _is_of_another(facts: Mapping[str, Any]) -> bool:
    """It tells of something else than a received fax; a word that nobody knows does not."""
    event = _text(facts.get("event")) or _text(facts.get("event_name"))
    words = f"{event} {_text(facts.get('direction'))}".lower()
    return bool(_OTHER.search(words)) and not _INBOUND.search(words)


def _text(value: Any) -> str:  # noqa: ANN401
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _facts(body: bytes) -> Mapping[str, Any]:
    """One flat table out of any of the shapes; the first byte says which, not the label."""
    match body[:1]:
        case b"{" | b"[":
            return _flat(_json(body), 0)
        case b"<":
            return _flat(_xml(body), 0)
    form = parse_qsl(body.decode("ascii", "replace"))
    if not form or not all(re.fullmatch(r"[\w.\[\]-]{1,100}", name) for name, _ in form):
        raise RefusedError(415, "JSON, XML or a form is wanted")
    return dict(reversed(form))


def _flat(facts: Any, depth: int) -> dict[str, Any]:  # noqa: ANN401
    """Inner tables first, so that an envelope's own id and event give way to the fax's id."""
    if not isinstance(facts, dict) or depth > DEEPEST:
        raise RefusedError(400, "no announcement")
    flat = {name: value for name, value in facts.items() if not isinstance(value, dict | list)}
    for name in _WRAPPERS:
        if isinstance(facts.get(name), dict):
            inner = _flat(facts[name], depth + 1)
            flat |= {key: value for key, value in inner.items() if key in _IDS or key not in flat}
    return flat


def _json(body: bytes) -> Any:  # noqa: ANN401
    if max(body.count(b"{"), body.count(b"[")) > 200:
        raise RefusedError(400, "too deep")
    try:
        return json.loads(body, object_pairs_hook=_once, parse_constant=_never)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "damaged JSON") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice")
    return table


def _never(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _xml(body: bytes) -> dict[str, Any]:
    try:
        root = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        raise RefusedError(400, "damaged XML") from error
    return {"event": _tag(root)} | _table(root, 0)


def _table(element: Element, depth: int) -> dict[str, Any]:
    if depth > 8:
        raise RefusedError(400, "too deep")
    table: dict[str, Any] = dict(element.attrib)
    for child in element:
        table[_tag(child)] = _table(child, depth + 1) if len(child) else (child.text or "").strip()
    return table


def _tag(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
