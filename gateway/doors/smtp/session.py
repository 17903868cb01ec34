"""One SMTP session: aiosmtpd's protocol class with our own command loop and our own DATA.

aiosmtpd 1.4.6 reads DATA into a list of lines, tells clients the text of our exceptions, and
lets a client's FIN cancel a commit. What is used of it: the session state, the dispatch to
`smtp_VERB` coroutines, and STARTTLS and AUTH when a listener offers them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog
from aiosmtpd.smtp import SMTP

from gateway.doors.smtp import grammar, replies
from gateway.doors.smtp.body import Body
from gateway.doors.smtp.grammar import Refused
from gateway.doors.smtp.settings import (
    COMMAND_LIMIT,
    MOST_ERRORS,
    MOST_IDLE_COMMANDS,
    PATH_COMMAND_LIMIT,
)
from gateway.doors.smtp.shared import Shared
from gateway.doors.smtp.taking import take
from gateway.doors.smtp.transaction import Transaction

log = structlog.get_logger()

VERBS = ("EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "HELP", "QUIT")
"""What this door does. aiosmtpd's other verbs (EXPN, AUTH, STARTTLS) are answered 502."""

_NOT_OFFERED = frozenset({"AUTH", "STARTTLS", "BDAT", "EXPN", "ETRN", "TURN", "SEND", "XCLIENT"})
_IDLE_VERBS = frozenset({"EHLO", "HELO", "RSET", "NOOP", "VRFY", "HELP"})
_SEEN = tuple(f"smtp_{verb}" for verb in VERBS)


class _NoHooks:
    """aiosmtpd wants a handler; everything it could hook is overridden here."""

    def __dir__(self) -> Iterable[str]:
        return ()


_NO_HOOKS = _NoHooks()


class Hangup(Refused):
    """The last reply of a session."""


class SmtpSession(SMTP):  # type: ignore[misc]  # aiosmtpd is untyped
    """A connection to one client."""

    line_length_limit = 2 * PATH_COMMAND_LIMIT  # of the reader of commands

    def __init__(self, shared: Shared, sessions: set[SmtpSession]) -> None:
        self._shared = shared
        self._sessions = sessions
        self._pending = bytearray()  # replies of pipelined commands leave together
        self._body: Body | None = None
        self._greeted = self._spoken = self._listening = False
        self._errors = self._idle_commands = 0
        self._since = self._heard = shared.loop.time()
        super().__init__(
            _NO_HOOKS,
            hostname=shared.settings.hostname,
            data_size_limit=shared.settings.max_message,
            enable_SMTPUTF8=True,
            loop=shared.loop,
        )

    def __dir__(self) -> Iterable[str]:
        return _SEEN  # aiosmtpd asks for every connection what never changes

    @property
    def peer(self) -> str:
        return str(self.session.peer[0])

    def dismiss(self) -> None:
        """The gateway stops: end now if the client has nothing under way."""
        if self._listening:
            self._drop(replies.STOPPING)

    def cut(self) -> None:
        if self.transport:
            self.transport.abort()

    @property
    def conversation(self) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._handler_coroutine
        return task

    # the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._sessions.add(self)

    def data_received(self, data: bytes) -> None:
        if not self._spoken:
            self._spoken = True
            if grammar.is_foreign(data):
                return self._drop(replies.NOT_SMTP)
            if not self._greeted:
                return self._drop(replies.EARLY_TALK)
        super().data_received(data)
        return None

    def eof_received(self) -> bool | None:
        # not aiosmtpd's: that one cancels the command which the client still waits for
        answer: bool | None = asyncio.StreamReaderProtocol.eof_received(self)
        return answer

    def connection_lost(self, error: Exception | None) -> None:
        self._sessions.discard(self)
        super().connection_lost(error)

    # deadlines: one timer a session, which looks at the clock when it rings

    def _reset_timeout(self, _duration: float | None = None) -> None:
        self._heard = self.loop.time()
        if self._timeout_handle is None:
            self._timeout_cb()

    def _timeout_cb(self) -> None:
        left = self._time_left()
        if left > 0:
            self._timeout_handle = self.loop.call_later(left, self._timeout_cb)
            return
        self.transport.write(f"{replies.TIMEOUT}\r\n".encode())
        self.transport.abort()  # close() would wait for a client that reads nothing

    def _time_left(self) -> float:
        limits, now = self._shared.settings, self.loop.time()
        body = self._body
        if body and body.ended:
            return limits.idle  # now it waits for us
        heard, since = (body.heard, body.since) if body else (self._heard, self._since)
        return min(heard + limits.idle, since + limits.life) - now

    # the conversation

    async def _handle_client(self) -> None:
        try:
            await self._greet()
            while not self._writer.is_closing():
                await self._answer(await self._line())
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # it went away
        finally:
            self._writer.close()

    async def _greet(self) -> None:
        await asyncio.sleep(0)  # one look at the socket: who talks first is no mail client
        if not self._writer.is_closing():
            self._greeted = True
            await self.push(f"220 {self.hostname} ESMTP")

    async def _line(self) -> bytes:
        """The next command with its line end; replies leave before we wait for it."""
        if b"\n" not in self._reader._buffer:
            await self._flush()
        self._listening = True
        try:
            line: bytes = await self._reader.readuntil()
        except asyncio.LimitOverrunError as error:
            line = await self._reader.readexactly(error.consumed)
        finally:
            self._listening = False
        self._heard = self.loop.time()
        return line

    async def _answer(self, line: bytes) -> None:
        try:
            await self._obey(line)
            if self._shared.stopping:
                raise Hangup(replies.STOPPING)
        except Hangup as last:
            await self._hang_up(last.reply)
        except Refused as refused:
            await self._complain(refused.reply)
        except Exception as error:  # noqa: BLE001
            self._say(await self.handle_exception(error))

    async def _obey(self, line: bytes) -> None:
        if not line.endswith(b"\n"):
            await self._skip_line()
            raise Refused(replies.TOO_LONG)
        if grammar.is_foreign(line):
            raise Hangup(replies.NOT_SMTP)
        if not line.endswith(b"\r\n"):
            raise Hangup(replies.BAD_LINE)
        verb, argument = grammar.command(line[:-2])
        if len(line) > (PATH_COMMAND_LIMIT if verb in ("MAIL", "RCPT") else COMMAND_LIMIT):
            raise Refused(replies.TOO_LONG)
        if verb not in self._smtp_methods:
            raise Refused(replies.NOT_OFFERED if verb in _NOT_OFFERED else replies.UNKNOWN)
        self._count_idle(verb)
        await self._smtp_methods[verb](argument)

    async def _skip_line(self) -> None:
        while True:
            try:
                await self._reader.readuntil()
            except asyncio.LimitOverrunError as error:
                await self._reader.readexactly(error.consumed)
            else:
                return

    def _count_idle(self, verb: str) -> None:
        self._idle_commands += verb in _IDLE_VERBS
        if self._idle_commands > MOST_IDLE_COMMANDS:
            raise Hangup(replies.TOO_MANY_COMMANDS)

    async def _complain(self, reply: str) -> None:
        """Whoever keeps talking nonsense is no mail client."""
        self._errors += reply.startswith("50")
        if self._errors > MOST_ERRORS:
            await self._hang_up(replies.TOO_MANY_ERRORS)
        else:
            self._say(reply)

    def _say(self, reply: str) -> None:
        self._pending += reply.encode("ascii") + b"\r\n"

    async def _flush(self) -> None:
        if self._pending:
            self._writer.write(bytes(self._pending))
            self._pending.clear()
        await self._writer.drain()

    async def _hang_up(self, reply: str) -> None:
        await self.push(reply)
        self._writer.close()

    def _drop(self, reply: str) -> None:
        self.transport.write(f"{reply}\r\n".encode())
        self.transport.close()

    async def push(self, status: str) -> None:
        """Say it now. aiosmtpd's own verbs use this."""
        self._say(status)
        await self._flush()

    async def handle_exception(self, error: Exception) -> str:
        log.error("mail_refused", reply=replies.TROUBLE, peer=self.peer, exc_info=error)
        return replies.TROUBLE

    # the verbs

    async def smtp_EHLO(self, argument: str) -> None:
        self._hello(argument)
        offers = ("PIPELINING", f"SIZE {self.data_size_limit}", "8BITMIME", "SMTPUTF8")
        self._say("\r\n".join(f"250-{line}" for line in (self.hostname, *offers)))
        self._say("250 ENHANCEDSTATUSCODES")

    async def smtp_HELO(self, argument: str) -> None:
        self._hello(argument)
        self._say(f"250 {self.hostname}")

    async def smtp_MAIL(self, argument: str) -> None:
        if not self.session.host_name:
            raise Refused(replies.HELLO_FIRST)
        self._say(self._transaction.mail(argument))

    async def smtp_RCPT(self, argument: str) -> None:
        self._say(self._transaction.rcpt(argument))

    async def smtp_DATA(self, argument: str) -> None:
        _no(argument)
        envelope = self._transaction.envelope()
        if self._reader._buffer:
            raise Hangup(replies.EARLY_TALK)
        shared = self._shared
        self._body = Body(self, self.transport, shared)
        self.transport.set_protocol(self._body)
        await self.push(replies.GO_AHEAD)
        try:
            self._say(await asyncio.shield(shared.commit(take(self._body, envelope, shared))))
        finally:
            self._body = None
        self._idle_commands = 0
        self._since = self.loop.time()
        self._set_rset_state()

    async def smtp_RSET(self, argument: str) -> None:
        _no(argument)
        self._set_rset_state()
        self._say(replies.OK)

    async def smtp_NOOP(self, _argument: str) -> None:
        self._say(replies.OK)

    async def smtp_VRFY(self, _argument: str) -> None:
        self._say(replies.CANNOT_VERIFY)

    async def smtp_HELP(self, _argument: str) -> None:
        self._say(replies.HELP)

    async def smtp_QUIT(self, argument: str) -> None:
        _no(argument)
        raise Hangup(replies.GOODBYE)

    def _hello(self, argument: str) -> None:
        if not argument:
            raise Refused(replies.NEED_HOSTNAME)
        self._set_rset_state()
        self.session.host_name = argument
        self.session.extended_smtp = True  # AUTH and parameters work after HELO too

    def _set_post_data_state(self) -> None:
        super()._set_post_data_state()
        self._transaction = Transaction(self._shared, self.session.peer[0] if self.session else "")


def _no(argument: str) -> None:
    if argument:
        raise Refused(replies.NO_ARGUMENT)
