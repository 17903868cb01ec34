"""Commands in any order: what is faxed, and who is told, is what was answered with 250, no more."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.doors.smtp import postmaster
from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store
from tests.doors.client import HELLO, Connect, door

pytestmark = pytest.mark.anyio

RULES = Rules.model_validate({
    "sender": [{"address": "bob@example.com", "pages_per_day": 9999}, {"domain": "example.com"}],
    "aliases": {"offices": ["+14155550101", "+14155550102"]},
})  # fmt: skip
GOOD = ["ann@example.com", "bob@example.com"]  # the second is counted: its replies take time
BARRED = ["eve@else.example", "", "scanner", "+14155550100@fax.local", "x@fax.local"]
SUBJECT = "+14155550109"
RECIPIENTS = {
    "+14155550100": {"+14155550100"},
    "1-415-555-0100": {"+14155550100"},
    "14155550100/ref=b": {"+14155550100"},
    "offices": {"+14155550101", "+14155550102"},
    "+14155550102": {"+14155550102"},
    "fax": {SUBJECT},
    "postmaster": {"postmaster"},
    "911": set(),
    "nobody": set(),
}
COMMANDS = [
    *(f"MAIL FROM:<{sender}>" for sender in 2 * GOOD + BARRED),
    f"MAIL FROM:<{GOOD[0]}> SIZE=999999",
    *(f"RCPT TO:<{name}@fax.local>" for name in 3 * list(RECIPIENTS)),
    "RCPT TO:<+14155550100@evil.example>", "RCPT TO:<", "RSET", HELLO, "NOOP", *(5 * ["DATA"]),
]  # fmt: skip


class Model:
    """What a client may believe after each reply."""

    def __init__(self) -> None:
        self.sender: str | None = None
        self.promised: set[str] = set()

    def heard(self, command: str, reply: str) -> None:
        if command in ("RSET", HELLO) or command.startswith("DATA"):
            self.sender, self.promised = None, set()
        elif command.startswith("MAIL") and reply.startswith("250"):
            assert self.sender is None
            self.sender = command.partition("<")[2].partition(">")[0]
        elif command.startswith("RCPT") and reply.startswith("250"):
            name = command.partition("<")[2].partition("@")[0]
            assert self.sender is not None
            assert RECIPIENTS[name]
            assert self.sender in GOOD or name == "postmaster", (self.sender, command)
            self.promised |= RECIPIENTS[name]


def sequences(chaos: random.Random) -> Iterator[list[str]]:
    """A client that goes the usual way half of the time."""
    for _ in range(500):
        usual = chaos.random() < 0.5
        begin = [HELLO, chaos.choice(COMMANDS[: len(GOOD) + 2])] if usual else [HELLO]
        yield begin + chaos.choices(COMMANDS, k=chaos.randint(3, 14))


async def test_any_order(store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postmaster, "MOST_OF_ONE", 9999)
    told: list[bytes] = []

    async def forward(message: Path, _peer: str) -> None:
        told.append(await asyncio.to_thread(message.read_bytes))

    more: dict[str, Any] = {"forward": forward}
    async with door(store, spool, rules=RULES, more=more) as connect:
        seen: Counter[str] = Counter()
        for count, commands in enumerate(sequences(random.Random(7))):
            seen.update(await follow(connect, store, commands, count, told))
    assert min(seen[word] for word in ("faxed", "told", "nobody")) >= 20, seen


async def follow(
    connect: Connect, store: Store, commands: list[str], count: int, told: list[bytes]
) -> list[str]:
    """One session; a word for each mail that it tried to send."""
    client, model, outcomes = await connect(), Model(), list[str]()
    for at, command in enumerate(commands):
        reply = await client.say(command)
        if reply.startswith("421"):  # too many errors
            break
        if command == "DATA":
            assert reply.startswith("354") == bool(model.promised), commands
        if command == "DATA" and model.promised:
            mails, faxes = len(told), {fax.id for fax in await store.latest(9999)}
            named = f" [fax to={SUBJECT}]" if SUBJECT in model.promised else ""
            reply = await client.say(f"Subject: x{named}\r\n\r\n{count} {at}\r\n.\r\n".encode())
            new = [fax.number for fax in await store.latest(9999) if fax.id not in faxes]
            if model.promised == {"postmaster"}:
                assert (reply, new, len(told)) == ("250 2.0.0 Ok", [], mails + 1)
            else:
                assert reply.startswith("250 2.0.0 accepted as ")
                assert (sorted(new), len(told)) == (sorted(model.promised), mails), commands
            outcomes.append("told" if len(told) > mails else "faxed")
        elif command == "DATA":
            outcomes.append("nobody")
            continue  # the transaction, if there is one, goes on
        model.heard(command, reply)
    client.writer.transport.abort()
    return outcomes
