"""The webhook: a hint that becomes a durable row, and exact answers to everything that is none."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route

from gateway.doors.announce import ID
from gateway.doors.webhook import MOST_BODY, RefusedError, Webhook, announced_id
from gateway.model import State
from gateway.store import Store, StoreError
from gateway.web import MOST_HEADERS, WebServer, health

pytestmark = pytest.mark.anyio

SECRET = "a-secret-of-at-least-22-characters"
KEY = "hmac-key"
GOOD = {"event": "fax_received", "id": "fax_received_123"}
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]


@dataclass
class Server:
    """A real web server with the webhook mounted."""

    address: tuple[str, int]
    webhook: Webhook

    async def raw(self, content: bytes, *, body: bool = True) -> tuple[int, bytes]:
        """Send bytes as they are; status and the rest of the reply."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(content)
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if body and line.startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                return int(head.split()[1]), head + await reader.readexactly(length)
        finally:
            writer.close()

    async def post(
        self,
        body: object,
        *,
        path: str = f"/webhook/{SECRET}",
        method: str = "POST",
        **headers: str,
    ) -> tuple[int, bytes]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n"
        return await self.raw(f"{head}{''.join(lines)}\r\n".encode() + content)


async def serving(webhook: Webhook) -> tuple[WebServer, Server]:
    route = Route("/webhook/{secret}", webhook.__call__, methods=METHODS)
    web = WebServer("127.0.0.1", 0, [*health({}), route])
    await web.start()
    return web, Server(web.address, webhook)


@pytest.fixture
async def server(store: Store) -> AsyncIterator[Server]:
    web, server = await serving(Webhook(store, SECRET, patience=0.3))
    yield server
    await web.stop()


async def announced(store: Store) -> list[str]:
    return [fax.provider_id for fax in await store.latest(100)]


async def test_a_hint_is_durable_before_200(server: Server, store: Store) -> None:
    status, _ = await server.post(GOOD)
    assert status == 200
    (fax,) = await store.latest(9)
    assert (fax.state, fax.provider_id, fax.number) == (State.ANNOUNCED, "fax_received_123", "")


CHUNKED = (
    b"POST /webhook/%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % SECRET.encode()
)


@pytest.mark.parametrize(
    ("status", "request_", "says"),
    [
        # A40
        (404, b"POST /hook/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b""),
        (405, f"GET /webhook/{SECRET} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), b"allow: POST"),
        (401, b"POST /webhook/wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"unknown"),
        (401, b"GET /webhook/wrong HTTP/1.1\r\nHost: x\r\n\r\n", b"unknown webhook"),
        # A41
        (
            413,
            f"POST /webhook/{SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: {MOST_BODY + 1}"
            "\r\n\r\n".encode(),
            b"too long",
        ),
        (413, CHUNKED + b"10001\r\n" + b"x" * 0x10001 + b"\r\n", b"too long"),
        (408, CHUNKED + b"5\r\nhello\r\n", b"too slow"),
        (431, b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"y" * (2 * MOST_HEADERS), b""),
        (408, CHUNKED + b"5\r\nhello\r\n0\r\nX-Trailer: ", b"too slow"),
        (400, b"rubbish\r\n\r\n", b""),
        (400, CHUNKED + b"5\r\nhello\r\nrubbish\r\n", b""),
    ],
)
async def test_requests(server: Server, status: int, request_: bytes, says: bytes) -> None:
    got, reply = await server.raw(request_)
    assert got == status
    assert says in reply
    assert b"server:" not in reply.lower()


@pytest.mark.parametrize("method", [one for one in METHODS if one != "POST"])
@pytest.mark.parametrize(("secret", "status"), [(SECRET, 405), ("wrong", 401)])
async def test_methods(server: Server, method: str, secret: str, status: int) -> None:
    path = f"/webhook/{secret}"
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    got, reply = await server.raw(request.encode(), body=method != "HEAD")
    assert got == status
    assert (b"allow: POST" in reply) == (status == 405)


@pytest.mark.parametrize(
    ("secret", "status"),
    [
        (SECRET[:-1], 401),
        (SECRET + "x", 401),
        (SECRET.upper(), 401),
        ("%00", 401),
        ("%C3%BC" * 11, 401),
        ("%FF%FE", 401),
        ("x" * 8000, 401),
        (SECRET.replace("a", "%61"), 200),  # the same, otherwise written
        (f"{SECRET}/", 404),
        (f"{SECRET}/x", 404),
        (f"x%2F..%2F{SECRET}", 404),
        ("", 404),
    ],
)
async def test_secrets(server: Server, store: Store, secret: str, status: int) -> None:
    got, _ = await server.post(GOOD, path=f"/webhook/{secret}")
    assert (got, len(await announced(store))) == (status, int(status == 200))


@pytest.mark.parametrize(
    "kind", ["application/xml", "text/plain", "image/png", "", "application/json; charset=utf-16"]
)
async def test_a_wrong_label_changes_nothing(server: Server, store: Store, kind: str) -> None:
    assert (await server.post(GOOD, Content_Type=kind))[0] == 200
    assert await announced(store) == ["fax_received_123"]


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><fax><id>&b;</id></fax>'
FILE = b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><fax><id>&f;</id></fax>'


@pytest.mark.parametrize(
    ("status", "body"),
    [
        # A42
        (415, b"hello"),
        (415, b""),
        (415, b"\x00\x01\x02="),
        (400, b"{"),
        (400, b"[]"),
        (400, b'{"id": NaN}'),
        (400, b'{"id": "a", "id": "b"}'),
        (400, b'{"id": ' + b"1" * 5000 + b"}"),
        (400, b'{"a":' * 3000),
        (400, b"[" * 60_000),
        (400, b'{"id": "\xff"}'),
        (400, b"<fax><id>1</fax>"),
        (400, BOMB),
        (400, FILE),
        (400, b"<a>" * 2000 + b"</a>" * 2000),
        (400, b"<?xml version='1.0' encoding='utf-99'?><a/>"),
        # A43
        (400, b'{"event":"fax_received","id":"../../x"}'),
        (400, b'{"event":"fax_received","id":"a b"}'),
        (400, b"id=a%2Fb"),
        (400, b'{"event":"fax_received","id":"a%2fb"}'),
        (400, b'{"event":"fax_received","id":".."}'),
        (400, b'{"event":"fax_received","id":"a\\u0000"}'),
        (400, '{"event":"fax_received","id":"\u0661"}'.encode()),
        (400, json.dumps({"id": "x" * 129}).encode()),
        # nothing for us, and nobody shall send it again
        (200, b"{}"),
        (200, b"&".join(b"a=1" for _ in range(8000))),
        (200, b'{"event":"unknown_event"}'),
        (200, b'{"event_name":"outbound_fax","fax_id":"abc"}'),
        (200, b'{"event":"fax_processed","id":"abc"}'),
        (200, b'{"event":"fax.sent","data":{"id":"abc"}}'),
        (200, b'{"event":"fax.delivered","data":{"id":"abc"}}'),
        (200, b'{"event":"fax.failed","data":{"id":"abc"}}'),
        (200, b'{"event":"fax.completed","data":{"id":"abc","direction":"outbound"}}'),
        (200, b"event_name=outbound_fax_error&fax_id=abc"),
        (200, b"<fax_processed><id>abc</id></fax_processed>"),
        (200, b'{"event":"fax_received","id":true}'),
        (200, b'{"event":"fax_received","id":null}'),
        (200, b'{"event":"fax_received","id":{"a":"b"}}'),
    ],
)
async def test_bodies(server: Server, store: Store, status: int, body: bytes) -> None:
    got, _ = await server.post(body)
    assert (got, await announced(store)) == (status, [])


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":"fax_received","id":"rx_1","from_number":"+1","pages":5}',
        b'\xef\xbb\xbf {"event":"fax_received","id":"rx_1"}',
        b'{"id":"evt_9","timestamp":1,"event":"fax.received","data":{"id":"rx_1"}}',
        b'{"event_name":"inbound_fax","fax_id":"rx_1","fax_info":{"fax_total_pages":2}}',
        b"event_name=inbound_fax&fax_id=rx_1&fax_info[fax_result_text]=OK",
        b'<?xml version="1.0"?><webhook><event>fax_received</event><id>rx_1</id></webhook>',
        b"<fax_received><id>rx_1</id></fax_received>",
        b'<n:root xmlns:n="u"><n:fax id="rx_1"/><n:fax><n:id>rx_1</n:id></n:fax></n:root>',
        b'{"event":"fax.received.sent_to_you","data":{"id":"rx_1","direction":"inbound"}}',
        b'{"event":"a_new_word","id":"rx_1"}',  # the provider may rename it
        b'{"event":"fax_received","id":"rx_1","document_url":"http://169.254.169.254/x"}',
    ],
)
async def test_shapes(server: Server, store: Store, body: bytes) -> None:
    assert (await server.post(body))[0] == 200
    assert await announced(store) == ["rx_1"]


async def test_the_same_hint_again_and_again(server: Server, store: Store) -> None:
    outcomes = await asyncio.gather(*(server.post(GOOD) for _ in range(40)))
    assert {status for status, _ in outcomes} == {200}
    assert await announced(store) == ["fax_received_123"]


async def test_hints_look_at_most_every_five_seconds(server: Server, store: Store) -> None:
    now = 1000.0
    server.webhook.clock = lambda: now
    await server.post(GOOD)
    (claimed,) = await store.claim(State.ANNOUNCED, now=2e9, lease=60)

    async def rest_and_hint() -> bool:
        from gateway.store import Change  # noqa: PLC0415

        nonlocal claimed
        await store.save([Change(claimed.retried(3e9, "not there"), None)], now=2e9)
        await server.post(GOOD)
        due = await store.claim(State.ANNOUNCED, now=2e9, lease=60)
        claimed = due[0] if due else (await store.claim(State.ANNOUNCED, now=4e9, lease=60))[0]
        return bool(due)

    assert not await rest_and_hint(), "the announcement itself made us look"
    now += 6
    assert await rest_and_hint()
    assert not await rest_and_hint()
    now += 6
    assert await rest_and_hint()


@dataclass
class Down:
    error: Exception

    async def add(self, *_: Any, **__: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        StoreError("disk full: /secret/path"),
        sqlite3.DatabaseError("/secret/path is malformed"),
        RuntimeError("secret"),
    ],
)
async def test_a_store_that_is_down(error: Exception) -> None:
    """A47: whatever is wrong with us, the provider shall come again."""
    web, server = await serving(Webhook(Down(error), SECRET))  # type: ignore[arg-type]
    status, reply = await server.post(GOOD)
    await web.stop()
    assert (status, b"retry-after: 60" in reply.lower()) == (503, True)
    assert b"secret" not in reply


def signed(body: bytes, at: int, key: str = KEY) -> dict[str, str]:
    mark = hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X_Audian_Signature": mark, "X_Audian_Timestamp": str(at)}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (signed(b'{"id":"a"}', 1000), 200),
        (signed(b'{"id":"a"}', 1000 - 299), 200),
        (signed(b'{"id":"a"}', 1000 - 301), 401),
        (signed(b'{"id":"a"}', 1000 + 301), 401),
        (signed(b'{"id":"b"}', 1000), 401),
        (signed(b'{"id":"a"}', 1000, "other"), 401),
        ({}, 401),
        ({"X_Audian_Signature": "ü"}, 401),
    ],
)
async def test_signatures(store: Store, headers: dict[str, str], status: int) -> None:
    web, server = await serving(Webhook(store, SECRET, KEY, clock=lambda: 1000.0))
    got, _ = await server.post(b'{"id":"a"}', **headers)
    await web.stop()
    assert got == status


async def test_no_secret_opens_nothing(store: Store) -> None:
    web, server = await serving(Webhook(store, ""))
    assert (await server.post(GOOD, path="/webhook/%20"))[0] == 401
    await web.stop()


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_an_id_nothing_or_a_refusal(body: bytes) -> None:
    try:
        found = announced_id(body)
    except RefusedError as refused:
        assert refused.status in (400, 415)
    else:
        assert found == "" or ID.fullmatch(found)


@given(st.recursive(st.none() | st.text() | st.integers() | st.booleans(), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "data", "fax_id", "event", "fax"]),
    inner, max_size=4), max_leaves=12))  # fmt: skip
def test_any_json_is_an_id_nothing_or_a_refusal(value: Any) -> None:
    test = json.dumps(value).encode()
    try:
        found = announced_id(test)
    except RefusedError as refused:
        assert refused.status in (400, 415)
    else:
        assert found == "" or ID.fullmatch(found)
