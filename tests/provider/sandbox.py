"""A running simulator with a client that has its token, and a receiver for its webhooks."""

from __future__ import annotations

import asyncio
import io
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import httpx
from PIL import Image

from gateway.provider.simulator import Settings, Simulator, Timing

TOKEN = {"X-Auth-Token": "sandbox-token"}
FAXES = "/v2/accounts/acct_sandbox/faxes"
RECEIVED = "/v2/fax/received"
FROM, TO = "+14155550100", "+14155550123"
UNUSED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx would read the machine's for each client
PROMPT = Timing(t_accept=0, t_index_lag=0, t_queue=0, t_attach=0, t_hook=0)


@asynccontextmanager
async def sandbox(**settings: Any) -> AsyncIterator[tuple[Simulator, httpx.AsyncClient]]:
    """By default nothing is delayed except the calls themselves, which need `sim.advance`."""
    settings = {"timing": PROMPT, **settings}
    async with (
        Simulator(Settings(**settings)) as sim,
        httpx.AsyncClient(base_url=sim.url, headers=TOKEN, timeout=10, verify=UNUSED) as client,
    ):
        yield sim, client


async def submit(
    client: httpx.AsyncClient, document: bytes, to: str = TO, name: str = "fax.pdf"
) -> httpx.Response:
    return await client.put(
        FAXES,
        data={"to_number": to, "from_number": FROM},
        files={"document": (name, document, "application/pdf")},
    )


async def submitted(client: httpx.AsyncClient, document: bytes, to: str = TO) -> str:
    reply = await submit(client, document, to)
    assert reply.status_code == 202, reply.text
    return str(reply.json()["data"]["id"])


def tiff(pages: int = 1) -> bytes:
    sheets = [Image.new("1", (64, 64), 1) for _ in range(pages)]
    out = io.BytesIO()
    sheets[0].save(out, "TIFF", save_all=True, append_images=sheets[1:], compression="group4")
    return out.getvalue()


def picture(form: str) -> bytes:
    out = io.BytesIO()
    Image.new("L", (64, 64), 255).save(out, form)
    return out.getvalue()


async def eventually(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.002)


async def outwait(sim: Simulator, *tasks: asyncio.Task[httpx.Response]) -> None:
    """Move the clock until they are done, whenever their waiting began."""
    while not all(task.done() for task in tasks):
        sim.advance(1000)
        await asyncio.sleep(0.01)


class Receiver:
    """Answers webhooks with the statuses given, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.url = ""
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self._statuses = list(statuses)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._receive, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/webhook/x"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # a reset of the simulator hangs up in the middle
            await self._answer(reader, writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        self.bodies.append(await reader.readexactly(length))
        self.heads.append(head)
        status = self._statuses.pop(0) if self._statuses else 200
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n".encode())
        writer.write(b"Connection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
