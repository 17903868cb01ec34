"""What a sysadmin may set about the SMTP door, and the limits that nobody needs to."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1"))

COMMAND_LIMIT = 512  # RFC 5321 §4.5.3.1.4, with CRLF
PATH_COMMAND_LIMIT = 1024  # MAIL and RCPT carry parameters
MOST_ERRORS = 5  # commands that make no sense, a session
MOST_REFUSED = 100  # recipients of one mail: who tries more is looking for numbers
MOST_IDLE_COMMANDS = 50  # commands that bring no mail, between two mails
SPARE_ROOM = 256 * 1024 * 1024  # bytes of disk beyond two of the largest messages


@dataclass(frozen=True)
class SmtpSettings:
    """One listener. Times in seconds, sizes in bytes; port 0 = any free one."""

    hostname: str
    host: str = "127.0.0.1"
    port: int = 2525
    domains: tuple[str, ...] = ("fax.local",)
    trusted: tuple[IPv4Network | IPv6Network, ...] = LOOPBACK
    max_message: int = 35_000_000
    max_recipients: int = 20
    idle: float = 60.0  # without a byte from the client
    life: float = 1200.0  # of a session without a mail, and of one DATA
    unread: float = 30.0  # that a client may leave our replies unread
    writers: int = 2  # threads

    def trusts(self, peer: str) -> bool:
        """May this address submit without a login?"""
        address = ip_address(peer)
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self.trusted)
