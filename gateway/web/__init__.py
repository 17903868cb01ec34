"""The web server on our own loop: webhook and health now; small, capped, without a server header.

uvicorn's own signal handling is switched off: signals are the application's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import cast

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_HEADERS = 16 << 10
MOST_CONNECTIONS = 200
IDLE = 10  # s that a connection may rest, or take to say what it wants
CHECK_WITHIN = 5.0  # s for one readiness check

Check = Callable[[], Awaitable[str]]
"""A readiness check: "" = fine, else what is wrong in a few words."""


class WebServer:
    """Serves `routes` on one address; port 0 = any free one."""

    def __init__(
        self,
        host: str,
        port: int,
        routes: Sequence[BaseRoute],
        *,
        idle: int = IDLE,
        given: socket.socket | None = None,
    ) -> None:
        """`given`: a listening socket of systemd, which wins over host and port."""
        self._host = host
        self._port = port
        self._given = given
        app = Starlette(routes=list(routes))
        app.router.redirect_slashes = False  # another path is another thing: 404
        config = uvicorn.Config(
            _capped(app), http=_Protocol, loop="none", lifespan="off",
            log_config=None, access_log=False, server_header=False, timeout_keep_alive=idle,
            h11_max_incomplete_event_size=MOST_HEADERS, timeout_graceful_shutdown=5,
            limit_concurrency=MOST_CONNECTIONS + 1, ws="none",
        )  # fmt: skip
        self._server = _Server(config)

    async def start(self) -> None:
        """Bind and listen. Raises OSError."""
        listener = self._given or self._bound()
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._serving = asyncio.create_task(self._server.serve([listener]), name="web")
        await asyncio.wait(
            {self._serving, asyncio.ensure_future(self._server.up.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )

    def _bound(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self._port))
        except OSError:
            listener.close()
            raise
        return listener

    async def stop(self) -> None:
        """No new connections; requests under way get some seconds."""
        self._server.should_exit = True
        await self._serving


def health(checks: dict[str, Check], *, patience: float = CHECK_WITHIN) -> list[BaseRoute]:
    """`/livez`: the loop runs. `/readyz`: every check is fine, else 503 and what is not."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        answers = {name: await _asked(check, patience) for name, check in checks.items()}
        ready = not any(answers.values())
        return JSONResponse(
            {"ready": ready, "checks": {name: said or "ok" for name, said in answers.items()}},
            200 if ready else 503,
        )

    return [Route("/livez", livez), Route("/readyz", readyz)]


async def _asked(check: Check, patience: float) -> str:
    """A check that fails or hangs is an answer, too: nobody knows, so it is not ready."""
    try:
        async with asyncio.timeout(patience):
            return await check()
    except TimeoutError:
        return "no answer in time"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not fine
        return f"{type(error).__name__}: {error}"


def _capped(app: ASGIApp) -> ASGIApp:
    """h11 bounds only headers that come in pieces; these came whole."""

    async def capped(scope: Scope, receive: Receive, send: Send) -> None:
        fields = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if fields + len(scope["raw_path"]) + len(scope["query_string"]) > MOST_HEADERS:
            refusal = Response(status_code=431, headers={"Connection": "close"})
            await refusal(scope, receive, send)
        else:
            await app(scope, receive, send)

    return capped


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    """uvicorn's, with a deadline for headers and the right status for those that are too long."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        if len(self.connections) > MOST_CONNECTIONS:
            cast("asyncio.Transport", transport).abort()
            return
        self._deadline = self.loop.call_later(self.timeout_keep_alive, self._too_slow)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._lift()
        elif self._deadline is None:  # another request has begun, and its headers are not here yet
            self._deadline = self.loop.call_later(self.timeout_keep_alive, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lift()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the status says it
        """RFC 6585 §5: headers that are too long have a status of their own."""
        buffered, _ = self.conn.trailing_data
        self._refuse(431 if len(buffered) >= MOST_HEADERS else 400)

    def _too_slow(self) -> None:
        buffered, _ = self.conn.trailing_data
        if buffered:
            self._refuse(408)
        self.transport.close()

    def _refuse(self, status: int) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [("connection", "close"), ("content-length", "0")]
            reply = h11.Response(status_code=status, headers=headers)
            self.transport.write(self.conn.send(reply) or b"")
            self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")
        self.transport.close()

    def _lift(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None
