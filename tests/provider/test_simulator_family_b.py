"""Family B, operation by operation, over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.provider.simulator import Profile, Rule, Simulator, Timing
from tests.make import pdf
from tests.provider.sandbox import FROM, RECEIVED, TO, eventually, outwait, sandbox, tiff

pytestmark = pytest.mark.anyio
ROW = [
    "id",
    "from_number",
    "from_name",
    "to_number",
    "pages",
    "received_at",
    "status",
    "format",
    "file_size",
    "document_url",
    "processed",
]


async def received(sim: Simulator, document: bytes = b"", **facts: Any) -> str:
    told: dict[str, Any] = {
        "from_number": FROM,
        "to_number": TO,
        "document": document,
        "announce": False,
    }
    return await sim.inject(**told | facts)


async def test_list_and_details_carry_the_documented_fields() -> None:
    async with sandbox() as (sim, client):
        fax_id = await received(sim, pdf(5), from_name="John Smith")
        whole = (await client.get(RECEIVED)).json()
        assert (whole["total"], whole["limit"], whole["offset"]) == (1, 20, 0)
        (row,) = whole["faxes"]
        assert list(row) == ROW
        assert (row["from_name"], row["pages"], row["format"]) == ("John Smith", 5, "pdf")
        assert (row["status"], row["processed"], row["file_size"]) == (
            "received",
            False,
            len(pdf(5)),
        )
        details = (await client.get(f"{RECEIVED}/{fax_id}")).json()
        assert list(details) == [*ROW, "duration", "baud_rate", "created_at"]
        reply = await client.get(details["document_url"])
        assert (reply.content, reply.headers["content-type"]) == (pdf(5), "application/pdf")


async def test_limit_and_offset() -> None:
    async with sandbox() as (sim, client):
        ids = [await received(sim) for _ in range(130)]
        ids.reverse()
        for query, rows, limit in (
            ("", ids[:20], 20),
            ("?limit=3&offset=2", ids[2:5], 3),
            ("?limit=1000", ids[:100], 100),
            ("?offset=125", ids[125:], 20),
            ("?offset=500", [], 20),
        ):
            whole = (await client.get(RECEIVED + query)).json()
            assert [row["id"] for row in whole["faxes"]] == rows
            assert (whole["total"], whole["limit"]) == (130, limit)


async def test_filters() -> None:
    async with sandbox() as (sim, client):
        start = sim.clock.now()
        old = await received(sim)
        sim.advance(86_400)
        new = await received(sim, from_number="+12025551234")
        await client.put(f"{RECEIVED}/{new}", json={"status": "processed"})
        noon = str((await client.get(f"{RECEIVED}/{new}")).json()["received_at"])

        async def ids(**query: str) -> list[str]:
            reply = await client.get(RECEIVED, params=query)
            assert reply.status_code == 200, reply.text
            return [row["id"] for row in reply.json()["faxes"]]

        assert await ids() == [new, old]
        assert await ids(status="received") == [old]
        assert await ids(status="processed") == [new]
        assert await ids(status="archived") == []
        assert await ids(from_number="+12025551234") == [new]
        assert await ids(from_date=noon) == [new]
        assert await ids(to_date=noon[:10]) == [old]
        assert await ids(to_date=noon) == [new, old]
        assert await ids(from_date=noon, to_date=noon) == [new]
        assert await ids(to_date=noon.replace("T", " ").rstrip("Z")) == [new, old]
        assert await ids(from_date=noon.replace("Z", ".000Z")) == [new]
        assert (await client.get(f"{RECEIVED}?from_date={noon[:-1]}+00:00")).json()["total"] == 1
        assert await ids(from_date="2000-01-01", to_date="2001-01-01T00:00:00Z") == []
        assert start > 0
        # the plus of a number that nobody encoded
        reply = await client.get(f"{RECEIVED}?from_number=+12025551234")
        assert [row["id"] for row in reply.json()["faxes"]] == [new]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "limit=-1",
        "offset=-1",
        "limit=99999999999999999999",
        "from_date=yesterday",
        "to_date=2024-13-45",
        "status=unread",
    ],
)
async def test_filters_that_make_no_sense(query: str) -> None:
    async with sandbox() as (sim, client):
        await received(sim)
        reply = await client.get(f"{RECEIVED}?{query}")
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == query.partition("=")[0]


async def test_received_processed_archived_and_never_back() -> None:
    async with sandbox() as (sim, client):
        fax = f"{RECEIVED}/{await received(sim)}"

        async def mark(status: object) -> int:
            return (await client.put(fax, json={"status": status})).status_code

        assert await mark("received") == 200
        assert await mark("processed") == 200
        assert await mark("processed") == 200
        assert await mark("received") == 409
        assert await mark("archived") == 400
        assert await mark("lost") == 400
        assert await mark(5) == 400
        reply = await client.post(f"{fax}/archive")
        assert (reply.status_code, reply.json()["status"]) == (200, "archived")
        assert reply.json()["processed"] is True
        assert (await client.post(f"{fax}/archive")).status_code == 200
        assert await mark("processed") == 409


async def test_archive_twice_by_switch() -> None:
    async with sandbox(profile=Profile(archive_twice=409)) as (sim, client):
        fax = f"{RECEIVED}/{await received(sim)}"
        codes = [(await client.post(f"{fax}/archive")).status_code for _ in range(2)]
        assert codes == [200, 409]


async def test_document_comes_after_the_list() -> None:
    timing = Timing(t_list=10, t_attach=1000, t_hook=0)
    async with sandbox(timing=timing, seed=1) as (sim, client):
        fax_id = await received(sim, tiff(2))
        fax = f"{RECEIVED}/{fax_id}"
        assert (await client.get(RECEIVED)).json()["total"] == 0
        assert (await client.get(fax)).status_code == 404
        sim.advance(10)
        assert (await client.get(RECEIVED)).json()["total"] == 1
        assert (await client.get(fax)).json()["format"] == "tiff"
        assert (await client.get(f"{fax}/download")).status_code == 404
        attachment = f"/v2/accounts/acct_sandbox/faxes/{fax_id}/attachment"
        assert (await client.get(attachment)).status_code == 404
        sim.advance(1000)
        reply = await client.get(f"{fax}/download")
        assert (reply.content, reply.headers["content-type"]) == (tiff(2), "image/tiff")
        assert (await client.get(attachment)).content == tiff(2)


async def test_pages_may_be_claimed() -> None:
    async with sandbox() as (sim, client):
        fax_id = await received(sim, pdf(1), pages=7)
        assert (await client.get(f"{RECEIVED}/{fax_id}")).json()["pages"] == 7


async def test_eleventh_download_is_refused() -> None:
    async with sandbox() as (sim, client):
        fax = f"{RECEIVED}/{await received(sim, pdf())}/download"
        sim.add_fault(Rule("slow_body", {"stall_after": 0, "stall": 1000.0}, times=10))
        ten = [asyncio.create_task(client.get(fax, timeout=30)) for _ in range(10)]
        await eventually(lambda: sim.ledger.downloads.now == 10)
        assert (await client.get(fax)).status_code == 429
        await outwait(sim, *ten)
        assert {task.result().content for task in ten} == {pdf()}
        assert (await client.get(fax)).status_code == 200
        assert (sim.ledger.downloads.most, sim.ledger.at_once.most) == (10, 11)
        assert sim.ledger.downloads.now == 0


@pytest.mark.parametrize("what", ["", "/download"])
@pytest.mark.parametrize("fax_id", ["nothing", "fax_received_123", "%2F", "%FF"])
async def test_unknown_ids(fax_id: str, what: str) -> None:
    async with sandbox() as (_, client):
        reply = await client.get(f"{RECEIVED}/{fax_id}{what}")
        assert reply.status_code == 404
        assert reply.json()["error"]["code"] == "not_found"


HOOK = {"url": "http://127.0.0.1:1/x", "events": ["fax_received"]}
ROUTE = {"type": "email", "destination": "receiving@company.com"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("webhooks", HOOK, 201),
        ("webhooks", HOOK | {"url": "https://your-domain.com/webhook/fax"}, 201),
        ("webhooks", HOOK | {"enabled": False, "format": "xml"}, 201),
        ("webhooks", HOOK | {"url": ""}, 400),
        ("webhooks", HOOK | {"url": "ftp://x"}, 400),
        ("webhooks", HOOK | {"url": "http://[::1"}, 400),
        ("webhooks", HOOK | {"url": 5}, 400),
        ("webhooks", {"url": "http://127.0.0.1:1/x"}, 400),
        ("webhooks", HOOK | {"events": []}, 400),
        ("webhooks", HOOK | {"events": ["fax_lost"]}, 400),
        ("webhooks", HOOK | {"events": [["fax_received"]]}, 400),
        ("webhooks", HOOK | {"enabled": "yes"}, 400),
        ("webhooks", HOOK | {"format": "yaml"}, 400),
        ("webhooks", HOOK | {"format": []}, 400),
        ("webhooks", [], 400),
        ("routing", ROUTE | {"attach_document": True, "enabled": True}, 201),
        ("routing", {"type": "webhook", "destination": "https://your-crm.com/api/fax"}, 201),
        ("routing", {"type": "webhook", "destination": "receiving@company.com"}, 400),
        ("routing", ROUTE | {"destination": "nobody"}, 400),
        ("routing", ROUTE | {"type": "pigeon"}, 400),
        ("routing", ROUTE | {"attach_document": 1}, 400),
        ("numbers", {"area_code": "202", "quantity": 1}, 201),
        ("numbers", {"area_code": "202"}, 201),
        ("numbers", {"area_code": "202", "quantity": 100}, 201),
        ("numbers", {"area_code": "202", "quantity": 101}, 409),
        ("numbers", {"area_code": "202", "quantity": 0}, 400),
        ("numbers", {"area_code": "202", "quantity": True}, 400),
        ("numbers", {"area_code": "202", "quantity": 1.5}, 400),
        ("numbers", {"area_code": "20"}, 400),
        ("numbers", {"quantity": 1}, 400),
    ],
)
async def test_settings_of_the_account(path: str, body: Any, status: int) -> None:
    async with sandbox() as (_, client):
        reply = await client.post(f"/v2/fax/{path}", json=body)
        assert reply.status_code == status, reply.text
        if status == 201:
            assert {name: reply.json()[name] for name in body} == body


async def test_numbers_are_different() -> None:
    async with sandbox() as (sim, client):
        for _ in range(2):
            await client.post("/v2/fax/numbers", json={"area_code": "202", "quantity": 2})
        assert sim.account.numbers == [f"+1202555010{at}" for at in range(4)]
