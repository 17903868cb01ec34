"""The disk fails under a running gateway: it ends, and the next one has all that was promised."""

from __future__ import annotations

import signal
import smtplib
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.store import DATABASE, SMALL
from tests import faults
from tests.journeys.house import house, letter
from tests.make import pdf


@pytest.mark.skipif(not faults.POSSIBLE, reason="seccomp is for Linux")
@pytest.mark.parametrize("filed", [False, True], ids=["small", "filed"])
def test_a_failed_fsync_ends_the_daemon(tmp_path: Path, filed: bool) -> None:
    """F-D4, of the log and of a mail's file: nobody is told yes, nothing is sent twice."""
    first, second = "+14155610000@fax.local", "+14155620000@fax.local"
    mail = letter(second, content=pdf(1)) + b"epilogue\r\n" * (filed * SMALL // 10)
    with house(tmp_path, settings={"INBOUND": "off"}) as home:
        home.daemon.end()
        home.daemon.arguments = ["tests.faults", "run"]
        home.start()
        home.send(first, content=pdf(1))
        home.all_closed(1)
        ill = home.daemon.process
        assert ill
        ill.send_signal(signal.SIGUSR1)
        home.daemon.said("every fsync fails now")
        assert home.send_bytes(mail, second).startswith("451 4.3.")
        assert ill.wait(30) == 1
        assert "the disk failed an fsync" in home.daemon.output.read_text("utf-8")
        home.daemon.arguments = ["gateway", "run"]
        home.start()
        assert home.send_bytes(mail, second).startswith("250 2.0.0 ")
        home.all_closed(2)
        assert sorted(job["to_number"] for job in home.jobs()) == ["+14155610000", "+14155620000"]


def test_the_log_is_removed_under_a_running_gateway(tmp_path: Path) -> None:
    """It would promise what is in no file: it ends, and the next one has all of the database."""
    first, second = "+14155610000@fax.local", "+14155620000@fax.local"
    mail = letter(second, content=pdf(1))
    with house(tmp_path, settings={"INBOUND": "off"}) as home:
        home.send(first, content=pdf(1))
        home.all_closed(1)
        ill = home.daemon.process
        assert ill
        (home.data / f"{DATABASE}-wal").unlink()
        with suppress(OSError, smtplib.SMTPException):  # it may have seen it before
            assert home.send_bytes(mail, second).startswith("4")
        assert ill.wait(30) == 1
        said = home.daemon.output.read_text("utf-8")
        assert "lost a file" in said
        assert "Traceback" not in said
        home.start()
        assert home.send_bytes(mail, second).startswith("250 2.0.0 ")
        home.all_closed(2)
        assert sorted(job["to_number"] for job in home.jobs()) == ["+14155610000", "+14155620000"]
