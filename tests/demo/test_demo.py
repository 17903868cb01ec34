"""The demo: one command, both roads, and an exit code that tells the truth."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.make import pdf


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "demo", "--once", *arguments],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


def test_own_document_then_ours_in_the_same_place(tmp_path: Path) -> None:
    """Each run tells of its own faxes, also where those of an earlier one are kept."""
    document = tmp_path / "mine.pdf"
    document.write_bytes(pdf(7))
    keep = ("--keep", str(tmp_path / "kept"))
    own = demo("--document", str(document), *keep)
    assert own.returncode == 0, own.stdout + own.stderr
    assert "7 in the file, 7 prepared, 7 received, 7 confirmed" in own.stdout
    ours = demo(*keep)
    assert ours.returncode == 0, ours.stdout + ours.stderr
    assert "2 in the file, 2 prepared, 2 received, 2 confirmed" in ours.stdout
    assert "3 sent, 3 in the mail" in ours.stdout
    for done in own, ours:
        states = re.findall(r"mail → fax  ([a-z]+)\n", done.stdout)
        assert states == ["accepted", "prepared", "submitted", "delivered", "closed"]
        states = re.findall(r"fax → mail  ([a-z]+)\n", done.stdout)
        assert states == ["announced", "fetched", "mailed", "closed"]
    assert len(list((tmp_path / "kept" / "data" / "spool").glob("*.document.pdf"))) == 4


def test_a_mail_that_is_refused_is_told_at_once(tmp_path: Path) -> None:
    document = tmp_path / "big.pdf"
    document.write_bytes(bytes(27_000_000))
    done = demo("--document", str(document))
    assert done.returncode == 1
    assert "552 5.3.4 Message too big" in done.stdout
    assert "FAILED: the gateway refused the mail" in done.stdout
    assert "not done after" not in done.stdout


@pytest.mark.parametrize("options", [("--document", "absent.pdf"), ("--keep", __file__)])
def test_wrong_usage(options: tuple[str, str]) -> None:
    done = demo(*options)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_a_document_that_cannot_be_faxed(tmp_path: Path) -> None:
    document = tmp_path / "broken.pdf"
    document.write_bytes(b"%PDF-1.7 broken")
    done = demo("--document", str(document))
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "broken.pdf" in done.stdout
