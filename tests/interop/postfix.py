"""A private Postfix: takes mail for everybody, hands fax.local to the gateway and the rest on.

It comes to the gateway from an address of its own, over TLS and only when the certificate is right.
"""

from __future__ import annotations

import os
import shutil
import smtplib
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.home import TRUSTED, Home, need
from tests.journeys.house import wait_for


class Postfix:
    def __init__(self, home: Home, root: Path) -> None:
        self.root, self.etc = root, root / "etc"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        for directory in (self.etc, root / "spool", root / "data"):
            directory.mkdir(mode=0o755)
        root.chmod(0o755)  # Postfix has users of its own
        shutil.chown(root / "data", "postfix")
        authority = root / "authority.pem"
        shutil.copy(home.authority, authority)
        authority.chmod(0o644)
        main = _MAIN_CF.format(
            root=root, gateway=f"[localhost]:{home.port()}", sink=home.relay.replace(":", "]:"),
            own=TRUSTED,
        )  # fmt: skip
        (self.etc / "main.cf").write_text(main)
        (self.etc / "master.cf").write_text(_MASTER_CF.format(port=self.port))
        for name in ("postfix-files", "postfix-files.d", "dynamicmaps.cf", "dynamicmaps.cf.d"):
            if (known := Path("/etc/postfix", name)).exists():
                (self.etc / name).symlink_to(known)

    def start(self) -> None:
        self._do("start")
        wait_for(self._greets, "Postfix to greet")

    def stop(self) -> None:
        self._do("stop")

    def send(self, sender: str, recipients: list[str], mail: bytes, *notify: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
            assert client.sendmail(sender, recipients, mail, rcpt_options=notify) == {}

    def log(self) -> str:
        return (self.root / "maillog").read_text("utf-8", "replace")

    def queue(self) -> str:
        """What it could not hand on yet, "" = nothing."""
        done = self._run("/usr/sbin/postqueue", "-c", str(self.etc), "-j")
        return done.stdout.decode()

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as talk:
                return talk.recv(3) == b"220"
        except OSError:
            return False

    def _do(self, what: str) -> None:
        done = self._run("/usr/sbin/postfix", "-c", str(self.etc), what)
        assert done.returncode == 0, done.stderr.decode()

    @staticmethod
    def _run(*command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, capture_output=True, timeout=60, check=False)


@contextmanager
def postfix(home: Home) -> Iterator[Postfix]:
    need("postfix")
    if os.geteuid() != 0:
        pytest.skip("Postfix runs as root only")
    with tempfile.TemporaryDirectory(prefix="postfix-") as directory:
        there = Postfix(home, Path(directory))  # its sockets need a short path
        there.start()
        try:
            yield there
        finally:
            there.stop()


_MAIN_CF = """
compatibility_level = 3.6
queue_directory = {root}/spool
data_directory = {root}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
disable_dns_lookups = yes
maillog_file_prefixes = /
maillog_file = {root}/maillog
alias_maps =
alias_database =
smtpd_recipient_restrictions = permit_mynetworks, reject
smtp_bind_address = {own}
relayhost = [{sink}
transport_maps = inline:{{ {{ fax.local = smtp:{gateway} }} }}
smtp_tls_policy_maps = inline:{{ {{ {gateway} = secure match=localhost }} }}
smtp_tls_CAfile = {root}/authority.pem
smtp_tls_loglevel = 1
"""

_MASTER_CF = """
{port}    inet  n       -       n       -       -       smtpd
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
scache    unix  -       -       n       -       1       scache
anvil     unix  -       -       n       -       1       anvil
postlog   unix-dgram n  -       n       -       1       postlogd
"""
