"""Moves: every pair of states is allowed or refused exactly as drawn."""

from __future__ import annotations

import itertools

import pytest

from gateway.errors import STATUS, Cause
from gateway.model import ID_LENGTH, MOVES, State, new_id
from tests.make import outbound

ALLOWED = {
    ("accepted", "prepared"), ("accepted", "failed"), ("prepared", "submitted"),
    ("prepared", "failed"), ("submitted", "delivered"), ("submitted", "failed"),
    ("submitted", "prepared"), ("delivered", "closed"), ("failed", "closed"),
    ("announced", "fetched"), ("announced", "closed"), ("fetched", "mailed"),
    ("mailed", "closed"),
}  # fmt: skip


@pytest.mark.parametrize(("here", "there"), list(itertools.product(State, State)))
def test_moves(here: State, there: State) -> None:
    fax = outbound(here, attempts=7, due_at=9.0)
    if (here, there) in ALLOWED:
        moved = fax._to(there)
        assert (moved.state, moved.attempts, moved.due_at) == (there, 0, 0.0)
    else:
        with pytest.raises(ValueError, match="is not a move"):
            fax._to(there)


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(State)


def test_ids_are_short_random_and_safe() -> None:
    ids = {new_id() for _ in range(2000)}
    assert len(ids) == 2000
    assert all(len(one) == ID_LENGTH and one.isalnum() for one in ids)


def test_every_cause_has_a_status() -> None:
    assert set(STATUS) == set(Cause)
