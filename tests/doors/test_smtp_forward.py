"""Mail to the postmaster on its way: how much of it, and what if the smarthost hangs."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.mailbox import Mailbox
from gateway.doors.smtp.postmaster import MOST_BYTES
from gateway.doors.smtp.settings import LOOPBACK
from gateway.mail.forward import Forward, _copy_lines
from gateway.mail.post import Post
from gateway.mail.smarthost import Relay, Smarthost
from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store
from tests.doors.client import END, OK, TEXT, Connect, door

pytestmark = pytest.mark.anyio

RULES = Rules.model_validate({"sender": [{"domain": ["example.com"]}]})
POSTMASTER = "RCPT TO:<postmaster@fax.local>"


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A smarthost that never says a word: its port, and whether somebody is there."""
    asked, end = asyncio.Event(), asyncio.Event()

    async def nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await end.wait()
        writer.close()

    async with await asyncio.start_server(nothing, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked
        end.set()


@asynccontextmanager
async def forwarding(store: Store, spool: Spool, port: int) -> AsyncIterator[Connect]:
    smarthost = Smarthost(Relay("127.0.0.1", port, timeout=600.0))
    forward = Forward(Post(smarthost, spool.part), "admin@example.com", "fax.example")
    async with door(store, spool, rules=RULES, more={"forward": forward}, trusted=()) as connect:
        yield connect


async def test_a_smarthost_that_hangs_does_not_hold_up_the_stop(store: Store, spool: Spool) -> None:
    """The client is not told yes and asks again; no file stays."""
    async with silent() as (port, asked), forwarding(store, spool, port) as connect:
        client = await connect.ready("MAIL FROM:<>", POSTMASTER, "DATA")
        client.send(TEXT + END)
        await asked.wait()
        async with asyncio.timeout(10):
            await connect.listener.stop(0.0)
        assert await client.reply() == "421 4.3.2 Service shutting down"
        assert await client.is_over()
        assert list(spool.incoming.iterdir()) == []


DONE = "250 2.0.0 Ok"
TOO_BIG = "552 5.3.4 Message too big"
LINE = b"a line of a letter to whoever runs this\r\n"
LONG = LINE * (MOST_BYTES // len(LINE))


@pytest.mark.parametrize(
    ("trusted", "sender", "much"),
    [((), "", TOO_BIG), (LOOPBACK, "", DONE), (LOOPBACK, "who@else.example", DONE)],
)
async def test_a_stranger_writes_letters(
    store: Store, spool: Spool, trusted: Any, sender: str, much: str
) -> None:
    """Nobody fills the administrator's mailbox; whoever is known has the whole of SIZE."""
    sizes: list[int] = []

    async def admin(message: Path, _peer: str) -> None:
        sizes.append((await asyncio.to_thread(message.stat)).st_size)

    more: dict[str, Any] = {"forward": admin}
    facts: dict[str, Any] = {"rules": RULES, "max_message": 3 * MOST_BYTES, "trusted": trusted}
    async with door(store, spool, more=more, **facts) as connect:
        client = await connect.ready(f"MAIL FROM:<{sender}> SIZE={MOST_BYTES + 1}")
        assert await client.say(POSTMASTER) == (TOO_BIG if much == TOO_BIG else OK)
        assert await client.say("RSET") == DONE
        assert await client.mail(LONG, "postmaster@fax.local", sender=sender) == DONE
        said = await client.mail(LONG + LINE, "postmaster@fax.local", sender=sender)
        assert said == much
    assert sizes == [len(LONG) + 2, len(LONG + LINE) + 2][: 1 + (much != TOO_BIG)]


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (b"Hel\nlo\rworld", b"Hel\r\nlo\r\nworld\r\n"),
        (b"a\n.\nMAIL FROM:<e@example.com>", b"a\r\n.\r\nMAIL FROM:<e@example.com>\r\n"),
        (b"\r\r", b"\r\n\r\n\r\n"),
    ],
)
async def test_odd_line_ends_arrive(store: Store, spool: Spool, said: bytes, read: bytes) -> None:
    """A smarthost refuses bare ones, rightly; the administrator reads the mail all the same."""
    head, mailbox = b"Subject: x\r\n\r\n", Mailbox()
    await mailbox.start()
    try:
        async with forwarding(store, spool, mailbox.address[1]) as connect:
            client = await connect.ready("MAIL FROM:<ann@example.com>", POSTMASTER, "DATA")
            answer = await client.say(head + said + END)
            await client.say("QUIT")
    finally:
        await mailbox.stop()
    assert answer == DONE
    (mail,) = mailbox.mails
    assert mail.content.partition(head)[2] == read


@pytest.mark.parametrize("block", [1, 2, 3, 5, 1000])
async def test_line_ends_at_the_edge_of_a_block(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("gateway.mail.forward._BLOCK", block)
    for said in map(bytes, product(b"\r\na", repeat=6)):
        copied = io.BytesIO()
        _copy_lines(io.BytesIO(said), copied)
        whole = re.sub(rb"\r\n|\r|\n", b"\r\n", said)
        assert copied.getvalue() == whole + b"\r\n" * (not whole.endswith(b"\n"))
