"""One SMTP session: what each verb does."""
# ruff: noqa: N802 - aiosmtpd dispatches to smtp_VERB

from __future__ import annotations

import asyncio

from gateway.doors.smtp import replies
from gateway.doors.smtp.body import Body
from gateway.doors.smtp.connection import Connection
from gateway.doors.smtp.grammar import Hangup, Refused
from gateway.doors.smtp.taking import take
from gateway.doors.smtp.transaction import Transaction


class SmtpSession(Connection):
    """Every argument is text without control characters, "" = none."""

    VERBS = frozenset(
        ("EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "HELP", "QUIT")
    )

    _helo = ""

    async def smtp_EHLO(self, argument: str) -> None:
        self._hello(argument)
        offers = ("PIPELINING", f"SIZE {self.data_size_limit}", "8BITMIME", "SMTPUTF8")
        self._say("\r\n".join(f"250-{line}" for line in (self.hostname, *offers)))
        self._say("250 ENHANCEDSTATUSCODES")

    async def smtp_HELO(self, argument: str) -> None:
        self._hello(argument)
        self._say(f"250 {self.hostname}")

    async def smtp_MAIL(self, argument: str | None) -> None:
        if not self._helo:
            raise Refused(replies.HELLO_FIRST)
        self._say(self._transaction.mail(argument or ""))

    async def smtp_RCPT(self, argument: str | None) -> None:
        self._say(self._transaction.rcpt(argument or ""))

    async def smtp_DATA(self, argument: str) -> None:
        _no(argument)
        envelope = self._transaction.envelope()
        if self._unread:  # sent before our 354: smuggling, or a client that reads nothing
            raise Hangup(replies.EARLY_TALK)
        self._body = body = Body(self, self._wire, self._shared)
        self._wire.set_protocol(body)
        await self.push(replies.GO_AHEAD)
        try:
            reply = await asyncio.shield(self._shared.commit(take(body, envelope, self._shared)))
        finally:
            self._body = None
            self._set_post_data_state()
        self._since = self._heard = self.loop.time()  # the client waited for us since its last byte
        self._idle_commands = 0
        self._say(reply)

    async def smtp_RSET(self, argument: str) -> None:
        _no(argument)
        self._set_post_data_state()
        self._say(replies.OK)

    async def smtp_NOOP(self, _argument: str) -> None:
        self._say(replies.OK)

    async def smtp_VRFY(self, _argument: str) -> None:
        self._say(replies.CANNOT_VERIFY)

    async def smtp_HELP(self, _argument: str) -> None:
        self._say(replies.HELP)

    async def smtp_QUIT(self, argument: str) -> None:
        _no(argument)
        await self._hang_up(replies.GOODBYE)

    def _hello(self, argument: str) -> None:
        if not argument:
            raise Refused(replies.NEED_HOSTNAME)
        self._set_post_data_state()
        self._helo = argument

    def _set_post_data_state(self) -> None:
        """How aiosmtpd resets the envelope: at the start, after STARTTLS and after DATA."""
        self._transaction = Transaction(self._shared, self.peer)


def _no(argument: str) -> None:
    if argument:
        raise Refused(replies.NO_ARGUMENT)
