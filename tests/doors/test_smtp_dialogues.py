"""The SMTP door, word for word: the abuse table's replies, over real sockets."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.spool import Spool
from gateway.store import Store, StoreError
from tests.doors.client import FROM, HEAD, HELLO, OK, TEXT, TO, Connect, door, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def connect(store: Store, spool: Spool) -> AsyncIterator[Connect]:
    async with door(store, spool) as connect:
        yield connect


async def test_what_is_offered(connect: Connect) -> None:
    client = await connect()
    assert (await client.say(HELLO)).splitlines() == [
        "250-fax.example", "250-PIPELINING", "250-SIZE 100000", "250-8BITMIME", "250-SMTPUTF8",
        "250-ENHANCEDSTATUSCODES", "250 DSN",
    ]  # fmt: skip


async def test_a_mail(connect: Connect, store: Store) -> None:
    client = await connect()
    reply = await client.mail(TEXT)
    (fax,) = await store.latest(9)
    assert reply == f"250 2.0.0 accepted as {fax.id}"
    assert (fax.number, fax.line, fax.sender) == ("+14155550100", "+14155550199", "ann@example.com")
    assert await client.say("QUIT") == "221 2.0.0 Bye"


@pytest.mark.parametrize(
    ("address", "reply"),
    [
        # written forms
        ("14155550100@fax.local", OK),
        ("+1-415-555-0100@FAX.local", OK),
        ("415.555.0100@fax.local", OK),
        # A15: not ours, routes, quotes, tricks
        ("+14155550100@evil.example", "554 5.7.1 Relay access denied"),
        ("ann@example.com", "554 5.7.1 Relay access denied"),
        ("@relay.example:+14155550100@fax.local", "554 5.7.1 Relay access denied"),
        ("+14155550100%evil@fax.local", "554 5.7.1 Relay access denied"),
        ("evil!14155550100@fax.local", "554 5.7.1 Relay access denied"),
        ('"+14155550100"@fax.local', "501 5.1.3 Bad number syntax"),
        ("+14155550100@evil.example@fax.local", "554 5.7.1 Relay access denied"),
        ("+14155550100@fax.local.", "501 5.1.3 Bad number syntax"),
        # M3: never sent to what is left over
        ("(415) 555-0100@fax.local", "553"),
        ("415 555-0100@fax.local", "553"),
        ("+14155550100(comment)@fax.local", "553"),
        # A17
        ("ann@fax.local", "501 5.1.3 Bad number syntax"),
        ("1+4155550100@fax.local", "501 5.1.3 Bad number syntax"),
        ("555@fax.local", "550 5.1.1 Not a valid fax number"),
        ("12345678901234567890@fax.local", "550 5.1.1 Not a valid fax number"),
        ("+14155550100,1234@fax.local", "501 5.1.3 Bad number syntax"),
        ("+14155550100;ext=5@fax.local", "501 5.1.3 Bad number syntax"),
        ("@fax.local", "501 5.1.3 Bad number syntax"),
        # A18
        ("911@fax.local", "550 5.7.1 Destination not permitted"),
        ("112@fax.local", "550 5.7.1 Destination not permitted"),
        ("+19005550100@fax.local", "550 5.7.1 Destination not permitted"),
        ("+18765550100@fax.local", "550 5.7.1 Destination not permitted"),
        ("+4930123456@fax.local", "550 5.7.1 Destination not permitted"),
        ("+881612345678@fax.local", "550 5.7.1 Destination not permitted"),
    ],
)
async def test_recipients(connect: Connect, address: str, reply: str) -> None:
    client = await connect.ready(FROM)
    assert (await client.say(f"RCPT TO:<{address}>")).startswith(reply)


async def test_a_refused_recipient_hurts_no_other(connect: Connect, store: Store) -> None:
    client = await connect.ready(FROM)
    assert (await client.say("RCPT TO:<911@fax.local>")).startswith("550")
    assert await client.say(TO) == OK
    assert await client.say("RCPT TO:<1-415-555-0100@fax.local>") == OK
    assert await client.say("RCPT TO:<+14155550101@fax.local>") == OK
    await client.say("DATA")
    assert (await client.say(TEXT + b"\r\n.\r\n")).startswith("250 2.0.0 accepted as ")
    assert {f.number for f in await store.latest(9)} == {"+14155550100", "+14155550101"}


@pytest.mark.parametrize(
    ("line", "reply", "over"),
    [
        (b"NOOP " + b"x" * 600 + b"\r\n", "500 5.5.2 Command too long", False),
        (b"x" * 9000 + b"\r\n", "500 5.5.2 Command too long", False),
        (b"NOOP\n", "500 5.5.2 Bad command syntax", True),
        (b"NOOP \x00\r\n", "500 5.5.2 Bad command syntax", False),
        (b"NOOP \xff\r\n", "500 5.5.2 Bad command syntax", False),
        ("MAIL FROM:<ü@example.com>\r\n".encode(), "500 5.5.2 Bad command syntax", False),
        (b"WHAT\r\n", "500 5.5.2 Unknown command", False),
        (b"BDAT 5 LAST\r\n", "502 5.5.1 Command not implemented", False),
        (b"STARTTLS\r\n", "502 5.5.1 Command not implemented", False),
        (b"AUTH PLAIN x\r\n", "502 5.5.1 Command not implemented", False),
        (b"DATA\r\n", "503 5.5.1 RCPT first", False),
        (b"RCPT TO:<+14155550100@fax.local>\r\n", "503 5.5.1 MAIL first", False),
        (b"MAIL FROM:<a@b> SIZE=100001\r\n", "552 5.3.4 Message too big", False),
        (b"MAIL FROM:<a@b> SIZE=x\r\n", "501 5.5.4 Bad parameter", False),
        (b"MAIL FROM:<a@b> RET=SOME\r\n", "501 5.5.4 Bad parameter", False),
        (b"MAIL FROM:<a@b> X=Y\r\n", "555 5.5.4 Parameter not supported", False),
        (b"MAIL FROM:<a@b> BODY=8BITMIME AUTH=<>\r\n", "250 2.1.0 Sender ok", False),
        (b"MAIL FROM:ann@example.com\r\n", "501 5.5.4 Syntax: MAIL FROM:<address>", False),
        (b"MAIL FROM:<a b@c>\r\n", "501 5.1.7 Bad sender address syntax", False),
        (b"POST / HTTP/1.1\r\n", "421 4.7.0 Not SMTP", True),
        (b"Subject: x\r\n", "421 4.7.0 Not SMTP", True),
    ],
)
async def test_commands(connect: Connect, line: bytes, reply: str, over: bool) -> None:
    client = await connect.ready()
    assert await client.say(line) == reply
    if over:
        assert await client.is_over()
    else:
        assert await client.say("RSET") == "250 2.0.0 Ok"


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01", b"CONNECT x "]
)
async def test_other_protocols_are_dropped(connect: Connect, first: bytes) -> None:
    client = await connect()
    assert await client.say(first) == "421 4.7.0 Not SMTP"
    assert await client.is_over()


async def test_input_before_354_is_refused(connect: Connect, store: Store) -> None:
    client = await connect.ready(FROM, TO)
    assert await client.say(b"DATA\r\nsmuggled\r\n") == "554 5.5.0 Protocol synchronization"
    assert await client.is_over()
    assert await store.latest(9) == []


async def test_pipelined_commands(connect: Connect) -> None:
    client = await connect()
    client.send(f"{HELLO}\r\n{FROM}\r\n{TO}\r\nRCPT TO:<911@fax.local>\r\nDATA\r\n".encode())
    replies = [(await client.reply())[-3:] and (await client.reply())[:3] for _ in "12"]
    assert replies == ["250", "550"]
    assert (await client.reply()).startswith("354")
    client.send(TEXT + b"\r\n.\r\nMAIL FROM:<bob@example.com>\r\nQUIT\r\n")
    assert [(await client.reply())[:3] for _ in "123"] == ["250", "250", "221"]


@pytest.mark.parametrize(
    "ending",
    [b"\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r"],
)
async def test_only_one_thing_ends_a_mail(connect: Connect, store: Store, ending: bytes) -> None:
    """A second command behind a false end stays data: never two messages (A8)."""
    client = await connect.ready(FROM, TO)
    await client.say("DATA")
    smuggled = TEXT + ending + b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<+14155550101@fax.local>"
    assert (await client.say(smuggled + b"\r\n.\r\n")).startswith("250 2.0.0 accepted as ")
    assert [f.number for f in await store.latest(9)] == ["+14155550100"]
    assert await client.say("NOOP") == "250 2.0.0 Ok"


async def test_dots_are_undone(connect: Connect, store: Store, spool: Spool) -> None:
    client = await connect()
    await client.mail(HEAD + b"\r\n..\r\n...x\r\n.y\r\na.b")
    (path,) = spool.kept()
    assert path.read_bytes() == HEAD + b"\r\n.\r\n..x\r\ny\r\na.b\r\n"


async def test_a_mail_of_many_blocks(store: Store, spool: Spool) -> None:
    """Byte for byte what the sender wrote, and known again when it comes in other packets."""
    lines = [b"." * (n % 5) + b"line %d of a long mail\r\n" % n for n in range(60_000)]
    sent = HEAD + b"\r\n" + b"".join(lines)
    stuffed = HEAD + b"\r\n" + b"".join(b"." * line.startswith(b".") + line for line in lines)
    async with door(store, spool, max_message=5_000_000) as connect:
        client = await connect.ready(FROM, TO, "DATA")
        assert (await client.say(stuffed + b".\r\n")).startswith("250 2.0.0 accepted as ")
        (path,) = spool.kept()
        assert path.read_bytes() == sent
        again = await connect.ready(FROM, TO, "DATA")
        for start in range(0, len(stuffed), 70_001):
            await again.push(stuffed[start : start + 70_001])
        assert (await again.say(b".\r\n")).startswith("250 2.0.0 duplicate of ")


def nested(depth: int) -> bytes:
    body = b""
    for level in range(depth):
        body += b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (level, level)
    return HEAD + body + b"\r\nx\r\n"


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (HEAD + b"\r\na\0b\r\n", "554 5.6.0 NUL not allowed"),
        (HEAD + b"X: \0\r\n\r\n", "554 5.6.0 NUL not allowed"),
        (HEAD + b"\r\n" + b"x" * 4200 + b"\r\n", "554 5.6.0 Line too long"),
        (HEAD + b"\r\n" + b"x" * 90 + b"\r\n" + b"y" * 100_000, "55"),
        (HEAD + b"\r\n" + b"line of text\r\n" * 10_000, "552 5.3.4 Message too big"),
        (HEAD + b"Auto-Submitted: auto-replied\r\n\r\n", "550 5.7.1 Automatic mail is not faxed"),
        (HEAD + b"Precedence: bulk\r\n\r\n", "550 5.7.1 Automatic mail is not faxed"),
        (HEAD + b"List-Id: <l.example>\r\n\r\n", "550 5.7.1 Automatic mail is not faxed"),
        (
            HEAD + b"Content-Type: multipart/report; boundary=b\r\n\r\n--b--\r\n",
            "550 5.7.1 Automatic mail is not faxed",
        ),
        (HEAD + b"X-Fax-Gateway: k7m2\r\n\r\n", "554 5.4.6 Routing loop"),
        (HEAD + b"Received: by x\r\n" * 51 + b"\r\n", "554 5.4.6 Routing loop"),
        (HEAD + b"X: y\r\n" * 501 + b"\r\n", "554 5.6.0 Message too complex"),
        (HEAD + b"X: yyyyyyyyy\r\n y\r\n" * 4000 + b"\r\n", "554 5.6.0 Message too complex"),
        (nested(21), "554 5.6.0 Message too complex"),
        (
            HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 201,
            "554 5.6.0 Message too complex",
        ),
        (HEAD + b"Auto-Submitted: no\r\n\r\nx", "250 2.0.0 accepted as "),
        (nested(3), "250 2.0.0 accepted as "),
        (b"no header at all", "250 2.0.0 accepted as "),
    ],
)
async def test_messages(connect: Connect, spool: Spool, body: bytes, reply: str) -> None:
    client = await connect()
    assert (await client.mail(body)).startswith(reply)
    assert await client.say("NOOP") == "250 2.0.0 Ok"
    assert len(spool.kept()) == reply.startswith("250")


async def test_twice_the_limit_is_cut(connect: Connect, spool: Spool) -> None:
    client = await connect.ready(FROM, TO)
    await client.say("DATA")
    with contextlib.suppress(ConnectionError):
        for _ in range(500):
            client.send(b"line of text\r\n" * 1000)
            await client.writer.drain()
        raise AssertionError("7 MB were taken where 100 kB are the limit")
    await until(lambda: not list(spool.incoming.iterdir()))


async def test_too_many_recipients(store: Store, spool: Spool) -> None:
    async with door(store, spool, max_recipients=2) as connect:
        client = await connect.ready(FROM)
        for number in ("0100", "0101", "0100"):
            assert await client.say(f"RCPT TO:<+1415555{number}@fax.local>") == OK
        assert (
            await client.say("RCPT TO:<+14155550102@fax.local>") == "452 4.5.3 Too many recipients"
        )


async def test_strangers_need_a_login(store: Store, spool: Spool) -> None:
    async with door(store, spool, trusted=()) as connect:
        client = await connect.ready()
        assert await client.say(FROM) == "530 5.7.0 Authentication required"


async def test_the_same_mail_again(connect: Connect, store: Store, spool: Spool) -> None:
    client = await connect()
    await client.mail(TEXT)
    (fax,) = await store.latest(9)
    assert await client.mail(TEXT) == f"250 2.0.0 duplicate of {fax.id}"
    both = await client.mail(TEXT, "14155550100@fax.local", "+14155550101@fax.local")
    assert both.endswith(f"; duplicate of {fax.id}")
    assert len(await store.latest(9)) == len(spool.kept()) == 2


async def test_disk_nearly_full(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spool, "free", lambda _self: 1000)
    async with door(store, spool) as connect:
        client = await connect.ready()
        assert await client.say(FROM) == "452 4.3.1 Insufficient system storage"


class Broken:
    """A store that takes nothing."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def adding(self, *_: Any, **__: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (StoreError("database or disk is full"), "451 4.3.2 Queue not available"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "452 4.3.1 Insufficient system storage"),
        (OSError(errno.EIO, "x"), "451 4.3.0 Temporary failure"),
        (RuntimeError("db password=hunter2"), "451 4.3.0 Temporary failure"),
    ],
)
async def test_our_trouble_is_never_the_senders(
    spool: Spool, error: Exception, reply: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with door(Broken(error), spool) as connect:  # type: ignore[arg-type]
        client = await connect()
        said = await client.mail(TEXT)
        assert said.startswith(reply)
        assert "hunter2" not in said


async def test_a_client_that_leaves_after_the_end_is_served_all_the_same(
    connect: Connect, spool: Spool
) -> None:
    """RFC 1047: the commit goes on; the re-send is then a duplicate."""
    client = await connect.ready(FROM, TO)
    await client.say("DATA")
    client.send(TEXT + b"\r\n.\r\n")
    await client.writer.drain()
    client.writer.transport.abort()
    await until(lambda: bool(spool.kept()))
    again = await connect()
    assert (await again.mail(TEXT)).startswith("250 2.0.0 duplicate of ")


async def test_half_a_mail_is_no_mail(connect: Connect, store: Store, spool: Spool) -> None:
    client = await connect.ready(FROM, TO)
    await client.say("DATA")
    client.send(TEXT * 20_000)
    await client.writer.drain()
    client.writer.transport.abort()
    await until(lambda: not list(spool.incoming.iterdir()))
    assert await store.latest(1) == []


async def test_silence_is_ended(store: Store, spool: Spool) -> None:
    async with door(store, spool, idle=0.3) as connect:
        client = await connect()
        assert await client.reply() == "421 4.4.2 Timeout"
        assert await client.is_over()


async def test_nonsense_is_ended(connect: Connect) -> None:
    client = await connect()
    replies = [await client.say("WHAT") for _ in range(6)]
    assert replies[-1] == "421 4.7.0 Too many errors"
    assert await client.is_over()


async def test_floods_are_ended(connect: Connect) -> None:
    client = await connect.ready()
    replies = [await client.say("NOOP") for _ in range(51)]
    assert "421 4.7.0 Too many commands" in replies
    assert await client.is_over()


async def test_memory_stays_flat(store: Store, spool: Spool, tmp_path: Path) -> None:
    """Sixteen clients with 8 MB each, half way through: buffers are shared and bounded."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async with door(store, spool, max_message=20_000_000) as connect:
        clients = [await connect.ready(FROM, TO) for _ in range(16)]
        before = resident()
        for client in clients:
            await client.say("DATA")
            client.send(HEAD + b"\r\n")
        for _ in range(80):
            for client in clients:
                client.send((b"x" * 98 + b"\r\n") * 1000)
                await client.writer.drain()
        assert resident() - before < 64_000_000
