"""The disk runs full under a running gateway: mail is put off, what is there goes on."""

from __future__ import annotations

import os
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.house import House, house, letter, wait_for
from tests.make import pdf

SIZE = 400 << 20  # bytes: more than two of the largest mails and the room to spare
FILL = 200 << 20


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    disk = tmp_path / "data"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "fax", str(disk)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        with house(tmp_path, settings={"INBOUND": "off"}, time_scale="0.05") as home:
            yield home
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def replies(home: House, mail: bytes) -> list[str]:
    """What the server says to MAIL, RCPT and the body; fewer when it refuses early."""
    host, _, port = home.smtp.rpartition(":")
    said: list[str] = []
    with smtplib.SMTP(host, int(port), timeout=30) as client:
        client.ehlo("client.example.com")
        for command in ("MAIL FROM:<ann@example.com>", "RCPT TO:<+14155620000@fax.local>"):
            code, text = client.docmd(command)
            said.append(f"{code} {text.decode()}")
            if code != 250:
                return said
        code, text = client.data(mail)
        return [*said, f"{code} {text.decode()}"]


def test_full_and_free_again(home: House) -> None:
    """The first mail goes on while there is no room for a second one."""
    home.send("+14155610000@fax.local", content=pdf(3))
    filler = home.data / "filler"
    descriptor = os.open(filler, os.O_CREAT | os.O_WRONLY)
    os.posix_fallocate(descriptor, 0, FILL)
    os.close(descriptor)
    full = "452 4.3.1 Insufficient system storage"
    taken = 1

    def put_off() -> bool:
        nonlocal taken
        said = replies(home, letter("+14155620000@fax.local", content=pdf(1)))[-1]
        taken += said.startswith("250")
        return said == full

    wait_for(put_off, "the door to notice")
    home.all_closed(taken)
    filler.unlink()
    wait_for(lambda: not put_off(), "the door to take mail again")
    home.all_closed(taken)
    assert len(home.jobs()) == taken
