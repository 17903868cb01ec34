"""One SMTP session: what each verb does."""
# ruff: noqa: N802 - aiosmtpd dispatches to smtp_VERB

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from gateway.doors import transcripts
from gateway.doors.smtp import grammar, replies
from gateway.doors.smtp.body import Body
from gateway.doors.smtp.connection import Connection
from gateway.doors.smtp.draft import Draft
from gateway.doors.smtp.grammar import Hangup, Refused
from gateway.doors.smtp.login import Login
from gateway.doors.smtp.part import Part
from gateway.doors.smtp.record import MAIL
from gateway.doors.smtp.settings import COMMAND_LIMIT, MOST_IDLE_COMMANDS, PATH_COMMAND_LIMIT
from gateway.doors.smtp.taking import take
from gateway.doors.smtp.transaction import Transaction
from gateway.doors.smtp.upgrade import secured

_NOT_OFFERED = frozenset({"BDAT", "EXPN", "ETRN", "TURN", "SEND", "XCLIENT"})
_BRINGS_MAIL = frozenset({"MAIL", "RCPT", "DATA", "QUIT", "AUTH", "STARTTLS"})
_LONG = frozenset({"MAIL", "RCPT", "AUTH"})


class SmtpSession(Connection):
    """Every argument is text without control characters, "" = none."""

    VERBS = frozenset(
        {
            *("EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "HELP", "QUIT"),
            *("AUTH", "STARTTLS"),
        }
    )

    _helo = ""
    _extended = False  # said EHLO
    _idle_commands = 0
    _transaction: Transaction
    login: Login | None = None  # while the client proves who it is

    def _obey(self, line: bytes) -> None:
        if not line:
            if self.login:
                self.login.give_up()
            raise Refused(replies.TOO_LONG)
        text = self._text(line)
        if self.login and self.login.asked:
            return self.login.answer(text)
        verb, argument = grammar.command(text)
        if len(line) > (PATH_COMMAND_LIMIT if verb in _LONG else COMMAND_LIMIT):
            raise Refused(replies.TOO_LONG)
        if verb not in self.VERBS:
            raise Refused(replies.NOT_OFFERED if verb in _NOT_OFFERED else replies.UNKNOWN, "junk")
        self._idle_commands += verb not in _BRINGS_MAIL
        if self._idle_commands > MOST_IDLE_COMMANDS:
            raise Hangup(replies.TOO_MANY_COMMANDS, "junk")
        getattr(self, f"smtp_{verb}")(argument)
        return None

    def _text(self, line: bytes) -> bytes:
        """The line without its end; a bare LF ends one for copiers only."""
        if grammar.is_foreign(line):
            raise Hangup(replies.NOT_SMTP, "cross_proto")
        if line.endswith(b"\r\n"):
            return line[:-2]
        if not self.tolerant:
            raise Hangup(replies.BAD_LINE)
        return line[:-1]

    def smtp_EHLO(self, argument: str) -> None:
        self._hello(argument)
        self._extended = True
        offers = ["PIPELINING", f"SIZE {self.data_size_limit}", "8BITMIME", "SMTPUTF8"]
        offers += ["ENHANCEDSTATUSCODES", "DSN"]
        if self._takes_logins:
            offers.append("AUTH PLAIN LOGIN")
        if self.shared.services.certificates and not self.encrypted:
            offers.append("STARTTLS")
        lines = [f"250-{line}" for line in (self.hostname, *offers[:-1])]
        self.say("\r\n".join([*lines, f"250 {offers[-1]}"]))

    def smtp_HELO(self, argument: str) -> None:
        self._hello(argument)
        self.say(f"250 {self.hostname}")

    def smtp_STARTTLS(self, argument: str) -> None:
        _no(argument)
        if self.encrypted:
            raise Refused(replies.TLS_ALREADY)
        if not self.shared.services.certificates:
            raise Refused(replies.NOT_OFFERED)
        if len(self._lines):  # said before TLS, meant to be heard after it (RFC 3207 §4.2)
            raise Hangup(replies.EARLY_TALK, "starttls_inject")
        self.wire.pause_reading()
        self.say(replies.TLS_NOW)
        self.flush()
        self.deaf = True
        self.later(self._start_tls(), on_us=False)

    async def _start_tls(self) -> None:
        """TLS begins anew: nothing that was said before it counts (RFC 3207 §4.2)."""
        self._helo, self._extended, self.login = "", False, None
        await secured(self)

    @property
    def _takes_logins(self) -> bool:
        """Passwords travel encrypted; only copiers of listed networks cannot always."""
        return bool(self.shared.services.users) and (self.encrypted or self.tolerant)

    def smtp_AUTH(self, argument: str) -> None:
        if not (users := self.shared.services.users):
            raise Refused(replies.NOT_OFFERED)
        if not self._takes_logins:
            raise Refused(replies.NO_PLAIN_LOGIN, "auth_fail")
        if not (self._extended or (self._helo and self.tolerant)):
            raise Refused(replies.HELLO_FIRST)
        if self._transaction.begun:
            raise Refused(replies.NOT_IN_A_MAIL)
        if self.login and self.login.name:
            raise Refused(replies.LOGGED_IN_ALREADY)
        self.login = self.login or Login(self, users)
        self.login.begin(argument)

    def logged_in(self) -> None:
        """The next mail is theirs."""
        self._reset()

    def step(self) -> None:
        """MAIL or RCPT was accepted: that is what a place is for."""
        if self.guest:
            self.guest.step(self._heard)

    def smtp_MAIL(self, argument: str) -> None:
        if not self._helo:
            raise Refused(replies.HELLO_FIRST)
        self.say(self._transaction.mail(argument))

    def smtp_RCPT(self, argument: str) -> None:
        if not self._helo:
            raise Refused(replies.MAIL_FIRST)
        reply = self._transaction.rcpt(argument)
        if isinstance(reply, str):
            self.say(reply)
        else:
            self.later(self._say_later(reply))

    async def _say_later(self, reply: Coroutine[Any, Any, str]) -> None:
        self.say(await reply)

    def smtp_DATA(self, argument: str) -> None:
        _no(argument)
        if not self._helo:
            raise Refused(replies.RCPT_FIRST)
        draft = self._transaction.draft()
        if len(self._lines):  # sent before our 354: smuggling, or a client that reads nothing
            raise Hangup(replies.EARLY_TALK, "pipelining")
        assert self.guest  # noqa: S101 - nobody else is listened to
        part = Part(self.shared.spool.part(), draft.most_bytes, tolerant=self.tolerant)
        self._body = body = Body(self, self.wire, self.shared, self.guest, part)
        self.wire.set_protocol(body)
        self.wire.resume_reading()  # many commands before this one may have paused it
        self.say(replies.GO_AHEAD)
        self.shared.commit(self.later(self._take(body, draft), on_us=False))

    async def _take(self, body: Body, draft: Draft) -> None:
        try:
            reply = await take(body, draft, self.shared)
        finally:
            self._body = None
            self._reset()
            self.record.transcript.data(body.size, body.line_ends, body.part.longest)
        if reply == replies.SPLIT:
            self.record.transcript.note(transcripts.SPLIT)
        self._since = self.loop.time()  # the client waited for us since its last byte
        self._idle_commands = 0
        if reply.startswith("250"):
            self.record.outcome = MAIL
            if self.guest:
                self.guest.done(self._since)
        else:
            self.record.outcome = reply
        self.say(reply)

    def smtp_RSET(self, argument: str) -> None:
        _no(argument)
        self._reset()
        self.say(replies.OK)

    def smtp_NOOP(self, _argument: str) -> None:
        self.say(replies.OK)

    def smtp_VRFY(self, _argument: str) -> None:
        self.say(replies.CANNOT_VERIFY)

    def smtp_HELP(self, _argument: str) -> None:
        self.say(replies.HELP)

    def smtp_QUIT(self, argument: str) -> None:
        _no(argument)
        self.hang_up(replies.GOODBYE)

    def _hello(self, argument: str) -> None:
        if not argument and not self.tolerant:
            raise Refused(replies.NEED_HOSTNAME)
        self._reset()
        self._helo = argument or "?"
        self._extended = False

    def _reset(self) -> None:
        name = self.login.name if self.login else ""
        self._transaction = Transaction(self.shared, self, name)


def _no(argument: str) -> None:
    if argument:
        raise Refused(replies.NO_ARGUMENT)
