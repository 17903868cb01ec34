"""The readers: every known spelling is understood, and no input whatever raises."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import TransientError
from gateway.provider import Phase, same_number
from gateway.provider.audian import read

AT = 1_770_201_000.0  # 2026-02-04T10:30:00Z

DOCUMENTED = {
    "id": "fax_abc123", "direction": "outbound", "from_number": "+14155552671",
    "to_number": "+14155559999", "status": "sent", "pages": 3,
    "timestamp": "2026-02-04T10:30:00Z",
}  # fmt: skip


def test_documented_row() -> None:
    row = read.sent(DOCUMENTED)
    assert row
    assert (row.id, row.phase, row.word, row.pages) == ("fax_abc123", Phase.DELIVERED, "sent", 3)
    assert (row.to_number, row.from_number, row.created_at) == ("+14155559999", "+14155552671", AT)


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        *((w, Phase.WORKING) for w in ("pending", "processing", "sending", "In Progress")),
        *((w, Phase.DELIVERED) for w in ("sent", " Completed ", "success")),
        *((w, Phase.FAILED) for w in ("failed", "no-answer", "BUSY", "cancelled")),
        *((w, Phase.WORKING) for w in ("", "Sent Page 2 of 5", "not available", "ü")),
    ],
)
def test_words(word: str, phase: Phase) -> None:
    assert read.phase_of(word) is phase


@pytest.mark.parametrize(
    "answer",
    [
        {"data": [DOCUMENTED], "request_id": "r", "status": "success", "auth_token": "t"},
        {"faxes": [DOCUMENTED], "total": 1},
        {"success": True, "data": {"items": [DOCUMENTED]}},
        [DOCUMENTED, "rubbish", None],
    ],
)
def test_lists(answer: Any) -> None:
    assert read.rows(answer) == [DOCUMENTED]


@pytest.mark.parametrize(
    "answer", [{}, None, "x", {"data": None, "request_id": "r"}, {"data": {}, "status": "success"}]
)
def test_no_list_is_never_an_empty_list(answer: Any) -> None:
    with pytest.raises(read.UnreadableError):
        read.rows(answer)


def test_an_error_in_a_success_is_an_error() -> None:
    with pytest.raises(read.UnreadableError, match="invalid credentials"):
        read.payload({"status": "error", "data": {"message": "invalid credentials"}})


def test_a_faxs_own_status_is_no_envelope() -> None:
    assert read.payload({"id": "x", "status": "failed"}) == {"id": "x", "status": "failed"}


@pytest.mark.parametrize(
    ("answer", "fax_id"),
    [
        ({"data": {"id": "a1"}, "request_id": "r"}, "a1"),
        ({"data": {"_id": "a1"}, "status": "success"}, "a1"),
        ({"fax_id": "a1"}, "a1"),
        ({"id": "../../x?y=%2e"}, "../../x?y=%2e"),  # opaque; a path quotes it
        ({"id": "fax:12.7~a"}, "fax:12.7~a"),
        ({"id": "x" * 200}, "x" * 200),
        ({"id": "x" * 201}, ""),
        ({"id": ".."}, ""),
        ({"id": "a b"}, ""),
        ({"id": "a\r\nX-Y: z"}, ""),
        ({"id": ""}, ""),
        ({"status": "error", "data": {"id": "a1"}}, ""),
        ([], ""),
    ],
)
def test_id_of_a_submission(answer: Any, fax_id: str) -> None:
    assert read.submitted_id(answer) == fax_id


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("2026-02-04T10:30:00Z", AT),
        ("2026-02-04T10:30:00", AT),
        ("2026-02-04T11:30:00+01:00", AT),
        (AT, AT),
        (str(int(AT)), AT),
        (AT * 1000, AT),
        (AT + read.GREGORIAN, AT),
        ("yesterday", 0.0),
        (-1, 0.0),
        (float("nan"), 0.0),
    ],
)
def test_times(value: Any, at: float) -> None:
    row = read.sent({"id": "a", "status": "sent", "timestamp": value}, 0.0)
    assert row
    assert row.created_at == pytest.approx(at)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"data": {"message": "bad"}, "status": "error"}, "bad"),
        ({"data": {"to_number": {"required": {"message": "missing"}}}}, "to_number: missing"),
        ({"error": {"code": "x", "message": "bad"}}, "bad"),
        ({"message": "invalid_credentials", "error": "401"}, "invalid_credentials"),
        ({"data": {"message": "two\nlines\x1b[31m"}}, "two lines [31m"),
        ("<html>", ""),
    ],
)
def test_messages(body: Any, said: str) -> None:
    assert read.message(json.dumps(body).encode()) == said


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("Wed, 04 Feb 2026 10:30:30 GMT", 30.0), ("soon", None), ("", None)],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert read.retry_after(value, AT) == seconds


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("+14155550100", "14155550100", True),
        ("+14155550100", "4155550100", True),
        ("+1 (415) 555-0100", "+14155550100", True),
        ("+14155550100", "+14155550101", False),
        ("", "", True),
        ("5550100", "4155550100", False),
    ],
)
def test_same_number(one: str, other: str, same: bool) -> None:
    assert same_number(one, other) is same


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["id", "data", "status", "faxes", "tx_result", "pages", "timestamp", "message",
             "error", "created", "request_id", "duration", "direction"]
        )
        | st.text(max_size=5),
        inner,
        max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_total(value: Any) -> None:
    read.submitted_id(value)
    read.message_of(value)
    for row in [value] if isinstance(value, dict) else []:
        read.sent(row)
        read.received(row)
    with contextlib.suppress(read.UnreadableError):
        read.rows(value)


@given(st.binary(max_size=200))
def test_total_on_bytes(content: bytes) -> None:
    read.message(content)
    with contextlib.suppress(TransientError):
        read.parsed(content)


def test_deep_nesting_is_no_crash() -> None:
    with pytest.raises(TransientError):
        read.parsed(b"[" * 100_000)


def test_only_one_module_knows_httpx() -> None:
    """A switch of the library is one file."""
    package = Path(read.__file__).parent.parent.parent
    knowing = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "import httpx" in path.read_text("utf-8")
    }
    assert knowing == {"provider/audian/http.py"}
