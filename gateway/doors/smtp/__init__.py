"""The SMTP door: a mail to number@domain becomes a fax in the queue, or a reply that says why not.

`connection` is lines and deadlines, `session` the verbs, `grammar` what they may say,
`transaction` judges sender and recipients; `body` takes DATA through `reader` to a `part` on
disk, `taking` hands it to the intake. 250 means: files and rows are durable.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from gateway.doors.smtp.session import SmtpSession
from gateway.doors.smtp.settings import SmtpSettings
from gateway.doors.smtp.shared import Shared
from gateway.numbers import DialPlan
from gateway.outbound.intake import Intake
from gateway.spool import Spool

__all__ = ["SmtpDoor", "SmtpSettings"]

_BACKLOG = 1024


class SmtpDoor:
    """One listener, on the loop that starts it."""

    def __init__(
        self, settings: SmtpSettings, dial_plan: DialPlan, intake: Intake, spool: Spool
    ) -> None:
        self._settings = settings
        self._dial_plan = dial_plan
        self._intake = intake
        self._spool = spool

    async def start(self) -> None:
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # it would tell commands and mails
        self._shared = Shared(self._settings, self._dial_plan, self._intake, self._spool)
        await asyncio.to_thread(self._shared.look)
        self._server = await self._shared.loop.create_server(
            lambda: SmtpSession(self._shared),
            self._settings.host,
            self._settings.port,
            backlog=_BACKLOG,
        )
        self._sweeper = self._shared.loop.create_task(self._sweep(), name="smtp-deadlines")

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, with the port that was really given."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def stop(self, grace: float = 25.0) -> None:
        """Nobody new; idle clients are told, mails under way may end; then connections are cut.

        A commit that was begun is always finished.
        """
        shared = self._shared
        shared.stopping = True
        self._server.close()
        for session in list(shared.connections):
            session.dismiss()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace if shared.connections else 0):
                await shared.nobody.wait()
        self._sweeper.cancel()
        for session in list(shared.connections):
            session.cut()
        if shared.commits:
            await asyncio.wait(shared.commits)
        await shared.writers.close()

    async def _sweep(self) -> None:
        """One clock for the deadlines of all connections, instead of a timer for each."""
        shared = self._shared
        while True:
            await asyncio.sleep(min(1.0, shared.settings.idle / 8, shared.settings.unread / 8))
            now = shared.loop.time()
            for session in list(shared.connections):
                session.check(now)
