"""A connection to one client: aiosmtpd's protocol class with our own command loop.

Lines are answered as they come in, without a task or a stream between the socket and the verb:
only what waits for somebody else (DATA, a login, TLS) is a task. aiosmtpd 1.4.6 asks `inspect`
about itself for every connection, arms a timer for every command, cancels a command whose client
half-closed, and tells clients the text of our exceptions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, cast

import structlog
from aiosmtpd.smtp import SMTP

from gateway.doors.smtp import grammar, replies
from gateway.doors.smtp.body import Body
from gateway.doors.smtp.grammar import Hangup, Refused
from gateway.doors.smtp.settings import (
    COMMAND_LIMIT,
    MOST_ERRORS,
    MOST_IDLE_COMMANDS,
    PATH_COMMAND_LIMIT,
)
from gateway.doors.smtp.shared import Shared

log = structlog.get_logger()

_NOT_OFFERED = frozenset({"AUTH", "STARTTLS", "BDAT", "EXPN", "ETRN", "TURN", "SEND", "XCLIENT"})
_BRINGS_MAIL = frozenset({"MAIL", "RCPT", "DATA", "QUIT"})
_LONGEST_LINE = 2 * PATH_COMMAND_LIMIT  # bytes of a command that are kept
_AT_ONCE = 20  # commands of one client before the others have their turn
_MOST_UNREAD = 65536  # bytes of commands that wait while an answer takes its time
_MOST_UNSENT = 16384  # bytes of replies that wait for the client
_LAST_WORD = 1.0  # s until a connection that was told goodbye is cut


class _NoHooks:
    """aiosmtpd wants a handler; everything it could hook is overridden here."""

    def __dir__(self) -> Iterable[str]:
        return ()


_NO_HOOKS = _NoHooks()


class Connection(SMTP):
    """Lines in, replies out, deadlines; `VERBS` of a subclass say what there is to do."""

    VERBS: frozenset[str] = frozenset()

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._unread, self._at = b"", 0  # what the client sent, and how far we are in it
        self._pending = b""  # replies to pipelined commands leave together
        self._greeted = self._spoken = self._too_long = self._full = self._resting = False
        self._half = self._tls = False
        self._errors = self._idle_commands = 0
        self._answering: asyncio.Task[None] | None = None
        self._since = self._heard = shared.loop.time()
        self._body: Body | None = None  # while the client sends DATA
        super().__init__(
            _NO_HOOKS,
            hostname=shared.settings.hostname,
            data_size_limit=shared.settings.max_message,
            enable_SMTPUTF8=True,
            loop=shared.loop,
        )

    def __dir__(self) -> Iterable[str]:
        return ()  # what aiosmtpd would find out for every connection, `VERBS` knows

    def dismiss(self) -> None:
        """The gateway stops: end now if the client has no mail under way."""
        if not self._answering:
            self._hang_up(replies.STOPPING)

    def cut(self, reply: str = replies.STOPPING) -> None:
        """A last word if the client listens, then the end: close() alone would wait for it."""
        if not self._wire.is_closing():
            self._hang_up(reply)
        self.loop.call_later(_LAST_WORD, self._wire.abort)

    def check(self, now: float) -> None:
        """Has the client run out of time? Asked again and again."""
        if now >= self._deadline() and not self._wire.is_closing():
            self._note(replies.TIMEOUT)
            self.cut(replies.TIMEOUT)

    def _deadline(self) -> float:
        limits, body = self._shared.settings, self._body
        if self._full:
            return self._full_since + limits.unread
        if body and not body.ended:
            return min(body.heard + limits.idle, body.since + limits.life)
        if self._answering:
            return float("inf")  # now the client waits for us
        return min(self._heard + limits.idle, self._since + limits.life)

    # the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # not aiosmtpd's: it makes a reader, a writer and a task
        self._wire = cast("asyncio.Transport", transport)
        self._wire.set_write_buffer_limits(high=_MOST_UNSENT)
        self.peer = str(transport.get_extra_info("peername")[0])
        self._shared.connections.add(self)
        # one look at the socket before we greet: who talks first is no mail client
        self.loop.call_soon(self.loop.call_soon, self._greet)

    def data_received(self, data: bytes) -> None:
        if not self._spoken:
            self._spoken = True
            if grammar.is_foreign(data):
                return self._drop(replies.NOT_SMTP)
            if not self._greeted:
                return self._drop(replies.EARLY_TALK)
        self._unread, self._at = (self._unread[self._at :] + data if self._unread else data), 0
        if len(self._unread) > _MOST_UNREAD:
            self._wire.pause_reading()
        self._work()
        return None

    def eof_received(self) -> bool | None:
        self._half = True
        self._work()
        return not self._tls or None  # it may still wait for an answer; TLS knows no half

    def connection_lost(self, _error: Exception | None) -> None:
        self._shared.gone(self)

    def pause_writing(self) -> None:
        self._full, self._full_since = True, self.loop.time()

    def resume_writing(self) -> None:
        self._full = False
        self._work()

    # the conversation

    def _greet(self) -> None:
        if not self._wire.is_closing():
            self._greeted = True
            self._say(f"220 {self.hostname} ESMTP")
            self._flush()

    def _work(self) -> None:
        """Answer the commands that are there, in their order."""
        for _ in range(_AT_ONCE):
            if self._answering or self._full or self._resting or self._wire.is_closing():
                break
            line = self._line()
            if line is None:
                if self._half:
                    self._flush()
                    self._wire.close()
                break
            self._heard = self.loop.time()
            self._answer(line)
        else:
            self._resting = True
            self.loop.call_soon(self._rested)
        self._flush()

    def _rested(self) -> None:
        self._resting = False
        self._work()

    def _line(self) -> bytes | None:
        """The next command with its line end, b"" = one that was too long, None = wait."""
        end = self._unread.find(b"\n", self._at) + 1
        if not end:
            rest = self._unread[self._at :]
            self._too_long = self._too_long or len(rest) > _LONGEST_LINE
            self._unread, self._at = b"" if self._too_long else rest, 0
            if not self._wire.is_closing():
                self._wire.resume_reading()
            return None
        line, self._at = self._unread[self._at : end], end
        if end == len(self._unread):
            self._unread, self._at = b"", 0
        if self._too_long or len(line) > _LONGEST_LINE:
            self._too_long = False
            return b""
        return line

    def _answer(self, line: bytes) -> None:
        try:
            self._obey(line)
        except Exception as error:  # noqa: BLE001 - told or logged there
            self._fail(error)

    def _later(self, answer: Coroutine[Any, Any, None]) -> None:
        """An answer that waits for somebody: the client's next commands wait for it."""
        self._answering = self.loop.create_task(self._deliver(answer))

    async def _deliver(self, answer: Coroutine[Any, Any, None]) -> None:
        try:
            await answer
        except Exception as error:  # noqa: BLE001 - told or logged there
            self._fail(error)
        self._answering = None
        self._heard = self.loop.time()
        if self._shared.stopping and not self._wire.is_closing():
            self._hang_up(replies.STOPPING)
        self._work()

    def _fail(self, error: Exception) -> None:
        match error:
            case Hangup():
                self._note(error.reply)
                self._hang_up(error.reply)
            case Refused():
                self._note(error.reply)
                self._complain(error.reply)
            case _:  # our fault is never the sender's
                log.error("mail_refused", reply=replies.TROUBLE, peer=self.peer, exc_info=error)
                self._say(replies.TROUBLE)

    def _obey(self, line: bytes) -> None:
        if not line:
            raise Refused(replies.TOO_LONG)
        if grammar.is_foreign(line):
            raise Hangup(replies.NOT_SMTP)
        if not line.endswith(b"\r\n"):
            raise Hangup(replies.BAD_LINE)
        verb, argument = grammar.command(line[:-2])
        if len(line) > (PATH_COMMAND_LIMIT if verb in ("MAIL", "RCPT") else COMMAND_LIMIT):
            raise Refused(replies.TOO_LONG)
        if verb not in self.VERBS:
            raise Refused(replies.NOT_OFFERED if verb in _NOT_OFFERED else replies.UNKNOWN)
        self._idle_commands += verb not in _BRINGS_MAIL
        if self._idle_commands > MOST_IDLE_COMMANDS:
            raise Hangup(replies.TOO_MANY_COMMANDS)
        getattr(self, f"smtp_{verb}")(argument)

    def _complain(self, reply: str) -> None:
        """Whoever keeps talking nonsense is no mail client."""
        self._errors += reply.startswith("50")
        if self._errors > MOST_ERRORS:
            self._hang_up(replies.TOO_MANY_ERRORS)
        else:
            self._say(reply)

    # replies

    def _note(self, reply: str) -> None:
        log.info("mail_refused", reply=reply, peer=self.peer)

    def _say(self, reply: str) -> None:
        self._pending += f"{reply}\r\n".encode()

    def _flush(self) -> None:
        if self._pending:
            self._wire.write(self._pending)
            self._pending = b""

    def _hang_up(self, reply: str) -> None:
        self._say(reply)
        self._flush()
        self._wire.close()

    def _drop(self, reply: str) -> None:
        self._note(reply)
        self._hang_up(reply)
