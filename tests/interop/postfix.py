"""A private Postfix: takes mail for everybody, hands fax.local to the gateway and the rest on.

It comes to the gateway from an address of its own, over TLS and only when the certificate is right.
"""

from __future__ import annotations

import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.home import TRUSTED, Home
from tests.postfix import Postfix, missing


class Office(Postfix):
    """The mail server of an office."""

    def __init__(self, home: Home, root: Path) -> None:
        authority = root / "authority.pem"
        shutil.copy(home.authority, authority)
        authority.chmod(0o644)
        gateway, sink = f"[localhost]:{home.port()}", home.relay.replace(":", "]:")
        super().__init__(root, _SETTINGS.format(root=root, gateway=gateway, sink=sink, own=TRUSTED))

    def send(self, sender: str, recipients: list[str], mail: bytes, *notify: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
            assert client.sendmail(sender, recipients, mail, rcpt_options=notify) == {}

    def queue(self) -> str:
        """What it could not hand on yet, "" = nothing."""
        command = ["/usr/sbin/postqueue", "-c", str(self.etc), "-j"]
        return subprocess.run(command, capture_output=True, timeout=60, check=False).stdout.decode()


@contextmanager
def postfix(home: Home) -> Iterator[Office]:
    if why := missing():
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="postfix-") as directory:
        there = Office(home, Path(directory))  # its sockets need a short path
        there.start()
        try:
            yield there
        finally:
            there.stop()


_SETTINGS = """
myhostname = relay.example
smtp_bind_address = {own}
relayhost = [{sink}
transport_maps = inline:{{ {{ fax.local = smtp:{gateway} }} }}
smtp_tls_policy_maps = inline:{{ {{ {gateway} = secure match=localhost }} }}
smtp_tls_CAfile = {root}/authority.pem
smtp_tls_loglevel = 1
"""
