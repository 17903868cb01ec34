"""What a sysadmin may set about the SMTP door, and the limits that nobody needs to."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network

Networks = tuple[IPv4Network | IPv6Network, ...]

LOOPBACK: Networks = (ip_network("127.0.0.0/8"), ip_network("::1"))

COMMAND_LIMIT = 512  # RFC 5321 §4.5.3.1.4, with CRLF
PATH_COMMAND_LIMIT = 1024  # MAIL and RCPT carry parameters, AUTH a password
MOST_ERRORS = 5  # commands that make no sense, a session
MOST_REFUSED = 100  # recipients of one mail: who tries more is looking for numbers
MOST_IDLE_COMMANDS = 50  # commands that bring no mail, between two mails
MOST_LOGIN_FAILURES = 3
SPARE_ROOM = 256 * 1024 * 1024  # bytes of disk beyond two of the largest messages
STRESSED_IDLE = 10.0  # s without a byte while nearly all places are taken


class Kind(StrEnum):
    """What a listener is for; the word that names it in logs and rejects."""

    MAIN = "smtp"  # STARTTLS
    TLS = "smtps"  # TLS from the first byte
    DEVICE = "device"  # copiers of listed networks, with every tolerance


@dataclass(frozen=True)
class Listener:
    """Where to listen. A socket that systemd opened wins over host and port; port 0 = any."""

    kind: Kind = Kind.MAIN
    host: str = "127.0.0.1"
    port: int = 2525
    socket: socket.socket | None = None


@dataclass(frozen=True)
class SmtpSettings:
    """The door. Times in seconds, sizes in bytes."""

    hostname: str
    listeners: tuple[Listener, ...] = (Listener(),)
    domains: tuple[str, ...] = ("fax.local",)
    trusted: Networks = LOOPBACK
    devices: Networks = ()
    proxies: Networks = ()  # begin every connection with a PROXY line
    max_message: int = 35_000_000
    max_recipients: int = 20
    most: int = 200  # connections
    most_per_address: int = 20
    idle: float = 60.0  # without a byte from the client
    life: float = 1200.0  # of a session without a mail, and of one DATA
    unread: float = 30.0  # that a client may leave our replies unread
    handshake: float = 30.0  # for TLS, and for a PROXY line
    writers: int = 2  # threads
