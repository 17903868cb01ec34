"""Copiers as they are: recorded dialogues at the device listener, and the strict one beside it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.doors.smtp import Kind, Listener
from gateway.doors.smtp.reader import Block, Buffers, Reader
from gateway.doors.smtp.settings import LOOPBACK
from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store
from gateway.wishes import wishes_of
from tests.doors.client import FROM, HELLO, OK, TEXT, TO, Client, Connect, door, pair
from tests.make import mails

pytestmark = pytest.mark.anyio

SENDER_OK, GO_AHEAD = "250 2.1.0 Sender ok", "354 End data with <CR><LF>.<CR><LF>"
MAIL_SYNTAX = "501 5.5.4 Syntax: MAIL FROM:<address>"
BAD_LINE = "500 5.5.2 Bad command syntax"
LAB = Rules.model_validate({
    "device": [
        {"network": ["127.0.0.0/8"], "name": "lab", "sender": "scans@example.com",
         "tell": ["desk@example.com"]},
    ],
})  # fmt: skip


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
async def connect(store: Store, spool: Spool) -> AsyncIterator[Connect]:
    """Both listeners of one gateway; a client is a copier unless it asks for the other."""
    both = (Listener(Kind.DEVICE, port=0), Listener(Kind.MAIN, port=0))
    async with door(
        store, spool, Kind.DEVICE, devices=LOOPBACK, trusted=LOOPBACK, listeners=both,
        max_message=3_000_000,
    ) as connect:  # fmt: skip
        yield connect


@asynccontextmanager
async def at(connect: Connect, kind: Kind) -> AsyncIterator[Client]:
    """A client of one of the listeners."""
    host, port = connect.listener.addresses[kind]
    client = Client(*await asyncio.open_connection(host, port))
    assert await client.reply() == "220 fax.example ESMTP"
    yield client
    client.writer.close()


async def dialogue(client: Client, *turns: tuple[str | bytes, str]) -> None:
    for said, reply in turns:
        assert await client.say(said) == reply, said


# recorded dialogues: what each says until DATA. "" = the last line of EHLO


DIALOGUES: dict[str, list[tuple[bytes, str]]] = {
    "a workcentre: spaces before the colon, no DSN, SIZE after HELO": [
        (b"HELO XRX9C934E0A1B2C\r\n", "250 fax.example"),
        (b"MAIL FROM : <scan@example.com> SIZE=20480\r\n", SENDER_OK),
        (b"RCPT TO : <14155550100@fax.local>\r\n", OK),
        (b"DATA\r\n", GO_AHEAD),
    ],
    "a bizhub: capital domain, a space behind the colon, lower-case verbs": [
        (b"ehlo [192.168.1.50]\r\n", "250 DSN"),
        (b"mail from: <KMBT_C220@EXAMPLE.COM>\r\n", SENDER_OK),
        (b"rcpt to: <+14155550100@FAX.LOCAL>\r\n", OK),
        (b"data\r\n", GO_AHEAD),
    ],
    "an old LaserJet: every line ends with LF": [
        (b"HELO hp4345mfp\n", "250 fax.example"),
        (b"MAIL FROM:<mfp@example.com>\n", SENDER_OK),
        (b"RCPT TO:<14155550100@fax.local>\n", OK),
        (b"DATA\n", GO_AHEAD),
    ],
    "an aficio: no angle brackets, fax= in the address": [
        (b"EHLO aficio\r\n", "250 DSN"),
        (b"MAIL FROM:ricoh@example.com\r\n", SENDER_OK),
        (b"RCPT TO:fax=14155550100@fax.local\r\n", OK),
        (b"DATA\r\n", GO_AHEAD),
    ],
    "a vCenter: AUTH=<> behind the sender": [
        (b"EHLO vcsa.example.com\r\n", "250 DSN"),
        (b"MAIL FROM:<vcenter@example.com> AUTH=<>\r\n", SENDER_OK),
        (b"RCPT TO:<14155550100@fax.local> NOTIFY=FAILURE ORCPT=rfc822;x@fax.local\r\n", OK),
        (b"DATA\r\n", GO_AHEAD),
    ],
    "an OKI: capital FAX=, a sender without a domain, no name": [
        (b"HELO\r\n", "250 fax.example"),
        (b"MAIL FROM:<OKI-MC562>\r\n", SENDER_OK),
        (b"RCPT TO:<FAX=+14155550100/T33S=12@fax.local>\r\n", OK),
        (b"DATA\r\n", GO_AHEAD),
    ],
    "an imageRUNNER: two spaces, and a name no host has": [
        (b"EHLO iR_ADV C5235/2nd floor\r\n", "250 DSN"),
        (b"MAIL FROM:  <ir@example.com>\r\n", SENDER_OK),
        (b"RCPT TO:  <14155550100@fax.local>\r\n", OK),
        (b"DATA\r\n", GO_AHEAD),
    ],
    "commands end with CRLF here and with LF there": [
        (b"HELO copier\n", "250 fax.example"),
        (b"MAIL FROM:<copier@example.com>\r\n", SENDER_OK),
        (b"RCPT TO:<14155550100@fax.local>\n", OK),
        (b"DATA\r\n", GO_AHEAD),
    ],
}


@pytest.mark.parametrize("name", DIALOGUES)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["crlf", "lf"])
async def test_dialogues(
    connect: Connect, store: Store, spool: Spool, name: str, end: bytes
) -> None:
    """Whatever ends the commands, the body has line ends of its own, and a dot that is data."""
    lines = [b"Subject: scan", b"", b"Hello", b"..", b"..x", b"."]
    client = await connect()
    for command, reply in DIALOGUES[name]:
        assert (await client.say(command)).splitlines()[-1] == reply
    said = await client.say(b"".join(line + end for line in lines))
    (fax,) = await store.latest(9)
    assert said == f"250 2.0.0 accepted as {fax.id}"
    assert (fax.number, fax.subject) == ("+14155550100", "scan")
    assert fax.identity == "device:127.0.0.1"
    assert (await mails(store, spool))[0] == end.join(
        [b"Subject: scan", b"", b"Hello", b".", b".x", b""]
    )
    assert await client.say(b"QUIT" + end) == "221 2.0.0 Bye"


STRICT = {
    "a workcentre: spaces before the colon, no DSN, SIZE after HELO": MAIL_SYNTAX,
    "an old LaserJet: every line ends with LF": BAD_LINE,
    "an aficio: no angle brackets, fax= in the address": MAIL_SYNTAX,
    "an OKI: capital FAX=, a sender without a domain, no name": "501 5.5.4 Syntax: EHLO hostname",
    "an imageRUNNER: two spaces, and a name no host has": MAIL_SYNTAX,
    "commands end with CRLF here and with LF there": BAD_LINE,
}


@pytest.mark.parametrize("name", DIALOGUES)
async def test_the_main_listener_is_strict(connect: Connect, name: str) -> None:
    """The same peers, the same words; what is merely unusual is understood there, too."""
    async with at(connect, Kind.MAIN) as client:
        for said, reply in DIALOGUES[name]:
            answer = (await client.say(said)).splitlines()[-1]
            if answer != reply:
                assert answer == STRICT[name]
                return
    assert name not in STRICT


# bodies


def text(size: int, end: bytes) -> bytes:
    line = b"a line of a scan that somebody typed" + end
    return b"Subject: x" + end + end + line * (size // len(line))


@pytest.mark.parametrize("size", [1_000, 3_000, 65_000, 66_000, 300_000])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["crlf", "lf"])
async def test_bodies_of_any_size(
    connect: Connect, store: Store, spool: Spool, size: int, end: bytes
) -> None:
    """LF.LF ends a mail of LF, whatever packets it comes in."""
    body = text(size, end)
    for cuts in (1, 7):
        client = await connect.ready(FROM, TO, "DATA")
        whole = body + b"." + end
        step = len(whole) // cuts + 1
        for start in range(0, len(whole), step):
            await client.push(whole[start : start + step])
        assert (await client.reply()).startswith("250 2.0.0 ")
        assert await client.say("QUIT") == "221 2.0.0 Bye"
    assert (await mails(store, spool))[0] == body


async def test_a_megabyte_of_base64_on_one_line(
    connect: Connect, store: Store, spool: Spool
) -> None:
    line = b64encode(bytes(786_432))
    body = b"Content-Transfer-Encoding: base64\r\n\r\n" + line + b"\r\n"
    client = await connect.ready(FROM, TO, "DATA")
    assert (await client.say(body + b".\r\n")).startswith("250 2.0.0 accepted as ")
    assert (await mails(store, spool))[0] == body
    async with at(connect, Kind.MAIN) as strict:
        for said in (HELLO, FROM, TO, "DATA"):
            await strict.say(said)
        assert await strict.say(body + b".\r\n") == "554 5.6.0 Line too long"


async def test_nul_is_refused_here_too(connect: Connect) -> None:
    client = await connect.ready(FROM, TO, "DATA")
    assert await client.say(b"Subject: x\n\na\0b\n.\n") == "554 5.6.0 NUL not allowed"


# smuggling


@pytest.mark.parametrize(
    ("first", "ending"),
    [
        *((b"\r\n", e) for e in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r\r\n")),
        *((b"\n", e) for e in (b"\r\n.\r\n", b"\n.\r\n", b"\r.\r", b"\n.\r", b"\n.\0\n")),
    ],
)
async def test_only_its_own_end_ends_a_mail(
    connect: Connect, store: Store, spool: Spool, first: bytes, ending: bytes
) -> None:
    client = await connect.ready(FROM, TO, "DATA")
    smuggled = b"MAIL FROM:<e@example.com>" + first + b"RCPT TO:<+14155550101@fax.local>" + first
    body = b"Subject: x" + first + first + b"Hello" + ending + smuggled
    said = await client.say(body + b"." + first)
    if b"\0" in body:
        assert said == "554 5.6.0 NUL not allowed"
    else:
        assert said.startswith("250 2.0.0 accepted as ")
        assert [fax.number for fax in await store.latest(9)] == ["+14155550100"]
        assert smuggled in (await mails(store, spool))[0]
    assert await client.say("NOOP") == "250 2.0.0 Ok"


def model(stream: bytes) -> tuple[bytes, bytes] | None:
    """The first line end is that of all lines; message and rest, None = no end yet."""
    first = stream.find(b"\n")
    end = b"\r\n" if first > 0 and stream[first - 1 : first] == b"\r" else b"\n"
    message, rest = b"", stream
    while end in rest:
        line, _, rest = rest.partition(end)
        if line == b".":
            return message, rest
        message += line.removeprefix(b".") + end
    return None


def read(pieces: Iterable[bytes], size: int) -> tuple[bytes, bytes] | None:
    """What the tolerant reader makes of it, in buffers of this size."""
    blocks: list[bytes] = []
    buffers = Buffers(size)

    def hand_on(block: Block) -> None:
        blocks.append(bytes(block.content()))
        block.buffer[:] = b"\xaa" * size
        buffers.give_back(block.buffer)

    reader = Reader(buffers.borrow, hand_on, tolerant=True)
    pending = list(pieces)
    for number, piece in enumerate(pending):
        view = memoryview(piece)
        while view:
            room = reader.room()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            view = view[count:]
            rest = reader.filled(count)
            if rest is not None:
                return b"".join(blocks), rest + bytes(view) + b"".join(pending[number + 1 :])
    return None


def cut(stream: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    places = sorted({0, len(stream), *(c % (len(stream) + 1) for c in cuts)})
    return (stream[a:b] for a, b in pairwise(places))


PIECES = st.lists(
    st.sampled_from([b"\r\n", b"\n", b"\r", b".", b"..", b"\n.", b"\r\n.", b"\0", b"text", b" "]),
    max_size=40,
).map(b"".join)


@settings(deadline=None, max_examples=600, derandomize=True)
@given(PIECES, st.lists(st.integers(0, 300), max_size=10), st.integers(6, 40))
@example(b".\n", [], 6)
@example(b".\r\n", [1], 6)
@example(b"x\n.\r\n.\n", [], 6)
@example(b"x\r\n.\n.\r\n", [], 6)
@example(b"\n.\nQUIT\n", [1], 6)
@example(b"\r\n.\n\r\n.\r\nx", [2], 6)
def test_any_stream_of_a_copier(stream: bytes, cuts: list[int], size: int) -> None:
    """However it is cut: one message, the same message, and nothing lost behind it."""
    assert read(cut(stream, cuts), size) == model(stream)
    assert read(cut(stream, range(len(stream))), size) == model(stream)


# who it is


async def test_a_copier_with_a_rule(store: Store, spool: Spool) -> None:
    """No sender, none with a domain, or a forged one: the rule says who hears of the fax."""
    async with door(store, spool, Kind.DEVICE, LAB, devices=LOOPBACK, trusted=()) as connect:
        client = await connect()
        for number, sender in enumerate(("", "copier", "boss@example.com")):
            said = await client.mail(TEXT, f"1415555{number:04}@fax.local", sender=sender)
            assert said.startswith("250 2.0.0 accepted as ")
    faxes = await store.latest(9)
    assert {(fax.sender, fax.identity) for fax in faxes} == {("scans@example.com", "device:lab")}
    assert {wishes_of(fax.wishes).tell for fax in faxes} == {"desk@example.com"}


async def test_a_copier_without_a_name_to_tell(store: Store, spool: Spool) -> None:
    """No rule, no sender: nobody could be told, so it is told now."""
    async with door(store, spool, Kind.DEVICE, devices=LOOPBACK, trusted=()) as connect:
        client = await connect.ready()
        assert await client.say("MAIL FROM:<>") == SENDER_OK
        assert await client.say(TO) == "550 5.7.1 Automatic mail is not faxed"


async def test_who_is_not_listed(store: Store, spool: Spool) -> None:
    async with door(store, spool, Kind.DEVICE, devices=(), trusted=LOOPBACK) as connect:
        client = Client(*await asyncio.open_connection(*connect.address))
        reply = "554 5.7.1 Only for copiers: this address is not in SMTP_DEVICE_NETWORKS"
        assert await client.reply() == reply
        assert await client.is_over()
        client.writer.close()


async def test_form_is_forgiven_and_numbers_are_not(connect: Connect) -> None:
    """M3: no tolerance ever changes who is called."""
    client = await connect.ready("MAIL FROM : copier@example.com")
    for address, reply in (
        ("(415) 555-0100@fax.local", "553 5.1.3"),
        ("<(415) 555-0100@fax.local>", "553 5.1.3"),
        ("415 555-0100@fax.local", "501 5.5.4 Bad parameter"),
        ("<415 555-0100@fax.local>", "553 5.1.3"),
        ("911@fax.local", "550 5.7.1 Destination not permitted"),
        ("14155550100@evil.example", "554 5.7.1 Relay access denied"),
        ("<14155550100@fax.local", "501 5.5.4 Syntax: RCPT TO:<number@domain>"),
        ("1415555 <0100@fax.local>", "501 5.5.4"),
    ):
        assert (await client.say(f"RCPT TO: {address}")).startswith(reply), address


# TLS 1.0


def old_client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    return context


@pytest.mark.parametrize(
    ("kind", "compat", "works"),
    [(Kind.DEVICE, ["tls1.0"], True), (Kind.DEVICE, [], False), (Kind.MAIN, ["tls1.0"], False)],
)
async def test_tls_1_0(
    store: Store, spool: Spool, kind: Kind, compat: list[str], works: bool
) -> None:
    rules = Rules.model_validate({
        "device": [{"network": ["127.0.0.1"], "name": "old", "compat": compat}]
    })  # fmt: skip
    more = {"certificates": pair()[0]}
    async with door(store, spool, kind, rules, more, devices=LOOPBACK) as connect:
        client = await connect.ready()
        assert await client.say("STARTTLS") == "220 2.0.0 Ready to start TLS"
        refused = contextlib.nullcontext() if works else pytest.raises((ssl.SSLError, OSError))
        with refused:
            await client.writer.start_tls(old_client())
        if works:
            tls = client.writer.get_extra_info("ssl_object")
            assert tls.version() == "TLSv1"
            assert (await client.mail(TEXT)).startswith("250 2.0.0 accepted as ")


@pytest.mark.parametrize("size", [3_000_000, 4_000_000])
@pytest.mark.parametrize("step", [100_000, 5_000_000])
async def test_a_line_longer_than_any_mail(connect: Connect, size: int, step: int) -> None:
    """Here a line may be as long as it likes: it is the mail that is too big."""
    client = await connect.ready(FROM, TO, "DATA")
    body = b"Subject: x\r\n\r\n" + b"x" * size + b"\r\n.\r\n"
    for start in range(0, len(body), step):
        await client.push(body[start : start + step])
    assert await client.reply() == "552 5.3.4 Message too big"
    (session,) = connect.listener._shared.connections
    assert f"longest {size + 1:,}" in session.record.transcript.text()
