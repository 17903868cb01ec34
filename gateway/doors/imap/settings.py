"""What a sysadmin may set about the mailbox, and the waits that nobody needs to."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

MOST_TRIES = 3  # with one mail
SLOWER = 6.0  # times as long is each wait between them as the one before


@dataclass(frozen=True)
class ImapSettings:
    """One mailbox. Times in seconds, sizes in bytes."""

    host: str
    user: str  # its mail address, or the part before the @ (fax+14155550100@ is its too)
    password: str = field(repr=False)
    authserv_id: str  # whose Authentication-Results are believed
    port: int = 993
    folder: str = "INBOX"
    done: str = "Done"
    failed: str = "Failed"
    rejected: str = "Rejected"
    domains: tuple[str, ...] = ("fax.local",)
    max_message: int = 35_000_000
    max_recipients: int = 20
    poll: float = 60.0  # between looks where the server has no IDLE
    idle: float = 540.0  # until IDLE is asked anew: a hang must not last ten minutes
    again: float = 10.0  # until a mail that could not be read is tried again
    full: float = 300.0  # between looks whether a full ceiling has room again
    life: float = 86400.0  # that a mail waits for it at most
    anew: float = 3600.0  # the same for one of which not even the headers could be read
    patience: float = 30.0  # for an answer; a mail being fetched must bring 1 kB/s
    farewell: float = 10.0  # for the mail in hand when the gateway stops
    first_wait: float = 1.0  # before connecting again; doubled each time
    longest_wait: float = 300.0
    settled: float = 60.0  # a connection that lasted so long begins the waits anew
    context: ssl.SSLContext | None = None  # None = the system's certificates

    @property
    def account(self) -> str:
        """For people and keys: what a second mailbox would differ in."""
        return f"{self.user}@{self.host}/{self.folder}"

    def rest(self, tries: int) -> float:
        """Seconds until a mail is tried again."""
        return self.again * SLOWER ** (tries - 1) if tries <= MOST_TRIES else self.anew
