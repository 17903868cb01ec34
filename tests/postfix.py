"""A Postfix of our own: in a directory of its own, on a port of its own, for as long as it runs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path


def missing() -> str:
    """Why there is none here, "" = there is one."""
    if not shutil.which("postfix"):
        return "postfix is not installed (apt-get install postfix)"
    return "" if os.geteuid() == 0 else "Postfix runs as root only"


class Postfix:
    """`settings` go into main.cf, `smtpd` are options of its listener. `root` has a short path."""

    def __init__(self, root: Path, settings: str, smtpd: str = "") -> None:
        self.root, self.etc = root, root / "etc"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        for directory in (self.etc, root / "spool", root / "data"):
            directory.mkdir(mode=0o755)
        root.chmod(0o755)  # Postfix has users of its own
        shutil.chown(root / "data", "postfix")
        (self.etc / "main.cf").write_text(_MAIN_CF.format(root=root) + settings)
        (self.etc / "master.cf").write_text(_MASTER_CF.format(port=self.port, smtpd=smtpd))
        for name in ("postfix-files", "postfix-files.d", "dynamicmaps.cf", "dynamicmaps.cf.d"):
            if (known := Path("/etc/postfix", name)).exists():
                (self.etc / name).symlink_to(known)

    def start(self) -> None:
        """Returns when it greets."""
        self._run("start")
        deadline = time.monotonic() + 30
        while not self._greets():
            assert time.monotonic() < deadline, "Postfix does not greet"
            time.sleep(0.05)

    def stop(self) -> None:
        self._run("stop")

    @property
    def master(self) -> int:
        """The process whose children the others are."""
        return int((self.root / "spool/pid/master.pid").read_text())

    def log(self) -> str:
        return (self.root / "maillog").read_text("utf-8", "replace")

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as talk:
                return talk.recv(3) == b"220"
        except OSError:
            return False

    def _run(self, what: str) -> None:
        command = ["/usr/sbin/postfix", "-c", str(self.etc), what]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()


_MAIN_CF = """
compatibility_level = 3.6
queue_directory = {root}/spool
data_directory = {root}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
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
"""

_MASTER_CF = """
{port}    inet  n       -       n       -       -       smtpd {smtpd}
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
discard   unix  -       -       n       -       -       discard
scache    unix  -       -       n       -       1       scache
anvil     unix  -       -       n       -       1       anvil
postlog   unix-dgram n  -       n       -       1       postlogd
"""
