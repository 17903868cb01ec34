"""Logins: the file line by line, what a check does, and what guessing gets: with real argon2."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path

import argon2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doors.smtp import users as module
from gateway.doors.smtp.users import Users, UsersError, Verdict, hash_line, masked
from tests.conftest import Clock

pytestmark = pytest.mark.anyio

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
SALT = b"the same in each of the processes that test"  # ids of tests are made of hashes
HASHES = {
    name: CHEAP.hash(f"{name}'s password", salt=SALT[:16]) for name in ("ann", "bob", "copier")
}
GOOD = HASHES["ann"]
HERE, THERE = "192.0.2.1", "198.51.100.1"
OK, WRONG, LOCKED, BUSY = Verdict.OK, Verdict.WRONG, Verdict.LOCKED, Verdict.BUSY


class Door:
    """Users, a clock that stands still, and the pauses that they made somebody wait."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.pauses: list[float] = []
        self.users = Users(Path("users"), dict(HASHES), clock=clock, pause=self.pause)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def right(self, name: str = "ann", peer: str = HERE) -> Verdict:
        return await self.users.verify(name, f"{name}'s password".encode(), peer)

    async def wrong(self, name: str = "ann", peer: str = HERE, times: int = 1) -> list[Verdict]:
        return [await self.users.verify(name, b"guess", peer) for _ in range(times)]


@pytest.fixture
def door(clock: Clock) -> Iterator[Door]:
    door = Door(clock)
    yield door
    door.users.close()


# a check


@pytest.mark.parametrize(
    ("name", "password", "verdict"),
    [
        ("ann", b"ann's password", OK),
        ("bob", b"bob's password", OK),
        ("ann", b"bob's password", WRONG),
        ("ann", b"", WRONG),
        ("ann", b"ann's password\0", WRONG),
        ("ann", b"\xff\xfe", WRONG),
        ("Ann", b"ann's password", WRONG),
        ("", b"", WRONG),
    ],
)
async def test_a_check(door: Door, name: str, password: bytes, verdict: Verdict) -> None:
    assert await door.users.verify(name, password, HERE) is verdict


@pytest.mark.parametrize("password", [b"ann's password", b"bob's password", b"copier's password"])
async def test_a_name_that_is_not_there_gets_in_with_no_password(
    door: Door, password: bytes
) -> None:
    """Though one of the three is checked in its stead."""
    assert await door.users.verify("eve", password, HERE) is WRONG


async def test_every_name_costs_the_same(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    real = argon2.PasswordHasher.verify

    def verify(self: argon2.PasswordHasher, hashed: str, password: bytes) -> bool:
        checked.append(hashed)
        return real(self, hashed, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    await door.wrong("ann", HERE)
    await door.wrong("eve", THERE)
    await door.wrong("eve", "203.0.113.1")
    assert checked[0] == HASHES["ann"]
    assert checked[1] == checked[2]  # a name that is not there always costs the same, too
    assert set(checked) <= set(HASHES.values())
    assert door.pauses == [1, 1, 1]


def test_names_that_are_not_there_cost_what_those_of_the_file_cost(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, not all the first's: hashes of several ages cost differently."""
    checked: set[str] = set()

    def verify(_: argon2.PasswordHasher, hashed: str, password: bytes) -> bool:
        checked.add(hashed)
        return True

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    assert not any(door.users._right(f"name{n}", b"") for n in range(200))
    assert checked == set(HASHES.values())


async def test_latin_1_and_utf_8_are_different_passwords() -> None:
    users = Users(Path("users"), {"ann": CHEAP.hash("grün")})
    assert await users.verify("ann", "grün".encode(), HERE) is OK
    users.close()


def test_checks_give_way_to_the_mail_under_way(door: Door) -> None:
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    theirs = door.users._threads.submit(os.getpriority, os.PRIO_PROCESS, 0).result()
    assert theirs == min(19, mine + 10)
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine


# guessing


async def test_the_pause_grows(door: Door) -> None:
    await door.wrong(times=4)
    await door.wrong("eve", times=5)
    assert door.pauses == [1, 2, 3, 4, 5, 6, 7, 8, 8]
    await door.wrong("bob", THERE)
    assert door.pauses[-1] == 1


async def test_others_are_served_while_one_pauses(clock: Clock) -> None:
    released, pausing = asyncio.Event(), asyncio.Event()

    async def pause(_seconds: float) -> None:
        pausing.set()
        await released.wait()

    users = Users(Path("users"), dict(HASHES), clock=clock, pause=pause)
    guesses = [asyncio.create_task(users.verify("ann", b"guess", HERE)) for _ in range(8)]
    await pausing.wait()
    assert await users.verify("bob", b"bob's password", THERE) is OK
    assert not any(guess.done() for guess in guesses)
    released.set()
    assert await asyncio.gather(*guesses) == [WRONG] * 8
    users.close()


async def test_ten_guesses_then_one_a_minute(door: Door) -> None:
    assert await door.wrong(times=12) == [WRONG] * 10 + [LOCKED] * 2
    assert await door.right() is LOCKED
    door.clock.advance(59)
    assert await door.right() is LOCKED
    door.clock.advance(1)
    assert await door.wrong(times=2) == [WRONG, LOCKED]
    door.clock.advance(60)
    assert await door.right() is OK
    assert await door.wrong(times=11) == [WRONG] * 10 + [LOCKED]


async def test_a_locked_guess_costs_no_check_and_lengthens_nothing(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await door.wrong(times=10)
    monkeypatch.delattr(argon2.PasswordHasher, "verify")
    assert await door.wrong(times=100) == [LOCKED] * 100
    monkeypatch.undo()
    assert len(door.pauses) == 10
    door.clock.advance(60)
    assert await door.right() is OK


async def test_one_attacker_never_locks_out_the_user(door: Door) -> None:
    """A day of guessing from one address, as fast as it is allowed."""
    guesses = 0
    for _ in range(24 * 60):
        guesses += (await door.wrong(peer=THERE, times=11)).count(WRONG)
        door.clock.advance(60)
    assert guesses == 10 + 24 * 60 - 1
    assert await door.right(peer=HERE) is OK  # never seen from here before


async def test_an_attacker_with_a_network_counts_once(door: Door) -> None:
    tries = [(await door.wrong(peer=f"2001:db8::{n:x}"))[0] for n in range(12)]
    assert tries == [WRONG] * 10 + [LOCKED] * 2


async def test_many_attackers_lock_a_name_but_not_where_it_is_at_home(door: Door) -> None:
    assert await door.right(peer=HERE) is OK
    tries = [(await door.wrong(peer=f"203.0.113.{n}"))[0] for n in range(60)]
    assert tries == [WRONG] * 50 + [LOCKED] * 10
    assert await door.right(peer=HERE) is OK
    assert await door.right(peer=THERE) is LOCKED
    assert await door.right("bob", peer=THERE) is OK
    door.clock.advance(60)
    assert await door.right(peer=THERE) is OK


async def test_who_tries_names_is_locked_out(door: Door) -> None:
    tries = [(await door.wrong(f"name{n}"))[0] for n in range(35)]
    assert tries == [WRONG] * 30 + [LOCKED] * 5
    assert await door.right() is LOCKED
    assert await door.right(peer=THERE) is OK


async def test_an_own_account_is_no_way_to_go_on_guessing(door: Door) -> None:
    tries = []
    for n in range(35):
        assert await door.right("bob") is OK
        tries += await door.wrong(f"name{n}")
    assert tries == [WRONG] * 30 + [LOCKED] * 5


async def test_a_copier_with_an_old_password_locks_out_itself_alone(door: Door) -> None:
    """All behind one address: the office goes on working, known there or new."""
    assert await door.right("ann") is OK
    for _ in range(200):
        await door.wrong("copier", times=3)
        door.clock.advance(10)
    assert await door.right("ann") is OK
    assert await door.right("bob") is OK
    assert await door.right("copier", THERE) is OK
    assert await door.right("copier") is LOCKED


async def test_guesses_side_by_side_win_no_more_than_those_in_a_row(door: Door) -> None:
    verdicts = await asyncio.gather(
        *(door.users.verify("ann", b"guess", HERE) for _ in range(module.MOST_WAITING))
    )
    assert verdicts.count(WRONG) <= 10 + module.AT_ONCE - 1
    assert verdicts.count(LOCKED) == len(verdicts) - verdicts.count(WRONG)


async def test_a_fleet_that_logs_in_at_once_is_let_in(door: Door) -> None:
    verdicts = await asyncio.gather(*(door.right() for _ in range(22)))
    assert verdicts == [OK] * 22


async def test_a_queue_that_is_full_says_so(door: Door) -> None:
    verdicts = await asyncio.gather(*(door.right() for _ in range(25)))
    assert verdicts == [OK] * 22 + [BUSY] * 3
    assert await door.right() is OK


async def test_who_leaves_the_queue_makes_room(door: Door) -> None:
    leaving = [asyncio.create_task(door.right()) for _ in range(22)]
    await asyncio.sleep(0)
    assert await door.right() is BUSY
    for task in leaving:
        task.cancel()
    gone = await asyncio.gather(*leaving, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in gone)
    assert await asyncio.gather(*(door.right() for _ in range(22))) == [OK] * 22


async def test_what_is_remembered_has_an_end(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_KNOWN", 20)
    for n in range(40):
        await door.wrong(f"name{n}", f"203.0.113.{n}")
        await door.right("ann", f"203.0.113.{n}")
    users = door.users
    strikes = [users._pairs._of, users._peers._of, users._names._of]
    assert [len(users._welcome), *map(len, strikes)] == [20] * 4


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(("ann", "bob", "eve")),
        st.integers(0, 3),
        st.booleans(),
        st.sampled_from((0, 1, 30, 60, 600)),
    ),
    max_size=60,
)


@given(EVENTS)
def test_nobody_wrong_gets_in_and_no_pair_guesses_faster(
    events: list[tuple[str, int, bool, int]],
) -> None:
    async def play() -> None:
        door = Door(Clock())
        strikes: dict[tuple[str, int], float] = {}
        for name, peer, right, later in events:
            ask = door.right if right else lambda *a: door.users.verify(a[0], b"guess", a[1])
            verdict = await ask(name, f"192.0.2.{peer}")
            assert verdict in ((OK, LOCKED) if right and name != "eve" else (WRONG, LOCKED))
            if verdict is OK:
                strikes[name, peer] = 0
            elif verdict is WRONG:
                strikes[name, peer] = strikes.get((name, peer), 0) + 1
            assert all(count <= 10 for count in strikes.values())
            door.clock.advance(later)
            strikes = {pair: max(0, count - later / 60) for pair, count in strikes.items()}
        door.users.close()

    asyncio.run(play())


# the file


async def test_a_file_is_read_and_read_again(tmp_path: Path, door: Door) -> None:
    file = tmp_path / "users"
    file.write_text(f"# who may fax\n\n  ann:{GOOD}  \r\nfax user@example.com:{GOOD}\n", "utf-8")
    users = Users.load(file)
    assert await users.verify("ann", b"ann's password", HERE) is OK
    assert await users.verify("fax user@example.com", b"ann's password", HERE) is OK
    users.close()
    door.users._path = file
    file.write_text(f"jörg:{GOOD}\n", "utf-8")
    door.users.reload()
    assert await door.users.verify("jörg", b"ann's password", HERE) is OK
    assert await door.right("ann") is WRONG


NAME = "`name:argon2hash` is wanted: the name is missing or has signs it must not have"
HASH = "the hash is none of argon2 (`$argon2id$v=19$m=65536,t=3,p=4$…`)"
MUCH = "is too much for every login, or impossible: at most m=131072,t=20,p=16"
NOBODY = "{file}: no user: nobody could log in"


def costs(m: int, t: int, p: int) -> str:
    return GOOD.replace("m=8,t=1,p=1", f"m={m},t={t},p={p}")


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", [NOBODY]),
        ("# ann\n\n", [NOBODY]),
        ("ann", [f"{{file}}:1: {HASH}"]),
        ("ann:", [f"{{file}}:1: {HASH}"]),
        ("ann:secret", [f"{{file}}:1: {HASH}"]),
        (f"# x\n:{GOOD}", [f"{{file}}:2: {NAME}"]),
        (f"{GOOD}", [f"{{file}}:1: {HASH}"]),
        (f"a\x01b:{GOOD}", [f"{{file}}:1: {NAME}"]),
        (f"{'a' * 255}:{GOOD}", [f"{{file}}:1: {NAME}"]),
        (f"ann:{GOOD}\nbob:{GOOD}\nann:{GOOD}", ["{file}:3: ann is there already"]),
        (f"ann:{GOOD[:-5]}!", [f"{{file}}:1: {HASH}"]),
        (f"ann:{GOOD[:-42]}", [f"{{file}}:1: {HASH}"]),
        ("ann:$2b$12$abcdefghijklmnopqrstuv", [f"{{file}}:1: {HASH}"]),
        (f"ann:{costs(1048576, 3, 4)}", [f"{{file}}:1: m=1048576,t=3,p=4 {MUCH}"]),
        (f"ann:{costs(65536, 21, 4)}", [f"{{file}}:1: m=65536,t=21,p=4 {MUCH}"]),
        (f"ann:{costs(65536, 3, 17)}", [f"{{file}}:1: m=65536,t=3,p=17 {MUCH}"]),
        (f"ann:{costs(8, 1, 2)}", [f"{{file}}:1: m=8,t=1,p=2 {MUCH}"]),
        (":\nx\n", [f"{{file}}:1: {NAME}", f"{{file}}:1: {HASH}", f"{{file}}:2: {HASH}"]),
    ],
)
async def test_every_problem_is_named_and_the_old_users_stay(
    tmp_path: Path, text: str, problems: list[str]
) -> None:
    file = tmp_path / "users"
    file.write_text(f"ann:{GOOD}\n", "utf-8")
    users = Users.load(file)
    file.write_text(text, "utf-8")
    wanted = [problem.format(file=file) for problem in problems]
    for attempt in (lambda: Users.load(file), users.reload):
        with pytest.raises(UsersError) as raised:
            attempt()
        assert raised.value.problems == wanted
    assert await users.verify("ann", b"ann's password", HERE) is OK
    users.close()


@pytest.mark.parametrize("text", [b"\xff\xfe:" + GOOD.encode(), b"a\x00:" + GOOD.encode()])
def test_a_name_that_is_no_text(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "users"
    file.write_bytes(text)
    with pytest.raises(UsersError) as raised:
        Users.load(file)
    assert raised.value.problems == [f"{file}:1: {NAME}"]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsersError) as raised:
        Users.load(tmp_path / "users")
    assert raised.value.problems == [f"{tmp_path / 'users'}: No such file or directory"]


@pytest.mark.parametrize(("mode", "open_to_all"), [(0o600, False), (0o640, False), (0o604, True)])
async def test_a_file_for_everybody_is_told(tmp_path: Path, mode: int, open_to_all: bool) -> None:
    file = tmp_path / "users"
    file.write_text(f"ann:{GOOD}\n", "utf-8")
    file.chmod(mode)
    says = f"{file}: everybody on this machine may read the hashes: chmod o= {file}"
    users = Users.load(file)
    assert users.warnings == ([says] if open_to_all else [])
    file.unlink()
    assert users.warnings == [f"{file}: No such file or directory"]
    users.close()


# what a person writes


async def test_a_line_is_made_and_read(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(hash_line("ann", "geheim ü: #") + "\n", "utf-8")
    users = Users.load(file)
    assert await users.verify("ann", "geheim ü: #".encode(), HERE) is OK
    users.close()


@pytest.mark.parametrize(
    ("name", "password"),
    [("", "x"), ("a:b", "x"), ("#ann", "x"), (" ann", "x"), ("ann\n", "x"), ("ann", "")],
)
def test_no_line_is_made(name: str, password: str) -> None:
    with pytest.raises(ValueError, match=r"a name has|an empty password"):
        hash_line(name, password)


def test_a_log_tells_names_apart_and_shows_none() -> None:
    """What is typed into the field of the name may be a password."""
    assert masked("ann") == masked("ann") != masked("bob")
    assert re.fullmatch(r"[0-9a-f]{8}", masked("a password"))
