"""A16: whoever may not fax still reaches the postmaster; its numbers are refused one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.doors.smtp import Kind, replies
from gateway.doors.smtp.postmaster import HOUR, MOST_OF_ONE, MOST_OF_STRANGERS, Postbox
from gateway.doors.smtp.settings import LOOPBACK
from gateway.outbound.permit import LOGIN_FIRST, NOT_LISTED
from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store
from tests.doors.client import END, FROM, MODES, OK, TEXT, TO, Client, Connect, door
from tests.doors.test_refusals import rows

pytestmark = pytest.mark.anyio

SENDER_OK = "250 2.1.0 Sender ok"
RELAY = "554 5.7.1 Relay access denied"
MAIL_FIRST = "503 5.5.1 MAIL first"
NO_RECIPIENTS = "554 5.5.1 No valid recipients"
FULL = "450 4.7.1 Too much mail for the postmaster, please try again later"
POSTMASTER = "RCPT TO:<postmaster@fax.local>"
RULES = Rules.model_validate({
    "sender": [{"address": ["eve@example.com"], "deny": True}, {"domain": ["example.com"]}],
    "aliases": {"office": "+14155550100"},
})  # fmt: skip
RELAXED = Rules.model_validate({"aliases": {"office": "+14155550100"}})
WORLD: dict[str, Any] = {"trusted": ()}


class Admin:
    """Where mail to the postmaster goes."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def __call__(self, message: Path, _peer: str) -> None:
        self.mails.append(await asyncio.to_thread(message.read_bytes))


@pytest.fixture
def admin() -> Admin:
    return Admin()


@pytest.fixture
async def world(store: Store, spool: Spool, admin: Admin) -> AsyncIterator[Connect]:
    """Everybody is a stranger here."""
    async with door(store, spool, rules=RULES, more={"forward": admin}, **WORLD) as connect:
        yield connect


BARRED = [
    # who it is, how it is known, what each number is refused with, the word for it
    ("ann@example.com", RULES, WORLD, LOGIN_FIRST, "sender_denied"),
    ("", RULES, WORLD, LOGIN_FIRST, "sender_denied"),
    ("eve@example.com", RULES, WORLD, NOT_LISTED, "sender_denied"),
    ("who@else.example", RULES, {}, NOT_LISTED, "sender_denied"),
    ("eve@example.com", RULES, {}, NOT_LISTED, "sender_denied"),
    ("+14155550100@fax.local", RELAXED, {}, replies.FAX_SENDER, "fax_sender"),
    ("office@fax.local", RELAXED, {}, replies.FAX_SENDER, "fax_sender"),
    ("nobody@fax.local", RELAXED, {}, replies.FAX_SENDER, "fax_sender"),
    ("scanner", RELAXED, {}, replies.NOT_TOLD, "fax_sender"),
    ("", RULES, {}, "550 5.7.1 Automatic mail is not faxed", "auto_mail"),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("sender", "rules", "facts", "reply", "because"), BARRED)
async def test_who_may_not_fax(
    store: Store, spool: Spool, admin: Admin, mode: str,
    sender: str, rules: Rules, facts: dict[str, Any], reply: str, because: str,
) -> None:  # fmt: skip
    """Each number hears what MAIL would have, also where nothing would come of it anyway."""
    more: dict[str, Any] = {"forward": admin}
    async with door(store, spool, rules=rules, mode=mode, more=more, **facts) as connect:
        client = await connect.ready()
        assert await client.say(f"MAIL FROM:<{sender}> SIZE=99") == SENDER_OK
        with capture_logs() as logs:
            for address in ("+14155550100", "911", "office", "fax", "no number"):
                assert await client.say(f"RCPT TO:<{address}@fax.local>") == reply, address
            assert await client.say("RCPT TO:<+14155550100@evil.example>") == RELAY
        assert [one["because"] for one in logs] == [*5 * [because], "relay_try"]
        assert (logs[0]["recipient"], logs[0].get("sender", "")) == ("+1•••0100@fax.local", sender)
        assert await client.say("DATA") == NO_RECIPIENTS
        assert await client.say(POSTMASTER) == OK
        assert await client.say(TO) == reply
        assert (await client.say("DATA"))[:3] == "354"
        assert await client.say(TEXT + END) == "250 2.0.0 Ok"
        assert await client.say("DATA") == "503 5.5.1 RCPT first"
    assert admin.mails == [TEXT + b"\r\n"]
    assert await store.latest(9) == []


@pytest.mark.parametrize(("sender", "rules", "facts", "reply", "because"), BARRED[:-1])
async def test_without_a_postmaster_it_is_said_at_mail(
    store: Store, spool: Spool, sender: str, rules: Rules, facts: dict[str, Any], reply: str,
    because: str,
) -> None:  # fmt: skip
    async with door(store, spool, rules=rules, **facts) as connect:
        client = await connect.ready()
        with capture_logs() as logs:
            assert await client.say(f"MAIL FROM:<{sender}>") == reply
            assert await client.say(TO) == MAIL_FIRST
        assert [one["because"] for one in logs] == 2 * [because]


async def test_what_is_too_big_is_said_at_mail(world: Connect) -> None:
    client = await world.ready()
    assert await client.say(f"{FROM} SIZE=100001") == "552 5.3.4 Message too big"


async def test_rows_tell_who_was_refused(world: Connect, store: Store) -> None:
    client = await world.ready(FROM)
    await client.say(TO)
    await world.listener.services.refusals.flush()
    (row,) = await rows(store)
    kept = ("sender", "recipient", "reply", "because", "times")
    assert [row[name] for name in kept] == [
        "a•••@example.com", "+1•••0100@fax.local", LOGIN_FIRST, "sender_denied", 1
    ]  # fmt: skip


async def test_a_stranger_wins_no_time_by_its_name(world: Connect) -> None:
    """`MAIL FROM` costs it nothing: a newcomer may still have its place."""
    client = await world()
    (session,) = world.listener._shared.connections
    assert session.guest
    since = session.guest.useful_at
    for command in ("EHLO x", FROM, "RSET", FROM):
        assert (await client.say(command)).startswith("250")
    assert session.guest.useful_at == since


# why MAIL was turned away is also why what was pipelined behind it was


@pytest.mark.parametrize(
    ("command", "reply", "because"),
    [
        (FROM, "452 4.3.1 Insufficient system storage", "degraded"),
        (f"{FROM} SIZE=100001", "552 5.3.4 Message too big", "too_big"),
        ("MAIL FROM:<a..b@c>", "501 5.1.7 Bad sender address syntax", "syntax"),
        (f"{FROM} X=Y", "555 5.5.4 Parameter not supported", "param"),
        ("MAIL FROM:<eve@example.com>", NOT_LISTED, "sender_denied"),
    ],
)
async def test_why_a_pipelined_recipient_was_refused(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch,
    command: str, reply: str, because: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(Spool, "free", lambda _self: 1000)
    async with door(store, spool, rules=RULES) as connect:
        client = await connect.ready()
        with capture_logs() as logs:
            client.send(f"{command}\r\n{TO}\r\nDATA\r\n".encode())
            assert [await client.reply() for _ in "123"] == [reply, MAIL_FIRST, NO_RECIPIENTS]
        assert [one["because"] for one in logs] == [because, because, "syntax"]


async def test_a_sender_is_not_blamed_for_the_next_ones_mail(store: Store, spool: Spool) -> None:
    async with door(store, spool, rules=RULES) as connect:
        client = await connect.ready()
        assert await client.say("MAIL FROM:<eve@example.com>") == NOT_LISTED
        with capture_logs() as logs:
            assert await client.say("MAIL FROM:<a..b@c>") == "501 5.1.7 Bad sender address syntax"
            assert await client.say(TO) == MAIL_FIRST
        assert [one.get("sender", "") for one in logs] == ["", ""]


# nobody floods the administrator


async def ask(client: Client) -> str:
    await client.say("RSET")
    assert await client.say("MAIL FROM:<>") == SENDER_OK
    assert await client.say(POSTMASTER) == await client.say(POSTMASTER)  # one mail, asked twice
    return await client.say(POSTMASTER)


async def test_so_many_mails_an_hour(world: Connect, admin: Admin) -> None:
    client = await world.ready()
    assert [await ask(client) for _ in range(MOST_OF_ONE)] == MOST_OF_ONE * [OK]
    with capture_logs() as logs:
        assert await ask(client) == FULL
    assert {(one["because"], one["recipient"]) for one in logs} == {
        ("quota", "p•••@fax.local")
    }  # fmt: skip
    assert await client.say("DATA") == NO_RECIPIENTS
    another = await world.ready()  # of the same network: it is no other one
    assert await ask(another) == FULL
    assert await another.say(TO) == LOGIN_FIRST


def took(postbox: Postbox, peer: str, now: float = 0.0, *, strange: bool = True) -> int:
    """How many of a hundred mails are taken."""
    return sum(postbox.takes(peer, now, strange=strange) for _ in range(100))


def test_each_network_has_its_own() -> None:
    postbox = Postbox()
    assert took(postbox, "192.0.2.1") == MOST_OF_ONE
    assert took(postbox, "::ffff:192.0.2.1") == 0
    assert took(postbox, "2001:db8::1") == MOST_OF_ONE
    assert took(postbox, "2001:db8::2", strange=False) == 0
    assert took(postbox, "192.0.2.2", strange=False) == MOST_OF_ONE
    assert took(postbox, "192.0.2.1", HOUR - 1) == 0
    assert took(postbox, "192.0.2.1", HOUR) == MOST_OF_ONE


def test_strangers_from_everywhere_keep_out_no_sender_of_ours() -> None:
    postbox = Postbox()
    assert sum(took(postbox, f"192.0.2.{n}") for n in range(99)) == MOST_OF_STRANGERS
    assert took(postbox, "198.51.100.1") == 0
    assert took(postbox, "198.51.100.1", strange=False) == MOST_OF_ONE
    assert took(postbox, "198.51.100.2", 2 * HOUR) == MOST_OF_ONE


async def test_a_copier_reaches_it_too(store: Store, spool: Spool, admin: Admin) -> None:
    rules = Rules.model_validate({"sender": [{"domain": ["example.com"]}]})
    facts: dict[str, Any] = {"devices": LOOPBACK, "trusted": ()}
    async with door(store, spool, Kind.DEVICE, rules, {"forward": admin}, **facts) as connect:
        client = await connect.ready("MAIL FROM: scanner")
        assert await client.say("RCPT TO: 14155550100@fax.local") == NOT_LISTED
        assert await client.say("RCPT TO: postmaster") == OK
        assert (await client.say("DATA"))[:3] == "354"
        assert await client.say(TEXT + END) == "250 2.0.0 Ok"
    assert len(admin.mails) == 1


@pytest.mark.parametrize(
    ("sender", "tell", "reply"),
    [
        ("scanner@fax.local", "", replies.FAX_SENDER),
        ("scanner@fax.local", "office@example.com", SENDER_OK),
        ("postmaster@fax.local", "", SENDER_OK),
        ("+14155550100@fax.local", "office@example.com", replies.FAX_SENDER),
        ("scanner@other.fax.local", "", SENDER_OK),
    ],
)
async def test_a_copier_that_is_called_by_our_domain(
    store: Store, spool: Spool, sender: str, tell: str, reply: str
) -> None:
    """A notice to it would come to this door and be refused: somebody else must be told."""
    device = {"name": "c", "network": "127.0.0.1"} | ({"tell": tell} if tell else {})
    rules = Rules.model_validate({"device": [device]})
    async with door(store, spool, Kind.DEVICE, rules, devices=LOOPBACK) as connect:
        client = await connect.ready()
        assert await client.say(f"MAIL FROM:<{sender}>") == reply
