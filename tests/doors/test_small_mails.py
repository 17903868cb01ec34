"""Mails around the size at which they become files: each is taken, whole, and kept once."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import SMALL, Store
from tests.doors.client import FROM, TO, door
from tests.doors.test_smtp_trouble import DISK_FULL, fail, nothing_is_kept
from tests.make import mails

pytestmark = pytest.mark.anyio

LIMITED = Rules.model_validate({"sender": [{"domain": ["example.com"], "faxes_per_hour": 9}]})
POSTMASTER = "RCPT TO:<postmaster@fax.local>"


def mail(size: int) -> bytes:
    """So many bytes of lines."""
    lines = b"x" * 62 + b"\r\n"
    return (lines * (size // 64 + 1))[: max(0, size - 2)] + b"\r\n" * bool(size)


@pytest.mark.parametrize("rules", [Rules(), LIMITED], ids=["free", "limited"])
@pytest.mark.parametrize(
    ("size", "files"), [(0, 1), (2, 0), (SMALL, 0), (SMALL + 2, 1), (300_000, 1)]
)
async def test_sizes(store: Store, spool: Spool, rules: Rules, size: int, files: int) -> None:
    """Where ceilings are counted the mail is looked over before the spool has it."""
    async with door(store, spool, rules=rules, max_message=1_000_000) as connect:
        for again in range(2):
            client = await connect.ready(FROM, TO, "DATA")
            said = await client.say(mail(size) + b".\r\n")
            assert said.startswith("250 2.0.0 " + ("duplicate" if again else "accepted")), said
            assert await mails(store, spool) == [mail(size)]
            assert len(spool.kept()) == files
            assert list(spool.incoming.iterdir()) == []


@pytest.mark.parametrize("size", [0, 2, SMALL, SMALL + 2])
async def test_the_postmaster_reads_a_file(store: Store, spool: Spool, size: int) -> None:
    read: list[bytes] = []

    async def admin(path: Path, _peer: str) -> None:
        read.append(await asyncio.to_thread(path.read_bytes))

    more: dict[str, Any] = {"forward": admin}
    async with door(store, spool, more=more) as connect:
        client = await connect.ready(FROM, POSTMASTER, "DATA")
        assert (await client.say(mail(size) + b".\r\n")).startswith("250")
    assert read == [mail(size)]
    assert spool.kept() == list(spool.incoming.iterdir()) == []


async def test_a_full_disk_at_a_small_mail_for_many(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many copies for the rows: it becomes a file late, in the spool's thread."""
    everybody = [f"RCPT TO:<+1415555010{n}@fax.local>" for n in range(5)]
    async with door(store, spool) as connect:
        client = await connect.ready(FROM, *everybody, "DATA")
        with monkeypatch.context() as patch:
            fail(patch, "write", errno.ENOSPC, spool.incoming)
            assert await client.say(mail(SMALL) + b".\r\n") == DISK_FULL
        await nothing_is_kept(store, spool)
        client = await connect.ready(FROM, *everybody, "DATA")
        assert (await client.say(mail(SMALL) + b".\r\n")).startswith("250 2.0.0 accepted as ")
    assert await mails(store, spool) == 5 * [mail(SMALL)]
    assert len({path.stat().st_ino for path in spool.kept()}) == 1
