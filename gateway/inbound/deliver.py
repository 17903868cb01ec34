"""FETCHED → MAILED: to the mailboxes of its route, through the smarthost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parseaddr

import structlog

from gateway.errors import PermanentError
from gateway.inbound.route import route
from gateway.mail import notice
from gateway.mail.compose import Attachment, Mail
from gateway.mail.post import Post
from gateway.model import Fax
from gateway.rules import Rules
from gateway.spool import Kind, Spool

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Deliver:
    """The room and what it works with. `rules` gives the ones in force now."""

    post: Post
    spool: Spool
    rules: Callable[[], Rules]
    mail_from: str
    admin: str = ""
    clock: Callable[[], float] = time.time

    async def __call__(self, fax: Fax) -> Fax:
        decision = route(self.rules(), fax)
        if not decision.mail:
            raise PermanentError(f"no route for it: {'; '.join(decision.why)}")
        document = self.spool.path(fax.id, Kind.DOCUMENT)
        files = (
            (Attachment(f"fax-{fax.id}.pdf", "application/pdf", document),) if fax.digest else ()
        )
        mail = fax_mail(fax, self.mail_from, decision.mail, files, self.clock())
        # The envelope sender is a real mailbox of ours: a fax that bounces later must be seen.
        sender = parseaddr(self.mail_from)[1]
        refused = await self.post.send(mail, decision.mail, sender)
        for one in refused:
            await self._alarm(
                fax, f"the mailbox {one.recipient} was refused by the smarthost: {one.said}"
            )
        if not fax.digest:
            await self._alarm(fax, f"the document of a received fax is no good: {fax.reason}")
        log.info("notice_sent", mailboxes=len(decision.mail), refused=len(refused))
        taken = [one for one in decision.mail if one not in {r.recipient for r in refused}]
        return fax.mailed(", ".join(taken))

    async def _alarm(self, fax: Fax, what: str) -> None:
        """Best effort: the mail itself is delivered, and must not be delivered again for this."""
        if not self.admin:
            return
        admin = parseaddr(self.admin)[1]
        try:
            mail = notice.alarm(fax, self.mail_from, self.admin, self.clock(), what)
            await self.post.send(mail, (admin,))
        except Exception as error:  # noqa: BLE001 - see above
            log.warning("notice_refused", error=str(error))


def fax_mail(
    fax: Fax, mail_from: str, to: tuple[str, ...], files: tuple[Attachment, ...], now: float
) -> Mail:
    """The mail that brings a received fax. Its Message-ID is the fax's: a copy is recognisable."""
    caller = notice.nicely(fax.number) or "an unknown number"
    named = f"{caller} ({fax.name})" if fax.name else caller
    pages = f"{fax.pages} page{'s' if fax.pages != 1 else ''}" if fax.pages else "pages unknown"
    lines = [
        f"A fax has arrived from {named}.",
        "",
        f"To:       {notice.nicely(fax.line)}",
        f"Pages:    {fax.pages or 'unknown'}",
        f"Fax:      {fax.id}",
        f"Provider: {fax.provider_id}",
    ]
    if not files:
        lines += [
            "",
            f"Its document could not be read: {fax.reason}",
            "It is kept at the provider.",
        ]
    elif fax.reason:
        lines += ["", f"Please check the pages: {fax.reason}."]
    domain = parseaddr(mail_from)[1].rpartition("@")[2]
    return Mail(
        sender=mail_from, to=to, subject=f"Fax from {named}, {pages}", text="\n".join(lines),
        message_id=f"<rx.{fax.id}@{domain}>", date=now, attachments=files,
        headers={"Auto-Submitted": "auto-generated", "X-Fax-Gateway": fax.id},
    )  # fmt: skip
