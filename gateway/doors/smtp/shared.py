"""What all sessions of the door share, and whether it can take mail just now."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet, WeakValueDictionary

import structlog

from gateway.doors.refusals import Refusals, masked_address
from gateway.doors.smtp import replies
from gateway.doors.smtp.guests import GuestLimits, Guests
from gateway.doors.smtp.part import Writers
from gateway.doors.smtp.postmaster import Postbox
from gateway.doors.smtp.reader import Buffers
from gateway.doors.smtp.settings import SPARE_ROOM, STRESSED_IDLE, SmtpSettings
from gateway.doors.smtp.tls import Certificates
from gateway.doors.smtp.users import Users
from gateway.doors.transcripts import Transcripts
from gateway.outbound.intake import Intake
from gateway.outbound.permit import Policy
from gateway.spool import Spool
from gateway.store import Store

if TYPE_CHECKING:
    from gateway.doors.smtp.connection import Connection

log = structlog.get_logger()

_LOOK_EVERY = 5.0  # s between looks at the free disk
_PAUSE = 2.0  # s that senders are turned away at MAIL after the queue failed


@dataclass
class Services:
    """Who the door works with. `policy` is replaced when the rules are read again."""

    intake: Intake
    store: Store
    spool: Spool
    policy: Policy
    refusals: Refusals
    transcripts: Transcripts
    users: Users | None = None
    certificates: Certificates | None = None
    forward: Callable[[Path, str], Awaitable[None]] | None = None  # a mail to the postmaster
    page: Callable[[str, str], None] = lambda _title, _what: None  # the administrator
    clock: Callable[[], float] = time.time


class Shared:
    """The settings, the services, and the few facts that sessions must agree on."""

    def __init__(self, settings: SmtpSettings, services: Services) -> None:
        self.settings = settings
        self.services = services
        self.spool = services.spool
        self.loop = asyncio.get_running_loop()
        self.writers = Writers(settings.writers)
        self.buffers = Buffers()
        self.guests = Guests(GuestLimits(settings.most, settings.most_per_address))
        self.postbox = Postbox()
        self.connections: set[Connection] = set()
        self.nobody = asyncio.Event()  # is here any more
        self.stopping = False
        self.commits: set[asyncio.Task[None]] = set()
        self.errands: WeakSet[asyncio.Future[None]] = WeakSet()  # nobody was told yes: may end
        self._resting: deque[Connection] = deque()
        self._waking = False
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._free = 0
        self._look_at = 0.0
        self._queue_down_until = 0.0

    @property
    def idle(self) -> float:
        """How long a client may be silent."""
        stressed = self.guests.stressed
        return min(self.settings.idle, STRESSED_IDLE) if stressed else self.settings.idle

    def rest(self, connection: Connection) -> None:
        """It sent many commands at once: one such a turn of the loop goes on, whoever they are."""
        self._resting.append(connection)
        if not self._waking:
            self._waking = True
            self.loop.call_soon(self._wake)

    def _wake(self) -> None:
        connection = self._resting.popleft()
        self._waking = bool(self._resting)
        if self._waking:  # before anything can go wrong: the others wait for nobody
            self.loop.call_soon(self._wake)
        connection.rested()

    def gone(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self.nobody.set()

    def refused(  # noqa: PLR0913 - the facts of a refusal, by name
        self, door: str, peer: str, reply: str, *,
        because: str = "", sender: str = "", recipient: str = "",
    ) -> None:  # fmt: skip
        """Every no is told twice: in the log, and as a row that support can search."""
        if self.guests.worth_a_line(peer, self.loop.time()):
            facts = {"sender": sender, "because": because, "recipient": masked_address(recipient)}
            log.info(
                "mail_refused", door=door, peer=peer, reply=reply,
                **{name: value for name, value in facts.items() if value},
            )  # fmt: skip
        self.services.refusals.note(
            door, peer, reply, because=because, sender=sender, recipient=recipient
        )

    def trouble(self) -> str:
        """The reply when no mail can be taken now, "" = all is well."""
        if self.spool.broken.is_set():
            return replies.TROUBLE
        now = self.loop.time()
        if now < self._queue_down_until:
            return replies.QUEUE_DOWN
        if now >= self._look_at:  # this sender gets the last look's answer
            self._look_at = now + _LOOK_EVERY
            self.writers.do(self.look, lambda: None)
        return replies.DISK_FULL if self._free < self._needed else ""

    def turn(self, identity: str) -> asyncio.Lock:
        """One at a time of those whose faxes count together."""
        return self._turns.setdefault(identity, asyncio.Lock())

    def queue_failed(self) -> None:
        self._queue_down_until = self.loop.time() + _PAUSE

    def look(self) -> None:
        """In a thread: how much may still be written?"""
        try:
            self._free = self.spool.free()
        except OSError:
            self._free = 0

    def commit(self, taking: asyncio.Task[None]) -> None:
        """It runs to its end, whether its client stays or not: the stop waits for it."""
        self.commits.add(taking)
        taking.add_done_callback(self.commits.discard)

    @property
    def _needed(self) -> int:
        return 2 * self.settings.max_message + SPARE_ROOM
