"""The web server as a stranger meets it: health that tells the truth, limits, nothing told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gateway.web import MOST_CONNECTIONS, MOST_HEADERS, Check, WebServer, health

pytestmark = pytest.mark.anyio

ANSWERS: dict[str, str | Exception | None] = {}


def check(name: str) -> Check:
    """Says what ANSWERS has; None = never answers."""

    async def say() -> str:
        answer = ANSWERS[name]
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    return say


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
async def web() -> AsyncIterator[WebServer]:
    ANSWERS.update(database="", disk="")
    checks = {"database": check("database"), "disk": check("disk")}
    routes = [*health(checks, patience=0.1), Route("/echo", echo, methods=["POST"])]
    server = WebServer("127.0.0.1", 0, routes, idle=1)
    await server.start()
    yield server
    await server.stop()


async def say(web: WebServer, *pieces: bytes) -> bytes:
    """Everything that the server answers, until it hangs up."""
    reader, writer = await asyncio.open_connection(*web.address)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def ask(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("HEAD", "/livez", 200),
        ("POST", "/livez", 405),
        ("GET", "/readyz", 200),
        ("HEAD", "/readyz", 200),
        ("GET", "/livez/", 404),  # not sent elsewhere: a webhook would not follow
        ("GET", "/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%00", 404),
        ("GET", "/%ff", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("DELETE", "/nothing", 404),
        ("BREW", "/livez", 405),
        ("GET", "http://elsewhere.example/livez", 404),
        ("OPTIONS", "*", 404),
    ],
)
async def test_paths(web: WebServer, method: str, path: str, status: int) -> None:
    reply = await say(web, ask(method, path))
    head, _, body = reply.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert b"server:" not in head.lower()
    assert b"x-powered-by" not in head.lower()
    if method == "HEAD":
        assert body == b""


@pytest.mark.parametrize(
    ("answers", "status", "said"),
    [
        ({}, 200, {"database": "ok", "disk": "ok"}),
        ({"disk": "nearly full"}, 503, {"database": "ok", "disk": "nearly full"}),
        ({"database": RuntimeError("disk I/O error")}, 503,
         {"database": "RuntimeError: disk I/O error", "disk": "ok"}),
        ({"database": None}, 503, {"database": "no answer in time", "disk": "ok"}),
    ],
)  # fmt: skip
async def test_readiness_is_the_truth(
    web: WebServer, answers: dict[str, str | Exception | None], status: int, said: dict[str, str]
) -> None:
    """Also when a check itself fails or hangs: then nobody knows, and that is not ready."""
    ANSWERS.update(answers)
    head, _, body = (await say(web, ask("GET", "/readyz"))).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert json.loads(body) == {"ready": status == 200, "checks": said}
    assert b" 200 " in await say(web, ask("GET", "/livez")), "alive all the same"


LONG = "y" * MOST_HEADERS


@pytest.mark.parametrize(
    "pieces",
    [
        [ask("GET", "/livez", f"X: {LONG}")],  # whole in one segment
        [ask("GET", "/livez", *(f"X{i}: {'y' * 1000}" for i in range(17)))],
        [ask("GET", f"/livez?{LONG}")],
        [b"GET /livez HTTP/1.1\r\nX: ", *[b"y" * 1024] * 17],  # in pieces, never ending
    ],
)
async def test_long_headers(web: WebServer, pieces: list[bytes]) -> None:
    reply = await say(web, *pieces)
    assert reply.startswith(b"HTTP/1.1 431 ")
    assert b"connection: close" in reply.lower()


async def test_headers_of_some_length_are_fine(web: WebServer) -> None:
    reply = await say(web, ask("GET", "/livez", f"X: {'y' * (MOST_HEADERS - 200)}"))
    assert reply.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("pieces", "first"),
    [
        ([], b""),  # connects and says nothing
        ([b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "], b"HTTP/1.1 408 "),
        ([b"G"], b"HTTP/1.1 408 "),
        ([b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"], b"HTTP/1.1 200 "),  # then rests
        ([b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /li"], b"HTTP/1.1 200 "),
    ],
)
async def test_who_does_not_get_on_is_hung_up_on(
    web: WebServer, pieces: list[bytes], first: bytes
) -> None:
    """Else a thousand of them would keep every webhook out."""
    assert (await say(web, *pieces))[:13] == first


@pytest.mark.parametrize(
    "request_",
    [
        b"rubbish\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",  # no Host
        b"GET /l\xfcvez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 600,  # TLS to a plain port
    ],
)
async def test_what_is_no_http(web: WebServer, request_: bytes) -> None:
    assert (await say(web, request_)).startswith(b"HTTP/1.1 400 ")
    assert b" 200 " in await say(web, ask("GET", "/livez"))


async def test_connections_are_counted() -> None:
    """Others in this process need sockets, too: what is too many is hung up on at once."""
    web = WebServer("127.0.0.1", 0, health({}))
    await web.start()
    peers = [await asyncio.open_connection(*web.address) for _ in range(MOST_CONNECTIONS)]
    assert await say(web, ask("GET", "/livez")) == b""
    first, writer = peers[0]
    writer.write(ask("GET", "/livez"))
    assert (await first.read()).startswith(b"HTTP/1.1 200 "), "who was in before is served"
    for _, writer in peers:
        writer.close()
    async with asyncio.timeout(10):
        while not (await say(web, ask("GET", "/livez"))).startswith(b"HTTP/1.1 200 "):
            pass
    await web.stop()
