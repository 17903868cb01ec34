"""A connection to one client: aiosmtpd's protocol class with our own command loop.

aiosmtpd 1.4.6 asks `inspect` about itself for every connection, arms a timer for every command,
cancels a command whose client half-closed, and tells clients the text of our exceptions. What is
used of it: the protocol, session state, its `smtp_VERB` coroutines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import AnyStr, cast

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
_MOST_PENDING = 4096  # bytes of replies to one batch of commands
_BRINGS_MAIL = frozenset({"MAIL", "RCPT", "DATA", "QUIT"})


class _NoHooks:
    """aiosmtpd wants a handler; everything it could hook is overridden here."""

    def __dir__(self) -> Iterable[str]:
        return ()


_NO_HOOKS = _NoHooks()


class Connection(SMTP):
    """Lines in, replies out, deadlines; `VERBS` of a subclass say what there is to do."""

    VERBS: frozenset[str] = frozenset()
    line_length_limit = 2 * PATH_COMMAND_LIMIT  # of the reader of commands

    def __init__(self, shared: Shared, connections: set[Connection]) -> None:
        self._shared = shared
        self._connections = connections
        self._pending = bytearray()  # replies to pipelined commands leave together
        self._greeted = self._spoken = self._listening = False
        self._errors = self._idle_commands = 0
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

    @property
    def conversation(self) -> asyncio.Task[None]:
        return cast("asyncio.Task[None]", self._handler_coroutine)

    def dismiss(self) -> None:
        """The gateway stops: end now if the client has no mail under way."""
        if self._listening:
            self._wire.write(_wired(replies.STOPPING))
            self._wire.close()

    def cut(self, reply: str = replies.STOPPING) -> None:
        """At once: close() would wait for a client that reads nothing."""
        self._wire.write(_wired(reply))
        self._wire.abort()

    # the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        self.peer = str(transport.get_extra_info("peername")[0])
        super().connection_made(transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._spoken:
            super().data_received(data)
            return
        self._spoken = True
        if grammar.is_foreign(data):
            self._drop(replies.NOT_SMTP)
        elif not self._greeted:
            self._drop(replies.EARLY_TALK)
        else:
            super().data_received(data)

    def eof_received(self) -> bool | None:
        # not aiosmtpd's: that one cancels what the client may still wait for
        return asyncio.StreamReaderProtocol.eof_received(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        super().connection_lost(error)

    # deadlines: one timer a connection, which looks at the clock when it rings

    def _reset_timeout(self, _duration: float | None = None) -> None:
        self._heard = self.loop.time()
        if self._timeout_handle is None:
            self._timeout_cb()

    def _timeout_cb(self) -> None:
        left = self._time_left()
        if left > 0:
            self._timeout_handle = self.loop.call_later(left, self._timeout_cb)
            return
        self.cut(replies.TIMEOUT)

    def _time_left(self) -> float:
        limits, body = self._shared.settings, self._body
        if body and body.ended:
            return limits.idle  # now the client waits for us
        heard, since = (body.heard, body.since) if body else (self._heard, self._since)
        return min(heard + limits.idle, since + limits.life) - self.loop.time()

    # the conversation

    async def _handle_client(self) -> None:
        try:
            await self._greet()
            while not self._wire.is_closing():
                await self._answer(await self._line())
                if self._shared.stopping:
                    await self._hang_up(replies.STOPPING)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            self._wire.close()

    async def _greet(self) -> None:
        await asyncio.sleep(0)  # one look at the socket: who talks first is no mail client
        if not self._wire.is_closing():
            self._greeted = True
            await self.push(f"220 {self.hostname} ESMTP")

    async def _line(self) -> bytes:
        """The next command with its line end; replies leave before we wait for it."""
        if b"\n" in self._unread:
            await asyncio.sleep(0)  # somebody may send thousands at once: the others' turn
        if b"\n" not in self._unread or len(self._pending) > _MOST_PENDING:
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
        except Hangup as last:
            self._note(last.reply)
            await self._hang_up(last.reply)
        except Refused as refused:
            self._note(refused.reply)
            await self._complain(refused.reply)
        except Exception as error:  # noqa: BLE001 - our fault is never the sender's
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
        if verb not in self.VERBS:
            raise Refused(replies.NOT_OFFERED if verb in _NOT_OFFERED else replies.UNKNOWN)
        self._idle_commands += verb not in _BRINGS_MAIL
        if self._idle_commands > MOST_IDLE_COMMANDS:
            raise Hangup(replies.TOO_MANY_COMMANDS)
        await getattr(self, f"smtp_{verb}")(argument)

    async def _skip_line(self) -> None:
        while True:
            try:
                await self._reader.readuntil()
            except asyncio.LimitOverrunError as error:
                await self._reader.readexactly(error.consumed)
            else:
                return

    async def _complain(self, reply: str) -> None:
        """Whoever keeps talking nonsense is no mail client."""
        self._errors += reply.startswith("50")
        if self._errors > MOST_ERRORS:
            await self._hang_up(replies.TOO_MANY_ERRORS)
        else:
            self._say(reply)

    # replies

    async def push(self, status: AnyStr) -> None:
        """Say it now."""
        self._say(status if isinstance(status, str) else status.decode())
        await self._flush()

    async def handle_exception(self, error: Exception) -> str:
        log.error("mail_refused", reply=replies.TROUBLE, peer=self.peer, exc_info=error)
        return replies.TROUBLE

    def _note(self, reply: str) -> None:
        log.info("mail_refused", reply=reply, peer=self.peer)

    def _say(self, reply: str) -> None:
        self._pending += _wired(reply)

    async def _flush(self) -> None:
        self._wire.write(bytes(self._pending))
        self._pending.clear()
        await self._writer.drain()

    async def _hang_up(self, reply: str) -> None:
        await self.push(reply)
        self._wire.close()

    def _drop(self, reply: str) -> None:
        self._note(reply)
        self._wire.write(_wired(reply))
        self._wire.close()

    @property
    def _unread(self) -> bytearray:
        """What the client sent and we did not look at yet."""
        return cast("bytearray", self._reader._buffer)  # type: ignore[attr-defined]  # noqa: SLF001


def _wired(reply: str) -> bytes:
    return f"{reply}\r\n".encode()
