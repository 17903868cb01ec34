"""What we say to a client and how we part: aiosmtpd's protocol class without its conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiosmtpd.smtp import SMTP

from gateway.doors.smtp import replies
from gateway.doors.smtp.record import Record
from gateway.doors.smtp.settings import Kind
from gateway.doors.smtp.shared import Shared

_MOST_UNSENT = 16384  # bytes of replies that wait for the client
_LAST_WORD = 1.0  # s until a connection that was told goodbye is cut


class _NoHooks:
    """aiosmtpd wants a handler; everything it could hook is overridden here."""

    def __dir__(self) -> Iterable[str]:
        return ()


_NO_HOOKS = _NoHooks()


class Speaker(SMTP):
    """Replies out, each remembered in the session's record."""

    wire: asyncio.Transport
    encrypted = False

    def __init__(self, shared: Shared, kind: Kind) -> None:
        self.shared = shared
        self.kind = kind
        self.peer = ""
        self.deaf = kind is Kind.TLS  # until TLS is on it would read a word as broken TLS
        self.record = Record(shared, kind)
        self._pending = b""  # replies to pipelined commands leave together
        super().__init__(
            _NO_HOOKS,
            hostname=shared.settings.hostname,
            data_size_limit=shared.settings.max_message,
            enable_SMTPUTF8=True,
            loop=shared.loop,
        )

    def __dir__(self) -> Iterable[str]:
        return ()  # what aiosmtpd would find out for every connection, `VERBS` knows

    def over(self, transport: asyncio.Transport) -> None:
        """The same client, over TLS."""
        self.speak_over(transport)
        self.encrypted, self.deaf = True, False

    def speak_over(self, transport: asyncio.Transport) -> None:
        self.wire = transport
        self.wire.set_write_buffer_limits(high=_MOST_UNSENT)

    def note(self, reply: str, because: str) -> None:
        """A refusal, for the log and for `rejects`."""
        self.record.refused(self.peer, reply, because)

    def say(self, reply: str) -> None:
        """It leaves with the next flush; while TLS is awaited nobody is told a word."""
        if self.deaf:
            return
        self.record.transcript.said(reply)
        self._pending += f"{reply}\r\n".encode()

    def flush(self) -> None:
        if self._pending and not self.wire.is_closing():
            self.wire.write(self._pending)
        self._pending = b""

    def hang_up(self, reply: str) -> None:
        """Our last word; the connection ends when it has left."""
        self.record.parted()
        self.say(reply)
        self.flush()
        self.wire.close()

    def drop(self, reply: str, because: str) -> None:
        """A refusal that ends the session."""
        self.note(reply, because)
        self.hang_up(reply)

    def cut(self, reply: str = replies.STOPPING) -> None:
        """A last word if the client listens, then the end: close() alone would wait for it."""
        if not self.wire.is_closing():
            self.hang_up(reply)
        self.loop.call_later(_LAST_WORD, self.wire.abort)
