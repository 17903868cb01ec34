"""The systemd unit: valid, hardened, and saying what the README says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parent.parent / "systemd" / "fax-gateway.service"
ANALYZE = shutil.which("systemd-analyze") or ""
MOST_EXPOSED = 1.5

pytestmark = pytest.mark.skipif(not ANALYZE, reason="systemd-analyze: apt-get install systemd")


def test_verify(tmp_path: Path) -> None:
    """The command of the unit is put where this machine has one: its path is all that differs."""
    unit = tmp_path / UNIT.name
    unit.write_text(
        UNIT.read_text("utf-8").replace("/opt/fax-gateway/bin/fax-gateway", "/bin/true")
    )
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, ours) == (0, [])


def test_exposure() -> None:
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    level = re.search(r"Overall exposure level.*?: ([\d.]+)", done.stdout)
    assert level, done.stderr
    assert float(level[1]) <= MOST_EXPOSED
