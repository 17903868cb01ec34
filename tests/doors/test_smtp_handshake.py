"""TLS at the SMTP door, on both loops: what goes before, what with it, who leaves in between."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.spool import Spool
from gateway.store import Store
from tests.doors.client import (
    FROM,
    HEAD,
    HELLO,
    MODES,
    TO,
    Client,
    Connect,
    door,
    pair,
    until,
)

pytestmark = pytest.mark.anyio

EARLY = "554 5.5.0 Protocol synchronization"
NOT_SMTP = "421 4.7.0 Not SMTP"
MAIL_FIRST = "503 5.5.1 MAIL first"
SENDER_OK = "250 2.1.0 Sender ok"
OFFERED = [
    "250-fax.example", "250-PIPELINING", "250-SIZE 100000", "250-8BITMIME", "250-SMTPUTF8",
    "250-ENHANCEDSTATUSCODES", "250 DSN",
]  # fmt: skip


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Each has TLS of its own."""
    return "asyncio", {"use_uvloop": request.param}


async def raw(connect: Connect) -> Client:
    """A client that says nothing by itself and knows no TLS."""
    client = Client(*await asyncio.open_connection(*connect.address))
    connect.clients.append(client)
    return client


async def test_starttls_is_offered_once(store: Store, spool: Spool) -> None:
    async with door(store, spool, mode="starttls") as connect:
        client = await raw(connect)
        assert await client.reply() == "220 fax.example ESMTP"
        assert (await client.say(HELLO)).splitlines() == [
            *OFFERED[:-1], "250-DSN", "250 STARTTLS"
        ]  # fmt: skip
        assert await client.say("STARTTLS now") == "501 5.5.4 No argument is allowed"
        assert await client.say("starttls") == "220 2.0.0 Ready to start TLS"
        await client.start_tls()
        assert (await client.say(HELLO)).splitlines() == OFFERED
        assert await client.say("STARTTLS") == "503 5.5.1 TLS is active already"


async def test_other_protocols_within_tls(store: Store, spool: Spool) -> None:
    async with door(store, spool, mode="tls") as connect:
        client = await connect()
        assert await client.say(b"GET / HTTP/1.1\r\n") == NOT_SMTP
        assert await client.is_over()


def handshake() -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """TLS in memory, so that a test says what goes into which packet."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    return pair()[1].wrap_bio(incoming, outgoing, server_hostname="localhost"), incoming, outgoing


async def test_early_talk_with_the_last_packet_of_the_handshake(store: Store, spool: Spool) -> None:
    """It is told so in TLS, as it speaks TLS."""
    async with door(store, spool, mode="tls") as connect:
        client = await raw(connect)
        talk, incoming, outgoing = handshake()
        heard = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            talk.do_handshake()
        client.send(outgoing.read())
        while True:
            incoming.write(await client.reader.read(65536))
            try:
                talk.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        talk.write(f"{HELLO}\r\n".encode())
        client.send(outgoing.read())  # the client's Finished and EHLO together
        while content := await client.reader.read(65536):
            incoming.write(content)
            with contextlib.suppress(ssl.SSLWantReadError):
                heard += talk.read(65536)
                break
        assert heard == f"{EARLY}\r\n".encode()


async def test_bytes_behind_starttls(store: Store, spool: Spool) -> None:
    async with door(store, spool, mode="starttls") as connect:
        for behind in (b"EHLO evil.example\r\n", b"x", b"\r\n", b"MAIL FROM:<e@v>\r\n" * 9):
            client = await raw(connect)
            await client.reply()
            await client.say(HELLO)
            assert await client.say(b"STARTTLS\r\n" + behind) == EARLY
            assert await client.is_over()


async def test_nothing_of_before_survives_starttls(store: Store, spool: Spool) -> None:
    async with door(store, spool, mode="starttls") as connect:
        client = await raw(connect)
        assert await client.reply() == "220 fax.example ESMTP"
        for command in (HELLO, FROM, TO, "STARTTLS"):
            assert (await client.say(command)).startswith("2")
        await client.start_tls()
        assert await client.say(TO) == MAIL_FIRST
        assert await client.say("DATA") == "503 5.5.1 RCPT first"
        assert await client.say(FROM) == "503 5.5.1 EHLO first"
        await client.say(HELLO)
        assert await client.say("DATA") == "503 5.5.1 RCPT first"
        assert await client.say(TO) == MAIL_FIRST
        assert await client.say(FROM) == SENDER_OK


@pytest.mark.parametrize("mode", ["starttls", "tls"])
@pytest.mark.parametrize("leave", ["reset", "end", "junk"])
async def test_who_leaves_in_the_handshake_frees_its_place(
    store: Store, spool: Spool, mode: str, leave: str
) -> None:
    async with door(store, spool, mode=mode) as connect:
        shared = connect.listener._shared
        client = await raw(connect)
        if mode == "starttls":
            await client.reply()
            await client.say(HELLO)
            await client.say("STARTTLS")
        talk, _, outgoing = handshake()
        with contextlib.suppress(ssl.SSLWantReadError):
            talk.do_handshake()
        await client.push(outgoing.read())
        await client.reader.read(1)  # the server is in the middle of it
        if leave == "junk":
            client.send(b"x" * 500)
        else:
            wire = client.writer.get_extra_info("socket")
            linger = struct.pack("ii", leave == "reset", 0)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.writer.transport.abort()
        await until(lambda: not shared.connections)
        assert len(shared.guests) == 0


async def test_who_left_before_anybody_looked(store: Store, spool: Spool) -> None:
    """A port scan: connected and reset, all before the loop has its turn."""
    async with door(store, spool) as connect:
        for _ in range(10):
            with socket.create_connection(connect.address) as scan:
                scan.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client = await connect()
        assert await client.say("NOOP") == "250 2.0.0 Ok"
        await until(lambda: len(connect.listener._shared.connections) == 1)
        assert len(connect.listener._shared.guests) == 1


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_handshake_that_stalls(store: Store, spool: Spool, mode: str, said: bytes) -> None:
    """A2: whoever says nothing, or only a beginning, is cut."""
    async with door(store, spool, mode=mode, handshake=0.3) as connect:
        client = await raw(connect)
        if mode == "starttls":
            await client.reply()
            await client.say(HELLO)
            await client.say("STARTTLS")
        client.send(said)
        assert await client.is_over()
        await until(lambda: not connect.listener._shared.connections)
        assert len(connect.listener._shared.guests) == 0


async def test_plain_text_where_tls_is_wanted(store: Store, spool: Spool) -> None:
    async with door(store, spool, mode="tls") as connect:
        client = await raw(connect)
        client.send(HELLO)
        await until(lambda: not connect.listener._shared.connections)


async def test_no_plain_word_where_tls_is_wanted(store: Store, spool: Spool) -> None:
    """Whoever has no place is told so in the log alone: it would read a word as broken TLS."""
    async with door(store, spool, mode="tls", most=1) as connect:
        first = await connect()
        with capture_logs() as logs:
            with pytest.raises((ConnectionError, ssl.SSLError)) as error:
                await connect(greeted=False)
            assert getattr(error.value, "reason", "") != "WRONG_VERSION_NUMBER"
            assert await (await raw(connect)).reader.read() == b""
        assert [one["reply"] for one in logs] == ["421 4.3.2 Busy"]
        assert await first.say("NOOP") == "250 2.0.0 Ok"


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("is_on", [True, False])
async def test_whose_place_is_taken(store: Store, spool: Spool, mode: str, is_on: bool) -> None:
    """In TLS it is told; during the handshake only cut."""
    async with door(store, spool, mode=mode, most=1) as connect:
        shared = connect.listener._shared
        first = await connect() if is_on else await raw(connect)
        await until(lambda: len(shared.guests) == 1)
        if mode == "starttls" and not is_on:
            for said in (await first.reply(), await first.say(HELLO), await first.say("STARTTLS")):
                assert said.startswith("2")
        if is_on:  # on both sides
            assert await first.say("NOOP") == "250 2.0.0 Ok"
        (session,) = shared.connections
        assert session.guest
        session.guest.useful_at -= 60.0  # it has brought nothing for long
        assert await (await connect()).say("NOOP") == "250 2.0.0 Ok"
        with contextlib.suppress(ConnectionError):
            assert await first.reader.read() == (b"421 4.3.2 Busy\r\n" if is_on else b"")
        await until(lambda: len(shared.connections) == len(shared.guests) == 1)


async def test_no_word_behind_the_go_ahead_for_tls(store: Store, spool: Spool) -> None:
    """Its place is taken just then, before the handshake has begun."""
    async with door(store, spool, mode="starttls") as connect:
        client = await raw(connect)
        await client.reply()
        await client.say(HELLO)
        (session,) = connect.listener._shared.connections
        session.data_received(b"STARTTLS\r\n")
        session.cut("421 4.3.2 Busy")
        assert await client.reader.read() == b"220 2.0.0 Ready to start TLS\r\n"


@pytest.mark.parametrize("mode", MODES)
async def test_a_mail_of_many_blocks(store: Store, spool: Spool, mode: str) -> None:
    """Blocks, dots at their edges and what follows the end, through TLS as without."""
    lines = [b"." * (n % 5) + b"line %d of a long mail\r\n" % n for n in range(60_000)]
    sent = HEAD + b"\r\n" + b"".join(lines)
    stuffed = HEAD + b"\r\n" + b"".join(b"." * line.startswith(b".") + line for line in lines)
    async with door(store, spool, mode=mode, max_message=5_000_000) as connect:
        for word in ("accepted as", "duplicate of"):
            client = await connect.ready(FROM, TO, "DATA")
            for start in range(0, len(stuffed), 70_001):
                await client.push(stuffed[start : start + 70_001])
            assert (await client.say(b".\r\nNOOP\r\n")).startswith(f"250 2.0.0 {word} ")
            assert await client.reply() == "250 2.0.0 Ok"
        (path,) = spool.kept()
        assert path.read_bytes() == sent


@pytest.mark.parametrize("mode", MODES)
async def test_who_leaves_with_the_last_dot(store: Store, spool: Spool, mode: str) -> None:
    """Closing, in TLS too, takes back nothing that was said before."""
    async with door(store, spool, mode=mode) as connect:
        client = await connect.ready(FROM, TO, "DATA")
        client.send(HEAD + b"\r\nHello\r\n.\r\n")
        client.writer.close()
        await until(lambda: not connect.listener._shared.connections)
        await until(lambda: not connect.listener._shared.commits)
    assert len(await store.latest(9)) == 1
