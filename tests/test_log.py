"""The log: secrets and full numbers stay out, whatever value or traceback they hide in."""

from __future__ import annotations

import json
import re
from pathlib import Path

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
        (42, 42),
        ("", ""),
    ],
)
def test_redaction(value: object, shown: object) -> None:
    redact = Redact(["s3cret-token", "ab"], mask_numbers=True)
    assert redact(None, "info", {"event": value}) == {"event": shown}


def test_numbers_in_full_on_request() -> None:
    assert Redact([], mask_numbers=False)(None, "", {"n": "+14155550100"}) == {"n": "+14155550100"}


def test_a_traceback_keeps_the_secret_too(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("info", "json", "masked", ["s3cret-token"])
    try:
        int("the password s3cret-token of +14155550100")
    except ValueError:
        structlog.get_logger().exception("store_failed")
    finally:
        structlog.reset_defaults()
    line = capsys.readouterr().err
    assert "s3cret" not in line
    assert "4155550100" not in line
    assert json.loads(line)["event"] == "store_failed"


def test_the_readme_lists_every_event() -> None:
    told = set(re.findall(r"`([a-z]+_[a-z_]+)`", (ROOT / "README.md").read_text("utf-8")))
    said = {
        event
        for path in (ROOT / "gateway").rglob("*.py")
        if "simulator" not in path.parts
        for event in re.findall(
            r"\blog\.(?:debug|info|warning|error|exception)\(\s*\"(\w+)\"", path.read_text("utf-8")
        )
    }
    assert said - told == set()
