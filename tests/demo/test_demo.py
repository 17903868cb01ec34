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


def test_once() -> None:
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    for state in ("accepted", "prepared", "submitted", "delivered", "fetched", "mailed", "closed"):
        assert re.search(rf"→ (fax|mail)  {state}\n", done.stdout), state
    assert "2 in the file, 2 prepared, 2 received, 2 confirmed" in done.stdout
    assert "3 sent, 3 in the mail" in done.stdout


def test_own_document(tmp_path: Path) -> None:
    document = tmp_path / "mine.pdf"
    document.write_bytes(pdf(7))
    done = demo("--document", str(document), "--keep", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 in the file, 7 prepared, 7 received, 7 confirmed" in done.stdout
    assert list((tmp_path / "kept" / "data" / "spool").glob("*.document.pdf"))


@pytest.mark.parametrize("content", [b"%PDF-1.7 broken", b"not a document"])
def test_a_document_that_cannot_be_faxed(content: bytes, tmp_path: Path) -> None:
    document = tmp_path / "broken.pdf"
    document.write_bytes(content)
    done = demo("--document", str(document))
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "broken.pdf" in done.stdout
