"""The table of faxes says what became of each, and what it waits for."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread
import pytest

from gateway.model import Fax, State
from gateway.store import DATABASE, Store
from tests.cli.test_verbs import GOOD, run
from tests.make import outbound

pytestmark = pytest.mark.anyio

WAITS = "told together with others: 9 mails in an hour"


@pytest.mark.parametrize(
    ("fax", "note"),
    [
        (outbound(State.FAILED, reason="USER_BUSY", trouble=WAITS), f"USER_BUSY; {WAITS}"),
        (outbound(State.DELIVERED, trouble=WAITS), WAITS),
        (outbound(State.FAILED, reason="USER_BUSY", trouble="451", held="a bug"), "a bug"),
        (outbound(State.CLOSED, reason="USER_BUSY"), "USER_BUSY"),
    ],
)
async def test_what_a_fax_waits_for(tmp_path: Path, fax: Fax, note: str) -> None:
    store = Store(tmp_path / DATABASE)
    await store.open()
    await store.add([fax], now=1.0)
    listed = await anyio.to_thread.run_sync(
        lambda: run("list", **GOOD, DATA_DIR=str(tmp_path), COLUMNS="300").stdout
    )
    await store.close()
    assert listed.rstrip().endswith(f"  {note}")
