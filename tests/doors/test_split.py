"""A copier that splits its mails: no piece is faxed, and it is told what to switch off."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog

from gateway.doors import transcripts
from gateway.doors.smtp.settings import LOOPBACK, Kind
from gateway.spool import Spool
from gateway.store import Store
from tests.doors.client import HEAD, TEXT, Client, door, until

pytestmark = pytest.mark.anyio

REFUSED = (
    "554 5.6.1 Split mail (message/partial) is not faxed: "
    "switch splitting off in the copier or mail program"
)
PIECE = (
    HEAD + b'Content-Type: message/partial;\r\n id="1@copier.example"; number=2; total=5\r\n\r\n'
)
BLOCKS = b"line of base64\r\n" * 40_000  # more than one block of the reader
BODIES = pytest.mark.parametrize("body", [PIECE, PIECE + BLOCKS], ids=["small", "big"])


@BODIES
@pytest.mark.parametrize("kind", [Kind.MAIN, Kind.DEVICE])
async def test_no_piece_is_faxed(store: Store, spool: Spool, kind: Kind, body: bytes) -> None:
    async with door(store, spool, kind, devices=LOOPBACK, max_message=1_000_000) as connect:
        client = await connect()
        with structlog.testing.capture_logs() as logs:
            assert await client.mail(body) == REFUSED
        (refused,) = [line for line in logs if line["event"] == "mail_refused"]
        assert (refused["reply"], refused["because"]) == (REFUSED, "split")
        assert (await client.mail(TEXT)).startswith("250 2.0.0 accepted"), "a whole mail is"
        await until(lambda: not list(spool.incoming.iterdir()))
    assert len(await store.latest(9)) == 1


@BODIES
async def test_the_postmaster_reads_it(store: Store, spool: Spool, body: bytes) -> None:
    """Mail programs put the pieces together."""
    read: list[bytes] = []

    async def forward(message: Path, _peer: str) -> None:
        read.append(await asyncio.to_thread(message.read_bytes))

    more = {"forward": forward}
    async with door(store, spool, more=more, max_message=1_000_000) as connect:
        client = await connect()
        assert await client.mail(body, "postmaster@fax.local") == "250 2.0.0 Ok"
    assert read == [body + b"\r\n"]


async def test_the_doctor_is_told(store: Store, spool: Spool) -> None:
    async with door(store, spool) as connect:
        client: Client = await connect()
        (session,) = connect.listener._shared.connections
        assert await client.mail(TEXT) != REFUSED
        assert await client.mail(PIECE) == REFUSED
        said = session.record.transcript.text()
    assert said.count(f"\n-- {transcripts.SPLIT}\nS: {REFUSED[:60]}") == 1, said
