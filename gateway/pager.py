"""The administrator hears of trouble that is no single fax's: once an hour for each kind.

A hint, not a proof: what nobody could be told before the process ends is in the log.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parseaddr

import structlog

from gateway.errors import PermanentError, TransientError
from gateway.mail import notice
from gateway.mail.post import Post

log = structlog.get_logger()

EVERY = 3600.0  # s between two mails about the same
AGAIN = 60.0  # s until a smarthost that took nothing is asked again
MOST = 20  # pages that wait


@dataclass
class Pager:
    """Calling it asks for a mail; `run` sends what was asked for."""

    post: Post
    mail_from: str
    admin: str
    clock: Callable[[], float] = time.monotonic
    again: float = AGAIN
    _told: dict[str, float] = field(default_factory=dict)
    _waiting: asyncio.Queue[tuple[str, str]] = field(
        default_factory=lambda: asyncio.Queue(MOST), init=False
    )

    def __call__(self, title: str, what: str) -> None:
        """`title` names the kind of trouble; `what` is a sentence, with what to do about it."""
        now = self.clock()
        if not self.admin or now - self._told.get(title, -EVERY) < EVERY or self._waiting.full():
            return
        self._told[title] = now
        self._waiting.put_nowait((title, what))

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            title, what = await self._waiting.get()
            mark = secrets.token_hex(6)  # the same in each try: a repeat is recognisable
            while not await self._sent(title, what, mark):  # noqa: ASYNC110 - the relay rings no bell
                await asyncio.sleep(self.again)

    async def _sent(self, title: str, what: str, mark: str) -> bool:
        admin = parseaddr(self.admin)[1]
        mail = notice.page(title, what, self.mail_from, admin, time.time(), mark)
        try:
            await self.post.send(mail, (admin,))
        except TransientError:
            return False
        except (PermanentError, ValueError) as error:
            log.warning("notice_refused", error=str(error))
        return True
