"""FETCHED → MAILED: to the mailboxes of its route, through the smarthost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import parseaddr
from pathlib import Path

import structlog

from gateway.errors import PermanentError, TransientError
from gateway.inbound.mail import fax_mail, without_pages
from gateway.inbound.route import route
from gateway.mail import notice
from gateway.mail.compose import Attachment, Mail
from gateway.mail.post import Post
from gateway.mail.smarthost import Refused
from gateway.model import Fax
from gateway.rules import Rules
from gateway.spool import Kind, Spool

log = structlog.get_logger()

LATE = 3600.0  # s until the administrator hears of a fax that could not be mailed yet
_BETWEEN = 60.0  # s, more with each try
_BETWEEN_AT_MOST = 600.0


@dataclass(frozen=True, slots=True)
class Deliver:
    """The room and what it works with. `rules` gives the ones in force now."""

    post: Post
    spool: Spool
    rules: Callable[[], Rules]
    mail_from: str
    admin: str = ""
    clock: Callable[[], float] = time.time
    _said: set[tuple[str, str]] = field(default_factory=set)  # (fax, what was told of it already)

    async def __call__(self, fax: Fax) -> Fax:
        decision = route(self.rules(), fax)
        if not decision.mail:
            raise PermanentError(f"no route for it: {'; '.join(decision.why)}")
        had = tuple(filter(None, fax.recipient.split(", ")))
        wanted = tuple(one for one in decision.mail if one not in had)
        refused = await self._send(fax, await self._mail(fax, decision.mail), wanted)
        taken = (*had, *(one for one in wanted if one not in {r.recipient for r in refused}))
        fax = replace(fax, recipient=", ".join(taken))
        waiting = [one for one in refused if one.said.startswith("4")]
        log.info("notice_sent", mailboxes=len(taken), refused=len(refused), waiting=len(waiting))
        if waiting:
            return await self._later(fax, waiting)
        return await self._done(fax, refused)

    async def _mail(self, fax: Fax, to: tuple[str, ...]) -> Mail:
        document = self.spool.path(fax.id, Kind.DOCUMENT)
        name = f"fax-{fax.id}.pdf"  # nothing of the caller's
        file = Attachment(name, "application/pdf", document) if fax.digest else None
        at = await asyncio.to_thread(_time_of, self.spool.path(fax.id, Kind.RECEIVED))
        return fax_mail(fax, self.mail_from, to, file, received_at=at, now=self.clock())

    async def _send(self, fax: Fax, mail: Mail, to: tuple[str, ...]) -> list[Refused]:
        """From a real mailbox of ours: a fax that bounces later must be seen."""
        sender = parseaddr(self.mail_from)[1]
        if not to:
            return []
        try:
            return await self.post.send(mail, to, sender)
        except TransientError as error:
            if self._is_late(fax):
                what = f"it cannot be mailed yet, and is tried again: {error}"
                await self._alarm(fax, what, "late")
            raise
        except PermanentError as error:
            if fax.recipient:  # others have it: this is about these mailboxes
                return [Refused(one, str(error)) for one in to]
            if mail.attachments:
                bare = without_pages(mail, fax, str(error))
                await self._tell(fax, bare, to, "without pages", sender)
            raise

    def _is_late(self, fax: Fax) -> bool:
        return self.clock() - fax.since > LATE

    async def _later(self, fax: Fax, waiting: list[Refused]) -> Fax:
        """Some have it; the others are tried again, alone."""
        because = "; ".join(f"{one.recipient} says {one.said}" for one in waiting)
        if self._is_late(fax):
            await self._alarm(fax, f"not every mailbox takes it yet: {because}", "late")
        wait = min(_BETWEEN * max(fax.attempts, 1), _BETWEEN_AT_MOST)
        return fax.retried(at=self.clock() + wait, because=because)

    async def _done(self, fax: Fax, refused: list[Refused]) -> Fax:
        reason = fax.reason
        for one in refused:
            said = f"the mailbox {one.recipient} was refused by the smarthost: {one.said}"
            reason = f"{reason}; {said}" if reason else said
            await self._alarm(fax, said, one.recipient)
        if not fax.digest:
            what = f"the document of a received fax is no good: {fax.reason}"
            await self._alarm(fax, what, "no document")
        return replace(fax.mailed(fax.recipient), reason=reason)

    async def _alarm(self, fax: Fax, what: str, mark: str) -> None:
        if self.admin:
            mail = notice.alarm(fax, self.mail_from, self.admin, self.clock(), what)
            await self._tell(fax, mail, (parseaddr(self.admin)[1],), mark)

    async def _tell(
        self, fax: Fax, mail: Mail, to: tuple[str, ...], mark: str, sender: str = ""
    ) -> None:
        """Once, and best effort: the fax itself must not be delivered again for this."""
        if (fax.id, mark) in self._said:
            return
        try:
            await self.post.send(mail, to, sender)
        except Exception as error:  # noqa: BLE001 - see above
            log.warning("notice_refused", error=str(error))
        else:
            self._said.add((fax.id, mark))


def _time_of(file: Path) -> float:
    """When the fax was received, as the provider said; 0 = it did not."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
