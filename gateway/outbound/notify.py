"""DELIVERED, FAILED → CLOSED: tell what became of the fax, to those who want to hear of it.

A sender gets 20 mails in an hour at most (M18). The first results are told one by one; others wait
some minutes, failures less, and leave in one mail. Which wait for the same mail stands in
`Fax.told`, so a mail that a crash repeats is the same mail again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from email.utils import parseaddr

import structlog

from gateway.mail import notice, report, summary
from gateway.mail.compose import Mail
from gateway.mail.post import Post
from gateway.mail.report import Event
from gateway.mail.smarthost import Refused
from gateway.model import Fax
from gateway.spool import Kind, Spool

log = structlog.get_logger()

MOST = 500  # results in one mail, and in one transaction
A_HOUR = 20  # mails to a sender
ALONE = {Event.SUCCESS: 9 / 20, Event.FAILURE: 12 / 20}  # of those: before results wait
TOGETHER = 18 / 20  # before even those that waited do; the rest is for colleagues who race
WAIT = {Event.SUCCESS: 1200.0, Event.FAILURE: 600.0}  # s at most, with 20 mails an hour

Told = Callable[[str, float], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Notify:
    """The room and what it works with. `told`: mails to a sender in the hour before a time.

    `most` of them an hour; 0 = no limit.
    """

    post: Post
    spool: Spool
    mail_from: str
    admin: str = ""
    clock: Callable[[], float] = time.time
    told: Told | None = None
    most: int = A_HOUR

    async def in_turn(self, faxes: list[Fax]) -> Sequence[Fax]:
        """The room: a fax, and those of its sender that wait for the same mail."""
        first, now = faxes[0], self.clock()
        if self.most and self.told and report.kinds(first):
            told = await self.told(first.sender, now)
            share = TOGETHER if first.told > 1 else ALONE[report.event(first)]
            if told >= share * self.most:
                return [_waits(fax, now, told) for fax in faxes]
        who = report.hearers(first)
        mine = [fax for fax in faxes if report.hearers(fax) == who]
        others = [fax.later(now) for fax in faxes if report.hearers(fax) != who]
        return [*(await self._tell(mine)), *others]

    async def _tell(self, faxes: Sequence[Fax]) -> list[Fax]:
        mails = await asyncio.to_thread(self._mails, faxes)  # of 500 faxes, 30 ms
        if not mails:
            return [_closed(fax, report.silence(fax), told=0) for fax in faxes]
        refused = await self.post.tell(mails)
        why = _why(faxes[0], refused)
        if len(refused) < sum(len(mail.to) for mail in mails):
            log.info("notice_sent", fax=faxes[0].id, state=str(faxes[0].state), faxes=len(faxes))
        elif self.admin:  # no such mailbox: the administrator is left to tell
            await self.post.send(self._alarm(faxes, why), (parseaddr(self.admin)[1],))
        return [_closed(fax, why, told=1) for fax in faxes]

    def _mails(self, faxes: Sequence[Fax]) -> list[Mail]:
        now, fax = self.clock(), faxes[0]
        if len(faxes) > 1:
            return [summary.results(faxes, self.mail_from, now)]
        return notice.news(fax, self.mail_from, now, self.spool.path(fax.id, Kind.THUMBNAIL))

    def _alarm(self, faxes: Sequence[Fax], why: str) -> Mail:
        if len(faxes) > 1:
            return summary.alarm(faxes, self.mail_from, self.admin, self.clock(), why)
        return notice.alarm(faxes[0], self.mail_from, self.admin, self.clock(), why)


def _waits(fax: Fax, now: float, told: int) -> Fax:
    """All that come in the same minutes wait for the same moment."""
    wait = WAIT[report.event(fax)]
    at = (now // wait + 1) * wait
    return fax.later(
        at, told=int(at), trouble=f"told together with others: {told} mails in an hour"
    )


def _why(fax: Fax, refused: list[Refused]) -> str:
    said = {one.recipient: one.said for one in refused}  # of several mails, one is enough
    return "; ".join(
        f"{'the sender' if to == fax.sender else to} could not be told: {words}"
        for to, words in said.items()
    )


def _closed(fax: Fax, why: str, told: int) -> Fax:
    """With a line in its history when somebody was not told."""
    reason = "; ".join(filter(None, (fax.reason, why))) if why else ""
    return replace(fax.closed(reason), told=told)
