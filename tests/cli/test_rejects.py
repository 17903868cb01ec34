"""`rejects` as a sysadmin meets it: what was refused is found, counted, and never told in full."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.doors.refusals import Refusals
from gateway.store import DATABASE, Store
from tests.cli.test_verbs import run as run_program

pytestmark = pytest.mark.anyio

NOT_LISTED = "550 5.7.1 Sender not listed"
BAD_NUMBER = "501 5.1.3 Bad number syntax"
QUOTA = "451 4.7.1 Quota, retry after 14:30: 100% used"


@pytest.fixture
async def refused(anyio_backend: str, tmp_path: Path) -> Path:
    """A data directory of a gateway that refused a few things."""
    store = Store(tmp_path / DATABASE)
    await store.open()
    now = time.time()
    for age, facts in (
        (30 * 3600, {"peer": "192.0.2.3", "reply": QUOTA, "because": "quota"}),
        (7200, {"peer": "::ffff:192.0.2.1", "reply": NOT_LISTED, "because": "sender_denied",
                "sender": "ann@example.com"}),
        (7200, {"peer": "192.0.2.1", "reply": NOT_LISTED, "because": "sender_denied",
                "sender": "ann@example.com"}),
        (60, {"peer": "2001:db8::1", "reply": BAD_NUMBER, "because": "bad_number",
              "sender": "bob@example.com", "recipient": "(415) 555-0100@fax.local"}),
        (1, {"peer": "192.0.2.1", "reply": "550 5.1.1 No", "because": "", "door": "device",
             "number": "+14155550177"}),
    ):  # fmt: skip
        refusals = Refusals(store, lambda age=age: now - age)  # type: ignore[misc]
        refusals.note(**{"door": "smtp"} | facts)
        assert await refusals.flush()
    await store.close()
    return tmp_path


def run(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["rejects", *arguments], env={"DATA_DIR": str(data)})


def found(data: Path, *arguments: str) -> list[dict[str, Any]]:
    done = run(data, *arguments, "--json")
    assert done.exit_code == 0, done.output
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_newest_first_and_masked(refused: Path) -> None:
    rows = found(refused)
    assert [(r["peer"], r["times"], r["sender"], r["recipient"]) for r in rows] == [
        ("192.0.2.1", 1, "", "+1•••0177"),
        ("2001:db8::1", 1, "b•••@example.com", "•••0100@fax.local"),
        ("192.0.2.1", 2, "a•••@example.com", ""),
    ]
    assert list(rows[0]) == [
        "at", "door", "peer", "sender", "recipient", "reply", "because", "times",
    ]  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rows[0]["at"])
    told = run(refused).stdout
    assert "ann@" not in told
    assert "555" not in told
    assert re.search(r"^4 refusals since \S+Z$", told, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "because"),
    [
        (("--since", "2d"), ["", "bad_number", "sender_denied", "quota"]),
        (("--since", "1m"), [""]),
        (("--peer", "192.0.2.1"), ["", "sender_denied"]),
        (("--peer", "::ffff:192.0.2.1"), ["", "sender_denied"]),
        (("--peer", "2001:DB8:0::1"), ["bad_number"]),
        (("--peer", "192.0.2.2"), []),
        (("--because", "Denied"), ["sender_denied"]),
        (("--because", "sender_"), ["sender_denied"]),
        (("--because", "senderx"), []),
        (("--search", "ann@example.com"), ["sender_denied"]),
        (("--search", "ANN@EXAMPLE.COM"), ["sender_denied"]),
        (("--search", "carl@example.com"), []),
        (("--search", "example.com"), ["bad_number", "sender_denied"]),
        (("--search", "+1 415 555 0100"), ["bad_number"]),
        (("--search", "4155550177"), [""]),
        (("--search", "4155550178"), []),
        (("--search", "5550177"), []),
        (("--search", "not LISTED"), ["sender_denied"]),
        (("--search", "device"), [""]),
        (("--search", "100% u", "--since", "2d"), ["quota"]),
        (("--search", "1%u", "--since", "2d"), []),
        (("--most", "1"), [""]),
        (("--peer", "192.0.2.1", "--search", "ann@example.com", "--because", "bad"), []),
    ],
)
def test_found(refused: Path, arguments: tuple[str, ...], because: list[str]) -> None:
    assert [row["because"] for row in found(refused, *arguments)] == because


def test_counted(refused: Path) -> None:
    counted = found(refused, "--count", "--since", "2d")
    assert [(c["times"], c["because"], c["peer"]) for c in counted] == [
        (2, "sender_denied", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "bad_number", "2001:db8::1"),
        (1, "quota", "192.0.2.3"),
    ]
    assert list(counted[0]) == ["times", "because", "reply", "peer", "first", "last"]
    lines = run(refused, "--count").stdout.splitlines()
    assert lines[0].split() == ["TIMES", "BECAUSE", "REPLY", "PEER", "FIRST", "LAST"]
    assert lines[1].startswith(f"2      sender_denied  {NOT_LISTED}")


def test_what_is_not_shown_is_told(refused: Path) -> None:
    assert "; 2 older lines: --most" in run(refused, "--most", "1").stdout
    assert "0 refusals since" in run(refused, "--because", "nothing").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "--since yesterday: a number with its unit is wanted"),
        (("--since", "24"), "90s, 15m, 24h or 7d"),
        (("--peer", "copier"), "copier is no IP address"),
    ],
)
def test_wrong_usage(refused: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(refused, *arguments)
    assert (done.exit_code, said in done.stderr) == (2, True)


async def test_beside_a_running_gateway(refused: Path) -> None:
    store = Store(refused / DATABASE)
    await store.open()
    refusals = Refusals(store)
    refusals.note("imap", "", "550 5.7.1 Not verified", because="imap_unauth")
    await refusals.flush()
    assert found(refused)[0]["because"] == "imap_unauth"
    await store.close()


def test_the_program_itself(refused: Path) -> None:
    done = run_program("rejects", DATA_DIR=str(refused))
    assert (done.returncode, NOT_LISTED in done.stdout) == (0, True)
    helped = run_program("rejects", "--help").stdout
    assert re.search(r"Example:\n +fax-gateway rejects\b", helped)
    nothing = run_program("rejects", DATA_DIR=str(refused / "nowhere"))
    assert (nothing.returncode, "has the gateway run here" in nothing.stderr) == (1, True)
