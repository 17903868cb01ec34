"""Webhooks: what is told, to whom, how often, and what may go wrong with them."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import httpx
import pytest
from defusedxml import ElementTree

from gateway.provider.simulator import Rule, Settings, Simulator, Timing
from tests.make import pdf
from tests.provider.sandbox import FROM, RECEIVED, TO, Receiver, eventually, sandbox

pytestmark = pytest.mark.anyio
BOTH = ["fax_received", "fax_processed"]


async def register(client: httpx.AsyncClient, url: str, **more: Any) -> None:
    body = {"url": url, "events": BOTH, **more}
    assert (await client.post("/v2/fax/webhooks", json=body)).status_code == 201


async def test_documented_json() -> None:
    async with sandbox() as (sim, client), Receiver() as receiver:
        await register(client, receiver.url)
        fax_id = await sim.inject(FROM, TO, pdf(5), "John Smith")
        await eventually(lambda: len(receiver.bodies) == 1)
        details = (await client.get(f"{RECEIVED}/{fax_id}")).json()
        told = json.loads(receiver.bodies[0])
        assert list(told) == [
            "event",
            "id",
            "from_number",
            "from_name",
            "to_number",
            "pages",
            "received_at",
            "file_size",
            "format",
            "document_url",
        ]
        assert told.pop("event") == "fax_received"
        assert told == {name: details[name] for name in told}
        assert "content-type: application/json" in receiver.heads[0]
        await eventually(lambda: len(sim.ledger.hook_tries) == 1)
        (tried,) = sim.ledger.hook_tries
        assert (tried.id, tried.number, tried.status) == (fax_id, 1, 200)


async def test_xml_of_any_name() -> None:
    async with sandbox() as (sim, client), Receiver() as receiver:
        await register(client, receiver.url, format="xml")
        await sim.inject(FROM, TO, pdf(2), "A&B <\x00Ltd\ud800>")
        await eventually(lambda: len(receiver.bodies) == 1)
        root = ElementTree.fromstring(receiver.bodies[0])
        assert (root.tag, root.findtext("event"), root.findtext("pages")) == (
            "webhook",
            "fax_received",
            "2",
        )
        assert root.findtext("from_name") == "A&B <Ltd>"
        assert "content-type: application/xml" in receiver.heads[0]


async def test_processed_is_told_once() -> None:
    async with sandbox() as (sim, client), Receiver() as receiver:
        await register(client, receiver.url, events=["fax_processed"])
        fax_id = await sim.inject(FROM, TO, pdf())
        for _ in range(2):
            await client.put(f"{RECEIVED}/{fax_id}", json={"status": "processed"})
        await eventually(lambda: len(receiver.bodies) == 1)
        assert json.loads(receiver.bodies[0])["event"] == "fax_processed"
        assert len(receiver.bodies) == 1


async def test_hooks_given_at_the_start_and_webhook_routes() -> None:
    async with Receiver() as receiver, sandbox(hooks=(receiver.url,)) as (sim, client):
        route = {"type": "webhook", "destination": receiver.url}
        assert (await client.post("/v2/fax/routing", json=route)).status_code == 201
        await register(client, receiver.url, enabled=False)
        await sim.inject(FROM, TO, pdf())
        await eventually(lambda: len(sim.ledger.hook_tries) == 2)
        assert len(receiver.bodies) == 2


async def test_not_before_its_time() -> None:
    async with Receiver() as receiver:
        timing = Timing(t_hook=100)
        async with sandbox(hooks=(receiver.url,), timing=timing) as (sim, _):
            await sim.inject(FROM, TO, pdf())
            sim.advance(90)
            assert not sim.ledger.hook_tries
            sim.advance(20)
            await eventually(lambda: len(receiver.bodies) == 1)


def more_tries(sim: Simulator, than: int) -> bool:
    return len(sim.ledger.hook_tries) > than


async def test_five_tries_in_a_day() -> None:
    answers = [500, 404, 302, 204]
    async with Receiver(*answers) as receiver, sandbox(hooks=(receiver.url,)) as (sim, _):
        await sim.inject(FROM, TO, pdf())
        for later in (0, 300, 1500, 12600):
            before = len(sim.ledger.hook_tries)
            sim.advance(later)
            await eventually(partial(more_tries, sim, before))
        sim.advance(100_000)
        assert [tried.status for tried in sim.ledger.hook_tries] == answers


async def test_five_tries_when_the_documents_say() -> None:
    began = 1_770_000_000.0
    async with Receiver(*[500] * 9) as receiver:
        settings = Settings(hooks=(receiver.url,), timing=Timing(t_hook=1))
        async with Simulator(settings, wall=lambda: began) as sim:
            await sim.inject(FROM, TO, pdf())
            for later in (1, 300, 1500, 12600, 72000):
                before = len(sim.ledger.hook_tries)
                sim.advance(later)
                await eventually(partial(more_tries, sim, before))
            sim.advance(1e6)
            tries = [(tried.number, tried.at - began - 1) for tried in sim.ledger.hook_tries]
            assert tries == [(1, 0), (2, 300), (3, 1800), (4, 14400), (5, 86400)]
            await eventually(lambda: not sim.account._tasks)  # and it gave up


async def test_nobody_answers() -> None:
    async with sandbox(hooks=("http://127.0.0.1:1/x",), time_scale=0) as (sim, _):
        await sim.inject(FROM, TO, pdf())
        await eventually(lambda: len(sim.ledger.hook_tries) == 5)
        assert {(tried.status, bool(tried.error)) for tried in sim.ledger.hook_tries} == {(0, True)}


@pytest.mark.parametrize(
    "url",
    [
        "https://your-domain.com/webhook",
        "http://192.0.2.1/x",
        "http://127.0.0.1.example.com/x",
        "http://127.1/x",
        "http://2130706433/x",
        "http://localhost@192.0.2.1/x",
        "http://[::ffff:192.0.2.1]/x",
        "http://0.0.0.0/x",
    ],
)
async def test_strangers_are_left_alone(url: str) -> None:
    async with sandbox(hooks=(url,), time_scale=0) as (sim, _):
        await sim.inject(FROM, TO, pdf())
        await eventually(lambda: len(sim.ledger.hook_tries) == 5)
        assert all("loopback" in tried.error for tried in sim.ledger.hook_tries)


def test_a_hook_that_is_no_address() -> None:
    with pytest.raises(ValueError, match="'foo' is not an http address"):
        Simulator(Settings(hooks=("foo",)))


async def test_not_announced() -> None:
    async with Receiver() as receiver, sandbox(hooks=(receiver.url,)) as (sim, _):
        await sim.inject(FROM, TO, pdf(), announce=False)
        second = await sim.inject(FROM, TO, pdf())
        await eventually(lambda: len(sim.ledger.hook_tries) == 1)
        assert sim.ledger.hook_tries[0].id == second


async def told(sim: Simulator, receiver: Receiver, count: int) -> None:
    await sim.inject(FROM, TO, pdf())
    await eventually(lambda: len(sim.ledger.hook_tries) == count)
    assert len(receiver.bodies) == count


@pytest.mark.parametrize(
    ("params", "count"),
    [({"duplicate": 3}, 4), ({"burst": 60}, 60), ({"burst": 2, "duplicate": 1}, 3)],
)
async def test_too_many(params: dict[str, int], count: int) -> None:
    async with Receiver() as receiver, sandbox(hooks=(receiver.url,)) as (sim, _):
        sim.add_fault(Rule("webhook", params, times=1))
        await told(sim, receiver, count)
        await told(sim, receiver, count + 1)


async def test_lost() -> None:
    async with Receiver() as receiver, sandbox(hooks=(receiver.url,)) as (sim, _):
        sim.add_fault(Rule("webhook", {"drop": True}, path_regex="/webhook/", nth=1))
        await sim.inject(FROM, TO, pdf())
        await eventually(lambda: len(sim.ledger.hook_tries) == 1)
        (lost,) = sim.ledger.hook_tries
        assert (lost.number, lost.status, lost.error) == (0, 0, "dropped by a fault")
        await sim.inject(FROM, TO, pdf())
        await eventually(lambda: len(sim.ledger.hook_tries) == 2)
        assert len(receiver.bodies) == 1


async def test_late() -> None:
    async with Receiver() as receiver, sandbox(hooks=(receiver.url,)) as (sim, _):
        sim.add_fault(Rule("webhook", {"delay": 1000.0}, nth=1))
        first = await sim.inject(FROM, TO, pdf())
        second = await sim.inject(FROM, TO, pdf())
        await eventually(lambda: len(receiver.bodies) == 1)
        sim.advance(1000)
        await eventually(lambda: len(receiver.bodies) == 2)
        assert [json.loads(body)["id"] for body in receiver.bodies] == [second, first]
