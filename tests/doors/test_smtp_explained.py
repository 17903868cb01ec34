"""`permit --explain` and the door: two ways to ask, one answer, for every sender and recipient."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.doors.smtp import Kind
from gateway.doors.smtp.settings import LOOPBACK
from gateway.outbound.explain import Door, explain
from gateway.outbound.permit import Policy
from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store
from tests.doors.client import Client, door

pytestmark = pytest.mark.anyio

NUMBERS = [f"+1415555{n:04}" for n in range(120, 126)]
RULES: dict[str, Any] = {
    "aliases": {
        "two": NUMBERS[:2],
        "same": 9 * NUMBERS[:1],
        "three": NUMBERS[:3],
        "five": NUMBERS[:5],
        "dear": "+19005550100",
        "bobs": {"numbers": NUMBERS[0], "for": "bob@example.com"},
    },
}
LISTED: list[dict[str, Any]] = [
    {"address": "fired@example.com", "deny": True},
    {"address": "bob@example.com", "pages_per_day": 2, "faxes_per_hour": 3},
    {"address": "told@fax.local", "tell": "office@example.com"},
    {"domain": ["example.com", "fax.local", "14155550100.fax.local"], "faxes_per_day": 1},
    {"network": ["127.0.0.0/8"]},
]
SENDERS = [
    "ann@example.com", "bob@example.com", "fired@example.com", "x@else.example", "scanner", "",
    "two@fax.local", "+14155550100@fax.local", "ann@14155550100.fax.local", "bobs@fax.local",
    "postmaster@fax.local", "nobody@fax.local", "fax@fax.local", "ann@[192.0.2.1]",
    "told@fax.local",
]  # fmt: skip
RECIPIENTS = [
    "+14155550100", "911", "12", "two", "same", "three", "five", "dear", "bobs", "nobody", "fax",
    "postmaster", "two/ref=1", "two/ref", "five/body=x", "two/body=x", "dear/body=x",
]  # fmt: skip


async def said(client: Client, sender: str, recipient: str) -> str:
    """The first no, or ""."""
    for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}@fax.local>"):
        reply = await client.say(command)
        if not reply.startswith("250"):
            return reply
    return ""


@pytest.mark.parametrize("kind", [Kind.MAIN, Kind.DEVICE])
@pytest.mark.parametrize("limits", [{}, {"faxes_per_hour": 4}, {"pages_per_day": 1}])
@pytest.mark.parametrize("listed", [[], LISTED[:4], LISTED])
async def test_one_answer(
    store: Store, spool: Spool, kind: Kind, limits: dict[str, int], listed: list[dict[str, Any]]
) -> None:
    rules = Rules.model_validate(RULES | {"sender": listed, "limits": limits})
    facts: dict[str, Any] = {"devices": LOOPBACK} if kind is Kind.DEVICE else {}
    settings = Door(("fax.local",), 4, has_postmaster=False)
    async with door(store, spool, kind, rules, max_recipients=4, **facts) as connect:
        policy: Policy = connect.listener.services.policy
        for sender in SENDERS:
            client = await connect.ready()
            who = policy.who(sender, peer="127.0.0.1")
            for recipient in RECIPIENTS:
                told = explain(policy, settings, who, recipient, 0.0)
                answer = await said(client, sender, recipient)
                assert answer == told.reply, (sender, recipient, told.why)
                assert await client.say("RSET") == "250 2.0.0 Ok"
