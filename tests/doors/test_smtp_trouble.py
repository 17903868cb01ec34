"""The SMTP door when something fails or somebody is hostile: disks, clients, floods, the stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.committer import Next
from gateway.doors.smtp import Listener, replies
from gateway.doors.smtp.reader import Buffers
from gateway.doors.smtp.settings import LOOPBACK
from gateway.model import Fax, new_id
from gateway.rules import within
from gateway.spool import Spool
from gateway.store import SMALL, Added, Store, StoreError
from tests.doors.client import END, FROM, HEAD, HELLO, OK, TEXT, TO, Client, door, until
from tests.make import mails

pytestmark = pytest.mark.anyio

TROUBLE = "451 4.3.0 Temporary failure, please try again later"
QUEUE_DOWN = "451 4.3.2 Queue not available, please try again later"
DISK_FULL = "452 4.3.1 Insufficient system storage"
TIMEOUT = "421 4.4.2 Timeout"
STOPPING = "421 4.3.2 Service shutting down"
LINE = b"a line of the mail, not a short one, of ordinary text\r\n"
FILED = HEAD + b"\r\n" + LINE * (SMALL // len(LINE))  # one block, and a file
BIG = HEAD + b"\r\n" + LINE * 12_000  # some blocks


class Gated:
    """The store, with a gate before its commit."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reached = asyncio.Event()
        self.gate = threading.Event()
        self.loop = asyncio.get_running_loop()
        self.added = store.added

    def adding(self, faxes: Sequence[Fax], message: bytes, *, now: float) -> Next:
        """In the spool's thread."""
        self.loop.call_soon_threadsafe(self.reached.set)
        assert self.gate.wait(10)
        return self.store.adding(faxes, message, now=now)


class Failing:
    """A store that fails once."""

    def __init__(self, store: Store, error: Exception) -> None:
        self.store = store
        self.errors = [error]
        self.added = store.added

    def adding(self, faxes: Sequence[Fax], message: bytes, *, now: float) -> Next:
        if self.errors:
            raise self.errors.pop()
        return self.store.adding(faxes, message, now=now)


def fail(monkeypatch: pytest.MonkeyPatch, name: str, error: int, below: Path) -> None:
    """This call of the system fails for files below a directory."""
    real = getattr(os, name)

    def call(file: Any, *rest: Any) -> Any:
        path = str(Path(f"/proc/self/fd/{file}").readlink() if isinstance(file, int) else file)
        if path.startswith(str(below)):
            raise OSError(error, os.strerror(error))
        return real(file, *rest)

    monkeypatch.setattr(os, name, call)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def nothing_is_kept(store: Store, spool: Spool) -> None:
    await until(lambda: not list(spool.incoming.iterdir()))
    assert spool.kept() == []
    assert await store.latest(9) == []


def reset(client: Client) -> None:
    """Leave with RST instead of FIN."""
    wire = client.writer.get_extra_info("socket")
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


# P1: 250 says that files and rows are durable


async def test_no_answer_before_both_commits(store: Store, spool: Spool) -> None:
    gated = Gated(store)
    async with door(gated, spool) as connect:  # type: ignore[arg-type]
        client, other = await connect.ready(FROM, TO, "DATA"), await connect.ready()
        answer = asyncio.create_task(client.say(FILED + END))
        await gated.reached.wait()
        (path,) = spool.kept()
        assert path.read_bytes() == FILED + b"\r\n"
        assert await other.say("NOOP") == "250 2.0.0 Ok"  # the loop had its turn
        assert not answer.done()
        gated.gate.set()
        assert (await answer).startswith("250 2.0.0 accepted as ")
        assert len(await store.latest(9)) == 1


@pytest.mark.parametrize("body", [FILED, BIG], ids=["a block", "blocks"])
@pytest.mark.parametrize("place", ["incoming", "spool"])
async def test_a_failed_fsync_is_never_a_250(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch, place: str, body: bytes
) -> None:
    """F-D4: the file's, and the directory's after the rename."""
    async with door(store, spool, max_message=5_000_000) as connect:
        client = await connect.ready(FROM, TO, "DATA")
        fail(monkeypatch, "fsync", errno.EIO, spool.root / place)
        assert await client.say(body + END) == TROUBLE
        monkeypatch.undo()
        assert spool.broken.is_set()
        assert await store.latest(9) == []
        assert await client.say(FROM) == TROUBLE  # the process is about to end
        await until(lambda: not list(spool.incoming.iterdir()))


@pytest.mark.parametrize("body", [FILED, BIG], ids=["a block", "blocks"])
@pytest.mark.parametrize(
    ("call", "error", "reply"),
    [
        ("open", errno.ENOSPC, DISK_FULL),
        ("open", errno.EMFILE, TROUBLE),
        ("write", errno.ENOSPC, DISK_FULL),
        ("write", errno.EDQUOT, DISK_FULL),
        ("write", errno.EIO, TROUBLE),
        ("write", errno.EROFS, TROUBLE),
        ("fsync", errno.ENOSPC, DISK_FULL),
        ("rename", errno.ENOSPC, DISK_FULL),
        ("rename", errno.EIO, TROUBLE),
    ],
)
async def test_the_disk_fails(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch, call: str, error: int, reply: str,
    body: bytes,
) -> None:  # fmt: skip
    """F-D1, F-D2: 4xx, nothing kept, nothing left open; the same client succeeds afterwards."""
    async with door(store, spool, max_message=5_000_000) as connect:
        client = await connect.ready(FROM, TO, "DATA")
        before = descriptors()
        fail(monkeypatch, call, error, spool.incoming)
        assert await client.say(body + END) == reply
        monkeypatch.undo()
        await nothing_is_kept(store, spool)
        await until(lambda: descriptors() <= before)
        assert not spool.broken.is_set()
        assert (await client.mail(body)).startswith("250 2.0.0 accepted as ")


async def test_a_short_write_is_completed(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F-D3."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[: len(data) // 2 + 1])))
    async with door(store, spool) as connect:
        client = await connect()
        assert (await client.mail(FILED)).startswith("250 2.0.0 accepted as ")
        monkeypatch.undo()
    assert await mails(store, spool) == [FILED + b"\r\n"]


async def test_the_disk_fills_while_a_mail_comes_in(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A32 at the end of data; and MAIL says so to the next one."""
    async with door(store, spool) as connect:
        client = await connect.ready(FROM, TO, "DATA")
        monkeypatch.setattr(Spool, "free", lambda _self: 1000)
        await asyncio.to_thread(connect.listener._shared.look)
        with capture_logs() as logs:
            assert await client.say(TEXT + END) == DISK_FULL
            assert await client.say(FROM) == DISK_FULL
        assert [one["because"] for one in logs] == ["degraded", "degraded"]
        monkeypatch.undo()
        await asyncio.to_thread(connect.listener._shared.look)
        assert (await client.mail(TEXT)).startswith("250 2.0.0 accepted as ")


async def test_a_mail_behind_very_many_commands(store: Store, spool: Spool) -> None:
    """Reading pauses when too many wait; it must go on for what 354 asks for."""
    command = f"{TO} ORCPT=rfc822;{480 * 'x'}\r\n"
    async with door(store, spool) as connect:
        client = await connect.ready(FROM)
        client.send((600 * command + "DATA\r\n").encode())
        assert {await client.reply() for _ in range(600)} == {OK}
        assert (await client.reply()).startswith("354")
        assert (await client.say(TEXT + END)).startswith("250 2.0.0 accepted as ")


async def test_who_sends_much_waits_for_nobody_that_fails(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[BaseException] = []
    handler = asyncio.get_running_loop().set_exception_handler
    handler(lambda _loop, facts: errors.append(facts["exception"]))

    def broken() -> None:
        raise ValueError("a bug of ours")

    async with door(store, spool) as connect:
        first = await connect.ready()
        (session,) = connect.listener._shared.connections
        monkeypatch.setattr(session, "rested", broken)
        second = await connect.ready()
        for client in (first, second):
            client.send(30 * b"NOOP\r\n")
        assert {await second.reply() for _ in range(30)} == {"250 2.0.0 Ok"}
    assert list(map(str, errors)) == ["a bug of ours"]
    handler(None)


async def test_the_queue_is_down(store: Store, spool: Spool) -> None:
    """A32: at the end of data, then at MAIL for a while, then all is well."""
    failing = Failing(store, StoreError("disk I/O error"))
    async with door(failing, spool) as connect:  # type: ignore[arg-type]
        client = await connect()
        assert await client.mail(TEXT) == QUEUE_DOWN
        assert await client.say(FROM) == QUEUE_DOWN
        connect.listener._shared._queue_down_until = 0.0
        assert (await client.mail(TEXT)).startswith("250 2.0.0 accepted as ")


# the same mail again


@pytest.mark.parametrize("body", [TEXT, FILED], ids=["small", "filed"])
async def test_ten_at_once_are_one_fax(store: Store, spool: Spool, body: bytes) -> None:
    async with door(store, spool) as connect:
        clients = [await connect.ready(FROM, TO, "DATA") for _ in range(10)]
        answers = await asyncio.gather(*(client.say(body + END) for client in clients))
    (fax,) = await store.latest(99)
    assert sorted(answers) == [f"250 2.0.0 accepted as {fax.id}"] + 9 * [
        f"250 2.0.0 duplicate of {fax.id}"
    ]
    assert [path.name for path in spool.kept()] == [f"{fax.id}.message.eml"] * (body == FILED)


async def test_reset_after_the_end_is_one_fax(store: Store, spool: Spool) -> None:
    """The client dies between its final dot and our 250; what it sends again is known (K6)."""
    gated = Gated(store)
    async with door(gated, spool) as connect:  # type: ignore[arg-type]
        client = await connect.ready(FROM, TO, "DATA")
        client.send(TEXT + END)
        await gated.reached.wait()
        reset(client)
        await until(lambda: not connect.listener._shared.connections)
        gated.gate.set()
        again = await connect()
        reply = await again.mail(TEXT)
        (fax,) = await store.latest(9)
        assert reply == f"250 2.0.0 duplicate of {fax.id}"


# clients that half leave, never read, never end


async def test_half_closed_after_the_end(store: Store, spool: Spool) -> None:
    async with door(store, spool) as connect:
        client = await connect.ready(FROM, TO, "DATA")
        client.send(TEXT + END)
        client.writer.write_eof()
        assert (await client.reply()).startswith("250 2.0.0 accepted as ")
        assert await client.is_over()
    assert len(await store.latest(9)) == 1


@pytest.mark.parametrize("body", [b"", TEXT, BIG, TEXT + b"\r\n.", TEXT + b"\r\n.\r"])
async def test_half_closed_before_the_end(store: Store, spool: Spool, body: bytes) -> None:
    """Half a mail is no mail, and the log tells of it."""
    with capture_logs() as logs:
        async with door(store, spool, max_message=5_000_000) as connect:
            client = await connect.ready(FROM, TO, "DATA")
            client.send(body)
            client.writer.write_eof()
            assert await client.is_over()
            await nothing_is_kept(store, spool)
    assert [(line["event"], line.get("because")) for line in logs] == [
        ("mail_refused", "no end of data")
    ]


async def test_who_never_reads_is_cut(store: Store, spool: Spool) -> None:
    """M4: a polite close would wait for ever."""
    async with door(store, spool) as connect:
        client = await connect.ready(FROM)
        connect.hurry(unread=0.5)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        (session,) = connect.listener._shared.connections  # small buffers: the jam comes at once
        session.wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        commands = f"{TO}\r\n".encode() * 1000
        with contextlib.suppress(ConnectionError):
            while True:
                await client.push(commands)
        await until(lambda: not connect.listener._shared.connections)


async def drip(client: Client, content: bytes) -> str:
    """Send it again and again, a little at a time, until somebody has had enough."""
    answer = asyncio.create_task(client.reply())
    while not answer.done():
        client.send(content)
        await asyncio.sleep(0.02)
    return await answer


async def test_a_command_that_trickles_is_ended(store: Store, spool: Spool) -> None:
    async with door(store, spool) as connect:
        client = await connect.ready()
        connect.hurry(idle=0.3)
        assert await drip(client, b"x") == TIMEOUT
        assert await client.is_over()


async def test_a_mail_that_trickles_is_ended(store: Store, spool: Spool) -> None:
    async with door(store, spool) as connect:
        client = await connect.ready(FROM, TO, "DATA")
        connect.hurry(life=0.3)
        assert await drip(client, b"x\r\n") == TIMEOUT
        assert await client.is_over()
        await until(lambda: not list(spool.incoming.iterdir()))
    assert await store.latest(9) == []


async def test_a_session_does_not_live_for_ever(store: Store, spool: Spool) -> None:
    async with door(store, spool) as connect:
        client = await connect.ready(FROM)
        connect.hurry(life=0.3)
        answer = OK
        while answer == OK:
            answer = await client.say(TO)
            await asyncio.sleep(0.02)
        assert answer == TIMEOUT


async def test_a_slow_mail_leaves_time_for_the_next_command(store: Store, spool: Spool) -> None:
    """The idle time begins anew when the answer is given, not with the command DATA."""
    async with door(store, spool) as connect:
        client = await connect.ready(FROM, TO, "DATA")
        (session,) = connect.listener._shared.connections
        session._heard -= 1000.0  # so long ago was DATA
        assert (await client.say(TEXT + END)).startswith("250 2.0.0 accepted as ")
        assert session._deadline() > session.loop.time()


async def test_no_line_end_in_three_times_the_limit(store: Store, spool: Spool) -> None:
    """M1: cut at twice the limit, and never more on disk than the limit."""
    async with door(store, spool, max_message=1_000_000) as connect:
        client = await connect.ready(FROM, TO, "DATA")
        most = 0
        with contextlib.suppress(ConnectionError):
            for _ in range(60):
                await client.push(b"x" * 50_000)
                most = max([most, *(part.stat().st_size for part in spool.incoming.iterdir())])
        assert await client.is_over()
        assert most <= 1_000_000
        await until(lambda: not list(spool.incoming.iterdir()))
    assert await store.latest(9) == []


# floods


async def test_more_recipients_than_a_mail_may_have(store: Store, spool: Spool) -> None:
    """A19: 452 for the rest; a number said twice is not counted twice; every fax is named."""
    async with door(store, spool) as connect:
        client = await connect.ready(FROM)
        numbers = [f"+1415555{n:04}@fax.local" for n in range(25)]
        answers = [await client.say(f"RCPT TO:<{number}>") for number in numbers]
        assert answers == 20 * [OK] + 5 * ["452 4.5.3 Too many recipients"]
        assert [await client.say(f"RCPT TO:<{n[1:]}>") for n in numbers[:20]] == 20 * [OK]
        await client.say("DATA")
        said = await client.say(TEXT + END)
        assert len(said) <= 510  # RFC 5321 §4.5.3.1.5
        assert set(said.removeprefix("250 2.0.0 accepted as ").split()) == {
            fax.id for fax in await store.latest(99)
        }
    assert await mails(store, spool) == 20 * [TEXT + b"\r\n"]


@pytest.mark.parametrize("new", [0, 1, 20, 21, 1000])
@pytest.mark.parametrize("known", [0, 1, 29, 30, 31, 1000])
async def test_the_longest_answer_fits_its_line(new: int, known: int) -> None:
    """RFC 5321 §4.5.3.1.5, however many recipients a gateway allows."""
    added = [Added(new_id(), duplicate=n >= new) for n in range(new + known)]
    said = replies.accepted(added)
    named = sum(one.fax in said for one in added)
    more = sum(int(n) for n in re.findall(r"and (\d+) more", said))
    assert len(said) <= 510
    assert named + more == new + known
    assert said.count("accepted as") == bool(new)
    assert said.count("duplicate of") == bool(known)


async def test_who_looks_for_numbers_is_sent_away(store: Store, spool: Spool) -> None:
    async with door(store, spool) as connect:
        client = await connect.ready(FROM)
        client.send(b"RCPT TO:<911@fax.local>\r\n" * 101)
        answers = [await client.reply() for _ in range(101)]
        assert answers == 100 * ["550 5.7.1 Destination not permitted"] + [
            "421 4.7.0 Too many errors"
        ]
        assert await client.is_over()


async def test_a_flood_of_commands_takes_turns(store: Store, spool: Spool) -> None:
    """Whoever asks in between is answered long before the last of 1,000 pipelined commands."""
    async with door(store, spool) as connect:
        flood, other = await connect.ready(FROM), await connect.ready()
        flood.send(f"{TO}\r\n".encode() * 1000)
        assert await other.say("NOOP") == "250 2.0.0 Ok"
        answered = flood.reader._buffer.count(b"\n")  # type: ignore[attr-defined]
        assert answered < 1000
        assert {await flood.reply() for _ in range(1000)} == {OK}


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        (b"EHLO x\r\n", "554 5.5.0 Protocol synchronization"),
        (b"GET / HTTP/1.1\r\n\r\n", "421 4.7.0 Not SMTP"),
    ],
)
async def test_who_talks_before_the_greeting(
    store: Store, spool: Spool, said: bytes, reply: str
) -> None:
    with capture_logs() as logs:
        async with door(store, spool) as connect:
            with socket.create_connection(connect.address) as early:
                early.sendall(said)  # before the listener's loop has its turn
                early.setblocking(False)
                client = Client(*await asyncio.open_connection(sock=early))
                assert await client.reply() == reply
                assert await client.is_over()
                client.writer.close()
    assert [(line["event"], line["reply"]) for line in logs] == [("mail_refused", reply)]


# the stop (P11)


async def test_a_mail_under_way_may_end(store: Store, spool: Spool) -> None:
    async with door(store, spool) as connect:
        idle, busy = await connect.ready(FROM), await connect.ready(FROM, TO, "DATA")
        busy.send(TEXT)
        address = connect.address
        stop = asyncio.create_task(connect.listener.stop(10.0))
        assert await idle.reply() == STOPPING
        assert await idle.is_over()
        assert not stop.done()
        assert (await busy.say(END)).startswith("250 2.0.0 accepted as ")
        assert await busy.reply() == STOPPING
        await stop
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
    assert len(await store.latest(9)) == 1


async def test_a_mail_that_does_not_end_is_told(store: Store, spool: Spool) -> None:
    async with door(store, spool) as connect:
        client = await connect.ready(FROM, TO, "DATA")
        client.send(TEXT)
        await connect.listener.stop(0.0)
        assert await client.reply() == STOPPING
        assert await client.is_over()
        await nothing_is_kept(store, spool)


async def test_a_commit_begun_is_finished(store: Store, spool: Spool) -> None:
    gated = Gated(store)
    async with door(gated, spool) as connect:  # type: ignore[arg-type]
        client = await connect.ready(FROM, TO, "DATA")
        client.send(TEXT + END)
        await gated.reached.wait()
        stop = asyncio.create_task(connect.listener.stop(0.0))
        assert await client.reply() == STOPPING
        assert not stop.done()
        gated.gate.set()
        await stop
    assert len(await store.latest(9)) == 1


# nothing is left behind


class Counted(Buffers):
    """Knows which buffers are lent, and that none comes back twice."""

    def __init__(self) -> None:
        super().__init__()
        self.lent: set[int] = set()

    def borrow(self) -> bytearray:
        buffer = super().borrow()
        assert id(buffer) not in self.lent
        self.lent.add(id(buffer))
        return buffer

    def give_back(self, buffer: bytearray) -> None:
        self.lent.remove(id(buffer))
        super().give_back(buffer)


async def close(client: Client) -> None:
    client.writer.transport.abort()


async def break_off(client: Client) -> None:
    reset(client)


async def close_half(client: Client) -> None:
    client.writer.write_eof()
    assert await client.is_over()


async def hear_the_answer(client: Client) -> None:
    await client.say(END)


@pytest.mark.parametrize("end", [close, break_off, close_half, hear_the_answer])
async def test_nothing_leaks(
    store: Store, spool: Spool, end: Callable[[Client], Awaitable[None]]
) -> None:
    """50 mails each way, 150 of them broken off: buffers, files, tasks and sockets come back."""
    async with door(store, spool, max_message=1_000_000, writers=2) as connect:
        shared = connect.listener._shared
        shared.buffers = buffers = Counted()
        before = descriptors()
        for number in range(50):
            client = await connect.ready(FROM, TO, "DATA")
            with contextlib.suppress(ConnectionError):
                await client.push((b"", TEXT, BIG, BIG * 5, HEAD + b"\0" * 500_000)[number % 5])
                await end(client)
            client.writer.close()
        await until(lambda: not (connect.listener._shared.connections or shared.commits))
        await until(lambda: not list(spool.incoming.iterdir()))
        await until(lambda: descriptors() <= before)
        assert buffers.lent == set()


# the log


async def test_no_refusal_is_silent_and_no_number_is_told(store: Store, spool: Spool) -> None:
    commands = {
        "MAIL FROM:<a\u202eb@example.com> SMTPUTF8": "500 5.5.2 Bad command syntax",
        "MAIL FROM:ann@example.com": "501 5.5.4 Syntax: MAIL FROM:<address>",
        "RCPT TO:14155550123@fax.local": "501 5.5.4 Syntax: RCPT TO:<number@domain>",
        "RCPT TO:<(415) 555-0123@fax.local>": (
            "553 5.1.3 Brackets, comments and spaces are never dialled: write +14155550100@"
        ),
        "RCPT TO:<+1-415-555-0123@evil.example>": "554 5.7.1 Relay access denied",
        "RCPT TO:<+14155550123%x@fax.local>": "554 5.7.1 Relay access denied",
        "RCPT TO:<+18765550123@fax.local>": "550 5.7.1 Destination not permitted",
        "RCPT TO:<+14155550123\u00a0@fax.local>": "500 5.5.2 Bad command syntax",
        "RCPT TO:<+14155550123> X=1": "555 5.5.4 Parameter not supported",
    }
    with capture_logs() as logs:
        async with door(store, spool) as connect:
            client = await connect.ready()
            for number, (command, reply) in enumerate(commands.items()):
                if number == 2:  # behind those about MAIL
                    assert [await client.say(FROM), await client.say(TO)][1] == OK
                assert await client.say(command) == reply
            await client.say("DATA")
            assert (await client.say(TEXT + END)).startswith("250")
    assert [line["reply"] for line in logs[:-1]] == list(commands.values())
    assert {line["event"] for line in logs[:-1]} == {"mail_refused"}
    assert logs[-1]["event"] == "mail_accepted"
    told = repr(logs)
    assert not re.search(r"5550(123|100)", re.sub(r"write \+14155550100@", "", told))
    assert told.isprintable()


# who may submit


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("::2", False), ("fe80::1%eth0", False),
        ("::127.0.0.1", False),
    ],
)  # fmt: skip
def test_loopback_is_trusted(peer: str, trusted: bool) -> None:
    assert within(peer, LOOPBACK) is trusted


async def test_ipv6(store: Store, spool: Spool) -> None:
    try:
        async with door(store, spool, listeners=(Listener(host="::1", port=0),)) as connect:
            client = await connect()
            assert await client.say(HELLO)
            assert (await client.mail(TEXT)).startswith("250 2.0.0 accepted as ")
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")


async def test_a_line_that_never_ends_is_ended(store: Store, spool: Spool) -> None:
    """Thrown away as it comes, but not for ever."""
    async with door(store, spool) as connect:
        client = await connect.ready()
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                await client.push(b"x" * 4096)
        assert await client.reply() in ("500 5.5.2 Command too long", "")
        assert await client.is_over()


async def test_one_recipient_again_and_again(store: Store, spool: Spool) -> None:
    async with door(store, spool) as connect:
        client = await connect.ready(FROM)
        client.send(f"{TO}\r\n".encode() * 1200)
        said = [await client.reply() for _ in range(1001)]
        assert said[:1000] == [OK] * 1000
        assert said[1000] == "421 4.7.0 Too many commands"
        assert await client.is_over()
