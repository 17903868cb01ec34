"""Family A, operation by operation, over real sockets."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import httpx
import pytest

from gateway.provider.simulator import PROFILES, Profile, Rule
from tests.make import pdf
from tests.provider.sandbox import (
    FAXES,
    FROM,
    PROMPT,
    TO,
    eventually,
    outwait,
    picture,
    sandbox,
    submit,
    submitted,
    tiff,
)

pytestmark = pytest.mark.anyio
ROW = ["id", "direction", "from_number", "to_number", "status", "pages", "timestamp"]


async def test_upload_is_stored_as_it_came() -> None:
    async with sandbox() as (sim, client):
        document = pdf(3)
        reply = await submit(client, document, name='a "b" ü.pdf')
        assert reply.status_code == 202
        whole = reply.json()
        assert list(whole) == ["auth_token", "data", "request_id", "status"]
        assert list(whole["data"]) == ROW
        assert whole["data"]["status"] == "pending"
        (stored,) = sim.ledger.stored
        assert stored.sha256 == hashlib.sha256(document).hexdigest()
        assert (stored.to_number, stored.from_number) == (TO, FROM)
        assert (stored.pages, stored.bytes, stored.format) == (3, len(document), "pdf")
        assert (stored.id, stored.name) == (whole["data"]["id"], 'a "b" ü.pdf')
        assert sim.document(stored.id) == document


@pytest.mark.parametrize(
    ("document", "declared", "form", "pages"),
    [
        (pdf(2), "application/pdf", "pdf", 2),
        (pdf(1), "", "pdf", 1),
        (pdf(1), "application/octet-stream", "pdf", 1),
        (tiff(4), "image/tiff", "tiff", 4),
        (picture("PNG"), "image/png", "png", 1),
        (picture("JPEG"), "image/jpeg", "jpg", 1),
        (b"%PDF-1.4 but broken", "application/pdf", "pdf", 0),
        (b"II*\0 but broken", "image/tiff", "tiff", 0),
    ],
)
async def test_formats_and_pages(document: bytes, declared: str, form: str, pages: int) -> None:
    async with sandbox() as (sim, client):
        reply = await client.put(
            FAXES,
            data={"to_number": TO, "from_number": FROM},
            files={"document": ("x", document, declared)},
        )
        assert reply.status_code == 202
        assert (sim.ledger.stored[0].format, sim.ledger.stored[0].pages) == (form, pages)


async def test_unreadable_document_fails_later() -> None:
    async with sandbox() as (sim, client):
        fax_id = await submitted(client, b"%PDF-1.4 but broken")
        sim.advance(60)
        details = (await client.get(f"{FAXES}/{fax_id}")).json()["data"]
        assert (details["status"], details["error"]) == (
            "failed",
            "The document could not be converted",
        )


@pytest.mark.parametrize(
    ("fields", "files", "status", "named"),
    [
        ({"from_number": FROM}, {"document": pdf()}, 400, "to_number"),
        ({"to_number": TO}, {"document": pdf()}, 400, "from_number"),
        ({"to_number": " ", "from_number": FROM}, {"document": pdf()}, 400, "to_number"),
        ({"to_number": "+١٤١٥٥٥٥٠١٢٣", "from_number": FROM}, {"document": pdf()}, 400, "to_number"),
        ({"to_number": "Ann", "from_number": FROM}, {"document": pdf()}, 400, "to_number"),
        ({"to_number": TO, "from_number": FROM}, {"other": pdf()}, 400, "document"),
        ({"to_number": TO, "from_number": FROM}, {"document": b""}, 400, "document"),
        ({"to_number": TO, "from_number": FROM}, {"document": b"MZ..."}, 415, ""),
        ({"to_number": "+14155550011", "from_number": FROM}, {"document": pdf()}, 402, ""),
        ({"to_number": "+14155550012", "from_number": FROM}, {"document": pdf()}, 400, ""),
    ],
)
async def test_refused_uploads(
    fields: dict[str, str], files: dict[str, bytes], status: int, named: str
) -> None:
    async with sandbox() as (sim, client):
        reply = await client.put(FAXES, data=fields, files=files)
        assert reply.status_code == status
        whole = reply.json()
        assert (whole["status"], whole["error"]) == ("error", str(status))
        assert "auth_token" not in whole
        if named:
            assert "message" in whole["data"][named]["required"]
        assert not sim.ledger.stored


async def test_declared_type_is_believed_when_it_is_no_fax_type() -> None:
    async with sandbox() as (_, client):
        files = {"document": ("x.pdf", pdf(), "text/html")}
        reply = await client.put(FAXES, data={"to_number": TO, "from_number": FROM}, files=files)
        assert reply.status_code == 415


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"to_number": "1"}', "application/json", 400),
        (b'{"data": []}', "application/json", 400),
        (b'{"data": {"to_number": 5, "from_number": "1"}}', "application/json", 400),
        (b" " * (1024 * 1024 + 1), "application/json", 413),
        (b"x", "text/plain", 415),
        (b"x", "multipart/mixed; boundary=x", 415),
        (b"x", "multipart/form-data", 400),
        (b"no boundary in here", "multipart/form-data; boundary=x", 400),
        (b"--x\r\n\r\nnameless\r\n--x--", "multipart/form-data; boundary=x", 400),
        (b"", "", 400),
    ],
)
async def test_bodies_that_make_no_sense(content: bytes, media_type: str, status: int) -> None:
    async with sandbox() as (sim, client):
        reply = await client.put(FAXES, content=content, headers={"content-type": media_type})
        assert reply.status_code == status, reply.text
        assert not sim.ledger.stored
        assert (await client.get(FAXES)).status_code == 200


async def test_document_url_of_a_stranger_is_one_page() -> None:
    async with sandbox() as (sim, client):
        data = {"to_number": TO, "from_number": FROM, "document_url": "https://example.com/a.pdf?x"}
        reply = await client.put(FAXES, json={"data": data})
        assert reply.status_code == 202
        assert (sim.ledger.stored[0].pages, sim.ledger.stored[0].name) == (1, "a.pdf")


async def test_document_url_of_this_machine_is_fetched() -> None:
    async with sandbox() as (other, _), sandbox() as (sim, client):
        other_id = await other.inject(FROM, TO, pdf(2), announce=False)
        url = f"{other.url}/_sim/documents/{other_id}"
        data = {"to_number": TO, "from_number": FROM, "document_url": url}
        await client.put(FAXES, json={"data": data})
        await client.put(FAXES, json={"data": data | {"document_url": other.url + "/nothing"}})
        assert [stored.pages for stored in sim.ledger.stored] == [2, 0]


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1/x", "http://", "//x", "http://[", "x", 5])
async def test_document_url_that_is_none(url: Any) -> None:
    async with sandbox() as (_, client):
        data = {"to_number": TO, "from_number": FROM, "document_url": url}
        reply = await client.put(FAXES, json={"data": data})
        assert reply.status_code == 400


async def test_details_and_attachment() -> None:
    async with sandbox() as (sim, client):
        document = pdf(2)
        fax_id = await submitted(client, document)
        details = (await client.get(f"{FAXES}/{fax_id}")).json()["data"]
        assert list(details) == [*ROW, "document_url"]
        assert details["document_url"] == f"{sim.url}{FAXES}/{fax_id}/attachment"
        reply = await client.get(details["document_url"], headers={"accept": "application/pdf"})
        assert reply.content == document
        assert reply.headers["content-type"] == "application/pdf"
        assert reply.headers["content-disposition"].startswith("attachment")


async def test_delete_also_ends_a_fax_in_the_queue() -> None:
    async with sandbox() as (sim, client):
        fax_id = await submitted(client, pdf())
        reply = await client.delete(f"{FAXES}/{fax_id}")
        assert (reply.status_code, reply.content) == (204, b"")
        for path in ("", "/attachment"):
            assert (await client.get(f"{FAXES}/{fax_id}{path}")).status_code == 404
        assert (await client.delete(f"{FAXES}/{fax_id}")).status_code == 404
        assert (await client.get(FAXES)).json()["data"] == []
        assert sim.ledger.deleted == [fax_id]
        assert len(sim.ledger.stored) == 1


async def test_switches_of_the_profile() -> None:
    profile = Profile(submit_code=201, delete_code=200, page_default=1, page_max=1)
    async with sandbox(profile=profile) as (_, client):
        reply = await submit(client, pdf())
        assert reply.status_code == 201
        fax_id = reply.json()["data"]["id"]
        await submit(client, pdf())
        assert len((await client.get(FAXES + "?page_size=9")).json()["data"]) == 1
        reply = await client.delete(f"{FAXES}/{fax_id}")
        assert (reply.status_code, reply.json()["data"]) == (200, {"id": fax_id})
    assert PROFILES["documented"] == Profile()


async def test_inbox_and_outbox() -> None:
    async with sandbox() as (sim, client):
        sent = await submitted(client, pdf())
        sim.advance(3600)
        queued = await submitted(client, pdf())
        received = await sim.inject(FROM, TO, tiff(), announce=False)

        async def ids(path: str) -> list[str]:
            return [row["id"] for row in (await client.get(FAXES + path)).json()["data"]]

        assert await ids("") == [received, queued, sent]
        assert await ids("/inbox") == [received]
        assert await ids("/outbox") == [sent]
        row = (await client.get(FAXES + "/inbox")).json()["data"][0]
        assert (row["direction"], row["status"]) == ("inbound", "received")
        reply = await client.get(f"{FAXES}/{received}/attachment")
        assert (reply.content, reply.headers["content-type"]) == (tiff(), "image/tiff")


async def test_pages_of_a_list_survive_deletion() -> None:
    async with sandbox() as (sim, client):
        ids = [await sim.inject(FROM, TO, b"", announce=False) for _ in range(7)]
        first = (await client.get(FAXES + "?page_size=3")).json()
        key = first["next_start_key"]
        await client.delete(f"{FAXES}/{ids[3]}")
        second = (await client.get(f"{FAXES}?page_size=3&start_key={key}")).json()
        rows = first["data"] + second["data"]
        assert [row["id"] for row in rows] == [*reversed(ids[4:]), *reversed(ids[:3])]
        assert (second["start_key"], second["page_size"]) == (key, 3)
        assert "next_start_key" not in second
        assert len((await client.get(FAXES)).json()["data"]) == 6
        for wrong in ("page_size=0", "page_size=x", "page_size=-1", "start_key=zz"):
            assert (await client.get(f"{FAXES}?{wrong}")).status_code == 400


async def test_default_page_is_25_rows() -> None:
    async with sandbox() as (sim, client):
        for _ in range(130):
            await sim.inject(FROM, TO, b"", announce=False)
        walked, query = list[str](), "?page_size=9"
        while query:
            page = (await client.get(FAXES + query)).json()
            walked += [row["id"] for row in page["data"]]
            key = page.get("next_start_key")
            query = f"?page_size=9&start_key={key}" if key else ""
        assert walked == [*reversed(sim.account.inbound)]
        for query, rows in (("", 25), ("?page_size=500", 100), ("?paginate=false", 130)):
            assert len((await client.get(FAXES + query)).json()["data"]) == rows


async def test_ten_thousand_rows() -> None:
    async with sandbox(time_scale=0.001) as (sim, client):
        document = await sim.account.shelf.store(pdf())
        for _ in range(10_000):
            sim.account.submit(TO, FROM, document)
        rows = (await client.get(FAXES + "?paginate=false")).json()["data"]
        assert len({row["id"] for row in rows}) == 10_000


async def test_two_alike_are_two() -> None:
    async with sandbox() as (sim, client):
        ids = [await submitted(client, pdf(2)) for _ in range(2)]
        assert [stored.id for stored in sim.ledger.stored] == ids
        assert len(set(ids)) == 2
        assert len({stored.sha256 for stored in sim.ledger.stored}) == 1


async def test_a_deleted_fax_is_still_downloaded_to_its_end() -> None:
    async with sandbox() as (sim, client):
        fax_id = await submitted(client, pdf(5))
        sim.add_fault(Rule("slow_body", {"stall_after": 10, "stall": 1000.0}, times=1))
        task = asyncio.create_task(client.get(f"{FAXES}/{fax_id}/attachment", timeout=30))
        await eventually(lambda: sim.ledger.downloads.now == 1)
        await client.delete(f"{FAXES}/{fax_id}")
        await outwait(sim, task)
        assert task.result().content == pdf(5)


async def test_twenty_megabytes() -> None:
    async with sandbox() as (sim, client):
        document = pdf() + b"%" + b"x" * 20_000_000
        await submitted(client, document)
        assert sim.ledger.stored[0].sha256 == hashlib.sha256(document).hexdigest()


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({}, FAXES, 401),
        ({"X-Auth-Token": ""}, FAXES, 401),
        ({"X-Auth-Token": "wrong"}, FAXES, 401),
        ({"X-Auth-Token": "sandbox-token"}, FAXES, 200),
        ({"X-Auth-Token": "sandbox-key"}, FAXES, 200),
        ({"Authorization": "Bearer sandbox-token"}, FAXES, 200),
        ({"Authorization": "bearer sandbox-key"}, FAXES, 200),
        ({"Authorization": "Basic sandbox-key"}, FAXES, 401),
        ({"X-Auth-Token": "wrong", "Authorization": "Bearer sandbox-token"}, FAXES, 401),
        ({"X-Auth-Token": "sandbox-token"}, "/v2/accounts/other/faxes", 403),
        ({"X-Auth-Token": "wrong"}, "/v2/accounts/other/faxes", 401),
        ({}, "/v2/fax/received", 401),
        ({"Authorization": "Bearer sandbox-token"}, "/v2/fax/received", 200),
    ],
)
async def test_who_may(headers: dict[str, str], path: str, status: int) -> None:
    async with sandbox() as (sim, _), httpx.AsyncClient(base_url=sim.url) as client:
        reply = await client.get(path, headers=headers)
        assert reply.status_code == status
        assert "wrong" not in reply.text


async def test_an_account_without_api_key_has_no_empty_one() -> None:
    async with sandbox(api_key="") as (_, client):
        assert (await client.get(FAXES, headers={"X-Auth-Token": ""})).status_code == 401


async def test_a_refused_upload_is_read_to_its_end() -> None:
    async with sandbox() as (sim, client):
        files = {"document": ("x.pdf", pdf() + b"x" * 5_000_000)}
        reply = await client.put(FAXES, files=files, headers={"X-Auth-Token": "wrong"})
        assert reply.status_code == 401
        assert (await client.get(FAXES)).status_code == 200
        assert len({id(seen) for seen in sim.ledger.requests}) == 2


async def test_api_key_becomes_a_token_that_ends() -> None:
    async with sandbox(token_ttl=60) as (sim, client):
        reply = await client.put("/v2/api_auth", json={"data": {"api_key": "sandbox-key"}})
        assert reply.status_code == 201
        assert reply.json()["data"]["account_id"] == "acct_sandbox"
        token = {"X-Auth-Token": reply.json()["auth_token"]}
        assert token["X-Auth-Token"].count(".") == 2
        assert (await client.get(FAXES, headers=token)).status_code == 200
        sim.advance(61)
        assert (await client.get(FAXES, headers=token)).status_code == 401
        for wrong, status in (({"api_key": "x"}, 401), ({}, 400), ([], 400)):
            reply = await client.put("/v2/api_auth", json={"data": wrong})
            assert reply.status_code == status
        assert sim.ledger.auths == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2", 404),
        ("GET", FAXES + "/", 404),
        ("GET", FAXES + "/nothing", 404),
        ("GET", FAXES + "/%2e%2e%2f", 404),
        ("GET", FAXES + "/%00%ff", 404),
        ("POST", FAXES, 405),
        ("PATCH", FAXES + "/x", 405),
        ("HEAD", FAXES, 405),
    ],
)
async def test_paths_and_methods_there_are_not(method: str, path: str, status: int) -> None:
    async with sandbox() as (_, client):
        reply = await client.request(method, path)
        assert reply.status_code == status
        assert (status == 405) == ("allow" in reply.headers)


async def test_request_id_is_adopted() -> None:
    async with sandbox() as (sim, client):
        reply = await client.get(FAXES, headers={"X-Request-ID": "try-1"})
        assert (reply.headers["x-request-id"], reply.json()["request_id"]) == ("try-1", "try-1")
        assert sim.ledger.requests[0].request_id == "try-1"
        reply = await client.get(FAXES)
        assert reply.headers["x-request-id"] == reply.json()["request_id"]


async def test_same_seed_same_ids() -> None:
    async def ids(seed: int) -> list[str]:
        async with sandbox(seed=seed) as (sim, client):
            await submit(client, pdf())
            return [sim.ledger.stored[0].id, await sim.inject(FROM, TO, b"", announce=False)]

    assert await ids(1) == await ids(1) != await ids(2)


async def test_new_fax_is_in_no_list_until_the_index_has_it() -> None:
    timing = PROMPT.__class__(t_accept=0, t_index_lag=100)
    async with sandbox(timing=timing, seed=3) as (sim, client):
        fax_id = await submitted(client, pdf())
        assert (await client.get(f"{FAXES}/{fax_id}")).status_code == 200
        assert (await client.get(FAXES)).json()["data"] == []
        sim.advance(100)
        assert len((await client.get(FAXES)).json()["data"]) == 1
