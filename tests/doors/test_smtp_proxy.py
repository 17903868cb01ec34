"""PROXY headers over sockets: believed from listed peers alone, before TLS, places and rules."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.doors.smtp import Kind
from gateway.doors.smtp.settings import LOOPBACK
from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store
from tests.doors.client import FROM, HELLO, OK, TEXT, TO, Client, Connect, door, pair, until

pytestmark = pytest.mark.anyio

OFFICE, WORLD = "192.0.2.7", "203.0.113.9"
GREETING = "220 fax.example ESMTP"
EARLY = "554 5.5.0 Protocol synchronization"
BAD_PROXY = "421 4.7.0 PROXY line expected"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
RULES = Rules.model_validate({"sender": [{"network": ["192.0.2.0/24"]}]})


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


def v1(source: str) -> bytes:
    return f"PROXY TCP4 {source} 198.51.100.2 56324 25\r\n".encode()


def v2(source: str) -> bytes:
    addresses = bytes(map(int, source.split("."))) + bytes((198, 51, 100, 2))
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 12) + addresses + struct.pack("!HH", 1, 25)


LOCAL = SIGNATURE + struct.pack("!BBH", 0x20, 0, 0)
HEADERS = pytest.mark.parametrize("header", [v1, v2])


@pytest.fixture
async def connect(store: Store, spool: Spool) -> AsyncIterator[Connect]:
    async with door(store, spool, rules=RULES, trusted=(), proxies=LOOPBACK) as connect:
        yield connect


async def balanced(connect: Connect, first: bytes) -> Client:
    """A connection that begins with these bytes."""
    client = Client(*await asyncio.open_connection(*connect.address))
    connect.clients.append(client)
    client.send(first)
    return client


@HEADERS
async def test_who_it_is(connect: Connect, store: Store, header: Callable[[str], bytes]) -> None:
    """Rules, places, log and rejects are about the client and not about the balancer."""
    client = await balanced(connect, header(OFFICE))
    assert await client.reply() == GREETING
    assert list(connect.listener._shared.guests._here) == [OFFICE]
    assert (await client.mail(TEXT)).startswith("250 2.0.0 accepted as ")
    stranger = await balanced(connect, header(WORLD))
    await stranger.reply()
    await stranger.say(HELLO)
    with capture_logs() as logs:
        assert await stranger.say(FROM) == "530 5.7.0 Authentication required"
    assert [one["peer"] for one in logs] == [WORLD]


@HEADERS
async def test_cut_anywhere(connect: Connect, header: Callable[[str], bytes]) -> None:
    whole = header(OFFICE)
    for place in (1, 5, 12, len(whole) - 1):
        client = await balanced(connect, whole[:place])
        await until(lambda: any(one.proxy for one in connect.listener._shared.connections))
        client.send(whole[place:])
        assert await client.reply() == GREETING
        client.writer.close()
        await until(lambda: not connect.listener._shared.connections)


@HEADERS
async def test_early_talk_behind_it(connect: Connect, header: Callable[[str], bytes]) -> None:
    client = await balanced(connect, header(OFFICE) + f"{HELLO}\r\n".encode())
    assert await client.reply() == EARLY
    assert await client.is_over()


@pytest.mark.parametrize(
    "first", [b"EHLO x\r\n", b"PROXY\r\n", b"\x16\x03\x01", SIGNATURE + b"xxxx"]
)
async def test_a_listed_peer_must_say_it(connect: Connect, first: bytes) -> None:
    client = await balanced(connect, first)
    assert await client.reply() == BAD_PROXY
    assert await client.is_over()


async def test_a_balancer_before_tls_that_does_not_say_it(store: Store, spool: Spool) -> None:
    """Its client, which speaks TLS, could make nothing of a reply."""
    async with door(store, spool, rules=RULES, mode="tls", proxies=LOOPBACK) as connect:
        with capture_logs() as logs:
            client = await balanced(connect, b"\x16\x03\x01")
            assert await client.reply() == ""
        assert [(one["because"], one["reply"]) for one in logs] == [("proxy", BAD_PROXY)]


async def test_a_balancer_before_tls_that_says_nothing(store: Store, spool: Spool) -> None:
    async with door(store, spool, rules=RULES, mode="tls", proxies=LOOPBACK) as connect:
        client = await balanced(connect, b"PROXY TCP4 ")
        connect.hurry(handshake=0.2)
        assert await client.reply() == ""
        assert await client.is_over()


@pytest.mark.parametrize("first", [b"", b"PROXY TCP4 "])
async def test_a_listed_peer_must_say_it_soon(connect: Connect, first: bytes) -> None:
    client = await balanced(connect, first)
    connect.hurry(handshake=0.2)
    assert await client.reply() == "421 4.4.2 Timeout"
    assert await client.is_over()


@pytest.mark.parametrize("first", [LOCAL, b"PROXY UNKNOWN\r\n"])
async def test_the_balancers_own_check(connect: Connect, first: bytes) -> None:
    client = await balanced(connect, first)
    assert await client.reply() == GREETING
    assert await client.say("QUIT") == "221 2.0.0 Bye"


@HEADERS
async def test_no_place_for_it(store: Store, spool: Spool, header: Callable[[str], bytes]) -> None:
    facts: dict[str, Any] = {"trusted": (), "proxies": LOOPBACK, "most_per_address": 1}
    async with door(store, spool, rules=RULES, **facts) as connect:
        first = await balanced(connect, header(OFFICE))
        assert await first.reply() == GREETING
        second = await balanced(connect, header(OFFICE))
        assert await second.reply() == "421 4.7.0 Too many connections"
        assert await second.is_over()
        other = await balanced(connect, header(WORLD))
        assert await other.reply() == GREETING


@HEADERS
@pytest.mark.parametrize("together", [True, False])
async def test_before_tls(
    store: Store, spool: Spool, header: Callable[[str], bytes], together: bool
) -> None:
    """Port 465 behind a balancer: header and ClientHello in one packet, or not."""
    facts: dict[str, Any] = {"trusted": (), "proxies": LOOPBACK}
    async with door(store, spool, rules=RULES, mode="tls", **facts) as connect:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        talk = pair()[1].wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            talk.do_handshake()
        hello = outgoing.read()
        client = await balanced(connect, header(OFFICE) + (hello if together else b""))
        if not together:
            await until(lambda: len(connect.listener._shared.guests) == 1)
            client.send(hello)

        async def more() -> None:
            client.send(outgoing.read())
            incoming.write(await client.reader.read(65536))

        async def done(step: Callable[[], Any]) -> Any:
            async with asyncio.timeout(10):
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        await more()

        await done(talk.do_handshake)
        assert await done(lambda: talk.read(999)) == f"{GREETING}\r\n".encode()
        for command, reply in ((HELLO, b"250-fax"), (FROM, b"250 2.1.0"), (TO, OK.encode())):
            talk.write(f"{command}\r\n".encode())
            assert (await done(lambda: talk.read(999))).startswith(reply)


async def test_a_copier_behind_a_balancer(store: Store, spool: Spool) -> None:
    """`SMTP_DEVICE_NETWORKS` is about the copier's own address."""
    facts: dict[str, Any] = {"trusted": (), "proxies": LOOPBACK, "devices": RULES.sender[0].network}
    async with door(store, spool, Kind.DEVICE, **facts) as connect:
        copier = await balanced(connect, v1(OFFICE))
        assert await copier.reply() == GREETING
        stranger = await balanced(connect, v1(WORLD))
        assert (await stranger.reply()).startswith("554 5.7.1 Only for copiers")
        assert await stranger.is_over()


@pytest.mark.parametrize("header", [v1(OFFICE), v2(OFFICE), LOCAL, b"PROXY UNKNOWN\r\n"])
@pytest.mark.parametrize("greeted", [True, False])
async def test_of_a_peer_that_is_not_listed(
    store: Store, spool: Spool, header: bytes, greeted: bool
) -> None:
    async with door(store, spool, rules=RULES, trusted=()) as connect:
        client = await connect(greeted=greeted)
        with capture_logs() as logs:
            client.send(header)
            said = await client.reply()
            if not greeted and said == GREETING:  # it was a little late to be early
                said = await client.reply()
            assert said == "421 4.7.0 Not SMTP"
            assert await client.is_over()
        assert [(one["because"], one["peer"]) for one in logs] == [("cross_proto", "127.0.0.1")]


async def test_a_network_is_one_sender(store: Store, spool: Spool) -> None:
    """Whatever its hosts call themselves, and whichever of them tries again."""
    rules = Rules.model_validate({"sender": [{"network": ["192.0.2.0/24"], "faxes_per_day": 2}]})
    async with door(store, spool, rules=rules, trusted=(), proxies=LOOPBACK) as connect:
        said = []
        for source, sender in (
            ("192.0.2.7", "ann@example.com"),
            ("192.0.2.8", "ann@example.com"),
            ("192.0.2.7", "bob@example.com"),
        ):
            client = await balanced(connect, v1(source))
            await client.reply()
            said.append((await client.mail(TEXT, sender=sender)).split()[2])
        assert said == ["accepted", "duplicate", "accepted"]
        assert await client.say("MAIL FROM:<eve@else.example>") == "250 2.1.0 Sender ok"
        assert re.fullmatch(
            r"451 4\.7\.1 Quota, retry after .*\d\d:\d\d: 2 faxes a day from this sender",
            await client.say("RCPT TO:<+14155550101@fax.local>"),
        )
