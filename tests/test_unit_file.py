"""The systemd units: valid, hardened, and agreeing with the gateway about its doors."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.systemd import DOORS

UNITS = Path(__file__).parent.parent / "systemd"
SERVICE = UNITS / "fax-gateway.service"
SOCKETS = sorted(UNITS.glob("*.socket"))
ANALYZE = shutil.which("systemd-analyze") or ""
MOST_EXPOSED = 1.5

needs_systemd = pytest.mark.skipif(not ANALYZE, reason="systemd-analyze: apt-get install systemd")


def settings(unit: Path, name: str) -> list[str]:
    """Every value that a unit gives a setting."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text("utf-8"), re.MULTILINE)


@needs_systemd
@pytest.mark.parametrize("unit", [SERVICE, *SOCKETS], ids=lambda unit: unit.name)
def test_verify(tmp_path: Path, unit: Path) -> None:
    """The command of the service is put where this machine has one: its path is all that differs.

    What systemd says of other units of this machine is not ours.
    """
    for one in (SERVICE, *SOCKETS):
        text = one.read_text("utf-8").replace("/opt/fax-gateway/bin/fax-gateway", "/bin/true")
        (tmp_path / one.name).write_text(text)
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", str(tmp_path / unit.name)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "fax-gateway" in line]
    assert (done.returncode, ours) == (0, [])


@needs_systemd
def test_exposure() -> None:
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", str(SERVICE)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    level = re.search(r"Overall exposure level.*?: ([\d.]+)", done.stdout)
    assert level, done.stderr
    assert float(level[1]) <= MOST_EXPOSED


def test_a_unit_for_every_smtp_door() -> None:
    assert [unit.stem for unit in SOCKETS] == [
        "fax-gateway-device", "fax-gateway-smtp", "fax-gateway-smtps",
    ]  # fmt: skip


@pytest.mark.parametrize("unit", SOCKETS, ids=lambda unit: unit.name)
def test_a_socket_is_one_door_of_the_service(unit: Path) -> None:
    [name] = settings(unit, "FileDescriptorName")
    assert name in DOORS
    assert unit.stem == f"fax-gateway-{name}"
    assert len(settings(unit, "ListenStream")) == 1
    assert settings(unit, "Service") == [SERVICE.name]
    assert settings(unit, "Accept") == []
    assert f"{unit.name} ({settings(unit, 'ListenStream')[0]})" in SERVICE.read_text("utf-8")


def test_no_port_is_opened_unasked() -> None:
    """`Sockets=` of the service would start all of them with it."""
    assert settings(SERVICE, "Sockets") == []
