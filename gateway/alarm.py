"""Held faxes: the administrator hears of each, and so does its sender. Nothing waits in silence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parseaddr

import structlog

from gateway.errors import PermanentError
from gateway.mail import notice
from gateway.mail.compose import Mail
from gateway.mail.post import Post
from gateway.model import Fax
from gateway.spool import Kind, Spool

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Alarm:
    """The room of held faxes and what it works with."""

    post: Post
    spool: Spool
    mail_from: str
    admin: str = ""
    clock: Callable[[], float] = time.time

    async def __call__(self, fax: Fax) -> Fax:
        now = self.clock()
        if self.admin:
            mail = notice.alarm(fax, self.mail_from, self.admin, now, f"it is held: {fax.held}")
            await self._send(mail, parseaddr(self.admin)[1])
        if fax.sender:
            thumbnail = self.spool.path(fax.id, Kind.THUMBNAIL)
            await self._send(
                notice.held(fax, self.mail_from, now, thumbnail, admin=bool(self.admin)), fax.sender
            )
        return fax.tell()

    async def _send(self, mail: Mail, to: str) -> None:
        try:
            await self.post.send(mail, (to,))
        except (PermanentError, ValueError) as error:  # who cannot be reached must not stop others
            log.warning("notice_refused", error=str(error))
