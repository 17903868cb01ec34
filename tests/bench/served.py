"""The servers under test, each a process of its own: our door as shipped, and stock aiosmtpd.

Prints its address as one JSON line; at SIGTERM, with --lag, the event loop's lateness.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import structlog
import uvloop
from aiosmtpd.smtp import SMTP

from gateway import log
from gateway.doors.refusals import Refusals
from gateway.doors.smtp import Kind, Listener, Services, SmtpDoor, SmtpSettings
from gateway.doors.transcripts import Transcripts
from gateway.outbound.intake import Intake
from gateway.outbound.permit import Defaults, Policy
from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store

LARGEST = 50_000_000


async def ours(root: Path) -> tuple[str, int]:
    """Door, intake, spool and SQLite (FULL), with the log on."""
    log.setup(form="json")
    spool, store = Spool(root / "data"), Store(root / "gateway.db")
    await spool.open()
    await store.open()
    settings = SmtpSettings(
        "bench.example", (Listener(port=0),), max_message=LARGEST, most_per_address=200
    )
    services = Services(
        Intake(spool, store, "+14155550199"), store, spool,
        Policy(Rules(), Defaults("+14155550199", trusted=settings.trusted)),
        Refusals(store), Transcripts(store),
    )  # fmt: skip
    door = SmtpDoor(settings, services)
    await door.start()
    return door.addresses[Kind.MAIN]


class Fsynced:
    """What a user of aiosmtpd would write: the whole message to a file, fsync, 250."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names = itertools.count()

    async def handle_DATA(self, _server: SMTP, _session: object, envelope: Any) -> str:  # noqa: N802
        await asyncio.to_thread(self._write, envelope.content)
        return "250 2.0.0 Ok"

    def _write(self, content: bytes) -> None:
        with (self._root / str(next(self._names))).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


async def stock(root: Path) -> tuple[str, int]:
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    handler, loop = Fsynced(root), asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, hostname="bench.example", data_size_limit=LARGEST, loop=loop),
        "127.0.0.1", 0, backlog=1024,
    )  # fmt: skip
    host, port = server.sockets[0].getsockname()
    return host, port


async def serve(name: str, root: Path, *, lag: bool) -> None:
    host, port = await {"ours": ours, "stock": stock}[name](root)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(json.dumps([host, port]), flush=True)
    late: list[float] = []
    while lag and not stop.is_set():
        begun = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - begun - 0.001)
    await stop.wait()
    late.sort()
    print(json.dumps({"p99": late[int(len(late) * 0.99)], "max": late[-1]} if late else {}))
    sys.stdout.flush()
    structlog.reset_defaults()
    os._exit(0)  # a bench does not wait for open connections


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("ours", "stock"))
    parser.add_argument("root", type=Path)
    parser.add_argument("--lag", action="store_true")
    chosen = parser.parse_args()
    run = uvloop.run if chosen.name == "ours" else asyncio.run
    run(serve(chosen.name, chosen.root, lag=chosen.lag))
