"""Refusals and transcripts: masked, counted, bounded under a flood, kept through a sick disk."""

from __future__ import annotations

import asyncio
import itertools
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.doors.refusals import (
    CROWDED,
    FEWEST,
    MORE_OF_ALL,
    MORE_OF_ONE,
    MOST_WAITING,
    ROWS_A_MINUTE,
    ROWS_OF_ONE,
    Refusals,
    clean,
    masked_address,
    masked_reply,
    masked_text,
)
from gateway.doors.transcripts import FIRST, LAST, Transcript, Transcripts
from gateway.doors.transcripts import MOST_WAITING as MOST_SESSIONS
from gateway.store import Store, units
from gateway.store.doors import SESSIONS_OF_ONE
from tests.conftest import Clock

pytestmark = pytest.mark.anyio

QUICK = settings(max_examples=100, deadline=None, derandomize=True)
DENIED = "550 5.7.1 Sender not listed"


async def rows(store: Store, table: str = "reject") -> list[dict[str, Any]]:
    return await store._db.read(units.rows(f"SELECT * FROM {table} ORDER BY at, id"))  # noqa: S608


@contextmanager
def locked(tmp_path: Path, store: Store) -> Iterator[None]:
    """Somebody's shell holds the database: every commit fails."""
    store._db._writer.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


# masks


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("", ""),
        ("ann@example.com", "a•••@example.com"),
        ("Ann.Smith2@example.com", "A•••@example.com"),
        ("scanner", "s•••"),
        ("ünal@example.com", "ü•••@example.com"),
        ("+14155550100@fax.local", "+1•••0100@fax.local"),
        ("1-415-555-0100@fax.local", "•••0100@fax.local"),
        ("(415) 555-0100@fax.local", "•••0100@fax.local"),
        ("FAX=+14155550100/T33S=42@fax.local", "+1•••0100@fax.local"),
        ("1-415-555-0100/ref=4711@fax.local", "•••0100@fax.local"),
        ("555-0100@fax.local", "•••@fax.local"),
        ("IMCEAFAX-+2B14155550100@fax.local", "•••0100@fax.local"),
        ("ann@14155550100.fax.local", "a•••@•••••••0100.fax.local"),
        ("@fax.local", "@fax.local"),
    ],
)
def test_addresses_are_masked(address: str, shown: str) -> None:
    assert masked_address(address) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("RCPT TO:<(206) 555-1234@fax.local>", "RCPT TO:<(•••) •••-1234@fax.local>"),
        ("RCPT TO:<+14155550100@fax.local>", "RCPT TO:<+•••••••0100@fax.local>"),
        ("RCPT TO:<FAX=+14155550100@fax.local>", "RCPT TO:<FAX=+•••••••0100@fax.local>"),
        ("RCPT TO:<415.555.0100@fax.local>", "RCPT TO:<•••.•••.0100@fax.local>"),
        ("RCPT TO:<911@fax.local>", "RCPT TO:<9•••@fax.local>"),
        ("MAIL FROM:<ann@example.com> SIZE=12345678", "MAIL FROM:<a•••@example.com> SIZE=12345678"),
        ('MAIL FROM:<"a b"@example.com>', 'MAIL FROM:<"•••@example.com>'),
        ("MAIL FROM:<scanner>", "MAIL FROM:<scanner>"),
        ("MAIL FROM:<prvs=1=ann@x.y>", "MAIL FROM:<p•••@x.y>"),
        ("RCPT TO:<1@x.y> ORCPT=rfc822;ann@x.y", "RCPT TO:<1•••@x.y> ORCPT=rfc822;a•••@x.y"),
        ("EHLO [192.168.10.200]", "EHLO [192.168.10.200]"),
        ("EHLO 192.168.10.200", "EHLO 192.168.10.200"),
        ("RCPT TO:<192.168.10.200@fax.local>", "RCPT TO:<•••.•••.•0.200@fax.local>"),
        ("RCPT TO:<1.0.0.0/0000000@fax.local>", "RCPT TO:<•.•.•.•/•••0000@fax.local>"),
    ],
)  # fmt: skip
def test_lines_are_masked_and_keep_their_form(line: str, shown: str) -> None:
    assert masked_text(line) == shown


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        ("550 5.1.1 41 55 is not a number", "550 5.1.1 41 55 is not a number"),
        ("421 4.7.0 20 connections", "421 4.7.0 20 connections"),
        ("250-fax | 250-SIZE 35000000 | 250 DSN", "250-fax | 250-SIZE 35000000 | 250 DSN"),
        ("550 5.1.1 4155550177 no", "550 5.1.1 ••••••0177 no"),
        ("550 5.1.1 ann@example.com no", "550 5.1.1 a•••@example.com no"),
        # our example is nobody's number
        ("553 5.1.3 (415) 555-0177: write +14155550100@",
         "553 5.1.3 (•••) •••-0177: write +14155550100@"),
    ],
)  # fmt: skip
def test_replies_are_masked_and_their_codes_are_not(reply: str, shown: str) -> None:
    assert masked_reply(reply) == shown


@QUICK
@given(
    st.from_regex(r"\+?[1-9](?:[-. ()/]{0,2}[0-9]){9,14}", fullmatch=True),
    st.sampled_from(["RCPT TO:<{}@fax.local>", "RCPT TO:<FAX={}@x>", "{}", "553 5.1.3 {} is no"]),
)
def test_no_form_of_a_number_is_told(number: str, line: str) -> None:
    masking = masked_reply if line[0].isdigit() else masked_text
    told = masking(line.format(number)).replace(line.partition("{")[0], "", 1)
    assert len(re.findall(r"\d", told)) <= 4
    assert len(re.findall(r"\d", masked_address(f"{number}@x").replace("+1", ""))) <= 7


@QUICK
@given(st.text())
def test_clean_is_one_printable_line(text: str) -> None:
    assert len(clean(text)) <= 200
    assert clean(text).isprintable()
    clean(text).encode()  # no lone surrogate: the database would not take it


# refusals


async def test_one_row_for_the_same(store: Store, clock: Clock) -> None:
    refusals = Refusals(store, clock)
    for _ in range(3):
        refusals.note("smtp", "192.0.2.1", DENIED, because="sender_denied", sender="ann@x.y")
        clock.advance(5)
    assert await refusals.flush()
    clock.advance(10)  # the same minute, another commit
    refusals.note("smtp", "192.0.2.1", DENIED, because="sender_denied", sender="ann@x.y")
    refusals.note("smtp", "192.0.2.1", DENIED, recipient="(415) 555-0100@fax.local")
    refusals.note("smtp", "192.0.2.1", DENIED, recipient="bob@fax.local", number="+14155550100")
    await refusals.flush()
    kept = [(r["sender"], r["recipient"], r["because"], r["times"]) for r in await rows(store)]
    assert sorted(kept) == [
        ("", "+1•••0100", "", 1),
        ("", "•••0100@fax.local", "", 1),
        ("a•••@x.y", "", "sender_denied", 4),
    ]
    clock.advance(60)
    refusals.note("smtp", "192.0.2.1", DENIED, because="sender_denied", sender="ann@x.y")
    await refusals.flush()
    assert (await rows(store))[-1]["times"] == 1, "another minute, another row"
    assert await refusals.flush(), "with nothing to do"


async def test_hostile_text_does_no_harm(store: Store, clock: Clock) -> None:
    refusals = Refusals(store, clock)
    odd = "\udce9\0\r\n\u202e" + "x" * 5000
    refusals.note("smtp", odd, odd, because=odd, sender=odd, recipient=odd, number=odd)
    assert await refusals.flush()
    (row,) = await rows(store)
    assert all(len(str(value)) <= 200 and str(value).isprintable() for value in row.values())


async def test_a_flood_of_one_peer(store: Store, clock: Clock) -> None:
    refusals = Refusals(store, clock)
    for n in range(100_000):
        refusals.note("smtp", "192.0.2.1", DENIED, sender=f"x@{n}.example")
        if n % 25_000 == 0:
            await refusals.flush()
    refusals.note("device", "192.0.2.2", DENIED)
    await refusals.flush()
    kept = await rows(store)
    assert len(kept) == ROWS_OF_ONE + 2
    assert [r["times"] for r in kept if r["because"] == MORE_OF_ONE] == [100_000 - ROWS_OF_ONE]
    assert [r["times"] for r in kept if r["peer"] == "192.0.2.2"] == [1]


async def test_a_flood_of_many_peers(store: Store, clock: Clock) -> None:
    """Neither memory nor the table grows, and nobody is uncounted."""
    refusals = Refusals(store, clock)
    for n in range(100_000):
        refusals.note("smtp", f"2001:db8::{n % 20_000:x}", DENIED, sender=f"x@{n}.example")
    assert len(refusals._waiting) == ROWS_A_MINUTE
    await refusals.flush()
    kept = await rows(store)
    assert len(kept) == ROWS_A_MINUTE + 1
    assert sum(r["times"] for r in kept) == 100_000
    assert [r["because"] for r in kept if not r["peer"]] == [MORE_OF_ALL]


async def test_a_crowd_leaves_room_for_the_others(store: Store, clock: Clock) -> None:
    refusals = Refusals(store, clock)
    peers = CROWDED // ROWS_OF_ONE
    for peer, n in itertools.product(range(peers), range(ROWS_OF_ONE)):
        refusals.note("smtp", f"attacker {peer}", DENIED, sender=f"x@{n}.example")
    for n in range(ROWS_OF_ONE):
        refusals.note("device", "copier", DENIED, sender=f"scan@{n}.example")
    await refusals.flush()
    copier = [r for r in await rows(store) if r["peer"] == "copier"]
    assert sorted(r["because"] for r in copier) == ["", "", MORE_OF_ONE]
    assert len(copier) == FEWEST + 1


async def test_nothing_is_lost_while_the_database_takes_none(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    refusals = Refusals(store, clock)
    refusals.note("smtp", "192.0.2.1", DENIED)
    with locked(tmp_path, store):
        assert not await refusals.flush()
        refusals.note("smtp", "192.0.2.1", DENIED)
        refusals.note("smtp", "192.0.2.2", DENIED)
        assert not await refusals.flush()
    assert await refusals.flush()
    kept = {r["peer"]: r["times"] for r in await rows(store)}
    assert kept == {"192.0.2.1": 2, "192.0.2.2": 1}


async def test_a_long_outage_under_a_flood(store: Store, clock: Clock, tmp_path: Path) -> None:
    refusals = Refusals(store, clock)
    with locked(tmp_path, store):
        for n in range(4 * ROWS_A_MINUTE):
            refusals.note("smtp", f"peer {n}", DENIED)
            if n % ROWS_A_MINUTE == 0:
                clock.advance(60)
                assert not await refusals.flush()
        assert len(refusals._waiting) == MOST_WAITING
    assert await refusals.flush()
    kept = await rows(store)
    assert len(kept) == MOST_WAITING + 1
    assert sum(r["times"] for r in kept) == 4 * ROWS_A_MINUTE


async def test_run_commits_what_was_noted_before_the_stop(store: Store) -> None:
    refusals, transcripts, stop = Refusals(store), Transcripts(store), asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(refusals.run(stop))
        tasks.create_task(transcripts.run(stop))
        await asyncio.sleep(0)
        refusals.note("smtp", "192.0.2.1", DENIED)
        transcripts.keep("192.0.2.1", "smtp", Transcript(), DENIED)
        stop.set()
    assert [r["reply"] for r in await rows(store)] == [DENIED]
    assert [r["outcome"] for r in await rows(store, "transcript")] == [DENIED]


# transcripts


def dialogue(*lines: tuple[str, bytes | str]) -> list[str]:
    transcript = Transcript()
    for who, what in lines:
        if who == "C":
            transcript.heard(what)
        elif isinstance(what, str):
            transcript.said(what) if who == "S" else transcript.note(what)
    return transcript.text().split("\n")


def test_a_session_is_told_line_by_line() -> None:
    told = dialogue(
        ("S", "220 fax.local ESMTP"),
        ("C", b"EHLO copier\r\n"),
        ("S", "250-fax.local\r\n250-SIZE 35000000\r\n250 AUTH PLAIN LOGIN"),
        ("C", b"mail from:<ann@example.com> AUTH=<>\n"),
        ("S", "250 2.1.0 Sender ok"),
        ("C", "RCPT TO:<(206) 555-1234@fax.local>"),
        ("--", "client left"),
    )
    assert told == [
        "S: 220 fax.local ESMTP",
        "C: EHLO copier",
        "S: 250-fax.local | 250-SIZE 35000000 | 250 AUTH PLAIN LOGIN",
        "C: mail from:<a•••@example.com> AUTH=<> <LF>",
        "S: 250 2.1.0 Sender ok",
        "C: RCPT TO:<(•••) •••-1234@fax.local>",
        "-- client left",
    ]
    assert dialogue(("C", "RCPT TO:<Büro@x.y>\n")) == ["C: RCPT TO:<B•••@x.y> <8bit> <LF>"]
    transcript = Transcript()
    transcript.data(1234, "LF", 5020)
    assert transcript.text() == "C: <1,234 bytes, lines end with LF, longest 5,020>"


USER, WORD = "c2Nhbm5lcg==", "c3VwZXJzZWNyZXQ="


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([("C", f"AUTH PLAIN {WORD}")], ["C: AUTH PLAIN ***"]),
        ([("C", f"auth login {USER}")], ["C: auth login ***"]),
        ([("C", f"AUTH  LOGIN  {USER}")], ["C: AUTH  LOGIN ***"]),
        ([("C", f"AUTH=LOGIN {USER}")], ["C: AUTH=LOGIN ***"]),
        ([("C", f"AUTH {WORD}")], ["C: AUTH ***"]),
        ([("C", f"AUTH LOGIN{WORD}")], ["C: AUTH ***"]),
        ([("C", "AUTH LOGIN\r\n")], ["C: AUTH LOGIN"]),
        ([("C", b"AUTH CRAM-MD5\n")], ["C: AUTH CRAM-MD5 <LF>"]),
        (
            [("S", "334 VXNlcm5hbWU6"), ("C", USER), ("S", "334 UGFzc3dvcmQ6"), ("C", WORD)],
            ["S: 334 VXNlcm5hbWU6", "C: ***", "S: 334 UGFzc3dvcmQ6", "C: ***"],
        ),
        ([("S", "334 x"), ("C", "QUIT"), ("S", "221 x"), ("C", "QUIT")],
         ["S: 334 x", "C: ***", "S: 221 x", "C: QUIT"]),
        # refused, it goes on all the same: what follows is no command and may be a password
        ([("C", "AUTH LOGIN"), ("S", "538 5.7.11 x"), ("C", USER), ("C", "secret"), ("C", "RSET")],
         ["C: AUTH LOGIN", "S: 538 5.7.11 x", "C: ***", "C: ***", "C: RSET"]),
        ([("C", "PASS supersecret")], ["C: PASS ***"]),
        ([("C", "Subject: supersecret")], ["C: ***"]),
        ([("C", "Dear Ann,")], ["C: ***"]),
        ([("C", "MAILsupersecret")], ["C: ***"]),
        ([("C", b"\xff\xfe")], ["C: ***"]),
        ([("C", b"MAIL FROM:<\xff\0@x.y>")], ["C: MAIL FROM:<�•••@x.y> <8bit>"]),
    ],
)  # fmt: skip
def test_no_secret_and_no_content(lines: list[tuple[str, str]], told: list[str]) -> None:
    assert dialogue(*lines) == told


@QUICK
@given(st.lists(st.tuples(st.sampled_from("CSN"), st.binary(max_size=600)), max_size=300))
def test_a_transcript_is_bounded(lines: list[tuple[str, bytes]]) -> None:
    transcript = Transcript()
    for who, what in lines:
        if who == "C":
            transcript.heard(what)
        else:
            (transcript.said if who == "S" else transcript.note)(what.decode("latin-1"))
    text = transcript.text()
    told = text.split("\n") if text else []
    assert len(told) == min(len(lines), FIRST + LAST + 1 if len(lines) > FIRST + LAST else 99)
    assert all(len(line) <= 200 and line.isprintable() for line in told)
    text.encode()


def test_of_a_long_session_the_begin_and_the_end() -> None:
    told = dialogue(*(("S", f"250 {n}") for n in range(1000)))
    assert told[FIRST - 1 : FIRST + 2] == [
        f"S: 250 {FIRST - 1}",
        f"-- {1000 - FIRST - LAST} lines left out",
        f"S: 250 {1000 - LAST}",
    ]
    assert told[-1] == "S: 250 999"
    assert len(told) == 100


async def test_transcripts_wait_for_the_database(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    transcripts = Transcripts(store, clock)

    def keep(peer: str, door: str) -> None:
        clock.advance(1)
        transcripts.keep(peer, door, Transcript(), "no mail")

    with locked(tmp_path, store):
        keep("copier", "device")
        assert not await transcripts.flush()
        for n in range(3 * MOST_SESSIONS):
            keep(f"stranger {n}", "smtp")
            if n == MOST_SESSIONS:
                assert not await transcripts.flush()
        for _ in range(SESSIONS_OF_ONE + 4):
            keep("copier", "device")
        assert len(transcripts._waiting) == MOST_SESSIONS
    assert await transcripts.flush()
    kept = await rows(store, "transcript")
    assert len(kept) == MOST_SESSIONS
    copier = [one["at"] for one in kept if one["peer"] == "copier"]
    assert copier == [clock.now - n for n in range(SESSIONS_OF_ONE - 1, -1, -1)]
    assert any(one["peer"] == f"stranger {3 * MOST_SESSIONS - 1}" for one in kept)
