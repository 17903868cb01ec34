"""Decided mails on their way out of the box: flagged, then moved. None holds up another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

import structlog

from gateway.doors.imap.clerk import Outcome
from gateway.doors.imap.connection import Connection
from gateway.doors.imap.protocol import MailboxError, RefusedError
from gateway.doors.imap.settings import MOST_TRIES, ImapSettings

log = structlog.get_logger()


class Tray:
    """What cannot be moved stays in the box, and is tried again; it is not faxed again."""

    def __init__(self, settings: ImapSettings, page: Callable[[str, str], None]) -> None:
        self.decided: dict[int, Outcome] = {}  # and not moved yet
        self._settings = settings
        self._page = page
        self._folders = {
            Outcome.DONE: settings.done,
            Outcome.FAILED: settings.failed,
            Outcome.REJECTED: settings.rejected,
        }
        self.rests: dict[int, float] = {}  # of those whose move has ended a session
        self._tries: dict[int, int] = {}
        self._told: set[str] = set()  # folders that took nothing

    async def empty(self, connection: Connection, batch: int) -> None:
        """Raises MailboxError."""
        now = _now()
        self.rests = {uid: until for uid, until in self.rests.items() if until > now}
        for outcome, folder in self._folders.items():
            uids = [
                uid
                for uid, decided in self.decided.items()
                if decided is outcome and uid not in self.rests
            ]
            for start in range(0, len(uids), batch):
                some = uids[start : start + batch]
                if not await self._moved(connection, some, folder) and len(some) > 1:
                    await self._move_each(connection, some, folder)

    def keep_only(self, here: Collection[int]) -> None:
        for known in (self.decided, self.rests, self._tries):
            for uid in known.keys() - here:
                del known[uid]

    async def _move_each(self, connection: Connection, uids: Sequence[int], folder: str) -> None:
        failures = 0
        for uid in uids:
            failures += not await self._moved(connection, [uid], folder)
            if failures == MOST_TRIES:  # it is the folder, and no use to try all mails
                return

    async def _moved(self, connection: Connection, uids: Sequence[int], folder: str) -> bool:
        try:
            if folder == self._settings.done:
                await connection.mark_taken(uids)
            await connection.move(uids, folder)
        except RefusedError as error:
            self._tell(folder, str(error))
            for uid in uids:  # the last ones of the next look
                self.decided[uid] = self.decided.pop(uid)
            return False
        except MailboxError:
            if len(uids) == 1:
                tries = self._tries[uids[0]] = self._tries.get(uids[0], 0) + 1
                self.rests[uids[0]] = _now() + self._settings.rest(tries)
            raise
        self._told.discard(folder)
        self.keep_only(self.decided.keys() - set(uids))
        return True

    def _tell(self, folder: str, why: str) -> None:
        if folder in self._told:
            return
        self._told.add(folder)
        log.error("mail_not_moved", folder=folder, error=why)
        self._page(
            "mails of the mailbox cannot be moved",
            f"In {self._settings.account} mails cannot be moved to {folder}: {why}. They stay "
            "where they are. None is faxed twice, but make that folder, or name another one.",
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
