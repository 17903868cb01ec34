"""Both documents of the provider, operation by operation, as they print requests and replies."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gateway.provider.simulator import Simulator
from gateway.provider.simulator.outbound import digits
from tests.make import pdf
from tests.provider.sandbox import FAXES, RECEIVED, Receiver, eventually, sandbox

pytestmark = pytest.mark.anyio
FROM, TO = "+14155552671", "+14155559999"
ENVELOPE = ["auth_token", "data", "request_id", "status"]
ROW_A = ["id", "direction", "from_number", "to_number", "status", "pages", "timestamp"]
BESIDES = ["duration"]  # of a fax that is over; the document has no field for it
ROW_B = [
    *("id", "from_number", "from_name", "to_number", "pages", "received_at", "status", "format"),
    *("file_size", "document_url", "processed"),
]
DETAILS_B = [
    *("id", "from_number", "from_name", "to_number", "pages", "received_at", "status", "format"),
    *("file_size", "document_url", "processed", "duration", "baud_rate", "created_at"),
]
ACCEPTED_BY_URL = {
    "data": {
        "from_number": FROM,
        "to_number": TO,
        "document_url": "https://example.com/document.pdf",
    }
}
UPLOAD: dict[str, Any] = {
    "data": {"to_number": TO, "from_number": FROM},
    "files": {"document": ("document.pdf", pdf(3), "application/pdf")},
}
HOOK = {
    "url": "https://your-domain.com/webhook/fax",
    "events": ["fax_received"],
    "enabled": True,
    "format": "json",
}
TO_MAIL = {
    "type": "email",
    "destination": "receiving@company.com",
    "attach_document": True,
    "enabled": True,
}
TO_HOOK = {
    "type": "webhook",
    "destination": "https://your-crm.com/api/fax",
    "attach_document": False,
    "enabled": True,
}
NUMBERS = {"area_code": "202", "quantity": 1}
PDF = "application/pdf"
Case = tuple[str, str, dict[str, Any], int, Any]

# method, path, request, status, and of the reply: JSON names by place, a media type, or nothing
DOCUMENTED: tuple[Case, ...] = (
    ("GET", FAXES, {}, 200, {"": [*ENVELOPE, "page_size"], "data.0": ROW_A}),
    ("GET", FAXES + "?paginate=false", {}, 200, {"": ENVELOPE, "data.0": ROW_A}),
    ("PUT", FAXES, {"json": ACCEPTED_BY_URL}, 202, {"": ENVELOPE, "data": ROW_A}),
    ("PUT", FAXES, UPLOAD, 202, {"": ENVELOPE, "data": ROW_A}),
    ("GET", FAXES + "/{sent}", {}, 200, {"data": [*ROW_A, "document_url", *BESIDES]}),
    ("GET", FAXES + "/{sent}/attachment", {"headers": {"Accept": PDF}}, 200, PDF),
    ("GET", FAXES + "/inbox", {}, 200, {"": [*ENVELOPE, "page_size"], "data.0": ROW_A}),
    ("GET", FAXES + "/outbox", {}, 200, {"": [*ENVELOPE, "page_size"], "data.0": ROW_A}),
    ("DELETE", FAXES + "/{sent}", {}, 204, ""),
    ("PUT", "/v2/api_auth", {"json": {"data": {"api_key": "sandbox-key"}}}, 201, {"": ENVELOPE}),
    (
        *("GET", RECEIVED + "?limit=20&offset=0", {}, 200),
        {"": ["faxes", "total", "limit", "offset"], "faxes.0": ROW_B},
    ),
    ("GET", RECEIVED + "?from_date=2024-01-28T00:00:00Z", {}, 200, {"faxes.0": ROW_B}),
    ("GET", RECEIVED + "?to_date=2124-01-28T00:00:00Z", {}, 200, {"faxes.0": ROW_B}),
    ("GET", RECEIVED + "?limit=20&offset=0&status=received", {}, 200, {"faxes.0": ROW_B}),
    (
        *("GET", RECEIVED + "?from_number=%2B12025551234&from_date=2024-01-28&to_date=2124-01-28"),
        *({}, 200, {"faxes.0": ROW_B}),
    ),
    ("GET", RECEIVED + "/{received}", {}, 200, {"": DETAILS_B}),
    ("GET", RECEIVED + "/{received}/download", {}, 200, PDF),
    ("PUT", RECEIVED + "/{received}", {"json": {"status": "processed"}}, 200, {"": DETAILS_B}),
    ("POST", RECEIVED + "/{received}/archive", {}, 200, {"": DETAILS_B}),
    ("POST", "/v2/fax/webhooks", {"json": HOOK}, 201, {"": ["id", *HOOK]}),
    ("POST", "/v2/fax/routing", {"json": TO_MAIL}, 201, {"": ["id", *TO_MAIL]}),
    ("POST", "/v2/fax/routing", {"json": TO_HOOK}, 201, {"": ["id", *TO_HOOK]}),
    ("POST", "/v2/fax/numbers", {"json": NUMBERS}, 201, {"": ["numbers", *NUMBERS]}),
)


async def lived_in(sim: Simulator, client: httpx.AsyncClient) -> dict[str, str]:
    """A sandbox with one fax sent and one received, both over."""
    reply = await client.put(FAXES, **UPLOAD)
    received = await sim.inject("+12025551234", "+15551234567", pdf(5), "John Smith")
    sim.advance(3600)
    return {"sent": reply.json()["data"]["id"], "received": received}


def at(whole: Any, place: str) -> Any:
    for step in filter(None, place.split(".")):
        whole = whole[int(step) if step.isdigit() else step]
    return whole


@pytest.mark.parametrize(("method", "path", "request_", "status", "told"), DOCUMENTED)
async def test_documented(
    method: str, path: str, request_: dict[str, Any], status: int, told: Any
) -> None:
    async with sandbox() as (sim, client):
        ids = await lived_in(sim, client)
        reply = await client.request(method, path.format(**ids), **request_)
        assert reply.status_code == status
        if isinstance(told, dict):
            assert reply.headers["content-type"] == "application/json"
            for place, names in told.items():
                assert list(at(reply.json(), place)) == names
        else:
            assert reply.headers.get("content-type", "") == told


def test_the_table_holds_every_operation() -> None:
    operations = {(one.method, one.path) for one in Simulator().operations}
    told = {(method, path.partition("?")[0]) for method, path, *_ in DOCUMENTED}
    told = {
        (method, path.replace("acct_sandbox", "{account}").replace("{sent}", "{id}"))
        for method, path in told
    }
    assert {(method, path.replace("{received}", "{id}")) for method, path in told} == operations


async def test_documented_values_of_a_list() -> None:
    async with sandbox() as (sim, client):
        ids = await lived_in(sim, client)
        (first, second) = (await client.get(FAXES + "?paginate=false")).json()["data"]
        assert (first["id"], first["direction"], first["status"], first["pages"]) == (
            *(ids["received"], "inbound", "received"),
            5,
        )
        assert (second["id"], second["direction"], second["status"], second["pages"]) == (
            *(ids["sent"], "outbound", "sent"),
            3,
        )
        assert second["timestamp"].endswith("Z")
        whole = (await client.get(RECEIVED)).json()
        assert (whole["total"], whole["limit"], whole["offset"]) == (1, 20, 0)
        (fax,) = whole["faxes"]
        assert fax["document_url"] == f"{sim.url}{RECEIVED}/{ids['received']}/download"
        assert (fax["from_name"], fax["processed"]) == ("John Smith", False)
        assert digits(fax["from_number"]) == "12025551234"


@pytest.mark.parametrize("form", ["json", "xml"])
async def test_documented_webhook(form: str) -> None:
    async with sandbox() as (sim, client), Receiver() as receiver:
        hook = HOOK | {"url": receiver.url, "format": form, "events": ["fax_received"]}
        await client.post("/v2/fax/webhooks", json=hook)
        await sim.inject("+12025551234", "+15551234567", pdf(5), "John Smith")
        await eventually(lambda: len(receiver.bodies) == 1)
        body = receiver.bodies[0].decode()
        names = [
            *("event", "id", "from_number", "from_name", "to_number", "pages", "received_at"),
            *("file_size", "format", "document_url"),
        ]
        places = [body.index(f'"{name}": ' if form == "json" else f"<{name}>") for name in names]
        assert places == sorted(places)


# the examples, letter by letter: only host, account, token, ids and the file are put in

CURL = (
    """curl -X GET "{base}/v2/accounts/{ACCOUNT_ID}/faxes" \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-H "Accept: application/json" """,
    """curl -X GET "{base}/v2/accounts/{ACCOUNT_ID}/faxes?paginate=false" \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-H "Accept: application/json" """,
    """curl -X PUT "{base}/v2/accounts/{ACCOUNT_ID}/faxes" \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-H "Content-Type: application/json" \\
-d '{{
"data": {{
"from_number": "+14155552671",
"to_number": "+14155559999",
"document_url": "https://example.com/document.pdf"
}}
}}'""",
    """curl -X PUT "{base}/v2/accounts/{ACCOUNT_ID}/faxes" \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-H "Content-Type: multipart/form-data" \\
-F "to_number=+14155559999" \\
-F "from_number=+14155552671" \\
-F "document=@{document}" """,
    """curl -X GET "{base}/v2/accounts/{ACCOUNT_ID}/faxes/{sent}" \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-H "Accept: application/json" """,
    """curl -X GET "{base}/v2/accounts/{ACCOUNT_ID}/faxes/{sent}/attachment" \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-H "Accept: application/pdf" \\
--output {saved}""",
    """curl -X DELETE "{base}/v2/accounts/{ACCOUNT_ID}/faxes/{sent}" \\
-H "X-Auth-Token: {AUTH_TOKEN}" """,
    """curl -X GET "{base}/v2/accounts/{ACCOUNT_ID}/faxes/inbox" \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-H "Accept: application/json" """,
    """curl -X GET "{base}/v2/accounts/{ACCOUNT_ID}/faxes/outbox" \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-H "Accept: application/json" """,
    """curl -X GET "{base}/v2/fax/received?limit=20&offset=0" \\
-H "X-Auth-Token: {AUTH_TOKEN}" """,
    """curl -X GET "{base}/v2/fax/received?from_date=2024-01-28T00:00:00Z" \\
-H "X-Auth-Token: {AUTH_TOKEN}" """,
    """curl -X GET {base}/v2/fax/received/{received} \\
-H "X-Auth-Token: {AUTH_TOKEN}" """,
    """curl -X GET {base}/v2/fax/received/{received}/download \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-o {saved}""",
    """curl -X POST {base}/v2/fax/webhooks \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-H "Content-Type: application/json" \\
-d '{{
"url": "https://your-domain.com/webhook/fax",
"events": ["fax_received"],
"enabled": true,
"format": "json"
}}'""",
    """curl -X POST {base}/v2/fax/routing \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-H "Content-Type: application/json" \\
-d '{{
"type": "email",
"destination": "receiving@company.com",
"attach_document": true,
"enabled": true
}}'""",
    """curl -X PUT {base}/v2/fax/received/{received} \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-H "Content-Type: application/json" \\
-d '{{
"status": "processed"
}}'""",
    """curl -X POST {base}/v2/fax/received/{received}/archive \\
-H "X-Auth-Token: {AUTH_TOKEN}" """,
    """curl -X POST {base}/v2/fax/numbers \\
-H "X-Auth-Token: {AUTH_TOKEN}" \\
-H "Content-Type: application/json" \\
-d '{{
"area_code": "202",
"quantity": 1
}}'""",
)


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")


async def curl(command: str, directory: Path) -> int:
    """The status of its answer; a failure of curl itself is an error."""
    words = shlex.split(command.replace("\\\n", " "))
    done = await anyio.run_process([*words, "-sS", "-w", "%{http_code}"], cwd=directory)
    return int(done.stdout[-3:])


@needs_curl
async def test_the_examples_of_the_documents_as_they_are_printed(tmp_path: Path) -> None:
    document, saved = tmp_path / "document.pdf", tmp_path / "saved.pdf"
    document.write_bytes(pdf(3))
    async with sandbox() as (sim, client):
        put_in = await lived_in(sim, client)
        put_in |= {"base": sim.url, "ACCOUNT_ID": "acct_sandbox", "AUTH_TOKEN": "sandbox-token"}
        codes, bodies = [], []
        for command in CURL:
            written = command.format(**put_in, document=document, saved=saved)
            codes.append(await curl(written, tmp_path))
            if saved.exists():
                bodies.append(saved.read_bytes())
                saved.unlink()
        begun = [200, 200, 202, 202, 200, 200, 204, 200, 200]  # the first document
        assert codes == [*begun, 200, 200, 200, 200, 201, 201, 200, 200, 201]
        assert bodies == [pdf(3), pdf(5)]
        assert [stored.pages for stored in sim.ledger.stored] == [3, 1, 3]
        assert sim.ledger.stored[2].name == "document.pdf"
        assert sim.account.inbound[put_in["received"]].status == "archived"


@needs_curl
async def test_the_examples_of_our_own_page(tmp_path: Path) -> None:
    (tmp_path / "fax.pdf").write_bytes(pdf(4))
    async with sandbox() as (sim, client):
        page = (await client.get("/")).text.replace("$AUDIAN_AUTH_TOKEN", "sandbox-token")
        examples = re.findall(r"^  (curl (?:[^\n]*\\\n)*[^\n]*)$", page, re.MULTILINE)
        codes = [await curl(example, tmp_path) for example in examples]
        assert codes == [202, 201, 201, 200, 201]
        assert [stored.pages for stored in sim.ledger.stored] == [4]
        assert [fax.pages for fax in sim.account.inbound.values()] == [4, 1]
        assert sim.account.elapsed() >= 600
        assert [rule.action for rule in sim.account.faults.rules] == ["drop_after_accept"]
