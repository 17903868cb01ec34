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
from gateway.doors.smtp.settings import Kind, Listener, SmtpSettings
from gateway.doors.smtp.shared import Services, Shared

__all__ = ["Kind", "Listener", "Services", "SmtpDoor", "SmtpSettings"]

_BACKLOG = 1024


class SmtpDoor:
    """The listeners, on the loop that starts them."""

    def __init__(self, settings: SmtpSettings, services: Services) -> None:
        self._settings = settings
        self.services = services
        self._servers: dict[Kind, asyncio.Server] = {}

    async def start(self) -> None:
        """Raises OSError with the address that cannot be listened on."""
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # it would tell commands and mails
        self._shared = Shared(self._settings, self.services)
        await asyncio.to_thread(self._shared.look)
        for listener in self._settings.listeners:
            self._servers[listener.kind] = await self._listen(listener)
        self._sweeper = self._shared.loop.create_task(self._sweep(), name="smtp-deadlines")

    async def _listen(self, listener: Listener) -> asyncio.Server:
        def session() -> SmtpSession:
            return SmtpSession(self._shared, listener.kind)

        create = self._shared.loop.create_server
        if listener.socket:
            return await create(session, sock=listener.socket, backlog=_BACKLOG)
        try:
            return await create(session, listener.host, listener.port, backlog=_BACKLOG)
        except OSError as error:
            where = f"{listener.host}:{listener.port}"
            raise OSError(error.errno, f"cannot listen on {where}: {error.strerror}") from error

    @property
    def addresses(self) -> dict[Kind, tuple[str, int]]:
        """Where each listens, with the port that was really given."""
        return {kind: server.sockets[0].getsockname()[:2] for kind, server in self._servers.items()}

    async def stop(self, grace: float = 25.0) -> None:
        """Nobody new; idle clients are told, mails under way may end; then connections are cut.

        A commit that was begun is always finished.
        """
        shared = self._shared
        shared.stopping = True
        for server in self._servers.values():
            server.close()
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
            limits = shared.settings
            await asyncio.sleep(min(1.0, limits.idle / 8, limits.unread / 8))
            now = shared.loop.time()
            for session in list(shared.connections):
                session.check(now)
