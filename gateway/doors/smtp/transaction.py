"""MAIL and RCPT: the envelope as it grows. Every recipient is judged alone."""

from __future__ import annotations

import structlog

from gateway.doors.smtp import grammar, replies
from gateway.doors.smtp.grammar import Hangup, Mail, Refused
from gateway.doors.smtp.settings import MOST_REFUSED
from gateway.doors.smtp.shared import Shared
from gateway.numbers import E164, Refusal, masked, recipient
from gateway.outbound.intake import Envelope, Recipient

log = structlog.get_logger()


class Transaction:
    """One mail of one client. A reply that is raised as `Refused` was no sensible command."""

    def __init__(self, shared: Shared, peer: str) -> None:
        self._shared = shared
        self._peer = peer
        self._mail: Mail | None = None
        self._recipients: dict[E164, Recipient] = {}
        self._refused = 0

    def mail(self, argument: str) -> str:
        if self._mail:
            raise Refused(replies.ONE_SENDER)
        mail = grammar.mail(argument)
        if refusal := self._refusal(mail):
            log.info("mail_refused", reply=refusal, peer=self._peer, sender=mail.sender)
            return refusal
        self._mail = mail
        return replies.SENDER_OK

    def rcpt(self, argument: str) -> str:
        if not self._mail:
            raise Refused(replies.MAIL_FIRST)
        if not (argument.isascii() or self._mail.utf8):
            raise Refused(replies.BAD_LINE)
        address = grammar.rcpt(argument)
        number = recipient(address, self._shared.settings.domains, self._shared.plan)
        if isinstance(number, Refusal):
            return self._refuse(number, number.event, address)
        full = len(self._recipients) >= self._shared.settings.max_recipients
        if full and number not in self._recipients:
            return self._refuse(replies.TOO_MANY_RECIPIENTS, "quota", address)
        self._recipients.setdefault(number, Recipient(address, number))
        return replies.RECIPIENT_OK

    def envelope(self) -> Envelope:
        """Complete, or `Refused`."""
        if not (self._mail and self._recipients):
            raise Refused(replies.NO_RECIPIENTS if self._refused else replies.RCPT_FIRST)
        return Envelope(self._mail.sender, tuple(self._recipients.values()), self._peer)

    def _refusal(self, mail: Mail) -> str:
        if not self._shared.trusts(self._peer):
            return replies.LOGIN_FIRST
        if not mail.sender:
            return replies.AUTOMATIC
        if self._is_number(mail.sender):
            return replies.FAX_SENDER
        if mail.size > self._shared.settings.max_message:
            return replies.TOO_BIG
        return self._shared.trouble()

    def _is_number(self, sender: str) -> bool:
        """A notice to it would come back to this door, and its sender would hear nothing."""
        domains, plan = self._shared.settings.domains, self._shared.plan
        in_ours = sender.rpartition("@")[2].lower() in domains
        return in_ours and not isinstance(recipient(sender, domains, plan), Refusal)

    def _refuse(self, reply: str, event: str, address: str) -> str:
        self._refused += reply.startswith("5")  # 452 asks a client to send the rest later
        log.info(
            "mail_refused", reply=str(reply), because=event, peer=self._peer,
            sender=self._mail.sender if self._mail else "",
            number=masked(address.partition("@")[0]),
        )  # fmt: skip
        if self._refused > MOST_REFUSED:
            raise Hangup(replies.TOO_MANY_ERRORS)
        return reply
