"""One request as an operation sees it, and the table row that names an operation."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from gateway.provider.simulator.account import Account
from gateway.provider.simulator.clock import Clock
from gateway.provider.simulator.connection import Connection, Request
from gateway.provider.simulator.documents import Document, Opened
from gateway.provider.simulator.forms import Form
from gateway.provider.simulator.hooks import HookSender
from gateway.provider.simulator.outside import is_loopback
from gateway.provider.simulator.replies import RefusedError, Reply

MOST_JSON = 1024 * 1024


@dataclass(slots=True)
class Exchange:
    request: Request
    connection: Connection
    account: Account
    clock: Clock
    sender: HookSender
    base: str  # our own address, for document_url
    request_id: str
    held: ExitStack  # released once the reply is out
    token: str = ""
    args: dict[str, str] = field(default_factory=dict)  # from the path

    async def body(self, most: int) -> bytes:
        whole = bytearray()
        while piece := await self.connection.piece():
            whole += piece
            if len(whole) > most:
                raise RefusedError(413, f"this body has at most {most} bytes")
        return bytes(whole)

    async def any_json(self, most: int = MOST_JSON) -> object:
        try:
            return json.loads(await self.body(most))
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, "the body is not JSON") from error

    async def json(self, most: int = MOST_JSON) -> dict[str, object]:
        """The body as a JSON object."""
        content = await self.any_json(most)
        if not isinstance(content, dict):
            raise RefusedError(400, "the body is not a JSON object")
        return content

    async def form(self) -> Form:
        form = Form(self.request.headers.get("content-type", ""), self.account.shelf)
        self.held.callback(form.discard)
        while piece := await self.connection.piece():
            form.feed(piece)
        form.finish()
        return form

    @property
    def from_here(self) -> bool:
        """Asked on this machine, and not by a web page that a browser here shows."""
        headers = self.request.headers
        try:
            named = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        except ValueError:
            named = ""
        here = is_loopback(self.connection.peer) and is_loopback(named)
        return here and "origin" not in headers

    @property
    def media_type(self) -> str:
        return self.request.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` has `{name}` where a request has a value."""

    method: str
    path: str
    summary: str
    run: Callable[[Exchange], Awaitable[Reply]]
    needs_token: bool = True

    def match(self, path: str) -> dict[str, str] | None:
        """The path's values; None = another operation's path."""
        pattern, parts = self.path.split("/"), path.split("/")
        if len(pattern) != len(parts):
            return None
        found = {}
        for known, part in zip(pattern, map(unquote, parts), strict=True):
            if known.startswith("{") and part:
                found[known.strip("{}")] = part
            elif known != part:
                return None
        return found


def text(content: dict[str, object], name: str) -> str:
    """A required text of a JSON body."""
    value = content.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RefusedError(400, "Field is required but missing", name)
    return value.strip()


def flag(content: dict[str, object], name: str, default: bool) -> bool:  # noqa: FBT001
    value = content.get(name, default)
    if not isinstance(value, bool):
        raise RefusedError(400, "true or false", name)
    return value


def whole_number(request: Request, name: str, default: int, least: int) -> int:
    """A number of the query."""
    written = request.param(name)
    if not written:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", written) or int(written) < least:
        raise RefusedError(400, f"a whole number, {least} or more", name)
    return int(written)


async def download(exchange: Exchange, document: Document) -> Reply:
    """The bytes, while a download slot of the account is held until they are out."""
    downloads, most = exchange.account.ledger.downloads, exchange.account.settings.max_downloads
    if downloads.now >= most:
        raise RefusedError(429, f"at most {most} downloads at the same time")
    exchange.held.enter_context(downloads.one())
    content = exchange.held.enter_context(closing(Opened(document.path)))
    disposition = f'attachment; filename="fax_document.{document.format or "bin"}"'
    return Reply(200, content, document.media_type, (("content-disposition", disposition),))
