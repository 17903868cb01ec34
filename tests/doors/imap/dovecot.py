"""A real Dovecot on loopback: its own configuration, certificate and mail directory."""

from __future__ import annotations

import getpass
import itertools
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

_NEW = ("new/*", "cur/*", ".*/new/*", ".*/cur/*")
PROGRAM = shutil.which("dovecot", path=f"{os.environ['PATH']}:/usr/sbin")
PASSWORD = 'pass "word\\'
CONFIG = """
base_dir = {run}
state_dir = {run}/state
log_path = {run}/log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{run}/cert.pem
ssl_key = <{run}/key.pem
auth_failure_delay = 0
first_valid_uid = 1
mail_max_userip_connections = 0
mail_location = maildir:{run}/mail/%u
mail_fsync = never
imap_idle_notify_interval = 2 s
passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%u {run}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={run}/mail/%u
}}
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
"""


@dataclass
class Box:
    """The mailbox of one user, as files."""

    user: str
    root: Path
    owner: tuple[int, int]
    _names: Iterator[int] = field(default_factory=itertools.count)

    def put(self, *mails: bytes) -> None:
        """As a delivery agent would: written aside, then renamed."""
        for mail in mails:
            name = f"{1_700_000_000 + next(self._names)}.M1.test"
            self._directory("tmp")
            path = self.root / "tmp" / name
            path.write_bytes(mail)
            os.chown(path, *self.owner)
            path.rename(self._directory("new") / name)

    def count(self) -> dict[str, int]:
        """Mails in each folder that has some."""
        mails = Counter(path.parent.parent for new in _NEW for path in self.root.glob(new))
        return {
            "INBOX" if base == self.root else base.name[1:]: many for base, many in mails.items()
        }

    def has(self, **folders: int) -> bool:
        return self.count() == folders

    def flags(self, folder: str) -> list[str]:
        """Maildir's letters of each mail, with the names of keywords."""
        base = self.root / f".{folder}"
        names = (base / "dovecot-keywords").read_text("utf-8").split()[1::2]
        found = []
        for path in (base / "cur").iterdir():
            letters = path.name.rpartition(",")[2]
            words = [names[ord(letter) - 97] for letter in letters if letter.islower()]
            found.append(" ".join([*words, *(x for x in letters if x.isupper())]))
        return found

    def renumber(self) -> None:
        """Lose everything that knows of UIDs: the next UIDVALIDITY is another."""
        for path in self.root.glob("dovecot*"):
            path.unlink()

    def _directory(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        for one in (self.root, path):
            os.chown(one, *self.owner)
        return path


@dataclass
class Dovecot:
    port: int
    context: ssl.SSLContext
    run: Path
    owner: tuple[int, int]
    _users: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def box(self) -> Box:
        """A new user's."""
        user = f"fax{next(self._users)}@example.com"
        return Box(user, self.run / "mail" / user, self.owner)


def certificate(run: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server called localhost and of a client that knows its authority."""
    authority = trustme.CA()
    cert = authority.issue_cert("localhost")
    (run / "ca.pem").write_bytes(authority.cert_pem.bytes())
    (run / "key.pem").write_bytes(cert.private_key_pem.bytes())
    (run / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    cert.configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@contextmanager
def dovecot(run: Path) -> Iterator[Dovecot]:
    """Start one; it ends with the block."""
    user = "dovecot" if os.getuid() == 0 else getpass.getuser()
    known = pwd.getpwnam(user)
    group = "dovecot" if os.getuid() == 0 else os.fspath(str(known.pw_gid))
    _, client = certificate(run)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (run / "mail").mkdir()
    users = "".join(f"fax{number}@example.com:{PASSWORD}\n" for number in range(1, 50))
    (run / "users").write_text(users, encoding="utf-8")
    for path in (run, run / "mail"):
        path.chmod(0o755)
        os.chown(path, known.pw_uid, known.pw_gid)
    (run / "conf").write_text(
        CONFIG.format(run=run, port=port, user=user, group=group, uid=known.pw_uid,
                      gid=known.pw_gid),
        encoding="utf-8",
    )  # fmt: skip
    with subprocess.Popen([PROGRAM or "", "-F", "-c", run / "conf"]) as process:
        try:
            _wait(process, port, run)
            yield Dovecot(port, client, run, (known.pw_uid, known.pw_gid))
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], port: int, run: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, (run / "log").read_text("utf-8")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError((run / "log").read_text("utf-8"))
