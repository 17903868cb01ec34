"""What lies in the box and what is known of it: beyond one connection, until the next start.

The order for every mail: decide and commit, then flag, then move. A crash between any two of these
is healed by the next look: what is flagged is only moved, and what is read again is known by its
content, so it makes no second fax.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import structlog

from gateway.doors.imap.clerk import Clerk, Outcome, Waits
from gateway.doors.imap.connection import Connection, MailboxError, RefusedError
from gateway.doors.imap.settings import MOST_TRIES, ImapSettings
from gateway.doors.imap.tray import Tray
from gateway.doors.imap.wire import Found
from gateway.store import Full, StoreError

log = structlog.get_logger()

BATCH = 50  # mails between two moves
POISON = "554 5.6.0 The gateway tried three times to read this mail and could not"


class Desk:
    """UIDs mean something as long as UIDVALIDITY is the same (RFC 3501 §2.3.1.1)."""

    def __init__(self, settings: ImapSettings, clerk: Clerk) -> None:
        self._settings = settings
        self._clerk = clerk
        self._tray = Tray(settings, clerk.page)
        self._broken = False  # the last look: this one asks for one mail at a time
        self._validity = 0
        self._tries: dict[int, int] = {}  # of mails that were begun and are not decided
        self._rests: dict[int, float] = {}  # and when they are tried again
        self._waits: dict[int, tuple[float, Waits]] = {}  # since when, for which ceiling
        self._full: dict[str, tuple[int, Full]] = {}  # of whom, for how many numbers, in this pass

    @property
    def rest(self) -> float:
        """Seconds until a mail that made trouble, or had to wait, is looked at again."""
        due = [*self._rests.values(), *self._tray.rests.values()]
        return max(min(due, default=math.inf) - _now(), 0.0)

    async def clear(self, connection: Connection, stop: asyncio.Event) -> None:
        """Work off what is in the box now. Raises MailboxError, StoreError, OSError."""
        batch, self._broken = 1 if self._broken else BATCH, True
        if connection.validity != self._validity:
            self._forget(connection.validity)
        connection.news.clear()  # what comes in from here on may be missing in the search
        here = set(await connection.search("UNDELETED"))
        if here:
            in_queue = await connection.taken()
            self._tray.decided |= dict.fromkeys(in_queue, Outcome.DONE)
            for uid in in_queue:
                self._done_with(uid)
            if in_queue:  # by a crash, or somebody has put them back
                log.info("mails_known", mails=len(in_queue), folder=self._settings.folder)
        self._keep_only(here)
        self._full.clear()
        new = here - self._tray.decided.keys() - self._resting()
        await self._tray.empty(connection, batch)
        await self._work_off(connection, new, batch, stop)
        self._broken = False

    def _resting(self) -> set[int]:
        """Of those that wait for room, all are due when one is: the oldest comes first."""
        resting = {uid for uid, until in self._rests.items() if until > _now()}
        return resting if self._waits.keys() <= resting else resting - self._waits.keys()

    async def _work_off(
        self, connection: Connection, uids: Collection[int], batch: int, stop: asyncio.Event
    ) -> None:
        """The oldest first, but those that have made trouble last."""
        new = sorted(uids, key=lambda uid: (self._tries.get(uid, 0), uid))
        for start in range(0, len(new), batch):
            await self._decide(connection, new[start : start + batch], stop)
            await self._tray.empty(connection, batch)
            if stop.is_set():
                return

    async def _decide(
        self, connection: Connection, uids: Sequence[int], stop: asyncio.Event
    ) -> None:
        found = await self._find(connection, uids)
        for uid in uids:
            if stop.is_set():
                return
            if uid in found:
                await self._one(connection, uid, found[uid])
            else:  # somebody has removed it
                self._done_with(uid)

    async def _find(self, connection: Connection, uids: Sequence[int]) -> dict[int, Found]:
        """Some servers tell nothing of fifty mails because of one that they cannot read."""
        try:
            return await connection.find(uids)
        except RefusedError:
            if len(uids) == 1:
                return {uids[0]: Found()}
        except MailboxError:
            if len(uids) == 1:
                tries = self._tries[uids[0]] = self._tries.get(uids[0], 0) + 1
                self._put_off(uids[0], tries)
            raise
        found: dict[int, Found] = {}
        for uid in uids:
            found |= await self._find(connection, [uid])
        return found

    async def _one(self, connection: Connection, uid: int, found: Found) -> None:
        """One mail. Only what says nothing of this mail is raised."""
        tries = self._tries[uid] = self._tries.get(uid, 0) + 1
        try:
            outcome = await self._outcome(connection, uid, found, tries)
        except (StoreError, OSError):  # our own trouble: no mail is to blame
            self._tries[uid] -= 1
            raise
        except Exception as error:
            log.warning("mail_not_taken", uid=uid, tries=tries, error=str(error) or repr(error),
                        exc_info=None if isinstance(error, MailboxError) else error)  # fmt: skip
            self._put_off(uid, tries)
            if isinstance(error, MailboxError) and not isinstance(error, RefusedError):
                raise
            return
        if isinstance(outcome, Waits):
            self._wait(uid, outcome)
            return
        self._done_with(uid)
        if outcome:
            self._tray.decided[uid] = outcome

    def _wait(self, uid: int, what: Waits) -> None:
        """Nothing is wrong with it, and others go on."""
        since, _ = self._waits.get(uid, (_now(), what))
        self._waits[uid] = since, what
        self._tries.pop(uid, None)
        room_in = max(what.full.until - self._clerk.clock(), 1.0)
        self._rests[uid] = _now() + min(self._settings.full, room_in)

    def _put_off(self, uid: int, tries: int) -> None:
        """A server may be ill for minutes: no mail is to blame, and none is given up for good."""
        self._rests[uid] = _now() + self._settings.rest(tries)
        if tries > MOST_TRIES:
            log.error("mail_skipped", uid=uid, folder=self._settings.folder)
            self._clerk.page(
                "a mail that cannot be read",
                f"The server of {self._settings.account} does not hand out a mail (UID {uid}). It "
                "is tried again each hour. It is not faxed, and its sender hears nothing so far.",
            )
            del self._tries[uid]

    def _done_with(self, uid: int) -> None:
        for known in (self._tries, self._rests, self._waits):
            known.pop(uid, None)

    async def _outcome(
        self, connection: Connection, uid: int, found: Found, tries: int
    ) -> Outcome | Waits | None:
        """None = the mail is gone."""
        if tries > MOST_TRIES:
            flaw = POISON
        elif found.size > (most := self._settings.max_message):
            flaw = f"552 5.3.4 It has {found.size:,} bytes, the most is {most:,}"
        else:
            flaw = ""
        if (waits := await self._still_full(uid)) and not (flaw := self._too_long(uid, waits)):
            return waits
        content = await connection.fetch(uid, "HEADER" if flaw else "")
        if content is None:
            return None
        return await self._clerk.take(content, flaw, found.arrived)

    async def _still_full(self, uid: int) -> Waits | None:
        """Asked without fetching the mail again: there may be thousands, and large ones.

        And of one sender once in a pass: so the oldest comes first, whenever there is room.
        """
        if uid not in self._waits:
            return None
        _, waits = self._waits[uid]
        count, full = self._full.get(waits.identity, (0, None))
        if not full or len(waits.numbers) < count:
            full = await self._clerk.full(waits.sender, waits.identity, waits.numbers)
            if full and full.scope != "destination":
                self._full[waits.identity] = len(waits.numbers), full
        return replace(waits, full=full) if full and full.until else None

    def _too_long(self, uid: int, waits: Waits) -> str:
        """Its sender must hear of it one day."""
        since, _ = self._waits[uid]
        if _now() - since < self._settings.life:
            return ""
        hours = self._settings.life / 3600
        return f"550 5.7.1 Quota: {waits.full.what}; there was no room for it in {hours:g} hours"

    def _forget(self, validity: int) -> None:
        """The box was made anew: look at everything again, its content tells what is known."""
        if self._validity:
            log.warning("mailbox_renumbered", folder=self._settings.folder)
        self._validity = validity
        self._keep_only(frozenset())

    def _keep_only(self, here: Collection[int]) -> None:
        """Somebody may have removed or moved some."""
        self._tray.keep_only(here)
        for known in (self._tries, self._rests, self._waits):
            for uid in known.keys() - here:
                del known[uid]


def _now() -> float:
    return asyncio.get_running_loop().time()
