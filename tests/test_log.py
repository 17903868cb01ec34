"""The log: secrets and full numbers stay out, whatever value or traceback they hide in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

import pytest
import structlog

from gateway import log
from gateway.log import Redact

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("token is s3cret-token", "token is [secret]"),
        (["s3cret-token", 7], ["[secret]", 7]),
        ("+14155550100", "+•••0100"),
        ("to +14155550100@fax.local", "to +•••0100@fax.local"),
        ("+49301234567", "+•••4567"),
        ("14155550100@fax.local", "•••0100@fax.local"),
        ("415-555-0100 and 1-415-555-0100", "•••0100 and •••0100"),
        ("1.415.555.0100@fax.local", "•••0100@fax.local"),
        ("(415) 555-0100", "(•••0100"),
        ("to_number: 14155550100 is not valid", "to_number: •••0100 is not valid"),
        ("2026-11-25T04:36:21.013056Z", "2026-11-25T04:36:21.013056Z"),
        ("192.168.100.200:52525", "192.168.100.200:52525"),
        ("2001:db8::1234:5678", "2001:db8::1234:5678"),
        ("fax_2dd3db34ec02 k7m2p9x4h3qd", "fax_2dd3db34ec02 k7m2p9x4h3qd"),
        ({"token": "s3cret-token"}, "{'token': '[secret]'}"),
        (Path("/s3cret-token/+14155550100"), "PosixPath('/[secret]/+•••0100')"),
        (ValueError("s3cret-token"), "ValueError('[secret]')"),
        (42, 42),
        (1_770_000_000.5, 1_770_000_000.5),
        (None, None),
        (True, True),
        ("", ""),
    ],
)
def test_redaction(value: object, shown: object) -> None:
    redact = Redact(["s3cret-token", "ab"], mask_numbers=True)
    assert redact(None, "info", {"event": value}) == {"event": shown}


def test_numbers_in_full_on_request() -> None:
    assert Redact([], mask_numbers=False)(None, "", {"n": "+14155550100"}) == {"n": "+14155550100"}


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_keeps_the_secret_too(
    form: Literal["json", "console"], capsys: pytest.CaptureFixture[str]
) -> None:
    log.setup("info", form, "masked", ["s3cret-token"])
    try:
        int("the password s3cret-token of +14155550100")
    except ValueError:
        structlog.get_logger().exception("store_failed")
    finally:
        structlog.reset_defaults()
    line = capsys.readouterr().err
    assert "s3cret" not in line
    assert "4155550100" not in line
    assert "ValueError" in line
    assert "store_failed" in line
    assert form == "console" or json.loads(line)["event"] == "store_failed"


def test_the_readme_lists_exactly_the_events_that_are_logged() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    table = readme.partition("## Log events")[2].partition("\n## ")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    told = [event for row in rows for event in re.findall(r"`(\w+)`", row)]
    sources = [p for p in (ROOT / "gateway").rglob("*.py") if "simulator" not in p.parts]
    said = {
        event
        for path in sources
        for event in re.findall(
            r"\blog\.(?:debug|info|warning|error|exception|critical)\(\s*\"(\w+)\"",
            path.read_text("utf-8"),
        )
    }
    assert sorted(told) == sorted(said), "each once, and none that is not"
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)+", event) for event in said)
