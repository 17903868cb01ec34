"""How outbound faxes live and end, by the last four digits of the called number."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.provider.simulator import Settings, Simulator, Timing
from gateway.provider.simulator.documents import Document
from gateway.provider.simulator.outbound import ENDINGS, Lines, ending, plan
from tests.make import pdf
from tests.provider.sandbox import FAXES, PROMPT, TO, TOKEN, sandbox, submit, submitted

pytestmark = pytest.mark.anyio
LONG = 7 * 3600.0


async def details(client: httpx.AsyncClient, fax_id: str) -> dict[str, Any]:
    reply = await client.get(f"{FAXES}/{fax_id}")
    return dict(reply.json()["data"]) if reply.status_code == 200 else {"status": "gone"}


async def test_words_in_their_order() -> None:
    timing = Timing(t_accept=0, t_queue=0, t_convert=100, t_dial=8, t_negotiate=10, t_page=30)
    async with sandbox(timing=timing) as (sim, client):
        fax_id = await submitted(client, pdf(2))
        words = []
        for seconds in (0, 90, 20, 70):  # 2 pages are on the line for 78 s
            sim.advance(seconds)
            words.append((await details(client, fax_id))["status"])
        assert words == ["processing", "processing", "sending", "sent"]
        assert (await details(client, fax_id))["duration"] == 78


async def test_a_fax_waits_in_the_queue_at_most_so_long() -> None:
    timing = Timing(t_accept=0, t_queue=1000, t_convert=1)
    async with sandbox(timing=timing, seed=5) as (sim, client):
        fax_id = await submitted(client, pdf())
        assert (await details(client, fax_id))["status"] == "pending"
        sim.advance(1000.5)
        assert (await details(client, fax_id))["status"] != "pending"


@pytest.mark.parametrize(
    ("tail", "word", "error"),
    [
        ("0000", "sent", None),
        ("0001", "failed", "The line is busy"),
        ("0002", "failed", "The line is busy"),
        ("0003", "failed", "No answer"),
        ("0004", "failed", "The far end is not a fax machine"),
        ("0005", "failed", "The call dropped prematurely on page 2"),
        ("0006", "pending", None),
        ("0007", "sent", None),
        ("0008", "sent", None),
        ("0009", "gone", None),
        ("0010", "failed", "invalid fax cid number: +14155550100"),
        ("0014", "failed", None),
        ("0015", "sent", None),
        ("0123", "sent", None),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 0.001, 0.0])
async def test_endings(tail: str, word: str, error: str | None, scale: float) -> None:
    async with sandbox(time_scale=scale) as (sim, client):
        fax_id = await submitted(client, pdf(3), f"+1415555{tail}")
        sim.advance(LONG)
        told = await details(client, fax_id)
        assert told["status"] == word
        assert told.get("error") == error
        listed = {row["id"]: row for row in (await client.get(FAXES)).json()["data"]}
        assert (fax_id in listed) == (word != "gone")
        assert "error" not in listed.get(fax_id, {})
        if tail == "0015":
            assert (told["pages"], listed[fax_id]["pages"]) == (2, 2)


@pytest.mark.parametrize(
    ("tail", "after", "word"),
    [
        ("0007", 5 * 3600, "sending"),
        ("0008", 10, "Fax negotiated at 14400"),
        ("0009", 1, "processing"),
        ("0015", 10, "sending"),
    ],
)
async def test_on_the_way(tail: str, after: float, word: str) -> None:
    async with sandbox() as (sim, client):
        fax_id = await submitted(client, pdf(3), f"+1415555{tail}")
        sim.advance(after)
        told = await details(client, fax_id)
        assert (told["status"], told["pages"]) == (word, 3)


async def test_busy_once_is_free_for_the_next_fax() -> None:
    async with sandbox(time_scale=0) as (_, client):
        words = [
            (await details(client, await submitted(client, pdf(), number)))["status"]
            for number in ("+14155550001", "1 (415) 555-0001", "+14155550001")
        ]
        assert words == ["failed", "sent", "sent"]


async def test_provider_that_redials_itself() -> None:
    async with sandbox(calls=2) as (sim, client):
        fax_id = await submitted(client, pdf(), "+14155550001")
        words = []
        for seconds in (5, 10, 300, 60):
            sim.advance(seconds)
            words.append((await details(client, fax_id))["status"])
        assert words == ["sending", "pending", "sending", "sent"]
        busy = await submitted(client, pdf(), "+14155550002")
        sim.advance(LONG)
        assert (await details(client, busy))["duration"] == 16


async def test_accepted_but_never_stored() -> None:
    async with sandbox(time_scale=0) as (sim, client):
        reply = await submit(client, pdf(), "+14155550013")
        assert reply.status_code == 202
        assert (await details(client, reply.json()["data"]["id"]))["status"] == "gone"
        assert (await client.get(FAXES)).json()["data"] == []
        assert not sim.ledger.stored
        (swallowed,) = sim.ledger.swallowed
        assert swallowed.id == reply.json()["data"]["id"]
        assert swallowed.sha256 == hashlib.sha256(pdf()).hexdigest()
        assert not list(sim.account.shelf._directory.iterdir())


ORDER = {word: at for at, word in enumerate(["pending", "processing", "sending", "sent"])}
ORDER |= {"Fax negotiated at 14400": ORDER["sending"], "failed": ORDER["sent"], "": ORDER["sent"]}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    tail=st.sampled_from(["0001", "0006", "0123", *ENDINGS]),
    pages=st.integers(1, 50),
    scale=st.sampled_from([0.0, 0.001, 1.0]),
    times=st.lists(st.floats(0, 1e5), min_size=1),
    most=st.integers(0, 2),
)
def test_a_fax_only_goes_forward(
    tail: str, pages: int, scale: float, times: list[float], most: int
) -> None:
    """One call, whatever its ending: never a step back, and the end is for ever."""
    document = Document(Path(), "", "", 1, "pdf", pages)
    lines = Lines(most)
    for _ in range(3):
        end = ending(f"+1415555{tail}", document, 0)
        told = plan([end], pages, Timing(), 5.0, at=0.0, lines=lines, scaled=lambda s: s * scale)
        words = [told.status(at) for at in sorted(times)]
        assert words == sorted(words, key=ORDER.__getitem__)
        if told.over(max(times)):
            assert words[-1] == told.status(1e12) == end.word
        if tail != "0006":
            assert told.on_line >= Timing().t_dial
            assert told.over(told.ends[-1])


async def futures(seed: int) -> list[Any]:
    """Everything that is drawn for a few faxes, on a clock that stands still."""
    settings = Settings(timing=Timing(t_accept=0), seed=seed, calls=2, max_outbound=1)
    async with (
        Simulator(settings, wall=lambda: 1_770_000_000.0) as sim,
        httpx.AsyncClient(base_url=sim.url, headers=TOKEN) as client,
    ):
        for tail in ("0001", "0123", "0007", "0013", "0124"):
            await submit(client, pdf(2), f"+1415555{tail}")
            await client.put("/v2/api_auth", json={"data": {"api_key": "sandbox-key"}})
            await client.post("/_sim/inject", json={})
        sent = [(fax.id, fax.listed_at, fax.plan) for fax in sim.account.outbound.values()]
        received = [(fax.id, fax.ready_at) for fax in sim.account.inbound.values()]
        return [sent, received, sim.ledger.stored, sim.ledger.swallowed]


async def test_same_seed_same_requests_same_future() -> None:
    assert await futures(7) == await futures(7) != await futures(8)


async def test_lines_are_few() -> None:
    async with sandbox(max_outbound=2) as (sim, client):
        ids = [await submitted(client, pdf()) for _ in range(5)]  # 48 s each

        async def words() -> list[str]:
            return [(await details(client, fax_id))["status"] for fax_id in ids]

        sim.advance(10)
        assert await words() == ["sending"] * 2 + ["pending"] * 3
        sim.advance(48)
        assert await words() == ["sent"] * 2 + ["sending"] * 2 + ["pending"]
        sim.advance(96)
        assert await words() == ["sent"] * 5


async def test_dates_stay_near_the_truth_whatever_the_scale() -> None:
    async with sandbox(time_scale=0, timing=PROMPT) as (sim, client):
        reply = await submit(client, pdf(), TO)
        assert abs(sim.clock.now() - sim.ledger.stored[0].at) < 10
        assert reply.headers["date"].endswith("GMT")
