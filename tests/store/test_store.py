"""The store: durable, fenced, duplicates die in it, and one error never spoils a shared commit."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.errors import Cause
from gateway.model import Fax, State
from gateway.store import DEATHS, HELD, RESEND_WINDOW, Change, Store, StoreError, queries, units
from gateway.store.messages import SMALL
from gateway.store.sqlite import SchemaError, Unit, _connect, migrate, open_read_only
from gateway.wishes import Wishes
from tests.make import inbound, outbound

pytestmark = pytest.mark.anyio

NOW = 1_770_000_000.0


async def test_what_was_added_survives_the_process(tmp_path: Path) -> None:
    store = Store(tmp_path / "gateway.db")
    await store.open()
    fax = outbound()
    await store.add([fax], now=NOW)
    await store.close()
    again = Store(tmp_path / "gateway.db")
    await again.open()
    assert await again.get(fax.id) == fax
    await again.close()


async def test_identical_mail_within_the_window_is_one_fax(store: Store) -> None:
    first, second, third = (outbound(key="same") for _ in range(3))
    (added,) = await store.add([first], now=NOW)
    assert (added.fax, added.duplicate) == (first.id, False)
    (added,) = await store.add([second], now=NOW + RESEND_WINDOW - 1)
    assert (added.fax, added.duplicate) == (first.id, True)
    (added,) = await store.add([third], now=NOW + RESEND_WINDOW + 1)
    assert (added.fax, added.duplicate) == (third.id, False)


async def test_a_received_fax_is_announced_once_for_ever(store: Store) -> None:
    first = inbound(provider_id="rx9")
    await store.add([first], now=NOW)
    (added,) = await store.add([inbound(provider_id="rx9")], now=NOW + 400 * 86400)
    assert added.duplicate
    assert added.fax == first.id


async def test_all_or_none(store: Store) -> None:
    twin = outbound()
    with pytest.raises(sqlite3.IntegrityError):  # the same id twice: our bug, nothing is kept
        await store.add([twin, replace(twin, key="other")], now=NOW)
    assert await store.get(twin.id) is None


async def test_one_bad_unit_does_not_spoil_the_shared_commit(store: Store) -> None:
    twin = outbound()
    await store.add([twin], now=NOW)
    good = [outbound() for _ in range(20)]
    outcomes = await asyncio.gather(
        *(store.add([fax], now=NOW) for fax in good[:10]),
        store.add([replace(twin, key="other")], now=NOW),
        *(store.add([fax], now=NOW) for fax in good[10:]),
        return_exceptions=True,
    )
    assert isinstance(outcomes.pop(10), sqlite3.IntegrityError)
    assert [added[0].duplicate for added in outcomes] == [False] * 20  # type: ignore[index]
    assert all([await store.get(fax.id) for fax in good])


async def test_nobody_gets_a_fax_twice(store: Store) -> None:
    faxes = [outbound() for _ in range(60)]
    await store.add(faxes, now=NOW)

    async def worker() -> list[str]:
        mine = []
        while claimed := await store.claim(State.ACCEPTED, now=NOW, lease=60, most=3):
            mine += [fax.id for fax in claimed]
        return mine

    shares = await asyncio.gather(*(worker() for _ in range(8)))
    taken = [fax for share in shares for fax in share]
    assert sorted(taken) == sorted(fax.id for fax in faxes)


async def test_restart_frees_what_the_dead_process_had(tmp_path: Path) -> None:
    store = Store(tmp_path / "gateway.db")
    await store.open()
    await store.add([outbound()], now=NOW)
    (before,) = await store.claim(State.ACCEPTED, now=NOW, lease=3600)
    await store.close()
    again = Store(tmp_path / "gateway.db")
    await again.open()
    (after,) = await again.claim(State.ACCEPTED, now=NOW + 1, lease=3600)
    assert (after.id, after.attempts) == (before.id, 2)
    await again.close()


async def test_a_nudge_wakes_only_what_rests(store: Store) -> None:
    fax = outbound()
    await store.add([fax], now=NOW)
    (claimed,) = await store.claim(State.ACCEPTED, now=NOW, lease=60)
    await store.nudge(fax.id)
    assert not await store.claim(State.ACCEPTED, now=NOW, lease=60)
    await store.save([Change(claimed.retried(NOW + 500, "wait"), None)], now=NOW)
    assert await store.next_due(State.ACCEPTED) == NOW + 500
    await store.nudge(fax.id)
    assert await store.claim(State.ACCEPTED, now=NOW, lease=60)


async def test_one_unknown_upload_between_two_numbers(store: Store) -> None:
    one, other, elsewhere = outbound(), outbound(), outbound(number="+14155550177")
    await store.add([one, other, elsewhere], now=NOW)
    attempt = await store.begin_attempt(one, now=NOW)
    assert attempt
    assert await store.begin_attempt(other, now=NOW) is None
    assert await store.begin_attempt(elsewhere, now=NOW)
    await store.end_attempt(attempt, "accepted", now=NOW, provider_id="p1")
    assert await store.begin_attempt(other, now=NOW)
    assert await store.bound(["p1", "p2"]) == {"p1"}
    assert [a.outcome for a in await store.attempts(one.id)] == ["accepted"]


async def test_a_held_fax_does_not_block_its_number(store: Store) -> None:
    stuck, later = outbound(State.PREPARED), outbound(State.PREPARED)
    await store.add([stuck, later], now=NOW)
    assert await store.begin_attempt(stuck, now=NOW)
    assert await store.begin_attempt(later, now=NOW) is None
    claimed = await store.claim(State.PREPARED, now=NOW, lease=60, most=2)
    (mine,) = [fax for fax in claimed if fax.id == stuck.id]
    await store.save([Change(mine.hold("a bug"), "held")], now=NOW)
    assert await store.begin_attempt(later, now=NOW)
    assert [a.outcome for a in await store.attempts(stuck.id)] == ["unknown"]


async def test_a_clock_that_was_put_back(store: Store) -> None:
    waiting, soon = outbound(due_at=NOW + 86400), outbound(due_at=NOW + 60)
    await store.add([waiting, soon], now=NOW)
    await store.clamp(NOW + 7200)
    (due,) = await store.claim(State.ACCEPTED, now=NOW, lease=60, most=9)
    assert due.id == waiting.id


async def test_a_clock_that_was_put_back_silences_no_held_fax(store: Store) -> None:
    """The relay was away when its people were to hear of it: the next try is not in a year."""
    held = outbound(State.SUBMITTED, held="it may have been sent", due_at=NOW + 365 * 86400)
    await store.add([held], now=NOW)
    await store.clamp(NOW + 7200)
    (due,) = await store.claim(HELD, now=NOW, lease=60)
    assert due.id == held.id


@pytest.mark.parametrize(
    ("state", "days", "clamped"),
    [(State.PREPARED, 3, False), (State.PREPARED, 8, True), (State.SUBMITTED, 3, True)],
)
async def test_what_is_wanted_later_is_left_alone(
    store: Store, state: State, days: int, clamped: bool
) -> None:
    """Unless nobody can have wanted that: it came in while the clock was years ahead."""
    at = NOW + days * 86400
    await store.add([outbound(state, due_at=at, wishes=Wishes(at=at).text())], now=NOW)
    await store.clamp(NOW + 7200)
    assert await store.next_due(state) == (0.0 if clamped else at)


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    with pytest.raises(SchemaError, match="start the newer gateway"):
        await Store(path).open()


async def test_durable_settings(store: Store) -> None:
    """What an SMTP 250 stands on: WAL, FULL, foreign keys. And what is deleted is gone."""

    def pragmas() -> Unit[tuple[object, ...]]:
        answers = []
        for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete"):
            rows = yield f"PRAGMA {name}", {}
            answers.append(rows[0][name])
        return tuple(answers)

    assert await store._db.read(pragmas()) == ("wal", 2, 1, 1)


@pytest.mark.parametrize("size", [100, SMALL])
async def test_a_purged_mail_is_in_no_file(tmp_path: Path, size: int) -> None:
    path, canary = tmp_path / "gateway.db", b"canary" * (size // 6)
    for purges in (False, True):
        store = Store(path)
        await store.open()
        if purges:
            assert await store.messages.purge(sent=NOW + 1, failed=NOW + 1) == 1
        else:
            fax = outbound(State.CLOSED, since=NOW)
            await store._db.write(units.add([fax], NOW, canary))
        await store.close()
        found = [file.name for file in tmp_path.iterdir() if b"canary" in file.read_bytes()]
        assert found == ([] if purges else ["gateway.db"])


def doubt(store: Store, fax: Fax) -> Awaitable[list[str]]:
    async def outcomes() -> list[str]:
        return [attempt.outcome for attempt in await store.attempts(fax.id)]

    return outcomes()


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (lambda fax: fax.submitted("p1"), "accepted"),
        (lambda fax: fax.hold("why"), "unknown"),
        (lambda fax: fax.failed("no", Cause.REJECTED), "unknown"),
        (lambda fax: fax.retried(NOW + 5, "later"), ""),
    ],
)
async def test_a_fax_and_its_upload_end_in_one_transaction(
    store: Store, end: Callable[[Fax], Fax], outcome: str
) -> None:
    """Between the two a crash would lose the id, or make a held fax look as if never sent."""
    fax = outbound(State.PREPARED)
    await store.add([fax], now=NOW)
    assert await store.begin_attempt(fax, now=NOW)
    (mine,) = await store.claim(State.PREPARED, now=NOW, lease=60)
    await store.save([Change(end(mine), "")], now=NOW + 1)
    (attempt,) = await store.attempts(fax.id)
    assert (attempt.outcome, attempt.provider_id) == (outcome, "p1" * (outcome == "accepted"))
    assert attempt.ended_at == (NOW + 1 if outcome else 0.0)


async def test_an_accepted_upload_is_kept_though_the_lease_is_lost(store: Store) -> None:
    fax = outbound(State.PREPARED)
    await store.add([fax], now=NOW)
    assert await store.begin_attempt(fax, now=NOW)
    (mine,) = await store.claim(State.PREPARED, now=NOW, lease=60)
    assert await store.claim(State.PREPARED, now=NOW + 1e6, lease=60)
    assert await store.save([Change(mine.submitted("p1"), "")], now=NOW) == set()
    (attempt,) = await store.attempts(fax.id)
    assert (attempt.outcome, attempt.provider_id) == ("accepted", "p1")


async def test_a_late_loser_does_not_free_the_numbers(store: Store) -> None:
    fax = outbound(State.PREPARED)
    await store.add([fax], now=NOW)
    (mine,) = await store.claim(State.PREPARED, now=NOW, lease=60)
    (other,) = await store.claim(State.PREPARED, now=NOW + 1e6, lease=60)
    assert await store.begin_attempt(other, now=NOW)
    assert await store.save([Change(mine.hold("a bug"), "")], now=NOW) == set()
    assert await doubt(store, fax) == [""]


async def test_what_kills_the_process_again_and_again_is_held(store: Store) -> None:
    """R18. A fax that only happened to be at work, and then got on, is not."""
    poison, lucky, listed = (
        outbound(State.PREPARED), outbound(State.ACCEPTED), outbound(State.SUBMITTED),
    )  # fmt: skip
    await store.add([poison, lucky, listed], now=NOW)
    for death in range(DEATHS):
        for state in (State.PREPARED, State.ACCEPTED, State.SUBMITTED):
            claimed = await store.claim(state, now=NOW, lease=60)
            assert claimed, (death, state)
            if state is State.ACCEPTED and death == 2:
                await store.save([Change(claimed[0].later(0.0), None)], now=NOW)
        await store.close()
        await store.open()
    held = {fax.id: (await store.get(fax.id)).held for fax in (poison, lucky, listed)}  # type: ignore[union-attr]
    assert held == {
        poison.id: f"the gateway died {DEATHS} times while it worked on this fax",
        lucky.id: "", listed.id: "",
    }  # fmt: skip
    assert [event.note for event in await store.history(poison.id)] == [
        "",
        f"held: {held[poison.id]}",
    ]
    (told,) = await store.claim(HELD, now=NOW, lease=60)
    assert told.id == poison.id


async def test_a_sick_database_is_a_store_error_for_readers_too(tmp_path: Path) -> None:
    store = Store(tmp_path / "gateway.db")
    await store.open()
    writer = store._db._writer
    writer.execute("DROP TABLE history")
    writer.execute("ALTER TABLE fax RENAME TO gone")
    for ask in (store.counts, lambda: store.next_due(State.ACCEPTED), lambda: store.get("x")):
        with pytest.raises(StoreError):
            await ask()
    await store.close()


async def test_known_faxes(store: Store) -> None:
    fax = outbound()
    await store.add([fax], now=NOW)
    assert await store.known({fax.id, "stranger"}) == {fax.id}


async def test_counts(store: Store) -> None:
    faxes = [
        outbound(since=NOW), outbound(since=NOW - 9), outbound(State.PREPARED, held="x", since=NOW),
        outbound(State.CLOSED),
    ]  # fmt: skip
    await store.add(faxes, now=NOW)
    counts = {
        (row["state"], row["held"]): (row["faxes"], row["oldest"]) for row in await store.counts()
    }
    assert counts == {("accepted", 0): (2, NOW - 9), ("prepared", 1): (1, NOW)}


async def test_counting_reads_no_closed_fax(store: Store) -> None:
    """Closed ones are kept for six years; the watchdog counts every ten seconds."""
    plan = await store._db.read(units.rows("EXPLAIN QUERY PLAN " + queries.COUNTS))
    scans = [row["detail"] for row in plan if row["detail"].startswith(("SCAN fax", "SEARCH fax"))]
    assert scans
    assert all("USING" in scan and "INDEX" in scan for scan in scans), scans


async def test_files_are_private(tmp_path: Path) -> None:
    store = Store(tmp_path / "gateway.db")
    await store.open()
    await store.add([outbound()], now=NOW)
    assert {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {
        "gateway.db": 0, "gateway.db-wal": 0, "gateway.db-shm": 0,
    }  # fmt: skip
    await store.close()


async def test_a_full_disk_takes_nothing_and_spoils_nothing(store: Store) -> None:
    """SQLite rolls back the whole batch: no unit of it may count as done."""
    await store.add([outbound(subject="x" * 50_000)], now=NOW)
    pages = store._db._writer.execute("PRAGMA page_count").fetchone()["page_count"]
    store._db._writer.execute(f"PRAGMA max_page_count = {pages + 5}")
    small = [outbound() for _ in range(5)]
    big = [outbound(subject="x" * 200_000) for _ in range(3)]
    outcomes = await asyncio.gather(
        *(store.add([fax], now=NOW) for pair in zip(small, big, strict=False) for fax in pair),
        return_exceptions=True,
    )
    for fax, outcome in zip(
        [f for pair in zip(small, big, strict=False) for f in pair], outcomes, strict=True
    ):
        kept = await store.get(fax.id) is not None
        assert kept is not isinstance(outcome, StoreError), outcome
    assert any(isinstance(outcome, StoreError) for outcome in outcomes)
    store._db._writer.execute("PRAGMA max_page_count = 1000000")
    assert not (await store.add([outbound()], now=NOW))[0].duplicate


async def test_another_process_sees_what_is_committed(tmp_path: Path) -> None:
    store = Store(tmp_path / "gateway.db")
    await store.open()
    reader = open_read_only(tmp_path / "gateway.db")
    for count in range(1, 4):
        await store.add([outbound()], now=NOW)
        assert reader.execute("SELECT COUNT(*) AS n FROM fax").fetchone()["n"] == count
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM fax")
    reader.close()
    await store.close()


def schema(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return [*found, ("version", str(version))]


async def test_killed_at_every_step_of_the_migrations(tmp_path: Path) -> None:
    """Old or new, never between: F-U1, K39. The progress handler ends it after n instructions."""
    whole = tmp_path / "whole.db"
    connection = _connect(whole)
    migrate(connection)
    connection.close()
    wanted, steps, cuts = schema(whole), set(), 0
    for instructions in range(20, 4000, 60):
        path = tmp_path / f"{instructions}.db"
        cut = _connect(path)
        cut.set_progress_handler(lambda: 1, instructions)
        try:
            migrate(cut)
        except (SchemaError, sqlite3.OperationalError):
            cuts += 1
        cut.close()
        steps.add(schema(path)[-1][1])
        again = _connect(path)
        migrate(again)
        again.close()
        assert schema(path) == wanted
        path.unlink()
    assert cuts
    assert steps > {"0"}


@pytest.mark.parametrize("version", [1, 2, 5, 6])
async def test_what_an_older_gateway_has_left(tmp_path: Path, version: int) -> None:
    """Faxes of every state, at rest, at work and held: each is where it was."""
    connection = _connect(tmp_path / "gateway.db")
    files = resources.files("gateway.store").joinpath("migrations").iterdir()
    for file in sorted(files, key=lambda file: file.name)[:version]:
        connection.executescript(file.read_text("utf-8"))
    connection.execute(f"PRAGMA user_version = {version}")
    known = {row["name"] for row in connection.execute("PRAGMA table_info(fax)")}
    left = [
        outbound(state, held=held, told=told)
        for state in State
        for held, told in (("", 0), ("a bug", 0), ("a bug", 1))
        if state is not State.CLOSED or not held
    ]
    for leased, fax in enumerate(left):
        row = {"leased": leased % 2} | {k: v for k, v in asdict(fax).items() if k in known}
        names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
        connection.execute(f"INSERT INTO fax ({names}) VALUES ({values})", row)  # noqa: S608 - ours
    connection.close()
    store = Store(tmp_path / "gateway.db")
    await store.open()
    assert {await store.get(fax.id) for fax in left} == set(left)
    for state in State:
        (fax,) = await store.claim(state, now=NOW, lease=9.0, most=9)
        assert (fax.state, fax.held) == (state, "")
    unheard = await store.claim(HELD, now=NOW, lease=9.0, most=99)
    assert [fax.told for fax in unheard] == [0] * (len(State) - 1)
    assert await store.told(left[0].sender, NOW) == 0
    await store.close()


class Interleaved(RuleBasedStateMachine):
    """Claims, saves, nudges, holds and crashes in any order: nothing lost, nobody owns it twice."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.directory.name) / "gateway.db")
        self.runner.run(self.store.open())
        self.now = NOW
        self.owned: dict[str, Fax] = {}
        self.stale: list[Fax] = []
        self.state: dict[str, State | str] = {}

    @rule()
    def add(self) -> None:
        fax = outbound()
        self.runner.run(self.store.add([fax], now=self.now))
        self.state[fax.id] = State.ACCEPTED

    @rule(most=st.integers(1, 3), where=st.sampled_from([State.ACCEPTED, State.PREPARED]))
    def claim(self, most: int, where: State) -> None:
        claimed = self.runner.run(self.store.claim(where, now=self.now, lease=60, most=most))
        for fax in claimed:
            assert fax.id not in self.owned, "two workers"
            assert self.state[fax.id] == where
            self.owned[fax.id] = fax

    @rule(what=st.sampled_from(["move", "retry", "hold"]), stale=st.booleans())
    def save(self, what: str, stale: bool) -> None:
        late = [fax for fax in self.stale if fax.id in self.owned]
        pool = late if stale else list(self.owned.values())
        if not pool:
            return
        fax = pool[0]
        after = fax.retried(self.now + 100, "x") if what == "retry" else fax.hold("x")
        if what == "move":
            moves = fax.state is State.ACCEPTED
            after = fax.prepared(pages=1, digest="") if moves else fax.submitted("p" + fax.id)
        saved = self.runner.run(self.store.save([Change(after, "")], now=self.now))
        assert saved == (set() if stale else {fax.id})
        if not stale:
            del self.owned[fax.id]
            self.state[fax.id] = "held" if after.held else after.state

    @rule()
    def crash(self) -> None:
        self.stale += self.owned.values()
        self.owned.clear()
        self.runner.run(self.store.close())
        self.runner.run(self.store.open())
        for fax in self.state:
            found = self.runner.run(self.store.get(fax))
            assert found
            if found.held:
                self.state[fax] = "held"

    @rule(seconds=st.sampled_from([1.0, 200.0, 86400.0, -86400.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.runner.run(self.store.clamp(self.now + 7200))

    @rule(data=st.data())
    def nudge(self, data: st.DataObject) -> None:
        if self.state:
            self.runner.run(self.store.nudge(data.draw(st.sampled_from(sorted(self.state)))))

    @invariant()
    def nothing_is_lost(self) -> None:
        for fax, state in self.state.items():
            found = self.runner.run(self.store.get(fax))
            assert found, "lost"
            assert ("held" if found.held else found.state) == state

    def teardown(self) -> None:
        self.crash()
        self.now += 1e6
        for where in (State.ACCEPTED, State.PREPARED):
            left = {fax for fax, state in self.state.items() if state == where}
            claimed = self.runner.run(self.store.claim(where, now=self.now, lease=60, most=1000))
            assert {fax.id for fax in claimed} == left, "every fax comes back"
        self.runner.run(self.store.close())
        self.runner.close()
        self.directory.cleanup()


Interleaved.TestCase.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
test_any_order = Interleaved.TestCase
