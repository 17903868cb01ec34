"""DELIVERED, FAILED → CLOSED: tell the sender what became of the fax."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parseaddr

import structlog

from gateway.errors import PermanentError
from gateway.mail import notice
from gateway.mail.post import Post
from gateway.model import Fax
from gateway.spool import Kind, Spool

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Notify:
    """The room and what it works with."""

    post: Post
    spool: Spool
    mail_from: str
    admin: str = ""
    clock: Callable[[], float] = time.time

    async def __call__(self, fax: Fax) -> Fax:
        if not fax.sender:
            return fax.closed()
        thumbnail = self.spool.path(fax.id, Kind.THUMBNAIL)
        mail = notice.result(fax, self.mail_from, self.clock(), thumbnail)
        try:
            await self.post.send(mail, (fax.sender,))
        except (PermanentError, ValueError) as error:  # no such mailbox: nobody is left to tell
            return await self._nobody(fax, error)
        log.info("notice_sent", state=str(fax.state))
        return fax.closed()

    async def _nobody(self, fax: Fax, error: Exception) -> Fax:
        why = f"the sender could not be told: {error}"
        if self.admin:
            alarm = notice.alarm(fax, self.mail_from, self.admin, self.clock(), why)
            await self.post.send(alarm, (parseaddr(self.admin)[1],))
        return fax.closed(f"{fax.reason}; {why}" if fax.reason else why)
