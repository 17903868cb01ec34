"""DELIVERED, FAILED → CLOSED: tell what became of the fax, to those who want to hear of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parseaddr

import structlog

from gateway.mail import notice, report
from gateway.mail.post import Post
from gateway.mail.smarthost import Refused
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
        thumbnail = self.spool.path(fax.id, Kind.THUMBNAIL)
        mails = notice.news(fax, self.mail_from, self.clock(), thumbnail)
        if not mails:
            return _closed(fax, report.silence(fax))
        refused = await self.post.tell(mails)
        if len(refused) < sum(len(mail.to) for mail in mails):
            log.info("notice_sent", state=str(fax.state))
            return _closed(fax, _why(fax, refused))
        return await self._nobody(fax, _why(fax, refused))

    async def _nobody(self, fax: Fax, why: str) -> Fax:
        """No such mailbox: the administrator is left to tell."""
        if self.admin:
            alarm = notice.alarm(fax, self.mail_from, self.admin, self.clock(), why)
            await self.post.send(alarm, (parseaddr(self.admin)[1],))
        return _closed(fax, why)


def _why(fax: Fax, refused: list[Refused]) -> str:
    said = {one.recipient: one.said for one in refused}  # of several mails, one is enough
    return "; ".join(
        f"{'the sender' if to == fax.sender else to} could not be told: {words}"
        for to, words in said.items()
    )


def _closed(fax: Fax, why: str) -> Fax:
    """With a line in its history when somebody was not told."""
    return fax.closed("; ".join(filter(None, (fax.reason, why))) if why else "")
