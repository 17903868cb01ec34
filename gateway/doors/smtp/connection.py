"""A connection to one client: its lines, its deadlines, and our own command loop.

Lines are answered as they come in, without a task or a stream between the socket and the verb:
only what waits for somebody else (DATA, a login, TLS) is a task. aiosmtpd 1.4.6 asks `inspect`
about itself for every connection, arms a timer for every command, cancels a command whose client
half-closed, and tells clients the text of our exceptions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import structlog

from gateway.doors import transcripts
from gateway.doors.smtp import grammar, replies
from gateway.doors.smtp.arrival import arrive, proxied
from gateway.doors.smtp.body import Body
from gateway.doors.smtp.grammar import Hangup, Refused
from gateway.doors.smtp.guests import Guest
from gateway.doors.smtp.lines import Lines
from gateway.doors.smtp.settings import MOST_ERRORS, PATH_COMMAND_LIMIT, Kind
from gateway.doors.smtp.shared import Shared
from gateway.doors.smtp.speaker import Speaker

log = structlog.get_logger()

_AT_ONCE = 20  # commands of one client before the others have their turn
_MOST_UNREAD = 65536  # bytes of commands that wait while an answer takes its time
_NONSENSE = ("50", "535", "538", "555")  # replies to what no client says twice


class Connection(Speaker):
    """Lines in, replies out, deadlines; a subclass says in `_obey` what there is to do."""

    guest: Guest | None = None  # None = not let in yet, or turned away
    proxy: bytes | None = None  # of a PROXY header that is awaited

    def __init__(self, shared: Shared, kind: Kind) -> None:
        super().__init__(shared, kind)
        self._lines = Lines(2 * PATH_COMMAND_LIMIT)
        self._is_greeted = self._spoken = self._full = self._resting = self._half = False
        self._errors = 0
        self._closing = 0.0  # since when, as far as anybody looked
        self._answering: asyncio.Task[None] | None = None
        self._since = self._heard = shared.loop.time()
        self._body: Body | None = None  # while the client sends DATA

    @property
    def tolerant(self) -> bool:
        """Copiers: what they get wrong in form is understood all the same (M13)."""
        return self.kind is Kind.DEVICE

    def _obey(self, line: bytes) -> None:
        raise NotImplementedError

    def dismiss(self) -> None:
        """The gateway stops: end now if the client has no mail under way."""
        if not self._answering:
            self.hang_up(replies.STOPPING)

    def check(self, now: float) -> None:
        """Has the client run out of time? Asked again and again."""
        if self.wire.is_closing():  # it waits for a client to read our last word
            self._closing = self._closing or now
            if now >= self._closing + self.shared.settings.unread:
                self.wire.abort()
        elif now >= self._deadline():
            self.record.transcript.note(transcripts.TIMED_OUT)
            self.note(replies.TIMEOUT, "timeout")
            self.cut(replies.TIMEOUT)

    def _deadline(self) -> float:
        limits, body = self.shared.settings, self._body
        if self.proxy is not None:
            return self._since + limits.handshake
        if self._full:
            return self._full_since + limits.unread
        if body and not body.ended:
            return min(body.heard + self.shared.idle, body.since + limits.life)
        if self._answering:
            return float("inf")  # now the client waits for us
        return min(self._heard + self.shared.idle, self._since + limits.life)

    # the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # not aiosmtpd's: it makes a reader, a writer and a task
        self.speak_over(cast("asyncio.Transport", transport))
        self.shared.connections.add(self)
        if address := transport.get_extra_info("peername"):
            self.peer = str(address[0])
            arrive(self)
        else:  # it has left before anybody looked
            self.wire.abort()

    def data_received(self, data: bytes) -> None:
        if self.proxy is not None:
            data = proxied(self, data)
        if not self.guest or not data:
            return None
        if not (self._spoken or self._answering):  # in a handshake `greet` asks
            self._spoken = True
            if grammar.is_foreign(data):
                return self.drop(replies.NOT_SMTP, "cross_proto")
            if not self._is_greeted:
                return self.drop(replies.EARLY_TALK, "pipelining")
        self._lines.feed(data)
        if len(self._lines) > _MOST_UNREAD:
            self.wire.pause_reading()
        self._work()
        return None

    def eof_received(self) -> bool | None:
        self._half = True
        self._work()
        # it may still wait for an answer; TLS knows no half
        return not self.encrypted or None

    def connection_lost(self, _error: Exception | None) -> None:
        if self not in self.shared.connections:
            return  # known already: asyncio is silent about a client that leaves in a handshake
        self.shared.gone(self)
        if self.guest:
            self.shared.guests.leave(self.guest)
        self.record.left(in_data=self._body is not None and not self._body.ended)
        if not self._answering:  # else what becomes of its mail is not known yet
            self.record.keep(self.peer)

    def pause_writing(self) -> None:
        self._full, self._full_since = True, self.loop.time()

    def resume_writing(self) -> None:
        self._full = False
        self._work()

    def early(self) -> bytes:
        """What was heard and not looked at."""
        return self._lines.take()

    # the conversation

    def greet(self) -> None:
        if self.wire.is_closing():
            return
        if len(self._lines):  # with the end of its TLS handshake
            self.drop(replies.EARLY_TALK, "pipelining")
        else:
            self._is_greeted = True
            self.say(f"220 {self.hostname} ESMTP")
            self.flush()

    def _work(self) -> None:
        """Answer the commands that are there, in their order."""
        for _ in range(_AT_ONCE):
            if self._answering or self._full or self._resting or self.wire.is_closing():
                break
            line = self._lines.next()
            if line is None:
                self._wait()
                break
            self._heard = self.loop.time()
            self.record.transcript.heard(line)
            try:
                self._obey(line)
            except Exception as error:  # noqa: BLE001 - told or logged there
                self._fail(error)
        else:
            self._resting = True
            self.shared.rest(self)
        self.flush()

    def _wait(self) -> None:
        """For the rest of a command, if one can still come."""
        if self._half:
            self.flush()
            self.wire.close()
        elif self._lines.thrown > _MOST_UNREAD:
            self.drop(replies.TOO_LONG, "syntax")
        else:
            self.wire.resume_reading()

    def rested(self) -> None:
        self._resting = False
        self._work()

    def later(self, answer: Coroutine[Any, Any, None], *, on_us: bool = True) -> asyncio.Task[None]:
        """An answer that takes time: the client's next commands wait for it.

        `on_us`: it is us who take the time, so nobody may have the client's place meanwhile.
        """
        if self.guest and on_us:
            self.guest.waits(self.loop.time())
        self._answering = task = self.loop.create_task(self._deliver(answer))
        return task

    async def _deliver(self, answer: Coroutine[Any, Any, None]) -> None:
        try:
            await answer
        except Exception as error:  # noqa: BLE001 - told or logged there
            self._fail(error)
        finally:  # also when it is cancelled: the client left in the middle of DATA
            self._answering = None
            if self not in self.shared.connections:
                self.record.keep(self.peer)
        if self not in self.shared.connections:
            return
        self._heard = self.loop.time()
        if self.guest:
            self.guest.answered(self._heard)
        if self.shared.stopping and not self.wire.is_closing():
            self.hang_up(replies.STOPPING)
        self._work()

    def _fail(self, error: Exception) -> None:
        match error:
            case Hangup():
                self.note(error.reply, error.because)
                self.hang_up(error.reply)
            case Refused():
                self.note(error.reply, error.because)
                self._complain(error.reply)
            case _:  # our fault is never the sender's
                log.error("mail_refused", reply=replies.TROUBLE, peer=self.peer, exc_info=error)
                self.say(replies.TROUBLE)

    def _complain(self, reply: str) -> None:
        """Whoever keeps talking nonsense is no mail client."""
        self._errors += reply.startswith(_NONSENSE)
        if self._errors > MOST_ERRORS:
            self.hang_up(replies.TOO_MANY_ERRORS)
        else:
            self.say(reply)
