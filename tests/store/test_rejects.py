"""What the doors refused, in a real database: counted up, searched, bounded, forgotten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.store import Store
from gateway.store.doors import (
    COUNTED,
    PEERS,
    REJECTS,
    SESSIONS,
    SESSIONS_OF,
    SESSIONS_OF_ONE,
    TOTAL,
    Reject,
    Session,
)
from gateway.store.sqlite import open_read_only

pytestmark = pytest.mark.anyio

NOW = 1_770_000_000.0  # a whole minute
REJECT = Reject(
    NOW, "smtp", "192.0.2.1", "a•••@example.com", "+1•••0100",
    "550 5.7.1 Sender not listed", "sender_denied", 1,
)  # fmt: skip
EVERYTHING = {"since": 0.0, "peer": "", "because": "", "text": "", "masked": "", "most": 10**6}


def rows(tmp_path: Path, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    """As a command reads, beside the open store."""
    connection = open_read_only(tmp_path / "gateway.db")
    try:
        return connection.execute(statement, parameters).fetchall()
    finally:
        connection.close()


def rejects(tmp_path: Path, **which: Any) -> list[dict[str, Any]]:
    return rows(tmp_path, REJECTS, **EVERYTHING | which)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (replace(REJECT, at=NOW + 59, times=4), [(NOW, 5)]),
        (replace(REJECT, at=NOW + 60, times=4), [(NOW + 60, 4), (NOW, 1)]),
        (replace(REJECT, peer="192.0.2.2"), [(NOW, 1), (NOW, 1)]),
        (replace(REJECT, because=""), [(NOW, 1), (NOW, 1)]),
        (replace(REJECT, door="device"), [(NOW, 1), (NOW, 1)]),
        (replace(REJECT, sender=""), [(NOW, 1), (NOW, 1)]),
        (replace(REJECT, recipient=""), [(NOW, 1), (NOW, 1)]),
        (replace(REJECT, reply="421 4.3.2 Busy"), [(NOW, 1), (NOW, 1)]),
    ],
)
async def test_one_row_a_minute_for_the_same(
    store: Store, tmp_path: Path, second: Reject, expected: list[tuple[float, int]]
) -> None:
    await store.doors.refused([REJECT])
    await store.doors.refused([second])
    assert [(row["at"], row["times"]) for row in rejects(tmp_path)] == expected


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ({}, 2),
        ({"since": NOW + 1}, 1),
        ({"peer": "192.0.2.9"}, 1),
        ({"peer": "192.0.2"}, 0),
        ({"because": "%bad%"}, 1),
        ({"text": "%sender not listed%"}, 1),
        ({"text": "%device%"}, 1),
        ({"text": "%100\\%%"}, 0),
        ({"text": "%nothing of it%", "masked": "a•••@example.com"}, 1),
        ({"text": "%nothing of it%", "masked": "%•••0199%"}, 1),
        ({"text": "%nothing of it%"}, 0),
    ],
)
async def test_searched(store: Store, tmp_path: Path, which: dict[str, Any], found: int) -> None:
    other = Reject(NOW + 5, "device", "192.0.2.9", "", "•••0199", "501 5.1.3", "bad_number", 7)
    await store.doors.refused([REJECT, other])
    assert len(rejects(tmp_path, **which)) == found


async def test_counted(store: Store, tmp_path: Path) -> None:
    many = replace(REJECT, peer="192.0.2.9", times=3)
    await store.doors.refused([REJECT, many, replace(many, at=NOW + 60), replace(REJECT, door="x")])
    counted = rows(tmp_path, COUNTED, **EVERYTHING)
    assert [(c["times"], c["peer"], c["first"], c["last"]) for c in counted] == [
        (6, "192.0.2.9", NOW, NOW + 60),
        (2, "192.0.2.1", NOW, NOW),
    ]
    assert rows(tmp_path, TOTAL, **EVERYTHING) == [{"rows": 4, "times": 8}]


async def test_what_is_old_or_too_much_is_forgotten(store: Store, tmp_path: Path) -> None:
    await store.doors.refused([replace(REJECT, at=NOW + 60 * n) for n in range(10)])
    await store.doors.heard([session("192.0.2.1", NOW + n) for n in range(3)])
    gone = await store.doors.forget(rejects=NOW + 120, sessions=NOW + 1, most=5)
    assert gone == 5
    assert [row["at"] for row in rejects(tmp_path)] == [NOW + 60 * n for n in range(9, 4, -1)]
    assert [one.at for one in sessions(tmp_path, "192.0.2.1")] == [NOW + 2, NOW + 1]
    assert await store.doors.forget(rejects=NOW, sessions=NOW, most=5) == 0


def session(peer: str, at: float, door: str = "smtp") -> Session:
    return Session(at, door, peer, "no mail", f"S: 220 at {at}")


def sessions(tmp_path: Path, peer: str) -> list[Session]:
    return [Session(**row) for row in rows(tmp_path, SESSIONS_OF, peer=peer, most=100)]


async def test_the_newest_sessions_of_a_peer(store: Store, tmp_path: Path) -> None:
    mine = [session("192.0.2.1", NOW + n) for n in range(SESSIONS_OF_ONE + 3)]
    other = session("192.0.2.2", NOW)
    await store.doors.heard([other, *mine[:4]])
    await store.doors.heard(mine[2:])  # some of them again: told twice, kept once
    assert sessions(tmp_path, "192.0.2.1") == mine[: -SESSIONS_OF_ONE - 1 : -1]
    assert sessions(tmp_path, "192.0.2.2") == [other]
    assert [(p["peer"], p["sessions"]) for p in rows(tmp_path, PEERS, most=9)] == [
        ("192.0.2.1", SESSIONS_OF_ONE),
        ("192.0.2.2", 1),
    ]


async def test_strangers_never_push_out_a_copier(store: Store, tmp_path: Path) -> None:
    copier = session("192.0.2.1", NOW, "device")
    await store.doors.heard([copier])
    await store.doors.heard([session(f"2001:db8::{n}", NOW + 1 + n) for n in range(SESSIONS + 10)])
    assert sessions(tmp_path, "192.0.2.1") == [copier]
    assert sessions(tmp_path, f"2001:db8::{SESSIONS + 9}")
    assert not sessions(tmp_path, "2001:db8::10")
    assert sessions(tmp_path, "2001:db8::11")
