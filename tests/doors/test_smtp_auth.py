"""AUTH over real sockets: exact replies, real argon2, whose address is whose, and guessing."""

from __future__ import annotations

import asyncio
import smtplib
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import argon2
import pytest
from structlog.testing import capture_logs

from gateway.doors.smtp import Kind
from gateway.doors.smtp.settings import LOOPBACK
from gateway.doors.smtp.users import Users, hash_line
from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store
from tests.conftest import Clock
from tests.doors.client import END, FROM, HELLO, MODES, OK, TEXT, TO, Client, Connect, door, pair

pytestmark = pytest.mark.anyio

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "pa ss:w\u00f6rd"
LOGGED_IN = "235 2.7.0 Authentication successful"
WRONG = "535 5.7.8 Authentication credentials invalid"
LOCKED = "454 4.7.0 Too many failed logins, please try again in some minutes"
BUSY = "454 4.7.0 Temporary authentication failure, please try again later"
TOO_MANY = "421 4.7.0 Too many failed logins"
NOT_BASE64 = "501 5.5.2 The response is not base64 of what the mechanism wants"
CANCELLED = "501 5.7.0 Authentication cancelled"
NAME, SECRET = "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"
NOT_OWNED = "553 5.7.1 Sender not owned"


def b64(text: str | bytes) -> str:
    return b64encode(text.encode() if isinstance(text, str) else text).decode()


def plain(name: str, password: str = PASSWORD, identity: str = "") -> str:
    return b64(f"{identity}\0{name}\0{password}")


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


class Pauses(list[float]):
    """How long failures made somebody wait."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
async def users(tmp_path: Path, clock: Clock) -> AsyncIterator[Users]:
    """The file as it is on disk, with cheap hashes; time and pauses are ours."""
    path = tmp_path / "users"
    hashed = CHEAP.hash(PASSWORD)
    path.write_text(f"# who may fax\n\nann:{hashed}\nbob@example.com:{hashed}\n", "utf-8")
    users = Users(path, {}, clock=clock, pause=Pauses())
    users.reload()
    yield users
    users.close()


@pytest.fixture(params=MODES[1:])
async def connect(
    store: Store, spool: Spool, users: Users, request: pytest.FixtureRequest
) -> AsyncIterator[Connect]:
    """Nobody is trusted: who wants to send must log in."""
    mode = str(request.param)
    async with door(store, spool, mode=mode, more={"users": users}, trusted=()) as connect:
        yield connect


async def dialogue(client: Client, *turns: tuple[str, str]) -> None:
    for said, reply in turns:
        assert await client.say(said) == reply, said


async def test_what_is_offered(connect: Connect) -> None:
    client = await connect()
    assert (await client.say(HELLO)).splitlines()[-1] == "250 AUTH PLAIN LOGIN"


EXCHANGES: list[list[tuple[str, str]]] = [
    [(f"AUTH PLAIN {plain('ann')}", LOGGED_IN)],
    [(f"auth plain {plain('ann')}", LOGGED_IN)],
    [(f"AUTH PLAIN {plain('ann', identity='ann')}", LOGGED_IN)],
    [("AUTH PLAIN", "334 "), (plain("bob@example.com"), LOGGED_IN)],
    [("AUTH LOGIN", NAME), (b64("ann"), SECRET), (b64(PASSWORD), LOGGED_IN)],
    [("auth login", NAME), (b64("ann"), SECRET), (b64(PASSWORD), LOGGED_IN)],
    [(f"AUTH LOGIN {b64('ann')}", SECRET), (b64(PASSWORD), LOGGED_IN)],
    # wrong: the name or the password, nobody is told which
    [(f"AUTH PLAIN {plain('ann', 'x')}", WRONG), (f"AUTH PLAIN {plain('eve')}", WRONG)],
    [(f"AUTH PLAIN {plain('ann', '')}", WRONG), (f"AUTH PLAIN {plain('', '')}", WRONG)],
    [("AUTH LOGIN", NAME), (b64("ann"), SECRET), (b64("x"), WRONG)],
    [(f"AUTH PLAIN {plain('ANN')}", WRONG)],
    # no sense; the next command is one again
    [("AUTH PLAIN", "334 "), ("*", CANCELLED)],
    [("AUTH LOGIN", NAME), ("*", CANCELLED)],
    [("AUTH LOGIN", NAME), (b64("ann"), SECRET), ("*", CANCELLED)],
    [("AUTH PLAIN", "334 "), ("!!", NOT_BASE64)],
    [("AUTH PLAIN", "334 "), ("QUIT", NOT_BASE64)],
    [("AUTH PLAIN =", NOT_BASE64)],
    [("AUTH PLAIN YQ", NOT_BASE64)],
    [(f"AUTH PLAIN {b64('a')}", NOT_BASE64)],
    [(f"AUTH PLAIN {b64(b'a' + bytes(1) + b'b' + bytes(1) + b'c' + bytes(1))}", NOT_BASE64)],
    [("AUTH LOGIN /w==", NOT_BASE64)],
    [("AUTH PLAIN", "334 "), ("x" * 1030, "500 5.5.6 Authentication exchange line is too long")],
    [("AUTH PLAIN", "334 "), ("x" * 9000, "500 5.5.2 Command too long")],
    [("AUTH", "501 5.5.4 Syntax: AUTH mechanism [initial-response]")],
    [("AUTH CRAM-MD5", "504 5.5.4 Unknown mechanism: PLAIN and LOGIN are known")],
    [(f"AUTH PLAIN {plain('ann', identity='bob@example.com')}",
      "535 5.7.8 Nobody may act for another user: leave the authorization identity empty")],
]  # fmt: skip


async def test_exchanges(connect: Connect) -> None:
    for turns in EXCHANGES:
        client = await connect.ready()
        await dialogue(client, *turns)
        right = turns[-1][1] == LOGGED_IN
        before = "503 5.5.1 Already authenticated" if right else LOGGED_IN
        assert await client.say(f"AUTH PLAIN {plain('ann')}") == before, turns
        assert await client.say("QUIT") == "221 2.0.0 Bye"


async def test_when_a_login_has_its_place(connect: Connect) -> None:
    good = f"AUTH PLAIN {plain('ann')}"
    client = await connect()
    await dialogue(
        client,
        (good, "503 5.5.1 EHLO first"),
        ("HELO client.example", "250 fax.example"),
        (good, "503 5.5.1 EHLO first"),
    )
    await client.say(HELLO)
    await dialogue(
        client,
        (FROM, "530 5.7.0 Authentication required"),
        (TO, "503 5.5.1 MAIL first"),
        (good, LOGGED_IN),
        (FROM, "250 2.1.0 Sender ok"),
        (good, "503 5.5.1 Not allowed during a mail transaction"),
        (TO, OK),
        ("RSET", "250 2.0.0 Ok"),
        (good, "503 5.5.1 Already authenticated"),
    )
    await client.say(HELLO)  # who it is need not be said again
    assert await client.say(FROM) == "250 2.1.0 Sender ok"


async def test_pipelined(connect: Connect, store: Store) -> None:
    """What comes behind a login waits for it."""
    client = await connect.ready()
    client.send(f"AUTH LOGIN\r\n{b64('ann')}\r\n{b64(PASSWORD)}\r\n{FROM}\r\n{TO}\r\n".encode())
    replies = [await client.reply() for _ in range(5)]
    assert replies == [NAME, SECRET, LOGGED_IN, "250 2.1.0 Sender ok", OK]
    await client.say("DATA")
    assert (await client.say(TEXT + END)).startswith("250 2.0.0 accepted as ")
    (fax,) = await store.latest(9)
    assert fax.identity == "login:ann"


async def test_three_failures_end_a_session(connect: Connect, users: Users) -> None:
    with capture_logs() as logs:
        client = await connect.ready()
        await dialogue(
            client,
            (f"AUTH PLAIN {plain('ann', 'Secret1')}", WRONG),
            (f"AUTH PLAIN {plain('eve', 'Secret1')}", WRONG),
            (f"AUTH PLAIN {plain('ann', 'Secret1')}", TOO_MANY),
        )
        assert await client.is_over()
    assert [one["because"] for one in logs] == 3 * ["auth_fail"]
    assert "Secret1" not in repr(logs)
    assert users._pause == [1, 2, 3]  # type: ignore[comparison-overlap]


async def test_lock_out(connect: Connect, clock: Clock) -> None:
    """Ten failures; then also the right password is not looked at, and is not called wrong."""
    for _ in range(5):
        client = await connect.ready()
        for _ in range(2):
            assert await client.say(f"AUTH PLAIN {plain('ann', 'x')}") == WRONG
        await client.say("QUIT")
    client = await connect.ready()
    good = f"AUTH PLAIN {plain('ann')}"
    await dialogue(client, (good, LOCKED), (good, LOCKED), (good, TOO_MANY))
    assert await client.is_over()
    client = await connect.ready()
    assert await client.say(f"AUTH PLAIN {plain('bob@example.com')}") == LOGGED_IN
    clock.advance(61)
    client = await connect.ready()
    assert await client.say(good) == LOGGED_IN


async def test_nobody_can_check(connect: Connect, users: Users) -> None:
    """A13: the backend is down; that is our fault."""
    users.close()
    client = await connect.ready()
    assert await client.say(f"AUTH PLAIN {plain('ann')}") == BUSY
    assert await client.say("NOOP") == "250 2.0.0 Ok"


@pytest.mark.parametrize("mode", MODES[:2])
async def test_no_login_in_plain_text(store: Store, spool: Spool, users: Users, mode: str) -> None:
    refusal = "538 5.7.11 Encryption required for authentication: say STARTTLS first"
    async with door(store, spool, mode=mode, more={"users": users}) as connect:
        connect.mode = "plain"
        client = await connect.ready()
        assert "AUTH" not in await client.say(HELLO)
        for _ in range(5):
            assert await client.say(f"AUTH PLAIN {plain('ann')}") == refusal
        assert await client.say("AUTH LOGIN") == "421 4.7.0 Too many errors"
        assert await client.is_over()


async def test_copiers_log_in_as_they_can(store: Store, spool: Spool, users: Users) -> None:
    """The device listener: without TLS, and after HELO (M13); STARTTLS begins anew (A6)."""
    good = f"auth login {b64('ann')}"
    more = {"users": users, "certificates": pair()[0]}
    async with door(store, spool, Kind.DEVICE, more=more, devices=LOOPBACK) as connect:
        client = await connect()
        assert (await client.say(good)) == "503 5.5.1 EHLO first"
        await dialogue(
            client,
            ("HELO copier", "250 fax.example"),
            (good, SECRET),
            (f"{b64(PASSWORD)}", LOGGED_IN),
            (good, "503 5.5.1 Already authenticated"),
            ("STARTTLS", "220 2.0.0 Ready to start TLS"),
        )
        await client.start_tls()
        await dialogue(
            client,
            (good, "503 5.5.1 EHLO first"),
            ("HELO copier", "250 fax.example"),
            (good, SECRET),
            (b64(PASSWORD), LOGGED_IN),
        )
        client.send(f"{FROM}\n{TO}\n".encode())
        assert [await client.reply() for _ in "12"] == ["250 2.1.0 Sender ok", OK]


RULES = Rules.model_validate({
    "sender": [
        {"login": ["ann"], "address": ["ann@example.com"], "domain": ["sales.example"]},
        {"address": ["eve@example.com"], "deny": True},
        {"login": ["bob@example.com"]},
    ]
})  # fmt: skip


@pytest.mark.parametrize(
    ("login", "sender", "reply"),
    [
        ("ann", "ann@example.com", "250 2.1.0 Sender ok"),
        ("ann", "Ann@Example.COM", "250 2.1.0 Sender ok"),
        ("ann", "x@sales.example", "250 2.1.0 Sender ok"),
        ("ann", "bob@example.com", NOT_OWNED),
        ("ann", "x@sales.example.evil.example", NOT_OWNED),
        ("ann", "ann@example.com.evil.example", NOT_OWNED),
        ("ann", "", "250 2.1.0 Sender ok"),  # a bounce: for the postmaster
        ("bob@example.com", "anybody@else.example", "250 2.1.0 Sender ok"),
        ("bob@example.com", "eve@example.com", "550 5.7.1 Sender not listed"),
    ],
)
async def test_who_may_write_as_whom(
    store: Store, spool: Spool, users: Users, login: str, sender: str, reply: str
) -> None:
    more = {"users": users}
    async with door(store, spool, rules=RULES, mode="tls", more=more, trusted=()) as connect:
        client = await connect.ready()
        assert await client.say(f"AUTH PLAIN {plain(login)}") == LOGGED_IN
        assert await client.say(f"MAIL FROM:<{sender}>") == reply
        if not sender:
            assert await client.say(TO) == "550 5.7.1 Automatic mail is not faxed"


async def test_another_ones_address_reaches_the_postmaster(
    store: Store, spool: Spool, users: Users
) -> None:
    """A16: whose mail program is set up wrongly can ask for help, and fax nobody."""

    async def forward(_message: Path, _peer: str) -> None: ...

    more = {"users": users, "forward": forward}
    async with door(store, spool, rules=RULES, mode="tls", more=more, trusted=()) as connect:
        client = await connect.ready()
        await dialogue(
            client,
            (FROM, "250 2.1.0 Sender ok"),
            (TO, "530 5.7.0 Authentication required"),
            (f"AUTH PLAIN {plain('ann')}", "503 5.5.1 Not allowed during a mail transaction"),
            ("RSET", "250 2.0.0 Ok"),
            (f"AUTH PLAIN {plain('ann')}", LOGGED_IN),
            ("MAIL FROM:<bob@example.com>", "250 2.1.0 Sender ok"),
            (TO, NOT_OWNED),
            ("RCPT TO:<postmaster@fax.local>", OK),
            ("RSET", "250 2.0.0 Ok"),
            (FROM, "250 2.1.0 Sender ok"),
            (TO, OK),
        )


@pytest.mark.parametrize("mode", MODES[1:])
async def test_pythons_own_client_with_a_real_hash(
    store: Store, spool: Spool, tmp_path: Path, mode: str
) -> None:
    path = tmp_path / "users"
    path.write_text(hash_line("ann", "s3cret") + "\n", "utf-8")
    users = Users.load(path)

    def send(host: str, port: int) -> dict[str, tuple[int, bytes]]:
        context = pair()[1]
        make: Any = smtplib.SMTP_SSL if mode == "tls" else smtplib.SMTP
        with make(host, port, timeout=10, **({"context": context} if mode == "tls" else {})) as it:
            if mode == "starttls":
                it.starttls(context=context)
            it.login("ann", "s3cret")
            refused: dict[str, tuple[int, bytes]] = it.sendmail(
                "ann@example.com", ["+14155550100@fax.local", "911@fax.local"], TEXT.decode()
            )
            return refused

    async with door(store, spool, mode=mode, more={"users": users}, trusted=()) as connect:
        host, port = connect.address
        refused = await asyncio.to_thread(send, host, port)
    users.close()
    assert refused == {"911@fax.local": (550, b"5.7.1 Destination not permitted")}
    (fax,) = await store.latest(9)
    assert (fax.number, fax.identity) == ("+14155550100", "login:ann")
