"""Faults: each action over real sockets, and the rules that choose it."""

from __future__ import annotations

import asyncio
import gzip
from random import Random
from typing import Any

import httpx
import pytest

from gateway.provider.simulator import Rule, Settings, Simulator, rule
from gateway.provider.simulator.faults import Faults, Phase
from tests.make import pdf
from tests.provider.sandbox import FAXES, FROM, RECEIVED, TO, eventually, outwait, sandbox, submit

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("action", "params", "error", "stored"),
    [
        ("drop_before", {}, httpx.TransportError, 0),
        ("drop_before", {"reset": True}, httpx.TransportError, 0),
        ("drop_after_accept", {}, httpx.RemoteProtocolError, 1),
        ("drop_after_accept", {"reset": True}, httpx.ReadError, 1),
        ("hang_before", {"seconds": 1000}, httpx.ReadTimeout, 0),
        ("hang_after_accept", {"seconds": 1000}, httpx.ReadTimeout, 1),
    ],
)
async def test_no_answer(
    action: str, params: dict[str, Any], error: type[Exception], stored: int
) -> None:
    async with sandbox() as (sim, client):
        sim.add_fault(Rule(action, params, method="PUT", times=1))
        client.timeout = httpx.Timeout(10, read=0.3)
        with pytest.raises(error):
            await submit(client, pdf())
        await eventually(lambda: sim.ledger.at_once.now == 0)  # it noticed that we hung up
        assert len(sim.ledger.stored) == stored
        assert (sim.ledger.requests[0].fault, sim.ledger.requests[0].status) == (action, 0)
        assert (await submit(client, pdf())).status_code == 202


async def test_hang_before_ends_without_an_answer() -> None:
    async with sandbox() as (sim, client):
        sim.add_fault(Rule("hang_before", {"seconds": 1000}))
        task = asyncio.create_task(client.get(FAXES))
        await eventually(lambda: sim.ledger.at_once.now == 1)
        await outwait(sim, task)
        with pytest.raises(httpx.RemoteProtocolError):
            await task


async def test_hang_after_accept_answers_late() -> None:
    async with sandbox() as (sim, client):
        sim.add_fault(Rule("hang_after_accept", {"seconds": 1000}))
        task = asyncio.create_task(submit(client, pdf()))
        await eventually(lambda: len(sim.ledger.stored) == 1)
        assert not task.done()
        await outwait(sim, task)
        assert (await task).status_code == 202


@pytest.mark.parametrize("code", [200, 204, 400, 401, 402, 408, 429, 500, 503, 599])
@pytest.mark.parametrize("body", ["envelope", "bare", "html", "empty"])
async def test_status(code: int, body: str) -> None:
    async with sandbox() as (sim, client):
        headers = {"Retry-After": "soon, or never"}
        sim.add_fault(Rule("status", {"code": code, "body": body, "headers": headers}))
        reply = await submit(client, pdf())
        assert reply.status_code == code
        assert reply.headers["retry-after"] == "soon, or never"
        assert not sim.ledger.stored
        match body:
            case _ if code == 204:
                assert reply.content == b""
            case "envelope":
                assert reply.json()["error"] == str(code)
            case "bare":
                assert "message" in reply.json()["error"]
            case "html":
                assert reply.headers["content-type"].startswith("text/html")
            case _:
                assert reply.content == b""


async def test_status_after_accept_strikes_only_what_was_accepted() -> None:
    async with sandbox() as (sim, client):
        sim.add_fault(Rule("status", {"code": 502}, method="PUT", after_accept=True, times=1))
        assert (await submit(client, b"MZ")).status_code == 415
        assert (await submit(client, pdf())).status_code == 502
        assert len(sim.ledger.stored) == 1
        assert (await submit(client, pdf())).status_code == 202


@pytest.mark.parametrize(
    ("kind", "media_type", "content"),
    [
        ("html", "text/html; charset=utf-8", b"<html>"),
        ("json", "application/json", b'{"data": ['),
        ("empty", "application/json", b""),
    ],
)
@pytest.mark.parametrize("after", [True, False])
async def test_garbage(kind: str, media_type: str, content: bytes, *, after: bool) -> None:
    async with sandbox() as (sim, client):
        sim.add_fault(Rule("garbage", {"kind": kind}, after_accept=after))
        reply = await submit(client, pdf())
        assert (reply.status_code, reply.headers["content-type"]) == (200, media_type)
        assert reply.content.startswith(content)
        assert len(sim.ledger.stored) == after


@pytest.mark.parametrize(
    ("params", "media_type", "content"),
    [
        ({"label": "application/octet-stream"}, "application/octet-stream", pdf()),
        ({"label": "text/html"}, "text/html", pdf()),
        ({"content": "html"}, "application/pdf", b"<html>"),
        ({"content": "json", "label": "application/json"}, "application/json", b"{"),
        ({"content": "empty"}, "application/pdf", b""),
        ({"content": "gzip"}, "application/pdf", pdf()),  # httpx unpacks it
    ],
)
async def test_wrong_type(params: dict[str, str], media_type: str, content: bytes) -> None:
    async with sandbox() as (sim, client):
        fax_id = await sim.inject(FROM, TO, pdf(), announce=False)
        sim.add_fault(Rule("wrong_type", params, path_regex="/download$"))
        reply = await client.get(f"{RECEIVED}/{fax_id}/download")
        assert reply.status_code == 200
        assert reply.headers["content-type"] == media_type
        assert reply.content.startswith(content)
        assert ("content-encoding" in reply.headers) == (params.get("content") == "gzip")


async def test_gzip_on_the_wire_is_gzip() -> None:
    async with sandbox() as (sim, client):
        fax_id = await sim.inject(FROM, TO, pdf(), announce=False)
        sim.add_fault(Rule("wrong_type", {"content": "gzip"}))
        async with client.stream("GET", f"{RECEIVED}/{fax_id}/download") as reply:
            packed = b"".join([piece async for piece in reply.aiter_raw()])
        assert gzip.decompress(packed) == pdf()


@pytest.mark.parametrize(
    ("params", "came"),
    [
        ({}, 0.5),
        ({"percent": 10.0}, 0.1),
        ({"percent": 0.0}, 0),
        ({"bytes": 7}, 7),
        ({"bytes": 0}, 0),
    ],
)
async def test_truncate(params: dict[str, Any], came: float) -> None:
    async with sandbox() as (sim, client):
        document = pdf(9)
        fax_id = await sim.inject(FROM, TO, document, announce=False)
        sim.add_fault(Rule("truncate", params))
        got = b""
        with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012 - what came is the point
            async with client.stream("GET", f"{RECEIVED}/{fax_id}/download") as reply:
                assert reply.headers["content-length"] == str(len(document))
                async for piece in reply.aiter_raw():
                    got += piece
        assert len(got) == int(came if came >= 1 else len(document) * came)
        assert document.startswith(got)
        await eventually(lambda: sim.ledger.at_once.now == 0)
        seen = sim.ledger.requests[0]
        assert (seen.status, seen.sent, seen.fault) == (200, len(got), "truncate")


async def test_cut_in_a_way_that_only_the_document_shows() -> None:
    async with sandbox() as (sim, client):
        document = pdf(9)
        fax_id = await sim.inject(FROM, TO, document, announce=False)
        sim.add_fault(Rule("truncate", {"length": "short"}))
        reply = await client.get(f"{RECEIVED}/{fax_id}/download")
        assert reply.content == document[: len(document) // 2]
        assert reply.headers["content-length"] == str(len(reply.content))


async def test_chunks_without_an_end() -> None:
    async with sandbox() as (sim, client):
        fax_id = await sim.inject(FROM, TO, pdf(9), announce=False)
        sim.add_fault(Rule("truncate", {"length": "chunked", "percent": 100.0}))
        with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012 - the headers are the point
            async with client.stream("GET", f"{RECEIVED}/{fax_id}/download") as reply:
                assert reply.headers["transfer-encoding"] == "chunked"
                assert "content-length" not in reply.headers
                await reply.aread()


async def test_a_header_of_the_rule_replaces_ours() -> None:
    async with sandbox() as (sim, client):
        headers = {"Content-Type": "text/plain", "Date": "yesterday"}
        sim.add_fault(Rule("status", {"code": 503, "headers": headers}))
        reply = await client.get(FAXES)
        told = [reply.headers.get_list(name) for name in ("content-type", "date")]
        assert told == [["text/plain"], ["yesterday"]]


async def test_between_two_times() -> None:
    async with sandbox() as (sim, client):
        sim.add_fault(Rule("status", {"code": 503}, from_t=100.0, to_t=200.0, nth=2))
        codes = []
        for seconds in (0, 110, 0, 0, 110):
            sim.advance(seconds)
            codes.append((await client.get(FAXES)).status_code)
        assert codes == [200, 200, 503, 200, 200]
        sim.advance(1000)
        await sim.reset()
        assert 0 <= sim.account.elapsed() < 100


async def test_truncating_to_more_than_there_is_changes_nothing() -> None:
    async with sandbox() as (sim, client):
        sim.add_fault(Rule("truncate", {"bytes": 10_000}))
        assert (await client.get(FAXES)).json()["data"] == []


async def test_slow_body() -> None:
    async with sandbox() as (sim, client):
        fax_id = await sim.inject(FROM, TO, b"x" * 20, announce=False)
        sim.add_fault(Rule("slow_body", {"rate": 0.01}))  # all of it takes half an hour
        task = asyncio.create_task(client.get(f"{RECEIVED}/{fax_id}/download"))
        await eventually(lambda: sim.ledger.downloads.now == 1)
        assert not task.done()
        await outwait(sim, task)
        assert task.result().content == b"x" * 20


@pytest.mark.parametrize("stall_after", [0, 100])
async def test_stalled_body(stall_after: int) -> None:
    async with sandbox() as (sim, client):
        fax_id = await sim.inject(FROM, TO, b"x" * 400, announce=False)
        stalled = {"rate": 1e6, "stall_after": stall_after, "stall": 1000.0}
        sim.add_fault(Rule("slow_body", stalled, times=1))
        with pytest.raises(httpx.ReadTimeout):
            await client.get(f"{RECEIVED}/{fax_id}/download", timeout=0.3)
        await eventually(lambda: sim.ledger.downloads.now == 0)  # it noticed that we hung up
        assert (await client.get(f"{RECEIVED}/{fax_id}/download")).status_code == 200


@pytest.mark.parametrize("action", ["status", "garbage", "hang_before"])
async def test_a_fault_on_a_body_that_is_too_big(action: str) -> None:
    async with sandbox(max_body=10_000) as (sim, client):
        params = {"seconds": 0.0} if action == "hang_before" else {}
        sim.add_fault(Rule(action, params, times=1))
        try:
            reply = await submit(client, pdf() + b"x" * 50_000)
        except httpx.TransportError:
            assert action == "hang_before"
        else:
            assert reply.status_code == {"status": 500, "garbage": 200}[action]
        assert (await client.get(FAXES)).status_code == 200


async def test_faults_may_be_there_from_the_start() -> None:
    async with sandbox(faults=(Rule("status", {"code": 503}, times=1),)) as (_, client):
        codes = [(await client.get(FAXES)).status_code for _ in range(2)]
        assert codes == [503, 200]


# which rule strikes


def struck(rules: list[Rule], *requests: tuple[str, str]) -> list[str]:
    faults = Faults(rules, Random(1))
    picked = [faults.pick(Phase.BEFORE, method, path) for method, path in requests]
    return [str(rule.param("code")) if rule else "" for rule in picked]


GET = ("GET", "/x/1")
PUT = ("PUT", "/x")


def code(number: int, **match: Any) -> Rule:
    return Rule("status", {"code": number}, **match)


@pytest.mark.parametrize(
    ("rules", "requests", "expected"),
    [
        ([], [GET], [""]),
        ([code(500)], [GET, PUT], ["500", "500"]),
        ([code(500, method="put")], [GET, PUT], ["", "500"]),
        ([code(500, path_regex=r"^/x/\d$")], [GET, PUT], ["500", ""]),
        ([code(500, nth=2)], [GET] * 4, ["", "500", "", ""]),
        ([code(500, every=2)], [GET] * 4, ["", "500", "", "500"]),
        ([code(500, times=2)], [GET] * 3, ["500", "500", ""]),
        ([code(500, every=2, times=1)], [GET] * 4, ["", "500", "", ""]),
        ([code(500, prob=0.0)], [GET] * 3, ["", "", ""]),
        ([code(500), code(501)], [GET], ["500"]),
        ([code(500, times=1), code(501)], [GET, GET], ["500", "501"]),
        ([code(500, times=1), code(501, nth=2)], [GET] * 3, ["500", "501", ""]),
        ([code(500, method="PUT", nth=2)], [PUT, GET, PUT], ["", "", "500"]),
        ([code(500, after_accept=True)], [GET], [""]),
    ],
)
def test_which_rule(
    rules: list[Rule], requests: list[tuple[str, str]], expected: list[str]
) -> None:
    assert struck(rules, *requests) == expected


def test_chance_is_seeded() -> None:
    first, second = (struck([code(500, prob=0.5)], *[GET] * 50) for _ in range(2))
    assert first == second
    assert 10 < first.count("500") < 40


@pytest.mark.parametrize(
    "written",
    [
        None,
        [],
        "status",
        {},
        {"action": "explode"},
        {"action": []},
        {"action": "status", "match": []},
        {"action": "status", "match": {"path": "x"}},
        {"action": "status", "match": {"path_regex": "("}},
        {"action": "status", "match": {"path_regex": 5}},
        {"action": "status", "match": {"nth": "1"}},
        {"action": "status", "match": {"nth": True}},
        {"action": "status", "match": {"prob": float("nan")}},
        {"action": "status", "match": {"prob": 1.5}},
        {"action": "status", "match": {"prob": -1}},
        {"action": "status", "match": {"nth": -1}},
        {"action": "status", "match": {"every": -1}},
        {"action": "status", "match": {"from_t": 9, "to_t": 3}},
        {"action": "status", "times": -1},
        {"action": "truncate", "params": {"percent": 101}},
        {"action": "truncate", "params": {"bytes": -2}},
        {"action": "truncate", "params": {"length": "long"}},
        {"action": "hang_before", "params": {"seconds": -1}},
        {"action": "webhook", "params": {"duplicate": -1}},
        {"action": "webhook", "match": {"after_accept": True}},
        {"action": "status", "match": {"after_accept": 1}},
        {"action": "status", "times": 1.5},
        {"action": "status", "extra": 1},
        {"action": "status", "params": []},
        {"action": "status", "params": {"code": 99}},
        {"action": "status", "params": {"code": "500"}},
        {"action": "status", "params": {"body": "poem"}},
        {"action": "status", "params": {"headers": []}},
        {"action": "status", "params": {"headers": {"Content-Length": "1"}}},
        {"action": "status", "params": {"headers": {"X": "a\r\nY: b"}}},
        {"action": "status", "params": {"headers": {"X Y": "a"}}},
        {"action": "garbage", "params": {"kind": "poem"}},
        {"action": "hang_before", "params": {"seconds": float("inf")}},
        {"action": "hang_before", "match": {"after_accept": True}},
        {"action": "webhook", "params": {"drop": 1}},
    ],
)
def test_rules_that_could_not_be_carried_out(written: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        rule(written)


def test_a_rule_reads_as_it_was_written() -> None:
    written = {
        "match": {"method": "PUT", "path_regex": "/faxes$", "nth": 2, "after_accept": True},
        "action": "status",
        "params": {"code": 502},
        "times": 1,
    }
    assert rule(written).as_json() == written


def test_the_constructor_refuses_bad_rules() -> None:
    with pytest.raises(ValueError, match="no action"):
        Simulator(Settings(faults=(Rule("explode"),)))
