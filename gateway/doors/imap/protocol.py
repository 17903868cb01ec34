"""aioimaplib with a guard around it: how its protocol is fed, and how it hears of its end.

The library calls itself once for each line of a chunk, drops news that nobody waits for, never
tells a waiting command that the connection is gone, and repeats commands in its errors, which may
hold a password. So it is fed a few lines at a time, counted, and whoever waits watches `lost` too.
It is licensed under the GPL: used by its public methods only, imported when a mailbox is really
opened, and by this module alone.
"""

from __future__ import annotations

import asyncio
import logging
import re
from functools import cache
from typing import Any

from gateway.mail.headers import clean

MOST = 4 << 20  # bytes of an answer that is no mail
_LINES = re.compile(rb"(?:[^\n]*\n){1,100}|[^\n]+")  # so deep may the library call itself
_MOST_HELD = 64 << 10  # bytes of a line that are kept back until it is whole
_EXISTS = b" EXISTS\r\n"  # RFC 3501 §7.3.1


class MailboxError(Exception):
    """The mailbox cannot be worked with just now; the text says why."""


class RefusedError(MailboxError):
    """The server said NO or BAD to a command; the session goes on."""


class Guard(asyncio.Protocol):
    """`lost` comes to the reason when the connection ends; `news` is set by a new mail."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)  # type: ignore[call-arg]  # the library's
        self.lost: asyncio.Future[str] = loop.create_future()
        self.news = asyncio.Event()
        self.most = MOST
        self.received = 0  # bytes since somebody set it to 0
        self._held = bytearray()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.lost.done():
            return
        if self.received > self.most:
            self.fail(f"the server sent more than {self.most:,} bytes")
            return
        self._held += data
        whole = self._held.rfind(b"\n") + 1
        if whole or len(self._held) > _MOST_HELD:
            feed = bytes(self._held[: whole or None])
            del self._held[: len(feed)]
            self._feed(feed)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.fail(f"the connection is lost: {exc}" if exc else "the server hung up")

    async def welcome(self, command: bytes) -> None:
        """Read the greeting; the library lets it run by itself."""
        if command.upper().startswith(b"* PREAUTH"):
            self.fail("the server says PREAUTH: nobody has asked who we are")
            return
        try:
            await super().welcome(command)  # type: ignore[misc]  # the library's
        except Exception:  # noqa: BLE001 - nobody awaits this
            self.fail(f"the server greets us with {command[:200].decode('utf-8', 'replace')}")

    def fail(self, why: str) -> None:
        """End it: what the library believes of the connection is not known any more."""
        if not self.lost.done():
            self.lost.set_result(clean(why))
        if transport := getattr(self, "transport", None):
            transport.abort()

    def _feed(self, feed: bytes) -> None:
        if _EXISTS in feed:  # perhaps only a mail's text says so: one look too many
            self.news.set()
        try:
            for lines in _LINES.finditer(feed):
                super().data_received(lines[0])
        except Exception as error:  # noqa: BLE001 - whatever a strange answer does to it
            self.fail(f"the server's answer makes no sense ({type(error).__name__})")


@cache
def protocol_class() -> type[Any]:
    """The library's protocol with the guard before it."""
    from aioimaplib import aioimaplib  # noqa: PLC0415 - lazily, see above

    # its debug log tells whole mails, its info log what it did not understand of them
    logging.getLogger("aioimaplib.aioimaplib").setLevel(logging.WARNING)

    class Protocol(Guard, aioimaplib.IMAP4ClientProtocol):  # type: ignore[misc]
        pass

    return Protocol
