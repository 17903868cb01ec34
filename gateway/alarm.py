"""Held faxes: the administrator hears of each, and so does its sender. Nothing waits in silence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
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
    _heard: set[tuple[str, str]] = field(default_factory=set)  # (fax, who has been told already)

    async def __call__(self, fax: Fax) -> Fax:
        """Each of them once, and none waits for another: what failed is raised in the end."""
        mails = self._mails(fax)
        trouble: Exception | None = None
        for to, mail in mails.items():
            try:
                await self._send(fax, mail, to)
            except Exception as error:  # noqa: BLE001 - raised below
                trouble = trouble or error
        if trouble:
            raise trouble
        self._heard.difference_update((fax.id, to) for to in mails)
        return fax.tell()

    def _mails(self, fax: Fax) -> dict[str, Mail]:
        now = self.clock()
        mails = {}
        if self.admin:
            what = f"it is held: {fax.held}"
            mails[parseaddr(self.admin)[1]] = notice.alarm(
                fax, self.mail_from, self.admin, now, what
            )
        if fax.sender and fax.sender not in mails:  # who is both: the other mail says more
            thumbnail = self.spool.path(fax.id, Kind.THUMBNAIL)
            mails[fax.sender] = notice.held(
                fax, self.mail_from, now, thumbnail, admin=bool(self.admin)
            )
        return mails

    async def _send(self, fax: Fax, mail: Mail, to: str) -> None:
        if (fax.id, to) in self._heard:
            return
        try:
            await self.post.send(mail, (to,))
        except (PermanentError, ValueError) as error:  # who cannot be reached, never will be
            log.warning("notice_refused", error=str(error))
        self._heard.add((fax.id, to))
