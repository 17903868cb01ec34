"""The mailbox's password is changed while the gateway runs, and nobody reads it in the log."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from structlog.testing import capture_logs

from gateway.doors.imap import ImapDoor
from gateway.spool import Spool
from gateway.store import Store
from tests.doors.imap.dovecot import PASSWORD, PROGRAM, certificate, dovecot
from tests.doors.imap.kit import SERVER, House, mail, running, until
from tests.doors.imap.script import Server, scripted
from tests.journeys.house import ROUTES, house, wait_for

SENDERS = '[[sender]]\ndomain = "example.com"\n'


@pytest.fixture
async def door(
    spool: Spool, store: Store, tmp_path: Path, anyio_backend: str
) -> AsyncIterator[tuple[ImapDoor, Server]]:
    """It asks again after half an hour."""
    context, client = certificate(tmp_path)
    slow = {"first_wait": 3600.0, "longest_wait": 3600.0}
    async with scripted(context) as server:
        yield House(spool, store).door(server.port, context=client, **slow), server


@pytest.mark.anyio
async def test_a_new_password_is_tried_at_once(door: tuple[ImapDoor, Server]) -> None:
    imap, server = door
    server.password = 'new "word\\'
    server.put(mail())
    with capture_logs() as logs:
        async with running(imap):
            await until(lambda: [line["event"] for line in logs] == ["mailbox_failed"])
            for wrong in ("other", 'new "word'):
                after = server.times("LOGIN") + 1
                imap.renew(wrong)
                await until(partial(_is, after, partial(server.times, "LOGIN")))
            imap.renew(server.password)
            await until(lambda: server.has(Done=1))
            logins = server.times("LOGIN")
            imap.renew(server.password)  # as every SIGHUP does
    assert (logins, server.times("LOGIN")) == (4, 4)
    assert logs[0]["error"] == "login refused: NO LOGIN ['fax@example.com', '[secret]']: [secret]"


def _is(number: int, what: Callable[[], int]) -> bool:
    return what() == number


@pytest.mark.skipif(not PROGRAM, reason="install dovecot-imapd")
def test_sighup_reads_it_again(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("the old one\n")
    with TemporaryDirectory(prefix="dovecot-") as run, dovecot(Path(run)) as server:
        box = server.box()
        settings = {
            "IMAP_URL": f"imaps://{box.user.replace('@', '%40')}@localhost:{server.port}/INBOX",
            "IMAP_PASSWORD_FILE": str(file), "IMAP_AUTHSERV_ID": SERVER,
            "SSL_CERT_FILE": f"{run}/ca.pem",
        }  # fmt: skip
        box.put(mail())
        with house(tmp_path, settings=settings, rules=SENDERS + ROUTES) as home:
            assert home.daemon.process
            home.daemon.said(r"mailbox_failed")
            file.unlink()
            home.daemon.process.send_signal(signal.SIGHUP)
            home.daemon.said(r"IMAP_PASSWORD: [^\n]*cannot be read")
            file.write_text(PASSWORD)
            home.daemon.process.send_signal(signal.SIGHUP)
            home.daemon.said(r"mailbox_recovered")
            wait_for(lambda: box.has(Done=1), "the mail in Done")
