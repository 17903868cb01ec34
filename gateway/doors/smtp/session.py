"""One SMTP session: what each verb does."""
# ruff: noqa: N802 - aiosmtpd dispatches to smtp_VERB

from __future__ import annotations

from gateway.doors.smtp import replies
from gateway.doors.smtp.body import Body
from gateway.doors.smtp.connection import Connection
from gateway.doors.smtp.grammar import Hangup, Refused
from gateway.doors.smtp.taking import take
from gateway.doors.smtp.transaction import Transaction
from gateway.outbound.intake import Envelope


class SmtpSession(Connection):
    """Every argument is text without control characters, "" = none."""

    VERBS = frozenset(
        ("EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "HELP", "QUIT")
    )

    _helo = ""
    _transaction: Transaction

    def smtp_EHLO(self, argument: str) -> None:
        self._hello(argument)
        offers = ("PIPELINING", f"SIZE {self.data_size_limit}", "8BITMIME", "SMTPUTF8")
        self._say("\r\n".join(f"250-{line}" for line in (self.hostname, *offers)))
        self._say("250 ENHANCEDSTATUSCODES")

    def smtp_HELO(self, argument: str) -> None:
        self._hello(argument)
        self._say(f"250 {self.hostname}")

    def smtp_MAIL(self, argument: str) -> None:
        if not self._helo:
            raise Refused(replies.HELLO_FIRST)
        self._say(self._transaction.mail(argument))

    def smtp_RCPT(self, argument: str) -> None:
        if not self._helo:
            raise Refused(replies.MAIL_FIRST)
        self._say(self._transaction.rcpt(argument))

    def smtp_DATA(self, argument: str) -> None:
        _no(argument)
        if not self._helo:
            raise Refused(replies.RCPT_FIRST)
        envelope = self._transaction.envelope()
        if self._unread:  # sent before our 354: smuggling, or a client that reads nothing
            raise Hangup(replies.EARLY_TALK)
        self._body = body = Body(self, self._wire, self._shared)
        self._wire.set_protocol(body)
        self._say(replies.GO_AHEAD)
        self._later(self._take(body, envelope))

    async def _take(self, body: Body, envelope: Envelope) -> None:
        try:
            reply = await self._shared.commit(take(body, envelope, self._shared))
        finally:
            self._body = None
            self._reset()
        self._since = self.loop.time()  # the client waited for us since its last byte
        self._idle_commands = 0
        self._say(reply)

    def smtp_RSET(self, argument: str) -> None:
        _no(argument)
        self._reset()
        self._say(replies.OK)

    def smtp_NOOP(self, _argument: str) -> None:
        self._say(replies.OK)

    def smtp_VRFY(self, _argument: str) -> None:
        self._say(replies.CANNOT_VERIFY)

    def smtp_HELP(self, _argument: str) -> None:
        self._say(replies.HELP)

    def smtp_QUIT(self, argument: str) -> None:
        _no(argument)
        self._hang_up(replies.GOODBYE)

    def _hello(self, argument: str) -> None:
        if not argument:
            raise Refused(replies.NEED_HOSTNAME)
        self._reset()
        self._helo = argument

    def _reset(self) -> None:
        self._transaction = Transaction(self._shared, self.peer)


def _no(argument: str) -> None:
    if argument:
        raise Refused(replies.NO_ARGUMENT)
