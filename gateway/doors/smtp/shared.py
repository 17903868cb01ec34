"""What all sessions of one listener share, and whether it can take mail just now."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from gateway.doors.smtp import replies
from gateway.doors.smtp.part import Part, Writers
from gateway.doors.smtp.reader import Buffers
from gateway.doors.smtp.settings import SPARE_ROOM, SmtpSettings
from gateway.numbers import DialPlan
from gateway.outbound.intake import Intake
from gateway.spool import Spool

if TYPE_CHECKING:
    from gateway.doors.smtp.connection import Connection

_LOOK_EVERY = 5.0  # s between looks at the free disk
_PAUSE = 2.0  # s that senders are turned away at MAIL after the queue failed


class Shared:
    """The settings, the services, and the few facts that sessions must agree on."""

    def __init__(
        self, settings: SmtpSettings, plan: DialPlan, intake: Intake, spool: Spool
    ) -> None:
        self.settings = settings
        self.plan = plan
        self.intake = intake
        self.spool = spool
        self.loop = asyncio.get_running_loop()
        self.writers = Writers(settings.writers)
        self.buffers = Buffers()
        self.connections: set[Connection] = set()
        self.nobody = asyncio.Event()  # is here any more
        self.stopping = False
        self.commits: set[asyncio.Task[str]] = set()
        self._trusted: dict[str, bool] = {}
        self._free = 0
        self._look_at = 0.0
        self._queue_down_until = 0.0

    def gone(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self.nobody.set()

    def trusts(self, peer: str) -> bool:
        if peer not in self._trusted:
            if len(self._trusted) >= 1024:
                self._trusted.clear()
            self._trusted[peer] = self.settings.trusts(peer)
        return self._trusted[peer]

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

    def queue_failed(self) -> None:
        self._queue_down_until = self.loop.time() + _PAUSE

    def look(self) -> None:
        """In a thread: how much may still be written?"""
        try:
            self._free = self.spool.free()
        except OSError:
            self._free = 0

    def new_part(self) -> Part:
        return Part(self.spool.part(), self.settings.max_message)

    def commit(self, taking: Coroutine[Any, Any, str]) -> asyncio.Task[str]:
        """Run it to its end, whether its client stays or not."""
        task = self.loop.create_task(taking)
        self.commits.add(task)
        task.add_done_callback(self.commits.discard)
        return task

    @property
    def _needed(self) -> int:
        return 2 * self.settings.max_message + SPARE_ROOM
