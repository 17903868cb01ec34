"""A mail server that hangs up, hangs, lies or refuses: one fax all the same, and a tidy box."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.doors.imap import ImapDoor, ImapSettings
from gateway.doors.imap.protocol import protocol_class
from gateway.doors.imap.wire import Found, found_in
from gateway.spool import Spool
from gateway.store import SMALL, Store
from tests.doors.imap.conftest import Contexts
from tests.doors.imap.kit import House, mail, power_cut, running, until
from tests.doors.imap.script import ALL, FAULTS, Server

pytestmark = pytest.mark.anyio

FAX = "+14155550100"


@pytest.fixture
def house(spool: Spool, store: Store) -> House:
    return House(spool, store)


@pytest.fixture
def door(house: House, server: Server, contexts: Contexts) -> Callable[..., ImapDoor]:
    def make(**facts: Any) -> ImapDoor:
        common = {"context": contexts[1]}
        return house.door(server.port, **(common | facts))

    return make


Door = Callable[..., ImapDoor]
COMMANDS = [
    "CAPABILITY", "LOGIN", "SELECT", "UID SEARCH UNDELETED$", "UID SEARCH UNDELETED KEYWORD",
    "UID FETCH .*SIZE", "UID FETCH .*BODY", "UID STORE", "UID MOVE", "CREATE", "SUBSCRIBE", "IDLE",
    "DONE", "NOOP",
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_at_every_command(
    server: Server, house: House, door: Door, fault: str
) -> None:
    """T12: each command of a session meets it once, and each mail is one fax all the same."""
    async with running(door(idle=0.05, patience=0.2 if fault == "hang" else 5.0)):
        for taken, command in enumerate(COMMANDS, 1):
            if command in ("CREATE", "SUBSCRIBE"):
                server.folders[f"Before {command}"] = server.folders.pop("Done", [])
            server.faults.append((command, fault, 1))
            server.put(mail())
            server.hang_up()
            await until(lambda: not (server.mails or server.faults))
            assert sum(server.count().values()) == taken
    assert await house.numbers() == [FAX] * len(COMMANDS)
    assert await house.reasons() == []
    assert list(house.spool.incoming.iterdir()) == []


@pytest.mark.parametrize("seed", range(8))
async def test_many_faults_in_any_order(
    server: Server, house: House, door: Door, seed: int
) -> None:
    """Also the same one again and again, and several in a session: nothing lost, nothing twice."""
    chance = random.Random(seed)
    commands = [one for one in COMMANDS if "BODY" not in one] * 2 + ["UID FETCH .*BODY"]
    faults = [fault for fault in FAULTS if fault != "hang"]
    server.faults = [
        (chance.choice(commands), chance.choice(faults), chance.choice((1, 1, 2)))
        for _ in range(chance.randrange(20))
    ]
    server.capabilities = chance.choice([ALL, "IMAP4rev1 UIDPLUS", "IMAP4rev1 IDLE MOVE"])
    server.put(*[mail() for _ in range(chance.randrange(1, 6))])
    async with running(door(idle=0.01, anew=0.05, poll=0.01)):
        await until(lambda: not server.mails)
        server.put(mail(), mail(to="1@fax.local"), mail(proof=""))
        await until(lambda: not server.mails)
    taken = server.next - 3
    assert await house.numbers() == [FAX] * taken
    assert await house.reasons() == ["1@fax.local: Not a valid fax number"]


async def test_a_server_that_restarts(server: Server, house: House, door: Door) -> None:
    """BYE while it waits in IDLE, which the library would sleep through."""
    async with running(door()):
        for taken in (1, 2, 3):
            server.put(mail())
            await until(partial(server.has, Done=taken))
            await until(lambda: server.heard[-1] == "IDLE")
            server.hang_up()
    assert len(await house.faxes()) == 3


async def test_a_hang_in_idle(server: Server, house: House, door: Door) -> None:
    """No news, no BYE, no answer to DONE: found out by the probe after at most nine minutes."""
    server.faults.append(("IDLE", "hang", 1))
    async with running(door(patience=0.3)):
        await until(lambda: server.times("IDLE") == 2)
        server.put(mail())
        await until(lambda: server.count() == {"Done": 1})
    assert server.connections >= 2


def test_the_waits_of_a_real_gateway_end_in_ten_minutes() -> None:
    usual = ImapSettings("mail.example.com", "fax", "secret", "mx.example.com")
    assert usual.idle + usual.patience + usual.first_wait < 600.0


async def test_a_refused_login_is_told_once(server: Server, house: House, door: Door) -> None:
    structlog.reset_defaults()
    server.faults.append(("LOGIN", "no", 5))
    server.put(mail())
    with capture_logs() as logs:
        async with running(door()):
            await until(lambda: server.count() == {"Done": 1})
    told = [(line["event"], line.get("error")) for line in logs if "mailbox" in line["event"]]
    refused = "login refused: NO not now"
    assert told == [("mailbox_failed", refused), ("mailbox_recovered", None)]
    assert house.pages == ["the mailbox cannot be used"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_password_in_the_log(server: Server, house: House, door: Door, fault: str) -> None:
    """The library's own errors repeat the command."""
    server.faults.append(("LOGIN", fault, 1))
    server.put(mail())
    with capture_logs() as logs:
        async with running(door(patience=0.5)):
            await until(lambda: server.count() == {"Done": 1})
    assert logs
    assert "secret" not in str(logs)


@pytest.mark.parametrize("command", ["CAPABILITY", "LOGIN", "UID FETCH .*BODY", "UID MOVE", "IDLE"])
async def test_the_gateway_stops_though_the_server_hangs(
    server: Server, house: House, door: Door, command: str
) -> None:
    server.faults.append((command, "hang", 1))
    server.put(mail())
    async with running(door(patience=1000.0)):
        await until(lambda: not server.faults)


async def test_a_server_that_never_says_a_word(house: House) -> None:
    """A port that takes connections and does not speak TLS."""
    with socket.create_server(("127.0.0.1", 0)) as deaf, capture_logs() as logs:
        async with running(house.door(deaf.getsockname()[1], patience=0.2)):
            await until(partial(bool, logs))
    assert logs[0]["error"] == "no connection in 0.2 s"


@pytest.mark.parametrize(
    ("greeting", "why"),
    [
        (b"* PREAUTH hello\r\n", "the server says PREAUTH"),
        (b"* preauth hello\r\n", "the server says PREAUTH"),
        (b"* BYE too many\r\n", "the server greets us with * BYE too many"),
        (b"220 smtp.example.com ESMTP\r\n", "the server greets us with 220 smtp.example.com"),
        (b"\0\xff\r\n", "the server greets us with \ufffd"),
        (b"", "no answer in 0.3 s"),
        (b"\r\n" * 5_000, "no answer in 0.3 s"),
    ],
)
async def test_an_odd_greeting(
    server: Server, house: House, door: Door, greeting: bytes, why: str
) -> None:
    """No password is told to it, and when it comes to its senses the mail is taken."""
    server.greeting, usual = greeting, server.greeting
    server.put(mail())
    with capture_logs() as logs:
        async with running(door(patience=0.3)):
            await until(lambda: server.connections >= 2)
            assert not server.times("LOGIN")
            server.greeting = usual
            await until(lambda: server.count() == {"Done": 1})
    (told,) = [line["error"] for line in logs if line["event"] == "mailbox_failed"]
    assert told.startswith(why)


async def test_a_greeting_without_an_end(server: Server, house: House, door: Door) -> None:
    server.greeting = b"* OK" + b" x" * 3_000_000 + b"\r\n"
    with capture_logs() as logs:
        async with running(door(patience=20.0)):
            await until(lambda: logs)
    assert logs[0]["error"] == "the server sent more than 4,194,304 bytes"


async def test_a_new_uidvalidity(server: Server, house: House, door: Door) -> None:
    """The same mails under other UIDs, the old ones now those of others."""
    first, second = mail(), mail()
    server.put(first)
    async with running(door()):
        await until(lambda: server.count() == {"Done": 1})
        server.validity, server.next = 2, 1
        server.put(second, first)
        server.hang_up()
        await until(lambda: server.count() == {"Done": 3})
    assert await house.numbers() == [FAX, FAX]


async def test_a_server_without_idle_is_asked(server: Server, house: House, door: Door) -> None:
    server.capabilities = "IMAP4rev1 MOVE UIDPLUS"
    async with running(door()):
        for taken in (1, 2):
            server.put(mail())
            await until(partial(server.has, Done=taken))
    assert not server.times("IDLE")


async def test_a_server_that_only_says_it_has_idle(
    server: Server, house: House, door: Door
) -> None:
    server.faults.append(("IDLE", "bad", 1000))
    async with running(door()):
        for taken in (1, 2):
            server.put(mail())
            await until(partial(server.has, Done=taken))
    assert server.times("IDLE") == server.connections == 1


@pytest.mark.parametrize(("uidplus", "left"), [("UIDPLUS", 0), ("", 1)])
async def test_a_server_without_move(
    server: Server, house: House, door: Door, uidplus: str, left: int
) -> None:
    """Without UIDPLUS it stays, marked as deleted: EXPUNGE would take other people's mails."""
    server.capabilities = f"IMAP4rev1 {uidplus}"
    server.put(mail())
    async with running(door()):
        await until(lambda: server.times("NOOP") >= 3)
    assert server.count().pop("Done") == 1
    assert len(server.mails) == left
    assert not server.times("EXPUNGE")
    assert await house.numbers() == [FAX]


async def test_a_server_without_keywords(server: Server, house: House, door: Door) -> None:
    server.keywords = False
    flags = server.flags
    server.put(mail())
    async with running(door()):
        await until(lambda: server.count() == {"Done": 1})
    assert flags[1] == {"\\Seen"}


async def test_a_box_that_may_only_be_read(server: Server, house: House, door: Door) -> None:
    server.select = "[READ-ONLY] done"
    server.put(mail())
    with capture_logs() as logs:
        async with running(door()):
            await until(lambda: server.connections >= 3)
    (told,) = [line["error"] for line in logs if line["event"] == "mailbox_failed"]
    assert told == "INBOX may only be read: mails cannot be moved"
    assert await house.faxes() == []


async def test_folders_that_cannot_be_made(server: Server, house: House, door: Door) -> None:
    """Told once; every mail is taken all the same, and only once; later it is moved."""
    server.faults += [("UID MOVE", "no", 1000), ("CREATE", "no", 1000)]
    server.put(*[mail() for _ in range(120)])
    with capture_logs() as logs:
        async with running(door(idle=0.05)):
            await until(lambda: server.times("NOOP") >= 3)
            assert len(await house.numbers()) == 120
            server.faults.clear()
            await until(lambda: server.count() == {"Done": 120})
    assert server.times("UID FETCH .*BODY") == 120
    (told,) = [line for line in logs if line["event"] == "mail_not_moved"]
    assert told["folder"] == "Done"
    assert house.pages == ["mails of the mailbox cannot be moved"]


async def test_a_server_that_knows_no_keywords_at_all(
    server: Server, house: House, door: Door
) -> None:
    """It does not even search for one."""
    server.keywords = False
    server.faults.append(("UID SEARCH UNDELETED KEYWORD", "bad", 1000))
    async with running(door()):
        for taken in (1, 2):
            server.put(mail())
            await until(partial(server.has, Done=taken))
    assert server.connections == 1


@pytest.mark.parametrize("fault", ["no", "bad"])
async def test_one_mail_whose_size_nobody_knows(
    server: Server, house: House, door: Door, fault: str
) -> None:
    """The server then tells none of the whole batch: the others do not wait for it."""
    server.faults += [(rf"UID FETCH [\d,]*\b{uid}\b[\d,]* .*SIZE", fault, 1000) for uid in (1, 3)]
    server.faults.append(("UID FETCH 3 .*BODY", fault, 1000))
    server.put(*[mail() for _ in range(5)])
    async with running(door()):
        await until(lambda: server.has(Done=4, INBOX=1))
    assert server.mails.keys() == {3}
    assert server.connections == 1


async def test_some_mails_that_cannot_be_moved(server: Server, house: House, door: Door) -> None:
    """Nor can any together with them: the others go one by one."""
    server.faults.append((r"UID MOVE [\d,]*\b[1-4]\b", "no", 1000))
    server.put(*[mail() for _ in range(12)])
    async with running(door(idle=0.02)):
        await until(lambda: server.has(Done=8, INBOX=4))
        server.faults.clear()
        await until(lambda: server.has(Done=12))
    assert len(await house.numbers()) == 12
    assert server.times("UID FETCH .*BODY") == 12


@pytest.mark.parametrize(("fault", "patience"), [("drop", 5.0), ("hang", 0.2)])
@pytest.mark.parametrize("command", ["UID MOVE", "UID STORE", "UID FETCH"])
async def test_one_mail_that_ends_every_session(
    server: Server, house: House, door: Door, command: str, fault: str, patience: float
) -> None:
    """A server that falls over one of them, alone or among others: they go on without it."""
    server.faults.append((rf"{command} [\d,]*\b2\b", fault, 1000))
    server.put(*[mail() for _ in range(4)])
    async with running(door(patience=patience)):
        await until(lambda: server.has(Done=3, INBOX=1))
        server.put(mail())
        await until(lambda: server.has(Done=4, INBOX=1))
    assert server.mails.keys() == {2}
    assert len(await house.numbers()) == (4 if command == "UID FETCH" else 5)


async def test_a_mail_that_cannot_be_deleted_is_copied_once(
    server: Server, house: House, door: Door
) -> None:
    server.capabilities = "IMAP4rev1 UIDPLUS"
    server.faults.append(("UID STORE .*Deleted", "no", 1000))
    server.put(mail(), mail())
    async with running(door(poll=0.01)):
        await until(lambda: server.times("NOOP") >= 4)
        assert server.has(INBOX=2, Done=2)
        server.faults.clear()
        await until(lambda: server.has(Done=2))
    assert len(await house.numbers()) == 2


async def test_one_folder_that_cannot_be_made(server: Server, house: House, door: Door) -> None:
    """Told once, though the other one takes its mails."""
    server.faults += [('UID MOVE .* "Failed"', "no", 1000), ('CREATE "Failed"', "no", 1000)]
    server.put(mail(to="1@fax.local"))
    with capture_logs() as logs:
        async with running(door(idle=0.01)):
            for done in (1, 2, 3):
                server.put(mail())
                await until(partial(server.has, INBOX=1, Done=done))
    assert [line["folder"] for line in logs if line["event"] == "mail_not_moved"] == ["Failed"]
    assert len(await house.reasons()) == 1


async def test_news_between_a_look_and_the_wait(server: Server, house: House, door: Door) -> None:
    """A mail that comes while others are moved is not announced again in IDLE."""
    late = [mail()]

    def put_late(command: str) -> None:
        if command.startswith("UID MOVE") and late:
            server.put(late.pop())
            for session in server._sessions:
                session.say("* 2 EXISTS")

    server.before = put_late
    server.put(mail())
    async with running(door()):
        await until(lambda: server.count() == {"Done": 2})
    assert len(await house.faxes()) == 2


@pytest.mark.parametrize(
    ("date", "arrived"),
    [
        ('"25-Nov-2026 12:00:00 +0000"', 1795608000.0),
        ('" 5-Nov-2026 14:00:00 +0200"', 1793880000.0),
        ('"00-Nov-0000 12:00:00 +0000"', 0.0),
        ('"99-Foo-2026 99:99:99 +9999"', 0.0),
        ("NIL", 0.0),
        ("", 0.0),
    ],
)
def test_when_a_mail_arrived(date: str, arrived: float) -> None:
    line = f"1 FETCH (INTERNALDATE {date} RFC822.SIZE 12 UID 7)".encode()
    assert found_in([line, b"2 FETCH (FLAGS ())", b"done"]) == {7: Found(12, arrived)}


# mails that are the trouble themselves

LIAR = b"* 1 FETCH (UID 1 BODY[] {99999999999}\r\n" + b"x" * 1_500_000 * 4
POISONS = {
    "a literal that never ends": LIAR,
    "a literal that is too short": b"* 1 FETCH (UID 1 BODY[] {9}\r\nx)\r\n",
    "no literal": b'* 1 FETCH (UID 1 BODY[] "short")\r\n',
    "NIL": b"* 1 FETCH (UID 1 BODY[] NIL)\r\n",
    "another mail": b"* 2 FETCH (UID 2 BODY[] {5}\r\nx: y\n)\r\n",
    "two literals": b"* 1 FETCH (UID 1 BODY[] {1}\r\nx BODY[] {1}\r\ny)\r\n",
}


@pytest.mark.parametrize("raw", POISONS.values(), ids=POISONS)
async def test_a_mail_that_cannot_be_read(
    server: Server, house: House, door: Door, raw: bytes
) -> None:
    """F-I3: three tries, then Failed with a notice; the mails behind it do not wait."""
    server.put(mail(), mail(), mail())
    server.bodies[1] = raw
    async with running(door(patience=0.3 if b"{9}" in raw else 5.0)):
        await until(lambda: server.count() == {"Done": 2, "Failed": 1})
    assert await house.numbers() == [FAX, FAX]
    assert await house.reasons() == [
        "The gateway tried three times to read this mail and could not"
    ]
    assert server.times("UID FETCH 1 .*BODY.PEEK\\[]") == 3


@pytest.mark.parametrize("fault", ["drop", "no"])
async def test_a_mail_whose_headers_cannot_be_read_either(
    server: Server, house: House, door: Door, fault: str
) -> None:
    """It stays where it is, is told, and is left alone for an hour."""
    server.faults.append(("UID FETCH 1 .*BODY", fault, 1000))
    server.put(mail(), mail())
    with capture_logs() as logs:
        async with running(door(idle=0.05)):
            await until(lambda: server.count() == {"INBOX": 1, "Done": 1})
            await until(lambda: any(line["event"] == "mail_skipped" for line in logs))
            server.put(mail())
            await until(lambda: server.count() == {"INBOX": 1, "Done": 2})
    assert server.times("UID FETCH 1 .*BODY") == 4
    assert "a mail that cannot be read" in house.pages


@pytest.mark.parametrize("fault", ["drop", "no"])
async def test_a_server_that_is_ill_for_long_loses_no_mail(
    server: Server, house: House, door: Door, fault: str
) -> None:
    """A store behind it that is away: every fetch fails, and no mail is to blame."""
    server.faults.append(("UID FETCH .*BODY", fault, 1000))
    server.put(mail(), mail())
    with capture_logs() as logs:
        async with running(door(anew=0.05)):
            await until(lambda: sum(line["event"] == "mail_skipped" for line in logs) >= 2)
            server.faults.clear()
            await until(lambda: server.count() == {"Done": 2})
    assert await house.numbers() == [FAX, FAX]


async def test_a_mail_that_somebody_removes_meanwhile(
    server: Server, house: House, door: Door
) -> None:
    def remove(command: str) -> None:
        if "BODY" in command:
            server.mails.pop(1, None)

    server.before = remove
    server.put(mail(), mail())
    async with running(door()):
        await until(lambda: server.count() == {"Done": 1})
    assert len(await house.faxes()) == 1


async def test_an_empty_mail_is_nobodys(server: Server, house: House, door: Door) -> None:
    server.put(b"", b"\r\n", mail())
    async with running(door()):
        await until(lambda: server.count() == {"Done": 1, "Rejected": 2})
    assert len(await house.faxes()) == 1


# power cuts

CUTS = ["UID SEARCH", "UID FETCH .*SIZE", "UID FETCH .*BODY", "UID STORE", "UID MOVE", "CREATE"]


@pytest.mark.parametrize("fault", ["hang", "late drop"])
@pytest.mark.parametrize("command", CUTS)
async def test_a_power_cut_at_every_step(
    server: Server, house: House, door: Door, command: str, fault: str
) -> None:
    """K33–K36: before the server did it, and after it; one fax, one notice, a tidy box."""
    server.put(mail(), mail(to="1@fax.local"), mail(proof=""))
    server.faults.append((command, fault, 1))
    await power_cut(server, door)
    async with running(door()):
        await until(lambda: server.count() == {"Done": 1, "Failed": 1, "Rejected": 1})
    assert await house.numbers() == [FAX]
    assert await house.reasons() == ["1@fax.local: Not a valid fax number"]


async def test_a_power_cut_right_after_the_commit(server: Server, house: House, door: Door) -> None:
    """K34: the rows are there, and nothing else knows."""
    server.put(mail())
    bell = asyncio.create_task(until(house.numbers))
    first = asyncio.create_task(door().run(asyncio.Event()))
    server.faults.append(("UID STORE", "hang", 1))
    await bell
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with running(door()):
        await until(lambda: server.count() == {"Done": 1})
    assert await house.numbers() == [FAX]


async def test_what_is_flagged_is_only_moved(server: Server, house: House, door: Door) -> None:
    """K35: also when it would not be taken any more."""
    server.put(mail())
    server.flags[1] = {"$FaxTaken"}
    async with running(door()):
        await until(lambda: server.count() == {"Done": 1})
    assert not server.times("UID FETCH")


async def test_a_queue_that_is_down_blames_no_mail(
    server: Server, house: House, door: Door, tmp_path: Path
) -> None:
    server.put(mail(body=SMALL * "x"))
    blocked = house.spool.incoming
    blocked.chmod(0o700)
    blocked.rename(tmp_path / "away")
    async with running(door()):
        await until(lambda: server.connections >= 6)
        assert server.count() == {"INBOX": 1}
        (tmp_path / "away").rename(blocked)
        await until(lambda: server.count() == {"Done": 1})
    assert await house.numbers() == [FAX]
    assert await house.reasons() == []


# the guard before the library

PIECES = st.sampled_from(
    [b"* ", b"OK", b" [UIDVALIDITY 1]", b"\r\n", b"\n", b"\r", b"{3}", b"{-1}", b"{99999}",
     b"FETCH (", b"1 ", b")", b"A1 ", b"+ ", b"BYE", b"PREAUTH", b"CAPABILITY", b" EXISTS",
     b"SEARCH 1 2", b"\0", b"\xff", b'"', b"RFC822.SIZE 9", b"UID 7", b"BODY[] {4}\r\n"]
)  # fmt: skip


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.lists(PIECES | st.binary(max_size=4), max_size=9).map(b"".join), max_size=9))
def test_any_bytes_end_in_an_answer_or_in_the_end(chunks: list[bytes]) -> None:
    """Whatever comes, in whatever pieces: no error reaches the loop, nobody waits for ever."""

    async def feed() -> None:
        errors: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: errors.append(context))
        protocol = protocol_class()(loop)
        protocol.connection_made(_Nowhere())
        for chunk in chunks:
            protocol.data_received(chunk)
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        assert protocol.lost.done()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)
        assert errors == []

    asyncio.run(feed())


class _Nowhere(asyncio.Transport):
    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        pass


def test_the_library_is_imported_for_a_mailbox_alone() -> None:
    """It is under the GPL, and slow to import."""
    lines = "import sys, gateway.doors.imap\nassert 'aioimaplib' not in sys.modules"
    subprocess.run([sys.executable, "-c", lines], check=True)


def test_ten_thousand_lines_in_one_chunk() -> None:
    async def feed() -> None:
        protocol = protocol_class()(asyncio.get_running_loop())
        protocol.connection_made(_Nowhere())
        protocol.data_received(b"* OK hi\r\n")
        await asyncio.sleep(0)
        protocol.data_received(b"* 1 EXPUNGE\r\n" * 10_000)
        assert not protocol.lost.done()
        assert not protocol.news.is_set()
        protocol.data_received(b"* 3 EXISTS\r\n")
        assert protocol.news.is_set()
        protocol.connection_lost(None)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run(feed())
