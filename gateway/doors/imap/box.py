"""The mailbox as a door: connected as long as the gateway runs, however often that breaks.

Real mail servers hang up, hang, restart and refuse logins for a while. Each of these ends one
session; the next begins after a wait that doubles. An outage is told once, and its end too.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from gateway.doors.imap.clerk import Clerk
from gateway.doors.imap.connection import Connection, MailboxError
from gateway.doors.imap.desk import Desk
from gateway.doors.imap.settings import ImapSettings
from gateway.outbound.intake import Intake
from gateway.outbound.permit import Policy
from gateway.spool import Spool
from gateway.store import Store, StoreError

log = structlog.get_logger()

_EXPECTED = (MailboxError, OSError, StoreError)  # OSError: network, certificates, the disk


def _to_nobody(*_arguments: object, **_facts: object) -> None:
    """Who keeps no list of refusals."""


@dataclass
class ImapDoor:
    """`policy` is asked for each mail, so that new rules count at once.

    `note` is told of every refusal, as `Refusals.note` takes it.
    """

    settings: ImapSettings
    intake: Intake
    spool: Spool
    store: Store
    policy: Callable[[], Policy]
    clock: Callable[[], float] = time.time
    note: Callable[..., None] = _to_nobody
    page: Callable[[str, str], None] = _to_nobody  # the administrator
    _failures: int = 0
    _renewed: asyncio.Event = field(default_factory=asyncio.Event)
    _told: set[str] = field(default_factory=set)  # kinds of trouble in this outage

    def __post_init__(self) -> None:
        clerk = Clerk(
            self.settings, self.intake, self.spool, self.store, self.policy, self.clock,
            self.note, self.page,
        )  # fmt: skip
        self._desk = Desk(self.settings, clerk)

    def renew(self, password: str) -> None:
        """For the next login, which comes at once where the last one failed."""
        if password != self.settings.password:
            self.settings = replace(self.settings, password=password)
            self._renewed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Take mails until `stop`. Nothing but `stop` ends it."""
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            began = loop.time()
            try:
                await self._session_until(stop)
            except Exception as error:  # noqa: BLE001 - no surprise of a mail server ends us
                if loop.time() - began >= self.settings.settled:
                    self._failures = 0
                self._failed(error)
                await self._pause(stop)

    async def _session_until(self, stop: asyncio.Event) -> None:
        """At `stop` it has some seconds for the mail in hand, also where a server hangs."""
        session = asyncio.ensure_future(self._session(stop))
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({session, stopped}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({session}, timeout=self.settings.farewell)
        finally:
            stopped.cancel()
            session.cancel()  # as a crash would end it: the next start goes on
            await asyncio.wait({session})
        if not session.cancelled():
            session.result()

    async def _session(self, stop: asyncio.Event) -> None:
        connection, desk = Connection(self.settings), self._desk
        await connection.open()
        try:
            while not stop.is_set():
                await desk.clear(connection, stop)
                self._works()
                if stop.is_set() or connection.news.is_set():
                    continue
                await connection.wait(stop, min(self.settings.idle, desk.rest))
                if not stop.is_set():
                    await connection.probe()
            await connection.close()
        finally:
            connection.abort()

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        kind = type(error).__name__
        if kind not in self._told:
            self._told.add(kind)
            log.error(
                "mailbox_failed",
                account=self.settings.account,
                error=str(error) or repr(error),
                exc_info=None if isinstance(error, _EXPECTED) else error,
            )
            self.page(
                "the mailbox cannot be used",
                f"Mail in {self.settings.account} is not faxed just now: {error}. "
                "It is tried again and again; nothing in it is lost.",
            )

    def _works(self) -> None:
        if self._told:
            log.info("mailbox_recovered", account=self.settings.account)
        self._told.clear()

    async def _pause(self, stop: asyncio.Event) -> None:
        """Twice as long each time, never in step with others (RFC 3501 says nothing of this)."""
        settings = self.settings
        wait = min(settings.longest_wait, settings.first_wait * 2.0 ** min(self._failures - 1, 30))
        events = [asyncio.ensure_future(one.wait()) for one in (stop, self._renewed)]
        await asyncio.wait(
            events, timeout=wait * random.uniform(0.5, 1.0), return_when=asyncio.FIRST_COMPLETED
        )
        for event in events:
            event.cancel()
        if self._renewed.is_set():
            self._failures = 0
            self._renewed.clear()
