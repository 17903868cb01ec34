"""The SMTP door, word for word: the abuse table's replies, over real sockets.

In plain text, after STARTTLS and with TLS from the first byte, on the loop that the daemon runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.doors.smtp import replies
from gateway.errors import PermanentError, TransientError
from gateway.model import State
from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store, StoreError
from gateway.wishes import wishes_of
from tests.doors.client import (
    END,
    FROM,
    HEAD,
    HELLO,
    MODES,
    OK,
    TEXT,
    TO,
    Client,
    Connect,
    door,
    until,
)
from tests.make import mails

pytestmark = pytest.mark.anyio

AUTOMATIC = "550 5.7.1 Automatic mail is not faxed"
RELAY = "554 5.7.1 Relay access denied"
BAD_NUMBER = "501 5.1.3 Bad number syntax"
NO_NUMBER = "550 5.1.1 Not a valid fax number"
DENIED = "550 5.7.1 Destination not permitted"
COMMENT = "553 5.1.3 Brackets, comments and spaces are never dialled: write +14155550100@"
BAD_LINE = "500 5.5.2 Bad command syntax"
TOO_LONG = "500 5.5.2 Command too long"
UNKNOWN = "500 5.5.2 Unknown command"
NOT_OFFERED = "502 5.5.1 Command not implemented"
NOT_SMTP = "421 4.7.0 Not SMTP"
EARLY = "554 5.5.0 Protocol synchronization"
BAD_PARAMETER = "501 5.5.4 Bad parameter"
MAIL_FIRST = "503 5.5.1 MAIL first"
SENDER_OK = "250 2.1.0 Sender ok"
POSTMASTER = "RCPT TO:<postmaster@fax.local>"


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def connect(store: Store, spool: Spool, mode: str) -> AsyncIterator[Connect]:
    async with door(store, spool, mode=mode) as connect:
        yield connect


async def raw(connect: Connect) -> Client:
    """A client that says nothing by itself and knows no TLS."""
    client = Client(*await asyncio.open_connection(*connect.address))
    connect.clients.append(client)
    return client


OFFERED = [
    "250-fax.example", "250-PIPELINING", "250-SIZE 100000", "250-8BITMIME", "250-SMTPUTF8",
    "250-ENHANCEDSTATUSCODES", "250 DSN",
]  # fmt: skip


async def test_what_is_offered(connect: Connect) -> None:
    client = await connect()
    assert (await client.say(HELLO)).splitlines() == OFFERED
    assert await client.say("HELO client.example") == "250 fax.example"
    assert await client.say("EHLO") == "501 5.5.4 Syntax: EHLO hostname"


async def test_a_mail(connect: Connect, store: Store) -> None:
    client = await connect()
    reply = await client.mail(TEXT)
    (fax,) = await store.latest(9)
    assert reply == f"250 2.0.0 accepted as {fax.id}"
    assert (fax.number, fax.line, fax.sender) == ("+14155550100", "+14155550199", "ann@example.com")
    assert await client.say("QUIT") == "221 2.0.0 Bye"
    assert await client.is_over()


async def test_eight_bits_and_names_in_any_script(
    connect: Connect, store: Store, spool: Spool
) -> None:
    """8BITMIME (RFC 6152) and SMTPUTF8 (RFC 6531), from whoever can be told what became of it."""
    client = await connect.ready()
    for sender in ('"a b"@example.com', "ann@[192.0.2.1]", "scanner"):
        said = await client.say(f"MAIL FROM:<{sender}> SMTPUTF8")
        assert said == replies.NOT_TOLD
    sender = "MAIL FROM:<jürgen@bücher.example> BODY=8BITMIME SMTPUTF8 SIZE=99"
    for command in (sender, TO, "DATA"):
        assert (await client.say(command))[0] in "23"
    body = "Subject: Grüße\r\n\r\nschön\r\n".encode()
    assert (await client.say(body + b".\r\n")).startswith("250 2.0.0 accepted as ")
    (fax,) = await store.latest(9)
    assert (fax.sender, fax.subject) == ("jürgen@bücher.example", "Grüße")
    assert await mails(store, spool) == [body]


ADDRESSES = [
    # M2: every way to write a number
    ("14155550101@fax.local", "+14155550101", ""),
    ("+14155550102@fax.local", "+14155550102", ""),
    ("+1-415-555-0103@FAX.local", "+14155550103", ""),
    ("415.555.0104@fax.local", "+14155550104", ""),
    ("FAX=+14155550105@fax.local", "+14155550105", ""),
    ("/fax=+1-415-555-0106/@fax.local", "+14155550106", ""),
    ("FAX=+14155550107/T33S=911@fax.local", "+14155550107", "911"),
    ("FAX=+14155550108/t33s=1234*56#7/@fax.local", "+14155550108", "1234*56#7"),
    ("IMCEAFAX-+2B14155550109@fax.local", "+14155550109", ""),
    ("IMCEAFAX-Ann+40+2B1+20+28415+29+20555-0110@fax.local", "+14155550110", ""),
    ("ann@14155550111.fax.local", "+14155550111", ""),
    ("ann.smith@1-415-555-0112.fax.local", "+14155550112", ""),
    ("office@fax.local", "+14155550113", ""),
    ("OFFICE.2@fax.local", "+14155550114", ""),
]


async def test_every_form_of_address(store: Store, spool: Spool, mode: str) -> None:
    """What is dialled, and what is only carried; the address is kept as it was written."""
    aliases = {"office": "+14155550113", "office.2": ["+14155550114"]}
    rules = Rules.model_validate({"aliases": aliases})
    async with door(store, spool, rules=rules, mode=mode) as connect:
        client = await connect()
        said = await client.mail(TEXT, *(address for address, _, _ in ADDRESSES))
        faxes = {fax.recipient: fax for fax in await store.latest(99)}
    assert said.startswith("250 2.0.0 accepted as ")
    assert [
        (address, faxes[address].number, wishes_of(faxes[address].wishes).subaddress)
        for address, _, _ in ADDRESSES
    ] == ADDRESSES
    assert len(faxes) == len(ADDRESSES)


RECIPIENTS = [
    # A15: not ours, routes, quotes, tricks
    ("+14155550100@evil.example", RELAY, "relay_try"),
    ("ann@example.com", RELAY, "relay_try"),
    ("@relay.example:+14155550100@fax.local", RELAY, "relay_try"),
    ("+14155550100%evil@fax.local", RELAY, "relay_try"),
    ("evil!14155550100@fax.local", RELAY, "relay_try"),
    ("+14155550100@evil.example@fax.local", RELAY, "relay_try"),
    ("+14155550100@[127.0.0.1]", RELAY, "relay_try"),
    ("+14155550100@evilfax.local", RELAY, "relay_try"),
    ('"+14155550100"@fax.local', BAD_NUMBER, "bad_number"),
    ('"+14155550100@evil"@fax.local', RELAY, "relay_try"),
    ("+14155550100@fax.local.", BAD_NUMBER, "bad_number"),
    # M3: never sent to what is left over
    ("(415) 555-0100@fax.local", COMMENT, "comment"),
    ("415 555-0100@fax.local", COMMENT, "comment"),
    ("+14155550100(comment)@fax.local", COMMENT, "comment"),
    # A17, and T33S where it does not belong
    ("ann@fax.local", BAD_NUMBER, "bad_number"),
    ("1+4155550100@fax.local", BAD_NUMBER, "bad_number"),
    ("555@fax.local", NO_NUMBER, "no_number"),
    ("12345678901234567890@fax.local", NO_NUMBER, "no_number"),
    ("+14155550100,1234@fax.local", BAD_NUMBER, "bad_number"),
    ("+14155550100p5@fax.local", BAD_NUMBER, "bad_number"),
    ("+14155550100;ext=5@fax.local", BAD_NUMBER, "bad_number"),
    ("+14155550100x5@fax.local", BAD_NUMBER, "bad_number"),
    ("FAX=+14155550100/T33S=5/T33S=6@fax.local", BAD_NUMBER, "bad_number"),
    ("FAX=+14155550100/T33S=x@fax.local", BAD_NUMBER, "bad_number"),
    ("FAX=14155550100/5@fax.local", BAD_NUMBER, "bad_number"),
    ("IMCEAFAX-14155550100+zz@fax.local", BAD_NUMBER, "bad_number"),
    ("415@14155550100.fax.local", BAD_NUMBER, "bad_number"),
    ("ann@evil.fax.local", RELAY, "relay_try"),
    ("@fax.local", BAD_NUMBER, "bad_number"),
    ("14155550100", BAD_NUMBER, "bad_number"),
    ("", BAD_NUMBER, "bad_number"),
    # A18
    ("911@fax.local", DENIED, "toll_denied"),
    ("112@fax.local", DENIED, "toll_denied"),
    ("+19005550100@fax.local", DENIED, "toll_denied"),
    ("+18765550100@fax.local", DENIED, "toll_denied"),
    ("+4930123456@fax.local", DENIED, "toll_denied"),
    ("+881612345678@fax.local", DENIED, "toll_denied"),
    ("ann@19005550100.fax.local", DENIED, "toll_denied"),
    ("FAX=+19005550100/T33S=14155550100@fax.local", DENIED, "toll_denied"),
    # A16
    ("postmaster@fax.local", "550 5.1.1 Nobody reads this here: MAIL_ADMIN is not set",
     "no_postmaster"),
    ("postmaster@fax.local/x", BAD_NUMBER, "bad_number"),
]  # fmt: skip


async def test_recipients(connect: Connect, store: Store) -> None:
    client = await connect.ready(FROM)
    with capture_logs() as logs:
        for address, reply, because in RECIPIENTS:
            assert await client.say(f"RCPT TO:<{address}>") == reply, address
            assert logs[-1]["because"] == because, address
    assert len(logs) == len(RECIPIENTS)
    assert await client.say("DATA") == "554 5.5.1 No valid recipients"
    assert await store.latest(9) == []


async def test_a_refused_recipient_hurts_no_other(connect: Connect, store: Store) -> None:
    client = await connect.ready(FROM)
    assert await client.say("RCPT TO:<911@fax.local>") == DENIED
    assert await client.say(TO) == OK
    assert await client.say("RCPT TO:<1-415-555-0100@fax.local>") == OK
    assert await client.say("RCPT TO:<+14155550101@fax.local>") == OK
    await client.say("DATA")
    assert (await client.say(TEXT + END)).startswith("250 2.0.0 accepted as ")
    assert {f.number for f in await store.latest(9)} == {"+14155550100", "+14155550101"}


COMMANDS: list[tuple[bytes, str, bool]] = [
    # A5
    (b"NOOP " + b"x" * 505 + b"\r\n", "250 2.0.0 Ok", False),
    (b"NOOP " + b"x" * 506 + b"\r\n", TOO_LONG, False),
    (b"MAIL FROM:<a@b> AUTH=" + b"x" * 1002 + b"\r\n", TOO_LONG, False),
    (b"x" * 9000 + b"\r\n", TOO_LONG, False),
    (b"NOOP\n", BAD_LINE, True),
    (b"NOOP\r\r\n", BAD_LINE, False),
    (b"NOOP \x00\r\n", BAD_LINE, False),
    (b"NOOP \xff\r\n", BAD_LINE, False),
    ("MAIL FROM:<ü@example.com>\r\n".encode(), BAD_LINE, False),
    # A3
    (b"WHAT\r\n", UNKNOWN, False),
    (b"\r\n", UNKNOWN, False),
    (b"VRFY ann\r\n", "252 2.5.0 Cannot verify; send the mail and see", False),
    (b"EXPN all\r\n", NOT_OFFERED, False),
    (b"HELP\r\n", "214 2.0.0 Mail to number@domain becomes a fax; see RFC 5321", False),
    (b"RSET x\r\n", "501 5.5.4 No argument is allowed", False),
    (b"QUIT now\r\n", "501 5.5.4 No argument is allowed", False),
    # A12
    (b"BDAT 5 LAST\r\n", NOT_OFFERED, False),
    (b"MAIL FROM:<a@b> X=Y\r\n", "555 5.5.4 Parameter not supported", False),
    (b"MAIL FROM:<a@b> NOTIFY=NEVER\r\n", "555 5.5.4 Parameter not supported", False),
    (b"AUTH PLAIN x\r\n", NOT_OFFERED, False),
    # out of order
    (b"DATA\r\n", "503 5.5.1 RCPT first", False),
    (b"RCPT TO:<+14155550100@fax.local>\r\n", MAIL_FIRST, False),
    # A11
    (b"MAIL FROM:<a@b> SIZE=100001\r\n", "552 5.3.4 Message too big", False),
    (b"MAIL FROM:<a@b> SIZE=x\r\n", BAD_PARAMETER, False),
    (b"MAIL FROM:<a@b> RET=SOME\r\n", BAD_PARAMETER, False),
    (b"MAIL FROM:<a@b> BODY=BINARYMIME\r\n", BAD_PARAMETER, False),
    (b"MAIL FROM:<a@b> BODY=8BITMIME AUTH=<> SIZE=100000\r\n", SENDER_OK, False),
    (b"MAIL FROM:ann@example.com\r\n", "501 5.5.4 Syntax: MAIL FROM:<address>", False),
    (b"MAIL FROM:<a b@c>\r\n", "501 5.1.7 Bad sender address syntax", False),
    (b"MAIL FROM:<+14155550100@fax.local>\r\n",
     "550 5.7.1 The sender is an address of ours: nobody could be told; set a mailbox", False),
    # A4
    (b"POST / HTTP/1.1\r\n", NOT_SMTP, True),
    (b"Subject: x\r\n", NOT_SMTP, True),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", NOT_SMTP, True),
]  # fmt: skip


async def test_commands(connect: Connect) -> None:
    for line, reply, over in COMMANDS:
        client = await connect.ready()
        assert await client.say(line) == reply, line
        if over:
            assert await client.is_over()
        else:
            assert await client.say("RSET") == "250 2.0.0 Ok"
            client.writer.close()
            await until(lambda: not connect.listener._shared.connections)


async def test_starttls_without_a_certificate(store: Store, spool: Spool) -> None:
    async with door(store, spool) as connect:
        client = await connect.ready()
        assert await client.say("STARTTLS") == NOT_OFFERED


async def test_nothing_counts_before_ehlo(connect: Connect) -> None:
    client = await connect()
    for command in (FROM, TO, "DATA"):
        assert (await client.say(command)).startswith("503 5.5.1 ")


# A4, A7: who is no mail client


FOREIGN = [
    b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01", b"CONNECT x ",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
]  # fmt: skip


@pytest.mark.parametrize("first", FOREIGN)
async def test_other_protocols_are_dropped(store: Store, spool: Spool, first: bytes) -> None:
    async with door(store, spool) as connect:
        client = await connect()
        assert await client.say(first) == NOT_SMTP
        assert await client.is_over()


async def test_input_before_354_is_refused(connect: Connect, store: Store) -> None:
    client = await connect.ready(FROM, TO)
    assert await client.say(b"DATA\r\nsmuggled\r\n") == EARLY
    assert await client.is_over()
    assert await store.latest(9) == []


# who may come in (A1)


@pytest.mark.parametrize(
    ("limits", "reply"),
    [
        ({"most_per_address": 2}, "421 4.7.0 Too many connections"),
        ({"most": 2}, "421 4.3.2 Busy"),
    ],
)
async def test_places(
    store: Store, spool: Spool, mode: str, limits: dict[str, Any], reply: str
) -> None:
    """Counted before TLS, and free again for the next."""
    async with door(store, spool, mode=mode, **limits) as connect:
        first, _ = await connect(), await connect()
        with capture_logs() as logs:
            for _ in range(3):
                turned_away = await raw(connect)
                assert await turned_away.reply() == ("" if mode == "tls" else reply)
                assert await turned_away.is_over()
        assert [(one["because"], one["reply"]) for one in logs] == [("conn_limit", reply)]
        assert await first.say("QUIT") == "221 2.0.0 Bye"
        first.writer.close()
        await until(lambda: len(connect.listener._shared.guests) == 1)
        assert await (await connect()).say("NOOP") == "250 2.0.0 Ok"


async def test_connections_a_minute(store: Store, spool: Spool) -> None:
    async with door(store, spool, trusted=()) as connect:
        for _ in range(60):
            client = await raw(connect)
            assert await client.reply() == "220 fax.example ESMTP"
            client.writer.transport.abort()
            await until(lambda: not connect.listener._shared.connections)
        client = await raw(connect)
        assert await client.reply() == "421 4.7.0 Too many connections"
        assert await client.is_over()
    async with door(store, spool) as connect:  # a relay of ours may do that
        for _ in range(61):
            client = await raw(connect)
            assert await client.reply() == "220 fax.example ESMTP"
            client.writer.transport.abort()
            await until(lambda: not connect.listener._shared.connections)


# A14, A20: who may send


async def test_strangers_need_a_login(store: Store, spool: Spool, mode: str) -> None:
    async with door(store, spool, mode=mode, trusted=()) as connect:
        client = await connect.ready()
        for sender in ("ann@example.com", ""):
            said = await client.say(f"MAIL FROM:<{sender}>")
            assert said == "530 5.7.0 Authentication required"


async def test_senders_by_rules(store: Store, spool: Spool) -> None:
    rules = Rules.model_validate({
        "sender": [
            {"address": ["eve@example.com"], "deny": True},
            {"domain": ["example.com"]},
        ]
    })  # fmt: skip
    async with door(store, spool, rules=rules) as connect:
        client = await connect.ready()
        for sender in ("eve@example.com", "ann@other.example", "ann@example.com.evil.example"):
            assert await client.say(f"MAIL FROM:<{sender}>") == "550 5.7.1 Sender not listed"
            # a client that pipelines could not know: each is answered, none is counted as junk
            client.send(f"{TO}\r\n{TO}\r\nDATA\r\n".encode())
            assert [await client.reply() for _ in "123"] == [
                MAIL_FIRST, MAIL_FIRST, "554 5.5.1 No valid recipients"
            ]  # fmt: skip
        assert (await client.mail(TEXT)).startswith("250 2.0.0 accepted as ")


async def test_a_sender_that_is_no_address(connect: Connect) -> None:
    """What was pipelined behind it is answered, and no junk that ends the session."""
    client = await connect.ready()
    client.send(b"MAIL FROM:<a..b@c>\r\n" + 10 * f"{TO}\r\n".encode() + b"DATA\r\n")
    assert [await client.reply() for _ in range(12)] == [
        "501 5.1.7 Bad sender address syntax", *10 * [MAIL_FIRST], "554 5.5.1 No valid recipients"
    ]  # fmt: skip
    assert await client.say(FROM) == SENDER_OK


async def test_who_looks_for_senders_is_sent_away(store: Store, spool: Spool) -> None:
    rules = Rules.model_validate({"sender": [{"address": ["ann@example.com"]}]})
    async with door(store, spool, rules=rules) as connect:
        client = await connect.ready()
        client.send(b"MAIL FROM:<bob@example.com>\r\n" * 101)
        answers = [await client.reply() for _ in range(101)]
        assert answers == 100 * ["550 5.7.1 Sender not listed"] + ["421 4.7.0 Too many errors"]
        assert await client.is_over()


async def test_bounces_are_not_faxed(connect: Connect) -> None:
    client = await connect.ready("MAIL FROM:<>")
    assert await client.say(TO) == AUTOMATIC
    assert await client.say("DATA") == "554 5.5.1 No valid recipients"


async def test_a_refused_sender_lends_nobody_its_rights(connect: Connect) -> None:
    """Nothing of a MAIL that was refused counts for the next one."""
    client = await connect.ready()
    assert await client.say(f"{FROM} SIZE=999999") == "552 5.3.4 Message too big"
    assert await client.say("MAIL FROM:<>") == SENDER_OK
    assert await client.say(TO) == AUTOMATIC


# A16: the postmaster


class Admin:
    """Where mail to the postmaster goes."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.mails: list[bytes] = []

    async def __call__(self, message: Path, _peer: str) -> None:
        if self.error:
            raise self.error
        self.mails.append(await asyncio.to_thread(message.read_bytes))


BOUNCE = (
    b"From: MAILER-DAEMON@example.com\r\nAuto-Submitted: auto-replied\r\n"
    b"Content-Type: multipart/report; boundary=b\r\n\r\n--b--\r\n"
)


@pytest.mark.parametrize("sender", ["ann@example.com", ""])
@pytest.mark.parametrize("body", [TEXT, BOUNCE, TEXT + b"line of text\r\n" * 6000])
async def test_mail_to_the_postmaster(
    store: Store, spool: Spool, mode: str, sender: str, body: bytes
) -> None:
    """What machines write, too: who else would hear that a notice came back?"""
    admin = Admin()
    async with door(store, spool, mode=mode, more={"forward": admin}) as connect:
        client = await connect()
        for address in ("postmaster@fax.local", "PostMaster", "Postmaster@14155550100.fax.local"):
            assert await client.mail(body, address, sender=sender) == "250 2.0.0 Ok"
        assert admin.mails == 3 * [body + b"\r\n"]
        await until(lambda: not list(spool.incoming.iterdir()))
    assert spool.kept() == []
    assert await store.latest(9) == []


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (TransientError("no route"), replies.RELAY_DOWN),
        (PermanentError("554 no"), replies.ADMIN_REFUSED),
        (OSError(), replies.TROUBLE),
    ],
)
async def test_the_smarthost_does_not_take_it(
    store: Store, spool: Spool, error: Exception, reply: str
) -> None:
    async with door(store, spool, more={"forward": Admin(error)}) as connect:
        client = await connect()
        assert await client.mail(TEXT, "postmaster@fax.local") == reply
        await until(lambda: not list(spool.incoming.iterdir()))


async def test_what_the_postmaster_does_not_read(store: Store, spool: Spool) -> None:
    async with door(store, spool, more={"forward": Admin(AssertionError())}) as connect:
        client = await connect()
        for body, reply in (
            (HEAD + b"X-Fax-Gateway: k7m2\r\n\r\nx", "554 5.4.6 Routing loop"),
            (HEAD + b"\r\na\0b", "554 5.6.0 NUL not allowed"),
            (HEAD + b"\r\n" + b"line of text\r\n" * 10_000, "552 5.3.4 Message too big"),
        ):
            assert await client.mail(body, "postmaster@fax.local", sender="") == reply
        await until(lambda: not list(spool.incoming.iterdir()))


async def test_faxes_and_the_postmaster_are_apart(store: Store, spool: Spool) -> None:
    """One mail, one answer: it cannot say that the one has it and the other has not."""
    apart = "452 4.5.3 Send this recipient in a mail of its own"
    async with door(store, spool, more={"forward": Admin()}) as connect:
        client = await connect.ready(FROM, TO)
        assert await client.say(POSTMASTER) == apart
        await client.say("RSET")
        assert await client.say(FROM) == SENDER_OK
        assert await client.say(POSTMASTER) == OK
        assert await client.say(TO) == apart
        assert await client.say(POSTMASTER) == OK


# what may be spent (A19)

WHEN = r"\b(\d{4}-\d\d-\d\d )?\d\d:\d\d\b"  # with the day when it is not today


async def test_ceilings(store: Store, spool: Spool, mode: str) -> None:
    rules = Rules.model_validate({
        "sender": [
            {"address": ["bob@example.com"], "faxes_per_day": 2},
            {"domain": ["example.com"]},
        ],
        "limits": {"faxes_per_hour": 4, "destination": {"faxes_per_hour": 2}},
    })  # fmt: skip
    quota = "451 4.7.1 Quota, retry after THEN: "

    async def said(client: Client, number: int) -> str:
        reply = await client.say(f"RCPT TO:<+1415555{number:04}@fax.local>")
        return re.sub(WHEN, "THEN", reply)

    pages: list[str] = []
    page = {"page": lambda title, _what: pages.append(title)}
    async with door(store, spool, rules=rules, mode=mode, more=page) as connect:
        bob = await connect.ready("MAIL FROM:<bob@example.com>")
        assert [await said(bob, n) for n in (1, 2, 3)] == [
            OK, OK, f"{quota}2 faxes a day from this sender"
        ]  # fmt: skip
        await bob.say("DATA")
        assert (await bob.say(TEXT + END)).startswith("250 2.0.0 accepted as ")
        ann = await connect.ready(FROM)
        assert await said(ann, 1) == OK
        await ann.say("DATA")
        assert (await ann.say(TEXT + END)).startswith("250 2.0.0 accepted as ")
        assert await ann.say(FROM) == SENDER_OK
        assert await said(ann, 1) == OK  # it may be the same mail
        assert await said(ann, 4) == OK
        assert await said(ann, 5) == f"{quota}4 faxes an hour in all"
        await ann.say("DATA")  # the rest of the mail does not fail with it
        assert (await ann.say(TEXT + END)).startswith("250 2.0.0 accepted as ")
        dan = await connect.ready("MAIL FROM:<dan@example.com>")
        assert await said(dan, 1) == f"{quota}2 faxes an hour to this number"
        assert await ann.say(FROM) == SENDER_OK
        assert await said(ann, 5) == "421 4.3.2 Quota of the gateway: 4 faxes an hour in all"
        assert await ann.is_over()
        assert len(await store.latest(99)) == 4
    assert set(pages) == {"spending has stopped"}  # the administrator hears of it (A19)


async def test_ceilings_of_what_comes_together(store: Store, spool: Spool) -> None:
    """What no other mail could bring in parts is refused for good: nobody waits days to hear it."""
    numbers = [f"+1415555{n:04}" for n in range(21)]
    rules = Rules.model_validate({
        "sender": [
            {"address": ["bob@example.com"], "pages_per_hour": 3},
            {"domain": ["example.com"]},
        ],
        "limits": {"faxes_per_hour": 4, "destination": {"faxes_per_hour": 1}},
        "aliases": {"three": numbers[:3], "four": numbers[:4], "five": numbers[:5], "all": numbers},
    })  # fmt: skip
    bobs = "550 5.7.1 Quota: 3 pages an hour from this sender"

    async with door(store, spool, rules=rules) as connect:
        client = await connect.ready("MAIL FROM:<bob@example.com>")
        assert await client.say("RCPT TO:<all@fax.local>") == replies.TOO_MANY_NUMBERS
        assert await client.say("RCPT TO:<four@fax.local>") == bobs
        assert await client.say("RSET") == "250 2.0.0 Ok"
        assert await client.say(FROM) == SENDER_OK
        said = await client.say("RCPT TO:<five@fax.local>")
        assert said == "550 5.7.1 Quota: 4 faxes an hour in all"
        assert await client.say("RCPT TO:<three@fax.local>") == OK
        said = await client.say(f"RCPT TO:<{numbers[3]}@fax.local>")
        assert said == OK
        assert (await client.say("RCPT TO:<four@fax.local>")) == OK  # all of them are known
        said = await client.say(f"RCPT TO:<{numbers[4]}@fax.local>")
        assert said.startswith("451 4.7.1 Quota, retry after ")


@pytest.mark.parametrize("to", ["+14155550100@fax.local", "fax@fax.local"])
async def test_the_same_mail_again_costs_nothing(store: Store, spool: Spool, to: str) -> None:
    """Its 250 was lost: its sender must not hear of a quota, and think that nothing was faxed."""
    rules = Rules.model_validate({"sender": [{"domain": ["example.com"], "faxes_per_day": 1}]})
    subject = b"x [fax to=+14155550100]" if to.startswith("fax@") else b"x"
    text = b"Subject: %b\r\n\r\nHello\r\n" % subject
    other = text.replace(b"Hello", b"Other")
    full = rf"451 4\.7\.1 Quota, retry after {WHEN}: 1 fax a day from this sender"
    async with door(store, spool, rules=rules) as connect:
        client = await connect()
        assert (await client.mail(text, to)).startswith("250 2.0.0 accepted as ")
        (fax,) = await store.latest(9)
        assert await client.mail(text, to) == f"250 2.0.0 duplicate of {fax.id}"
        assert re.fullmatch(full, await client.mail(other, to))
        assert await client.say(FROM) == SENDER_OK
        assert re.fullmatch(full, await client.say("RCPT TO:<+14155550101@fax.local>"))
        attempt = await store.begin_attempt(fax, now=fax.created_at)  # and when it is sent
        assert attempt
        assert await client.say("RSET") == "250 2.0.0 Ok"
        assert await client.mail(text, to) == f"250 2.0.0 duplicate of {fax.id}"
    assert len(await store.latest(9)) == 1


@pytest.mark.parametrize("much", [b"", b"line of text\r\n" * 6000])
async def test_ceilings_of_numbers_in_the_subject(
    store: Store, spool: Spool, mode: str, much: bytes
) -> None:
    """They are counted when they are known. Else one sender's could use up everybody's."""
    rules = Rules.model_validate({
        "sender": [
            {"address": ["bob@example.com"], "faxes_per_day": 3},
            {"domain": ["example.com"]},
        ],
        "limits": {"faxes_per_hour": 4},
    })  # fmt: skip

    def mail(*numbers: int) -> bytes:
        named = ",".join(f"1415555{n:04}" for n in numbers)
        return f"Subject: x [fax to={named}]\r\n\r\nx\r\n".encode() + much

    async with door(store, spool, rules=rules, mode=mode) as connect:
        client = await connect()
        bob = {"sender": "bob@example.com"}
        said = await client.mail(mail(1, 2, 3, 4), "fax@fax.local", **bob)
        assert said == "550 5.7.1 Quota: 3 faxes a day from this sender"
        said = await client.mail(mail(1, 2), "fax@fax.local", **bob)
        assert said.startswith("250 2.0.0 accepted as ")
        said = await client.mail(mail(3, 4), "fax@fax.local", **bob)
        assert re.fullmatch(rf"451 4\.7\.1 Quota, retry after {WHEN}: 3 faxes a day .*", said)
        said = await client.mail(mail(5, 6, 7), "fax@fax.local")
        assert re.fullmatch(rf"451 4\.7\.1 Quota, retry after {WHEN}: 4 faxes an hour in all", said)
        said = await client.mail(mail(5), "fax@fax.local", "+14155550006@fax.local")
        assert said.startswith("250 2.0.0 accepted as ")
        await until(lambda: not list(spool.incoming.iterdir()))
        assert len(await mails(store, spool)) == 4


@pytest.mark.parametrize("to", ["fax@fax.local", "1415555{:04}@fax.local"])
async def test_a_race_for_the_last_faxes(store: Store, spool: Spool, to: str) -> None:
    """No more is taken than may be sent: what waits counts against everybody."""
    rules = Rules.model_validate({"sender": [{"domain": ["example.com"], "faxes_per_hour": 5}]})
    async with door(store, spool, rules=rules, most_per_address=99) as connect:
        clients = [
            await connect.ready(FROM, f"RCPT TO:<{to.format(n)}>", "DATA") for n in range(12)
        ]
        for n, client in enumerate(clients):
            named = f" [fax to=1415555{n:04}]" if to.startswith("fax") else ""
            client.send(f"Subject: x{named}\r\n\r\nx\r\n.\r\n".encode())
        said = sorted([(await client.reply())[:9] for client in clients])
        assert said == 5 * ["250 2.0.0"] + 7 * ["451 4.7.1"]
        assert len(await store.latest(99)) == 5
        await until(lambda: not list(spool.incoming.iterdir()))


async def test_the_sender_is_no_alias(store: Store, spool: Spool) -> None:
    """A notice to it would come back to this door, refused: nobody would hear of anything."""
    rules = Rules.model_validate({"aliases": {"office": "+14155550100"}})
    async with door(store, spool, rules=rules) as connect:
        client = await connect.ready()
        for sender, reply in (
            ("office@fax.local", replies.FAX_SENDER),
            ("Office@FAX.local", replies.FAX_SENDER),
            ("ann@14155550100.fax.local", replies.FAX_SENDER),
            ("office@example.com", SENDER_OK),
            ("postmaster@fax.local", SENDER_OK),
        ):
            assert await client.say(f"MAIL FROM:<{sender}>") == reply, sender
            await client.say("RSET")


async def test_a_ceiling_while_the_database_is_down(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_room(*_: Any, **__: Any) -> None:
        raise StoreError("disk I/O error")

    monkeypatch.setattr(store, "room_for", no_room)
    rules = Rules.model_validate({"limits": {"faxes_per_hour": 4}})
    async with door(store, spool, rules=rules) as connect:
        client = await connect.ready(FROM)
        assert await client.say(TO) == "451 4.3.2 Queue not available, please try again later"


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
    assert await mails(store, spool) == [HEAD + b"\r\n.\r\n..x\r\ny\r\na.b\r\n"]


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
async def test_messages(
    connect: Connect, store: Store, spool: Spool, body: bytes, reply: str
) -> None:
    client = await connect()
    assert (await client.mail(body)).startswith(reply)
    assert await client.say("NOOP") == "250 2.0.0 Ok"
    assert len(await mails(store, spool)) == reply.startswith("250")
    assert not spool.kept()


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


async def test_the_same_mail_again(connect: Connect, store: Store, spool: Spool) -> None:
    client = await connect()
    await client.mail(TEXT)
    (fax,) = await store.latest(9)
    assert await client.mail(TEXT) == f"250 2.0.0 duplicate of {fax.id}"
    both = await client.mail(TEXT, "14155550100@fax.local", "+14155550101@fax.local")
    assert both.endswith(f"; duplicate of {fax.id}")
    assert await mails(store, spool) == 2 * [TEXT + b"\r\n"]


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
    connect: Connect, store: Store
) -> None:
    """RFC 1047: the commit goes on; the re-send is then a duplicate."""
    client = await connect.ready(FROM, TO)
    await client.say("DATA")
    client.send(TEXT + b"\r\n.\r\n")
    await client.writer.drain()
    client.writer.transport.abort()
    async with asyncio.timeout(10):
        await store.bell(State.ACCEPTED).wait()
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


async def test_who_does_not_read_the_last_word_is_cut(store: Store, spool: Spool) -> None:
    """M4: told goodbye, it would keep its place as long as it likes."""
    async with door(store, spool) as connect:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, connect.address)
            assert (await loop.sock_recv(deaf, 99)).startswith(b"220 ")
            (session,) = connect.listener._shared.connections
            session.wire.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, 2048
            )
            deaf.sendall(f"{HELLO}\r\n{FROM}\r\n".encode())
            while not session.wire.get_write_buffer_size():
                deaf.sendall(f"{TO}\r\n".encode() * 20)
                await asyncio.sleep(0.005)
            deaf.sendall(b"QUIT\r\n")
            await until(session.wire.is_closing)
            connect.hurry(unread=0.2)
            await until(lambda: not connect.listener._shared.connections)
            assert len(connect.listener._shared.guests) == 0


async def test_nothing_said_forges_a_line(store: Store, spool: Spool) -> None:
    """A5: no control character of a client ever reaches a reply or the log."""
    chaos = random.Random(5)
    words = [b"MAIL FROM:<", b"RCPT TO:<", b"@", b"> ", b"a", b"+14155550100", b"\x1b[2J", b"\x9b",
             b"\r", b"\0", "\u202e".encode(), "\u2028".encode(), b"SMTPUTF8", b"EHLO ", b"AUTH ",
             b"\x07", b"DATA", "\u00fc".encode(), b"\xff", b" ENVID=+0A", b"NOOP "]  # fmt: skip
    heard: list[str] = []
    with capture_logs() as logs:
        async with door(store, spool) as connect:
            for _ in range(60):
                client = await connect.ready(FROM)
                for _ in range(5):
                    line = b"".join(chaos.choices(words, k=chaos.randint(1, 8)))
                    heard.append(await client.say(line + b"\r\n"))
                client.writer.transport.abort()
    assert len(logs) >= 100  # no more are written of one address in a minute
    assert all(line.isascii() and line.isprintable() for line in "\n".join(heard).split("\n"))
    for one in logs:
        assert all(str(value).isprintable() for value in one.values()), one
