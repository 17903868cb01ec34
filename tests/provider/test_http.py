"""What a provider's answer proves: the table of the submission, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.errors import Cause, PermanentError, TransientError, UncertainError
from gateway.provider.audian import Access, Audian
from gateway.provider.audian.http import Http

pytestmark = pytest.mark.anyio

OK = b'{"data":{"id":"fax_1"},"request_id":"r","status":"success"}'


@dataclass
class Scripted:
    """A server that answers every request with the same bytes, or cuts."""

    answer: bytes
    url: str = ""
    read_body: bool = True
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def whole(self) -> bool:
        """Whether the client knows where the answer ends; else only closing tells."""
        head, _, body = self.answer.partition(b"\r\n\r\n")
        return f"Content-Length: {len(body)}\r\n".encode() in head + b"\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                body = await reader.readexactly(length) if self.read_body else b""
                self.requests.append(head + body)
                writer.write(self.answer)
                await writer.drain()
                if not self.read_body or not self.whole():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort() if self.answer == b"" else writer.close()


@asynccontextmanager
async def scripted(answer: bytes, *, read_body: bool = True) -> AsyncIterator[Scripted]:
    script = Scripted(answer, read_body=read_body)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()


def reply(code: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {code} x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def audian(url: str) -> Audian:
    return Audian(Access(url, "acc", "s3cret", requests_per_second=1000))


async def send(url: str, tmp_path: Path) -> str:
    document = tmp_path / "document.pdf"
    document.write_bytes(b"%PDF-1.7\n" + bytes(300_000))
    client = audian(url)
    try:
        return await client.send(
            to="+14155550100", line="+14155550199", document=document, reference="k7m2-0"
        )
    finally:
        await client.close()


async def proves(answer: bytes, outcome: str | type[Exception], tmp_path: Path) -> None:
    """A submission that is answered so returns that id, or raises that."""
    async with scripted(answer) as server:
        if isinstance(outcome, str):
            assert await send(server.url, tmp_path) == outcome
        else:
            with pytest.raises(outcome):
                await send(server.url, tmp_path)
        assert len(server.requests) == 1, "a submission is never repeated by the client"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (reply(200, OK), "fax_1"),
        (reply(201, OK), "fax_1"),
        (reply(202, b'{"id":"fax_2"}'), "fax_2"),
        (reply(200, b"{}"), UncertainError),
        (reply(200, b"<html>login</html>"), UncertainError),
        (reply(200, b'{"status":"error","data":{"message":"x"}}'), UncertainError),
        (reply(204), UncertainError),
        (reply(302, b"", "Location: http://127.0.0.1:1/"), UncertainError),
        (reply(400), PermanentError),
        (reply(413), PermanentError),
        (reply(415), PermanentError),
        (reply(422), PermanentError),
        (reply(401), TransientError),
        (reply(402), TransientError),
        (reply(403), TransientError),
        (reply(404), TransientError),
        (reply(405), TransientError),
        (reply(406), TransientError),
        (reply(429), TransientError),
        (reply(408), UncertainError),
        (reply(409), UncertainError),
        (reply(500), UncertainError),
        (reply(502), UncertainError),
        (reply(503), UncertainError),
        (reply(504), UncertainError),
        (reply(200, OK)[:-20], UncertainError),
        (b"SSH-2.0-x\r\n", UncertainError),
        (b"", UncertainError),
    ],
)
async def test_what_an_answer_to_a_submission_proves(
    answer: bytes, outcome: str | type[Exception], tmp_path: Path
) -> None:
    await proves(answer, outcome, tmp_path)


async def test_nobody_there_is_proof_that_nothing_was_sent(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="cannot be reached"):
        await send("http://127.0.0.1:1", tmp_path)


async def test_the_form(tmp_path: Path) -> None:
    async with scripted(reply(200, OK)) as server:
        await send(server.url, tmp_path)
        (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /v2/accounts/acc/faxes HTTP/1.1")
    lower = head.lower()
    assert b"x-auth-token: s3cret" in lower
    assert b"content-type: multipart/form-data; boundary=" in lower
    assert b"x-request-id: k7m2-0" in lower
    assert b'name="to_number"\r\n\r\n+14155550100\r\n' in body
    assert b'name="from_number"\r\n\r\n+14155550199\r\n' in body
    assert b'name="document"; filename="k7m2-0.pdf"\r\nContent-Type: application/pdf' in body
    assert body.count(b"%PDF-1.7") == 1


async def test_each_submission_has_a_fresh_connection(tmp_path: Path) -> None:
    document = tmp_path / "d.pdf"
    document.write_bytes(b"%PDF")
    async with scripted(reply(200, OK)) as server:
        client = audian(server.url)
        for _ in range(3):
            await client.send(to="+1", line="+1", document=document, reference="r")
        await client.close()
        assert server.connections == 3


async def test_a_refusal_before_the_body_was_read(tmp_path: Path) -> None:
    async with scripted(reply(401, b"", "Connection: close"), read_body=False) as server:
        with pytest.raises((TransientError, UncertainError)):
            await send(server.url, tmp_path)


async def test_the_servers_words_reach_the_sender(tmp_path: Path) -> None:
    body = b'{"data":{"to_number":{"required":{"message":"is bad\\r\\nBcc: x"}}},"status":"error"}'
    async with scripted(reply(400, body)) as server:
        with pytest.raises(PermanentError, match="refused the fax: to_number: is bad Bcc: x") as e:
            await send(server.url, tmp_path)
    assert e.value.cause is Cause.REJECTED


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("Retry-After: 7", 7.0), ("Retry-After: 999999", 900.0), ("Retry-After: x", 5.0), ("A: b", 5)],
)
async def test_a_pause_that_is_asked_for(header: str, seconds: float, tmp_path: Path) -> None:
    async with scripted(reply(429, b"", header)) as server:
        with pytest.raises(TransientError) as caught:
            await send(server.url, tmp_path)
    assert caught.value.after == seconds


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(500), TransientError),
        (reply(200, b"[" * 200_000), TransientError),
        (reply(200, b"{}"), TransientError),
        (reply(200, b'{"data":null,"request_id":"r"}'), TransientError),
        (reply(404), TransientError),
        (reply(302, b"", "Location: http://127.0.0.1:1/"), TransientError),
        (b"", TransientError),
    ],
)
async def test_a_list_that_cannot_be_read_is_no_empty_list(
    answer: bytes, error: type[Exception]
) -> None:
    async with scripted(answer) as server:
        client = audian(server.url)
        with pytest.raises(error):
            await client.sent(0.0)
        with pytest.raises(error):
            await client.unprocessed()
        await client.close()


async def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("gateway.provider.audian.http.MOST_JSON", 100_000)
    async with scripted(reply(200, b'{"faxes":[' + b" " * 200_000)) as server:
        client = audian(server.url)
        with pytest.raises(UncertainError, match="too long"):
            await client.unprocessed()
        await client.close()
        with pytest.raises(UncertainError, match="too long"):
            await send(server.url, tmp_path)


async def test_a_packed_answer_is_not_unpacked() -> None:
    """A bomb of 200 MB in 200 kB stays 200 kB: what was not asked for is no JSON."""
    packed = gzip.compress(b'{"faxes":[]}' + b" " * 1_000_000)
    async with scripted(reply(200, packed, "Content-Encoding: gzip")) as server:
        client = audian(server.url)
        with pytest.raises(TransientError, match="no JSON"):
            await client.unprocessed()
        await client.close()
    assert b"accept-encoding: identity" in server.requests[0].lower()


async def test_details_of_an_unknown_fax() -> None:
    async with scripted(reply(404)) as server:
        client = audian(server.url)
        assert await client.details("x") is None
        assert await client.received("x") is None
        await client.close()


async def test_another_faxs_details_are_refused() -> None:
    async with scripted(reply(200, b'{"id":"other","status":"received"}')) as server:
        client = audian(server.url)
        with pytest.raises(TransientError, match="another fax"):
            await client.received("mine")
        await client.close()


@pytest.mark.parametrize("fax_id", ["../x", "", "a/b", "a" * 200, "ä", "a\r\nX: y", "a?b=c"])
async def test_an_id_never_becomes_another_path(fax_id: str) -> None:
    async with scripted(reply(200, OK)) as server:
        client = audian(server.url)
        with pytest.raises(TransientError, match="none of the provider's"):
            await client.received(fax_id)
        await client.close()
        assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (reply(404), "not there yet"),
        (reply(406), "not there yet"),
        (reply(200, b"%PDF" * 10)[:-8], "."),
        (reply(503), "503"),
    ],
)
async def test_a_broken_download_is_never_taken(answer: bytes, says: str, tmp_path: Path) -> None:
    async with scripted(answer) as server:
        client = audian(server.url)
        with pytest.raises(TransientError, match=says):
            await client.download("rx1", tmp_path / "part")
        await client.close()


async def test_download(tmp_path: Path) -> None:
    async with scripted(reply(200, b"%PDF-1.7 x")) as server:
        client = audian(server.url)
        assert await client.download("rx1", tmp_path / "part") == 10
        await client.close()
    assert (tmp_path / "part").read_bytes() == b"%PDF-1.7 x"
    assert (tmp_path / "part").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("code", [200, 204, 404, 409, 410])
async def test_marking_twice_is_done(code: int) -> None:
    async with scripted(reply(code)) as server:
        client = audian(server.url)
        await client.mark_processed("rx1")
        await client.archive("rx1")
        await client.close()
        assert b'{"status":"processed"}' in server.requests[0]
        assert server.requests[1].startswith(b"POST /v2/fax/received/rx1/archive")


async def test_a_redirect_never_carries_the_token() -> None:
    async with scripted(reply(200, OK)) as thief:
        async with scripted(reply(307, b"", f"Location: {thief.url}/")) as server:
            client = audian(server.url)
            with pytest.raises(TransientError):
                await client.sent(0.0)
            await client.close()
        assert thief.requests == []


async def test_the_clock_of_the_provider() -> None:
    http = Http(Access("http://127.0.0.1:1", "a", "t"))
    await http.close()
    async with scripted(reply(200, b"[]", "Date: Wed, 04 Feb 2026 10:30:00 GMT")) as server:
        http = Http(Access(server.url, "a", "t"))
        await http.get("/x")
        await http.close()
    assert http.clock_offset < -1e6


def test_the_token_is_in_no_repr() -> None:
    assert "s3cret" not in repr(Access("https://x", "acc", "s3cret"))


@dataclass
class Early:
    """Reads so much of the body, answers before it has come, then hangs up hard."""

    answer: bytes
    reads: int = 4096
    url: str = ""
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(self.reads)
        if self.answer:
            writer.write(self.answer)
            await writer.drain()
            await reader.read()  # a server that means it lets the client read its answer
        writer.transport.abort()


@asynccontextmanager
async def early(answer: bytes) -> AsyncIterator[Early]:
    script = Early(answer)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"", UncertainError),  # reset before the last byte of the body
        (reply(413), PermanentError),
        (reply(401), TransientError),
        (reply(400, b"no"), PermanentError),
        (reply(500), UncertainError),
    ],
)
async def test_an_answer_before_the_body_was_read(
    answer: bytes, outcome: type[Exception], tmp_path: Path
) -> None:
    async with early(answer) as server:
        with pytest.raises(outcome):
            await send(server.url, tmp_path)
        assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (CONTINUE + reply(200, OK), "fax_1"),
        (CONTINUE + reply(400), PermanentError),
        (b"HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", UncertainError),
        (reply(200, b'{"data":{"id":"fax:12/7?a"},"request_id":"r"}'), "fax:12/7?a"),
        (reply(200, b'{"data":{"id":"a b"},"request_id":"r"}'), UncertainError),
        (reply(200, b'{"data":{"id":"' + b"x" * 201 + b'"},"request_id":"r"}'), UncertainError),
        (reply(200, b'{"data":{"id":12},"request_id":"r"}'), "12"),
        (reply(200, b"\xef\xbb\xbf" + OK), "fax_1"),
        (reply(200, b"[]"), UncertainError),
        (reply(429, b"x" * 50)[:-20], TransientError),  # the code is proof, whatever its text
        (reply(413, b"x" * 50)[:-20], PermanentError),
        (b"HTTP/1.1 200 x\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n{}", UncertainError),
        (b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", UncertainError),
    ],
)
async def test_odd_answers_to_a_submission(
    answer: bytes, outcome: str | type[Exception], tmp_path: Path
) -> None:
    await proves(answer, outcome, tmp_path)


async def test_no_tls_there_is_proof_that_nothing_was_sent(tmp_path: Path) -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    with pytest.raises(TransientError, match="cannot be reached"):
        await send(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", tmp_path)
    server.close()


async def test_an_upload_never_sleeps_through_a_pause(tmp_path: Path) -> None:
    """Its attempt is written down: our own time-out in a pause would make its outcome unknown."""
    async with scripted(reply(429, b"", "Retry-After: 800")) as server:
        client = audian(server.url)
        with pytest.raises(TransientError):
            await client.sent(0.0)
        document = tmp_path / "d.pdf"
        document.write_bytes(b"%PDF")
        with pytest.raises(TransientError, match="asked us to wait") as caught:
            await client.send(to="+1", line="+1", document=document, reference="r")
        await client.close()
        assert 790 < caught.value.after <= 800
        assert len(server.requests) == 1


async def test_a_missing_document_is_no_doubt(tmp_path: Path) -> None:
    client = audian("http://127.0.0.1:1")
    with pytest.raises(TransientError, match="cannot be read"):
        await client.send(to="+1", line="+1", document=tmp_path / "gone", reference="r")
    await client.close()


async def test_an_odd_id_stays_one_segment_of_the_path() -> None:
    async with scripted(reply(404)) as server:
        client = audian(server.url)
        assert await client.details("../../x?y=%2e#z") is None
        await client.close()
    head = b"GET /v2/accounts/acc/faxes/..%2F..%2Fx%3Fy%3D%252e%23z HTTP/1.1\r\n"
    assert server.requests[0].startswith(head)


async def test_rows_that_cannot_be_named_still_count() -> None:
    """Else a fax behind such a row would be called absent, and sent again."""
    rows = b'{"data":[{"id":"a b","to_number":"+1"},{"id":null},{"id":"x","direction":"inbound"}],'
    async with scripted(reply(200, rows + b'"status":"success"}')) as server:
        client = audian(server.url)
        assert [row.id for row in await client.sent(0.0)] == ["", ""]
        await client.close()


async def test_one_wrong_date_and_a_jump_of_our_clock_move_no_fax() -> None:
    now = 1_770_000_000.0

    def ours() -> float:
        return now

    good = "Date: Mon, 02 Feb 2026 02:40:10 GMT"  # ten seconds ahead
    row = b'[{"id":"x","created_at":"2026-02-02T02:40:10Z","to_number":"+1"}]'
    async with scripted(reply(200, row, good)) as server:
        client = Audian(Access(server.url, "acc", "t", requests_per_second=1000), ours, lambda: 0.0)
        for _ in range(3):
            (seen,) = await client.sent(0.0)
        assert seen.created_at == pytest.approx(now)
        server.answer = reply(200, row, "Date: Thu, 01 Jan 1970 00:00:00 GMT")
        (seen,) = await client.sent(0.0)
        assert seen.created_at == pytest.approx(now)
        now += 86400
        (seen,) = await client.sent(0.0)
        assert seen.created_at == pytest.approx(now), "in our new time"
        await client.close()
