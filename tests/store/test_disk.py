"""The database when its disk fails: what was promised is there, and nothing more is promised."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.store import SMALL, Store, StoreError, units
from gateway.store.sqlite import LOG, open_read_only
from tests import faults
from tests.make import outbound

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]

PROBE = """
import asyncio, json, sys
from pathlib import Path
from gateway.committer import Committer
from gateway.store import Store, StoreError, units
from gateway.store.sqlite import LOG
from tests import faults
from tests.make import outbound

path, which = Path(sys.argv[1]), sys.argv[2]
kept, refused = [], []

async def add(store, through=None, **facts):
    fax = outbound(**facts)
    unit = units.add([fax], 1.0, b"a mail")
    try:
        await (through(unit) if through else store._db.write(unit))
    except StoreError as error:
        refused.append([fax.id, str(error), error.in_doubt])
    else:
        kept.append(fax.id)

def ill():
    faults.fail_fsync(faults.opened(path.with_name(path.name + which)), all_threads=False)
    return
    yield

async def main():
    store = Store(path)
    await store.open()
    await add(store)
    await store._db.write(ill())
    if not which:  # the log works, and grows until it is copied
        await add(store, subject="x" * LOG)
    await add(store)
    # another thread, whose fsyncs succeed: as those after a failed one do
    spool = Committer("spool", lambda batch: [store._db.writing(one) for one in batch])
    await add(store, spool)
    await asyncio.wait_for(store.broken.wait(), 10)
    await spool.close()
    await store.close()
    print(json.dumps([kept, refused]))

asyncio.run(main())
"""


async def test_the_log_is_short_again(tmp_path: Path) -> None:
    """After a burst, and after somebody has read for long; meanwhile nobody waits."""
    path = tmp_path / "gateway.db"
    store = Store(path)
    await store.open()

    async def grows(times: int) -> int:
        for _ in range(times):
            await store._db.write(units.add([outbound() for _ in range(20)], 1.0, b"x" * SMALL))
        for _ in range(2):  # one copies it, one begins it anew
            await store.add([outbound()], now=1.0)
        return path.with_name("gateway.db-wal").stat().st_size

    assert await grows(10) <= LOG
    reader = open_read_only(path)
    reader.execute("BEGIN")
    seen = reader.execute("SELECT COUNT(*) AS n FROM message").fetchone()
    assert await grows(10) > 2 * LOG
    assert reader.execute("SELECT COUNT(*) AS n FROM message").fetchone() == seen == {"n": 200}
    reader.close()
    assert await grows(0) <= LOG
    assert len(await store.latest(999)) == 400 + 6
    await store.close()


@pytest.mark.parametrize("again", [False, True], ids=["gone", "made anew"])
async def test_the_log_is_removed_by_hand(tmp_path: Path, again: bool) -> None:
    """Nothing more is promised, for it would be in no file; what was promised is kept."""
    path = tmp_path / "gateway.db"
    store, kept = Store(path), outbound()
    await store.open()
    await store.add([kept], now=1.0)
    log = path.with_name("gateway.db-wal")
    log.unlink()
    if again:  # by whoever looks into the database meanwhile
        log.touch()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"somebody has removed .*gateway\.db-wal"):
            await store.add([outbound()], now=1.0)
    await asyncio.wait_for(store.broken.wait(), 10)
    # as after a kill; another process copies it: to close the file here would free its locks
    copy = path.with_name("copy.db")
    await asyncio.to_thread(subprocess.run, ["cp", str(path), str(copy)], check=True)
    killed = open_read_only(copy)
    assert killed.execute("SELECT id FROM fax").fetchall() == [{"id": kept.id}]
    killed.close()
    await store.close()
    store = Store(path)
    await store.open()
    assert [fax.id for fax in await store.latest(9)] == [kept.id]
    await store.add([outbound()], now=1.0)
    await store.close()


JUNK = """
import sys
with open(sys.argv[1], "r+b") as file:
    size = file.seek(0, 2)
    file.seek(4096)
    file.write(b"junk" * ((size - 4096) // 4))
"""


async def test_a_damaged_database_takes_nothing(tmp_path: Path) -> None:
    """F-B1: an error of the store for readers and writers, which nobody dies of."""
    path = tmp_path / "gateway.db"
    store = Store(path)
    await store.open()
    await store.add([outbound()], now=1.0)
    for connection in (store._db._writer, store._db._reader):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("PRAGMA shrink_memory")
    # another process: to close a file of the database here would free its locks
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", JUNK, str(path)], check=True)
    for ask in (store.latest(9), store.add([outbound()], now=1.0), store.counts()):
        with pytest.raises(StoreError, match="malformed"):
            await ask
    assert not store.broken.is_set()
    await store.close()


@pytest.mark.skipif(not faults.POSSIBLE, reason="seccomp is for Linux")
@pytest.mark.parametrize(
    ("which", "in_doubt"), [("-wal", True), ("", False)], ids=["of the log", "of a checkpoint"]
)
async def test_a_failed_fsync(tmp_path: Path, which: str, in_doubt: bool) -> None:
    """F-D4: not tried again, not even by closing; the next process finds all that was promised."""
    path = tmp_path / "gateway.db"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", PROBE, str(path), which],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kept, refused = json.loads(done.stdout)
    assert [facts[1:] for facts in refused] == [
        ["disk I/O error", in_doubt],
        ["the disk failed an fsync before", False],
    ]
    assert path.with_name("gateway.db-wal").stat().st_size > 0
    store = Store(path)
    await store.open()
    assert [await store.messages.get(fax) for fax in kept] == [b"a mail"] * (1 if which else 2)
    assert await store.get(refused[1][0]) is None
    await store.close()
