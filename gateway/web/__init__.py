"""The web server on our own loop: webhook and health now; small, capped, without a server header.

uvicorn's own signal handling is switched off: signals are the application's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_HEADERS = 16 << 10
IDLE = 15  # s that a connection may rest

Check = Callable[[], Awaitable[str]]
"""A readiness check: "" = fine, else what is wrong in a few words."""


class WebServer:
    """Serves `routes` on one address; port 0 = any free one."""

    def __init__(self, host: str, port: int, routes: Sequence[BaseRoute]) -> None:
        self._host = host
        self._port = port
        config = uvicorn.Config(
            Starlette(routes=list(routes)), http=_Protocol, loop="none", lifespan="off",
            log_config=None, access_log=False, server_header=False, timeout_keep_alive=IDLE,
            h11_max_incomplete_event_size=MOST_HEADERS, timeout_graceful_shutdown=5,
            limit_concurrency=1000, ws="none",
        )  # fmt: skip
        self._server = _Server(config)

    async def start(self) -> None:
        """Bind and listen. Raises OSError."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self._port))
        except OSError:
            listener.close()
            raise
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._serving = asyncio.create_task(self._server.serve([listener]), name="web")
        await asyncio.wait(
            {self._serving, asyncio.ensure_future(self._server.up.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )

    async def stop(self) -> None:
        """No new connections; requests under way get some seconds."""
        self._server.should_exit = True
        await self._serving


def health(checks: dict[str, Check]) -> list[BaseRoute]:
    """`/livez`: the loop runs. `/readyz`: every check is fine, else 503 and what is not."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        answers = {name: await check() for name, check in checks.items()}
        ready = not any(answers.values())
        return JSONResponse(
            {"ready": ready, "checks": {name: said or "ok" for name, said in answers.items()}},
            200 if ready else 503,
        )

    return [Route("/livez", livez), Route("/readyz", readyz)]


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
    """uvicorn's, with the right status for headers that are too long (RFC 6585 §5)."""

    def send_400_response(self, msg: str) -> None:
        buffered, _ = self.conn.trailing_data
        if len(buffered) < MOST_HEADERS:
            super().send_400_response(msg)
            return
        reply = h11.Response(
            status_code=431, headers=[("connection", "close"), ("content-length", "0")]
        )
        self.transport.write(self.conn.send(reply) or b"")
        self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")
        self.transport.close()
