"""Certificates and users as a sysadmin has them: made, checked, renewed while the gateway runs."""

from __future__ import annotations

import json
import signal
import smtplib
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from gateway.doors.smtp.users import hash_line
from tests.cli.test_verbs import GOOD, run
from tests.journeys.house import House, house, wait_for


def issue(authority: trustme.CA, directory: Path) -> dict[str, str]:
    """A fresh pair in the place that the settings name."""
    pair = authority.issue_cert("fax.example", "127.0.0.1")
    cert, key = directory / "cert.pem", directory / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))
    key.write_bytes(pair.private_key_pem.bytes())
    key.chmod(0o600)
    return {"SMTP_TLS_CERT": str(cert), "SMTP_TLS_KEY": str(key)}


def users(directory: Path, name: str, password: str) -> dict[str, str]:
    file = directory / "users"
    file.write_text(hash_line(name, password) + "\n")
    file.chmod(0o600)
    return {"SMTP_USERS_FILE": str(file)}


def test_a_line_for_the_users_file(tmp_path: Path) -> None:
    done = run("user", "ann", typed="pass word\n")
    assert done.returncode == 0
    name, _, rest = done.stdout.partition(":")
    assert (name, rest.startswith("$argon2id$")) == ("ann", True)
    assert "pass word" not in done.stdout + done.stderr
    for bad in ("a:b", ""):
        refused = run("user", bad, typed="x\n")
        assert (refused.returncode, refused.stdout) == (1, "")


def test_check_tells_what_is_wrong_with_them(tmp_path: Path) -> None:
    settings = issue(trustme.CA(), tmp_path) | users(tmp_path, "ann", "secret")
    good = run("check", "--json", **GOOD, **settings)
    assert (good.returncode, json.loads(good.stdout)["warnings"]) == (0, [])
    (tmp_path / "users").write_text("ann\nbob:x\n")
    (tmp_path / "cert.pem").write_text("nonsense")
    bad = run("check", **GOOD, **settings)
    assert bad.returncode == 78
    assert f"{tmp_path / 'users'}:1" in bad.stderr
    assert f"{tmp_path / 'users'}:2" in bad.stderr
    assert f"{tmp_path / 'cert.pem'}: no certificate in PEM form" in bad.stderr


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"SMTP_TLS_CERT": "/x"}, "SMTP_TLS_CERT and SMTP_TLS_KEY belong together"),
        ({"SMTP_TLS_LISTEN": "127.0.0.1:465"}, "SMTP_TLS_LISTEN speaks TLS from the first byte"),
        ({"SMTP_USERS_FILE": "/x"}, "no login is taken in plain words"),
        ({"SMTP_DEVICE_LISTEN": "127.0.0.1:2526"}, "SMTP_DEVICE_LISTEN serves"),
        ({"IMAP_URL": "imap://a@b/INBOX"}, "imaps://user@host:993/INBOX is wanted"),
        ({"IMAP_URL": "imaps://a:pw@b/INBOX"}, "the password does not belong in the URL"),
        ({"IMAP_URL": "imaps://a@b/INBOX", "IMAP_PASSWORD": "x"}, "IMAP_AUTHSERV_ID must name"),
        ({"IMAP_URL": "imaps://a@b", "IMAP_AUTHSERV_ID": "mx"}, "IMAP_PASSWORD is not"),
        ({"IMAP_URL": "imaps://a@b", "IMAP_DONE_FOLDER": "inbox"}, "INBOX cannot also be a folder"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, str], says: str) -> None:
    done = run("check", **GOOD, **settings)
    assert (done.returncode, says in done.stderr) == (78, True), done.stderr
    assert ":pw@" not in done.stdout + done.stderr


def shown(port: int, authority: trustme.CA) -> bytes:
    """The certificate that a client is shown now."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="fax.example") as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def logs_in(home: House, port: int, authority: trustme.CA, password: str) -> int:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with smtplib.SMTP_SSL("127.0.0.1", port, context=context, timeout=20) as client:
        try:
            return client.login("ann", password)[0]
        except smtplib.SMTPAuthenticationError as error:
            return error.smtp_code


def test_renewed_under_a_running_gateway(tmp_path: Path) -> None:
    """SIGHUP: the new certificate and the new password, or the old ones and a word about why."""
    authority = trustme.CA()
    settings = issue(authority, tmp_path) | users(tmp_path, "ann", "first")
    with house(tmp_path, settings=settings | {"SMTP_TLS_LISTEN": "127.0.0.1:0"}) as home:
        daemon = home.daemon
        assert daemon.process
        port = int(daemon.said(r'"smtps": "127\.0\.0\.1:(\d+)"')[1])
        before = shown(port, authority)
        assert logs_in(home, port, authority, "first") == 235

        issue(authority, tmp_path)
        users(tmp_path, "ann", "second")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: shown(port, authority) != before, "the new certificate")
        assert logs_in(home, port, authority, "second") == 235
        assert logs_in(home, port, authority, "first") == 535

        renewed = shown(port, authority)
        (tmp_path / "key.pem").write_text("nonsense")
        (tmp_path / "users").write_text("nonsense\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.said(r"reload_refused.*\n(.*\n)*.*reload_refused")
        assert shown(port, authority) == renewed
        assert logs_in(home, port, authority, "second") == 235
