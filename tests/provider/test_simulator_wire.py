"""What arrives on the wire may be anything; the simulator answers or hangs up, and lives on."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.provider.simulator import Settings, Simulator, Timing, run_simulator
from gateway.provider.simulator.documents import Shelf
from gateway.provider.simulator.forms import Form
from gateway.provider.simulator.replies import RefusedError
from gateway.provider.simulator.serve import address
from tests.make import pdf
from tests.provider.sandbox import FAXES, TOKEN, eventually, sandbox, submit

pytestmark = pytest.mark.anyio


async def said(sim: Simulator, content: bytes, *, end: bool = True) -> bytes:
    """Everything the simulator answers to these bytes."""
    url = httpx.URL(sim.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(content)
    if end:
        writer.write_eof()
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def kept(sim: Simulator) -> list[Path]:
    directory = sim.account.shelf._directory
    return list(directory.iterdir()) if directory != Path() else []


LONG = b"x" * 200_000


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", b""),
        (b"\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),  # TLS
        (b"hello\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET /v2 HTTP/9.9\r\nHost: x\r\n\r\n", b"404"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x", b"400"),
        (b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET //x HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"4"),
        (b"GET /?%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"&".join([b"a=b"] * 200)), b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % LONG, b"431"),
        (b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % LONG, b"431"),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nshort", b""),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (
            b"GET /v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            b"404",
        ),
        (b"GET /v2 HTTP/1.0\r\n\r\n", b"404"),
        (b"HEAD /v2 HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
    ],
)
async def test_not_quite_http(content: bytes, status: bytes) -> None:
    async with sandbox() as (sim, client):
        answer = await said(sim, content)
        assert answer.startswith(b"HTTP/1.1 " + status if status else b"")
        assert bool(answer) == bool(status)
        assert (await client.get(FAXES)).status_code == 200


def upload(length: str, end: str = "\r\n") -> tuple[bytes, bytes]:
    """Head and body of a submission."""
    lines = (
        *("--b", 'Content-Disposition: form-data; name="to_number"', "", "+14155550123"),
        *("--b", 'Content-Disposition: form-data; name="from_number"', "", "+14155550100"),
        *("--b", 'Content-Disposition: form-data; name="document"', "", "%PDF-1.4"),
        *("--b--", ""),
    )
    body = end.join(lines).encode()
    head = (
        f"PUT {FAXES} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: sandbox-token\r\n"
        f"Connection: close\r\nContent-Type: multipart/form-data; boundary=b\r\n{length}\r\n\r\n"
    )
    return head.format(len(body)).encode(), body


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_cut_anywhere_stores_nothing(*, chunked: bool) -> None:
    """Also where the form is complete and only the request is not."""
    async with sandbox() as (sim, _):
        if chunked:
            head, body = upload("Transfer-Encoding: chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            head, body = upload("Content-Length: {}")
        for cut in (*range(0, len(body), 9), *range(len(body) - 9, len(body))):
            assert await said(sim, head + body[:cut]) == b""
            assert not sim.ledger.stored
            assert not kept(sim)
        assert b"202 Accepted" in await said(sim, head + body)
        assert len(sim.ledger.stored) == 1
        assert {seen.status for seen in sim.ledger.requests} == {0, 202}


async def test_who_hangs_up_before_the_answer_was_still_heard() -> None:
    """Stored, and in the ledger as not answered."""
    async with sandbox(timing=Timing(t_accept=1000)) as (sim, client):
        url = httpx.URL(sim.url)
        _, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"".join(upload("Content-Length: {}")))
        await eventually(lambda: len(sim.ledger.stored) == 1)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        assert (await client.get(FAXES)).status_code == 200  # the reset came before this
        sim.advance(1000)
        await eventually(lambda: sim.ledger.at_once.now == 0)
        assert [seen.status for seen in sim.ledger.requests] == [0, 200]
        assert len(sim.ledger.stored) == 1


async def test_line_ends_that_are_none_are_told() -> None:
    async with sandbox() as (sim, _):
        head, body = upload("Content-Length: {}", end="\n")
        assert b"broken boundary" in await said(sim, head + body)
        assert not sim.ledger.stored


async def test_a_refusal_comes_instead_of_a_big_body() -> None:
    """RFC 9110 §10.1.1: what curl waits for before it sends more than a megabyte."""
    async with sandbox() as (sim, _):
        head, _ = upload("Content-Length: 90000000\r\nExpect: 100-continue")
        answer = await said(sim, head.replace(b"sandbox-token", b"wrong"))
        assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
        assert b"connection: close" in answer.lower()
        assert sim.ledger.requests[0].received == 0


async def test_two_hundred_at_once() -> None:
    """More than a listening socket's usual backlog: nobody waits for a second SYN."""
    async with sandbox() as (sim, _):
        ask = b"GET /v2/fax/received HTTP/1.1\r\nHost: x\r\nX-Auth-Token: sandbox-token\r\n\r\n"
        answers = await asyncio.gather(*(said(sim, ask) for _ in range(200)))
        assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers)
        assert len(sim.ledger.requests) == 200
        assert sim.ledger.at_once.now == 0


@pytest.mark.parametrize("later", range(8))
async def test_an_outage_while_a_peer_hangs_up_is_quiet(later: int) -> None:
    """At any turn of the loop between its end and ours."""
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with sandbox() as (sim, _):
        url = httpx.URL(sim.url)
        for _ in range(5):
            reader, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b"HTTP/1.1 4" in await reader.read()
            writer.close()
        for _ in range(later):
            await asyncio.sleep(0)
        await sim.stop(keep=True)
    assert failures == []


async def test_an_outage_while_connections_close_is_quiet() -> None:
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with sandbox() as (sim, _):
        url = httpx.URL(sim.url)
        peers = [await asyncio.open_connection(url.host, url.port) for _ in range(3)]
        for (reader, writer), content in zip(
            peers,
            (b"hello\r\n\r\n", b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET"),
            strict=True,
        ):
            writer.write(content)
            if content != b"GET":
                assert b"HTTP/1.1 4" in await reader.read()  # now it waits for us to close
        await sim.stop(keep=True)
        assert not sim._peers
        for _, writer in peers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    assert failures == []


async def test_ipv6() -> None:
    sim = Simulator()
    try:
        await sim.start("::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    try:
        assert sim.url.startswith("http://[::1]:")
        async with httpx.AsyncClient(base_url=sim.url, headers=TOKEN) as client:
            assert (await submit(client, pdf())).status_code == 202
            assert (await client.get("/_sim/state")).status_code == 200
    finally:
        await sim.stop()


async def test_expect_100_continue() -> None:
    async with sandbox() as (sim, _):
        body = b'{"data": {"api_key": "sandbox-key"}}'
        head = f"PUT /v2/api_auth HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        close = "Connection: close\r\nExpect: 100-continue\r\n\r\n"
        url = httpx.URL(sim.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write((head + close).encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(body)
        assert (await reader.read()).startswith(b"HTTP/1.1 201")
        writer.close()
        await writer.wait_closed()


async def test_chunked_and_pipelined() -> None:
    async with sandbox() as (sim, _):
        one = b"PUT /v2/api_auth HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = b'13\r\n{"data": {"api_key"\r\n11\r\n: "sandbox-key"}}\r\n0\r\n\r\n'
        answer = await said(sim, (one + chunks) * 3)
        assert answer.count(b"HTTP/1.1 201") == 3


async def test_one_connection_serves_many_requests() -> None:
    async with sandbox() as (sim, _):
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=sim.url, headers=TOKEN, limits=limits) as client:
            for _ in range(50):
                assert (await client.get(FAXES)).status_code == 200
        assert len(sim._peers) <= 2


async def test_a_body_has_an_end() -> None:
    async with sandbox(max_body=1_000_000) as (sim, client):
        for size, status in ((900_000, 202), (1_100_000, 413), (9_000_000, 413)):
            reply = await submit(client, pdf() + b"x" * size)
            assert reply.status_code == status
        assert len(sim.ledger.stored) == 1


async def test_a_broken_operation_is_a_500() -> None:
    async with sandbox() as (sim, client):
        fax_id = await sim.inject("1", "2", pdf(), announce=False)
        sim.account.inbound[fax_id].document.path.unlink()
        reply = await client.get(f"/v2/fax/received/{fax_id}/download")
        assert reply.status_code == 500
        assert sim.ledger.downloads.now == 0
        assert (await client.get(FAXES)).status_code == 200


# forms


def fill(form: Form, body: bytes, step: int) -> None:
    for at in range(0, len(body), step):
        form.feed(body[at : at + step])
    form.finish()


BODY = (
    b"preamble\r\n--b\r\n"
    b'Content-Disposition: form-data; name="to_number"\r\n\r\n+1\r\n--b\r\n'
    b'content-disposition: form-data; name=document; filename="a%22b\\".pdf"\r\n'
    b"Content-Type: application/pdf\r\n\r\n%PDF-\r\n--\r\n-b\r--b\r\n--b--\r\nepilogue"
)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 1000])
async def test_forms_in_any_pieces(step: int) -> None:
    shelf = Shelf()
    form = Form('multipart/form-data; charset=x; boundary="b"', shelf)
    fill(form, BODY, step)
    document = await form.uploads["document"].keep()
    assert form.fields == {"to_number": "+1"}
    assert document.name == 'a"b".pdf'
    assert form.uploads["document"].declared == "application/pdf"
    form.discard()
    assert document.read() == b"%PDF-\r\n--\r\n-b\r--b"
    shelf.clear()
    assert not document.path.exists()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    content=st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"--", b"b", b"--b", b"\0"])),
    cuts=st.lists(st.integers(0, 200)),
)
def test_a_document_comes_out_as_it_went_in(content: list[bytes], cuts: list[int]) -> None:
    document = b"".join(content)
    assume(b"\r\n--b" not in b"\r\n" + document)
    shelf = Shelf()
    form = Form("multipart/form-data; boundary=b", shelf)
    body = b'--b\r\nContent-Disposition: form-data; name="document"\r\n\r\n%s\r\n--b--' % document
    edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    for start, stop in pairwise(edges):
        form.feed(body[start:stop])
    form.finish()
    upload = form.uploads["document"]
    assert upload.size == len(document)
    assert upload._digest.hexdigest() == hashlib.sha256(document).hexdigest()
    form.discard()
    assert not list(shelf._directory.iterdir())
    shelf.clear()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b",
        b"--b\r\n\r\n",
        b"--bx\r\n",
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx',
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b-x',
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 2 + b"--b--",
        b"--b\r\nX: " + b"x" * 20_000,
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 70_000,
        b"".join(
            b'--b\r\nContent-Disposition: form-data; name="%d"\r\n\r\nx\r\n' % at
            for at in range(60)
        ),
    ],
)
def test_broken_forms(body: bytes) -> None:
    form = Form("multipart/form-data; boundary=b", Shelf())
    with pytest.raises(RefusedError):
        fill(form, body, 1000)


# as a program


def test_it_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    program = (
        "import asyncio; from gateway.provider.simulator import run_simulator;"
        "asyncio.run(run_simulator('127.0.0.1:0'))"
    )
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(
            r"simulator ready url=(\S+) account=acct_sandbox token=sandbox-token", line
        )
        assert found, line
        fields = {"to_number": "+14155550123", "from_number": "+14155550100"}
        reply = httpx.put(found[1] + FAXES, data=fields, files={"document": pdf()}, headers=TOKEN)
        assert reply.status_code == 202
        assert list(tmp_path.iterdir())
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not list(tmp_path.iterdir())


async def test_a_taken_port_is_an_error() -> None:
    async with sandbox() as (sim, _):
        with pytest.raises(OSError, match="in use"):
            await run_simulator(sim.url.removeprefix("http://"))


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:8443", ("127.0.0.1", 8443)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_address(listen: str, expected: tuple[str, int]) -> None:
    assert address(listen) == expected


@pytest.mark.parametrize("listen", ["", "8443", ":8443", "x:", "x:y", "x:70000", "x:-1"])
def test_address_that_is_none(listen: str) -> None:
    with pytest.raises(ValueError, match="not host:port"):
        address(listen)


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
def test_time_scale_that_is_none(scale: float) -> None:
    with pytest.raises(ValueError, match="time scale"):
        Simulator(Settings(time_scale=scale))
