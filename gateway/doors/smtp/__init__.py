"""The SMTP door: a mail to number@domain becomes a fax in the queue, or a reply that says why not.

`connection` is lines and deadlines, `session` the verbs, `grammar` what they may say,
`transaction` judges sender and recipients; `body` takes DATA through `reader` to a `part` on
disk, `taking` hands it to the intake. 250 means: files and rows are durable.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from itertools import chain

from gateway.doors.smtp.session import SmtpSession
from gateway.doors.smtp.settings import Kind, Listener, SmtpSettings
from gateway.doors.smtp.shared import Services, Shared

__all__ = ["Kind", "Listener", "Services", "SmtpDoor", "SmtpSettings"]

_BACKLOG = 4096  # a shorter one makes clients of a flood try again after a second
_LOOK_AGAIN = 0.1  # s, at the stop: is there one more mail that the smarthost is asked to take?
_AT_ONCE = 4  # connections taken in one turn of the loop


class SmtpDoor:
    """The listeners, on the loop that starts them."""

    def __init__(self, settings: SmtpSettings, services: Services) -> None:
        self._settings = settings
        self.services = services
        self._servers: dict[Kind, list[asyncio.Server]] = {}

    async def start(self) -> None:
        """Raises OSError with the address that cannot be listened on."""
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # it would tell commands and mails
        self._shared = Shared(self._settings, self.services)
        await asyncio.to_thread(self._shared.look)
        for listener in self._settings.listeners:
            self._servers[listener.kind] = await self._listen(listener)
        self._sweeper = self._shared.loop.create_task(self._sweep(), name="smtp-deadlines")

    async def _listen(self, listener: Listener) -> list[asyncio.Server]:
        """One socket, many times: uvloop takes one connection of each a turn of the loop (T18)."""

        def session() -> SmtpSession:
            return SmtpSession(self._shared, listener.kind)

        create = self._shared.loop.create_server
        if listener.socket:
            first = await create(session, sock=listener.socket, backlog=_BACKLOG)
        else:
            try:
                first = await create(session, listener.host, listener.port, backlog=_BACKLOG)
            except OSError as error:
                where = f"{listener.host}:{listener.port}"
                raise OSError(error.errno, f"cannot listen on {where}: {error.strerror}") from error
        again = [os.dup(one.fileno()) for one in first.sockets for _ in range(_AT_ONCE - 1)]
        sockets = [socket.socket(fileno=descriptor) for descriptor in again]
        return [first, *[await create(session, sock=one, backlog=_BACKLOG) for one in sockets]]

    @property
    def addresses(self) -> dict[Kind, tuple[str, int]]:
        """Where each listens, with the port that was really given."""
        first = {kind: servers[0].sockets[0] for kind, servers in self._servers.items()}
        return {kind: one.getsockname()[:2] for kind, one in first.items()}

    async def stop(self, grace: float = 25.0) -> None:
        """Nobody new; idle clients are told, mails under way may end; then connections are cut.

        A commit that was begun is always finished; a mail that the smarthost does not take is not.
        """
        shared = self._shared
        shared.stopping = True
        for server in chain.from_iterable(self._servers.values()):
            server.close()
        for session in list(shared.connections):
            session.dismiss()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace if shared.connections else 0):
                await shared.nobody.wait()
        self._sweeper.cancel()
        for session in list(shared.connections):
            session.cut()
        while shared.commits:
            for errand in list(shared.errands):
                errand.cancel()
            await asyncio.wait(shared.commits, timeout=_LOOK_AGAIN)
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
