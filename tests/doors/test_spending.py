"""When spending stops the administrator hears of it; not of a mail that was taken already."""

from __future__ import annotations

import pytest

from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store
from tests.doors.client import FROM, TEXT, TO, door

pytestmark = pytest.mark.anyio

STOPPED = "spending has stopped"


@pytest.mark.parametrize("to", ["+14155550100@fax.local", "fax@fax.local"])
async def test_the_last_fax_of_the_day_twice(store: Store, spool: Spool, to: str) -> None:
    """Its own faxes fill the ceiling; nobody is turned away when its 250 was lost."""
    tail = b" [fax to=+14155550100]" if to.startswith("fax@") else b""
    text = TEXT.replace(b"Subject: x", b"Subject: x" + tail)
    pages: list[str] = []
    page = {"page": lambda title, _what: pages.append(title)}
    rules = Rules.model_validate({"limits": {"faxes_per_day": 1}})
    async with door(store, spool, rules=rules, more=page) as connect:
        client = await connect()
        assert (await client.mail(text, to)).startswith("250 2.0.0 accepted as ")
        assert (await client.mail(text, to)).startswith("250 2.0.0 duplicate of ")
        assert pages == []
        said = await client.mail(text.replace(b"Hello", b"Other"), to)
        assert said.startswith("451 4.7.1 Quota, retry after ")
        assert pages == [STOPPED]
        assert await client.say(FROM) == "250 2.1.0 Sender ok"
        said = await client.say(TO.replace("0100", "0101"))
        assert said == "421 4.3.2 Quota of the gateway: 1 fax a day in all"
        assert pages == [STOPPED, STOPPED]
