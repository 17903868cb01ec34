"""The control API: play, look, reset; and who may not."""

from __future__ import annotations

import base64
import hashlib
import json

import httpx
import pytest

from gateway.provider.simulator import Rule
from gateway.provider.simulator.documents import sample
from gateway.provider.simulator.faults import ACTIONS, MATCH
from gateway.provider.simulator.outside import is_loopback
from tests.make import pdf
from tests.provider.sandbox import (
    FAXES,
    FROM,
    RECEIVED,
    TO,
    Receiver,
    eventually,
    sandbox,
    submit,
    submitted,
    tiff,
)

pytestmark = pytest.mark.anyio


async def test_the_page_names_every_operation() -> None:
    async with sandbox() as (sim, client):
        page = await client.get("/")
        for door in ("/_sim", "/_sim/"):
            assert (await client.get(door)).text == page.text
        assert page.headers["content-type"].startswith("text/plain")
        listed = (await client.get("/_sim/", headers={"accept": "application/json"})).json()
        assert len(listed["operations"]) == 27
        for row in listed["operations"]:
            assert row["path"] in page.text
        assert f"{sim.url}/_sim/inject" in page.text
        assert len(listed["endings"]) == 16
        for action in ACTIONS:
            assert f"\n  {action} " in page.text
        for name in MATCH:
            assert name in page.text


async def test_inject_in_three_ways() -> None:
    async with sandbox() as (sim, client):
        whole = {"from_number": "+12025551234", "from_name": "Ada", "to_number": TO}
        encoded = base64.b64encode(tiff(2)).decode()
        for reply in (
            await client.post("/_sim/inject", json=whole | {"document": encoded}),
            await client.post("/_sim/inject", data=whole, files={"document": ("x", tiff(2))}),
            await client.post("/_sim/inject", content=b"{}"),
        ):
            assert reply.status_code == 201
            assert reply.json()["id"] in sim.account.inbound
        faxes = list(sim.account.inbound.values())
        assert [fax.pages for fax in faxes] == [2, 2, 1]
        assert [fax.from_name for fax in faxes] == ["Ada", "Ada", ""]
        assert {one.sha256 for one in sim.ledger.injected[:2]} == {
            hashlib.sha256(tiff(2)).hexdigest()
        }
        assert (await client.get(RECEIVED)).json()["total"] == 3
        assert len(list(sim.account.shelf._directory.iterdir())) == 3
        document = await client.get(f"/_sim/documents/{faxes[1].id}")
        assert (document.content, document.headers["content-type"]) == (tiff(2), "image/tiff")


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", "inject", b""),
        ("POST", "inject", b"[]"),
        ("POST", "inject", b'{"document": "?"}'),
        ("POST", "inject", b'{"document": 5}'),
        ("POST", "inject", '{"document": "ü"}'.encode()),
        ("POST", "inject", b'{"from_number": 5}'),
        ("POST", "inject", b'{"from": "+14155550123"}'),
        ("POST", "inject", b'{"pages": -1}'),
        ("POST", "inject", b'{"pages": true}'),
        ("POST", "inject", b'{"pages": null}'),
        ("POST", "advance", b'{"seconds": true}'),
        ("POST", "advance", b""),
        ("POST", "advance", b'{"seconds": -1}'),
        ("POST", "advance", b'{"seconds": "1"}'),
        ("POST", "advance", b'{"seconds": NaN}'),
        ("POST", "advance", b'{"seconds": Infinity}'),
        ("POST", "advance", b'{"seconds": 1e300}'),
        ("POST", "faults", b"5"),
        ("POST", "faults", b'[{"action": "explode"}]'),
    ],
)
async def test_requests_that_make_no_sense(method: str, path: str, content: bytes) -> None:
    async with sandbox() as (sim, client):
        reply = await client.request(method, f"/_sim/{path}", content=content)
        assert reply.status_code == 400, reply.text
        assert not sim.account.inbound
        assert (await client.get("/_sim/state")).status_code == 200


async def test_state_and_advance() -> None:
    async with sandbox() as (sim, client):
        fax_id = await submitted(client, pdf())
        before = (await client.get("/_sim/state")).json()
        await client.post("/_sim/advance", json={"seconds": 600})
        after = (await client.get("/_sim/state")).json()
        assert after["now"] >= before["now"] + 600
        assert after["profile"] == "documented"
        assert after["outbound"] == [{"id": fax_id, "to_number": TO, "status": "sent"}]
        document = await client.get(f"/_sim/documents/{fax_id}")
        assert (document.content, document.headers["content-type"]) == (pdf(), "application/pdf")
        assert (await client.get("/_sim/documents/nothing")).status_code == 404
        assert sim.document(fax_id) == pdf()


async def test_faults_over_http() -> None:
    async with sandbox() as (_, client):
        one = {"action": "status", "params": {"code": 503}, "match": {"method": "GET"}}
        assert (await client.post("/_sim/faults", json=one)).status_code == 201
        reply = await client.post("/_sim/faults", json=[one, one])
        assert len(reply.json()["faults"]) == 3
        assert (await client.get(FAXES)).status_code == 503
        assert (await client.get("/_sim/state")).status_code == 200
        assert (await client.get("/_sim/faults")).json() == reply.json()
        assert (await client.delete("/_sim/faults")).json() == {"faults": []}
        assert (await client.get(FAXES)).status_code == 200


async def test_the_ledger_shows_no_secret() -> None:
    async with sandbox(token="tok-secret", api_key="key-secret") as (sim, _):
        async with httpx.AsyncClient(base_url=sim.url) as client:
            reply = await client.put("/v2/api_auth", json={"data": {"api_key": "key-secret"}})
            issued = reply.json()["auth_token"]
            headers = {"X-Auth-Token": "tok-secret", "User-Agent": "x key-secret"}
            await client.get(f"{FAXES}?auth_token=abc&x=tok-secret&page_size=1", headers=headers)
            await client.get(f"/v2/{issued}", headers={"X-Request-ID": "tok-secret"})
            ledger = (await client.get("/_sim/ledger")).json()
            for page in (json.dumps(ledger), (await client.get("/_sim/state")).text):
                for secret in ("tok-secret", "key-secret", issued, "abc"):
                    assert secret not in page
        assert ledger["requests"][1]["query"] == "auth_token=***&x=***&page_size=1"
        assert ledger["auths"] == 1


async def test_the_ledger_counts() -> None:
    async with sandbox() as (sim, client):
        reply = await submit(client, pdf(2))
        await client.get(FAXES, headers={"X-Request-ID": "try-1", "User-Agent": "gw/1"})
        ledger = (await client.get("/_sim/ledger")).json()
        first, second = ledger["requests"]
        assert (first["method"], first["path"], first["status"]) == ("PUT", FAXES, 202)
        assert first["received"] > len(pdf(2))
        assert first["sent"] == len(reply.content)
        assert (second["request_id"], second["user_agent"]) == ("try-1", "gw/1")
        assert (ledger["stored"][0]["pages"], ledger["most_requests_at_once"]) == (2, 1)
        assert sim.ledger.as_json() == ledger


async def test_reset_forgets_everything() -> None:
    async with Receiver(*[500] * 9) as receiver, sandbox(hooks=(receiver.url,)) as (sim, client):
        reply = await client.put("/v2/api_auth", json={"data": {"api_key": "sandbox-key"}})
        issued = {"X-Auth-Token": reply.json()["auth_token"]}
        await submitted(client, pdf())
        await sim.inject(FROM, TO, pdf())
        await eventually(lambda: len(sim.ledger.hook_tries) == 1)  # and four more are to come
        sim.add_fault(Rule("status"))
        sim.advance(10_000)
        fresh = (await client.post("/_sim/reset")).json()
        assert (fresh["outbound"], fresh["inbound"], fresh["faults"]) == ([], [], [])
        assert len(fresh["hooks"]) == 1
        assert (await client.get(FAXES)).json()["data"] == []
        assert (await client.get(FAXES, headers=issued)).status_code == 401
        assert len(sim.ledger.requests) == 2
        sim.advance(100_000)
        await submitted(client, pdf())
        assert len(sim.ledger.hook_tries) == 0


async def test_hooks_log() -> None:
    async with Receiver(500) as receiver, sandbox(hooks=(receiver.url,)) as (sim, client):
        fax_id = await sim.inject(FROM, TO, pdf())
        await eventually(lambda: len(sim.ledger.hook_tries) == 1)
        (row,) = (await client.get("/_sim/hooks/log")).json()["tries"]
        assert (row["url"], row["id"], row["status"]) == (receiver.url, fax_id, 500)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example:80"},
        {"Host": "[::1"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_web_pages_may_not_play(headers: dict[str, str]) -> None:
    async with sandbox() as (_, client):
        for method, path in (("GET", "ledger"), ("POST", "reset")):
            reply = await client.request(method, f"/_sim/{path}", headers=headers)
            assert reply.status_code == 403


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("::", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


async def test_an_outage() -> None:
    async with sandbox() as (sim, client):
        fax_id = await submitted(client, pdf())
        port = httpx.URL(sim.url).port or 0
        await sim.stop(keep=True)
        with pytest.raises(httpx.TransportError):
            await client.get(FAXES)
        await sim.start(port=port)
        assert (await client.get(f"{FAXES}/{fax_id}/attachment")).content == pdf()


async def test_pages_may_be_claimed_over_http() -> None:
    async with sandbox() as (sim, client):
        await client.post("/_sim/inject", json={"pages": 7, "from_name": ""})
        await client.post("/_sim/inject", data={"pages": "8"}, files={"document": ("x", pdf(2))})
        assert [fax.pages for fax in sim.account.inbound.values()] == [7, 8]
        assert [one.pages for one in sim.ledger.injected] == [1, 2]


async def test_a_webhook_may_not_play() -> None:
    async with sandbox(time_scale=0) as (sim, client):
        hook = {"url": f"{sim.url}/_sim/reset", "events": ["fax_received"]}
        await client.post("/v2/fax/webhooks", json=hook)
        await sim.inject(FROM, TO, pdf())
        await eventually(lambda: len(sim.ledger.hook_tries) == 5)
        assert {tried.status for tried in sim.ledger.hook_tries} == {403}
        assert len(sim.account.inbound) == 1


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
async def test_a_web_page_may_not_read_this_machine_through_us(headers: dict[str, str]) -> None:
    async with sandbox() as (sim, client):
        data = {"to_number": TO, "from_number": FROM, "document_url": f"{sim.url}/_sim/ledger"}
        assert (await client.put(FAXES, json={"data": data}, headers=headers)).status_code == 202
        (stored,) = sim.ledger.stored
        assert sim.document(stored.id) == sample()
        assert [seen.method for seen in sim.ledger.requests] == ["PUT"]
