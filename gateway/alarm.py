"""Held faxes: the administrator hears of each, and so does its sender. Nothing waits in silence.

A sender who wanted no news of a delay (RFC 3461 §4.1) gets none; the administrator always does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parseaddr

import structlog

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
        for refused in await self.post.tell(self._mails(fax)):  # they never will be reached
            log.warning("notice_refused", error=refused.said)
        return fax.tell()

    def _mails(self, fax: Fax) -> list[Mail]:
        now, admin = self.clock(), parseaddr(self.admin)[1]
        thumbnail = self.spool.path(fax.id, Kind.THUMBNAIL)
        news = notice.news(fax, self.mail_from, now, thumbnail, admin=bool(self.admin))
        if not self.admin:
            return news
        what = f"it is held: {fax.held}"
        alarm = notice.alarm(fax, self.mail_from, self.admin, now, what)
        others = [  # who is both: the alarm says more
            replace(mail, to=tuple(one for one in mail.to if one != admin)) for mail in news
        ]
        return [alarm, *others]
