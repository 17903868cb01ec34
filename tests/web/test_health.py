"""What a load balancer hears of the gateway: not ready as soon as its disk failed."""

from __future__ import annotations

from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import anyio.to_thread
import pytest

from gateway import config
from gateway.build.doors import web_server
from gateway.spool import Spool
from gateway.store import Store

pytestmark = pytest.mark.anyio


def asked(address: tuple[str, int]) -> tuple[int, bytes]:
    host, port = address
    try:
        with urlopen(Request(f"http://{host}:{port}/readyz"), timeout=10) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.parametrize("broken", ["", "spool", "store"])
async def test_ready(tmp_path: Path, store: Store, spool: Spool, broken: str) -> None:
    settings, _ = config.load(environ={
        "AUDIAN_ACCOUNT_ID": "a", "AUDIAN_AUTH_TOKEN": "t", "FAX_FROM_NUMBER": "+14155550199",
        "DATA_DIR": str(tmp_path), "WEB_LISTEN": "127.0.0.1:0", "INBOUND": "off",
    })  # fmt: skip
    web = web_server(settings, store, spool, {})
    if broken:
        (spool.broken if broken == "spool" else store.broken).set()
    await web.start()
    status, said = await anyio.to_thread.run_sync(asked, web.address)
    await web.stop()
    assert (status, b"the disk failed" in said) == ((503, True) if broken else (200, False))
