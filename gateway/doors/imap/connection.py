"""One session with a mailbox, from login to logout: the few commands that the door needs.

Any error ends the session: after a command without an answer nobody knows what the next answer
belongs to. IMAP4rev1 is RFC 3501, IDLE 2177, MOVE 6851, UIDPLUS 4315.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Coroutine, Sequence
from typing import Any

from gateway.doors.imap import wire
from gateway.doors.imap.protocol import MOST, MailboxError, RefusedError, protocol_class
from gateway.doors.imap.settings import ImapSettings
from gateway.doors.imap.wire import Found, Lines, mailbox, quoted, uid_set
from gateway.mail.headers import clean

__all__ = ["Connection", "LoginError", "MailboxError", "RefusedError"]

TAKEN = "$FaxTaken"  # the keyword of a mail that is in the queue
GOODBYE = 3.0  # s for its answer
SLACK = 1 << 20  # bytes around a mail; RFC822.SIZE is a guess on some servers
SLOWEST = 1000.0  # bytes/s of a mail that is being fetched
_VALIDITY = re.compile(rb"\[UIDVALIDITY (\d{1,10})\]")


class LoginError(MailboxError):
    """The server does not know us."""


class Connection:
    """A selected mailbox. `news` is set when the server told of new mail."""

    def __init__(self, settings: ImapSettings) -> None:
        self.validity = 0
        self._copied: set[tuple[int, str]] = set()  # and perhaps not marked as deleted
        self._settings = settings
        self._protocol = protocol_class()(asyncio.get_running_loop())
        self.news: asyncio.Event = self._protocol.news

    async def open(self) -> None:
        """Connect, log in, select. Raises MailboxError or OSError (also for certificates)."""
        settings, protocol = self._settings, self._protocol
        try:
            await self._connect()
            await self._answer(protocol.wait("NONAUTH"))
            try:
                await self._ask(protocol.login(quoted(settings.user), settings.password))
            except RefusedError as error:
                raise LoginError(f"login refused: {error}") from None
            await self._answer(protocol.capability())  # often others than before the login
            self._selected(await self._ask(protocol.select(mailbox(settings.folder))))
        except BaseException:
            self.abort()
            raise

    async def close(self) -> None:
        """Say goodbye where anybody listens."""
        with contextlib.suppress(MailboxError, TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._ask(self._protocol.logout())
        self.abort()

    def abort(self) -> None:
        self._protocol.fail("we hung up")

    async def search(self, *criteria: str) -> list[int]:
        """UIDs, oldest first. No charset: Exchange refuses even UTF-8."""
        lines = await self._ask(self._protocol.search(*criteria, charset=None, by_uid=True))
        words = b" ".join(lines[:-1]).split()
        return sorted({int(word) for word in words if word.isdigit()})

    async def taken(self) -> list[int]:
        """Those flagged as being in the queue. Who knows no keywords has none."""
        try:
            return await self.search("UNDELETED", "KEYWORD", TAKEN)
        except RefusedError:
            return []

    async def find(self, uids: Sequence[int]) -> dict[int, Found]:
        """Facts of at most 200 mails, as far as they are still there."""
        lines = await self._fetch(uid_set(uids), "(UID RFC822.SIZE INTERNALDATE)", 0)
        return wire.found_in(lines)

    async def fetch(self, uid: int, section: str = "") -> bytes | None:
        """A whole mail, unread as it was, or its HEADER. None = somebody has removed it."""
        lines = await self._fetch(
            str(uid), f"(UID BODY.PEEK[{section}])", self._settings.max_message + SLACK
        )
        return wire.mail_in(lines, uid)

    async def mark_taken(self, uids: Sequence[int]) -> None:
        """Flag mails that are in the queue. A server without keywords marks them read."""
        protocol, these = self._protocol, uid_set(uids)
        try:
            flags = f"(\\Seen {TAKEN})"
            await self._ask(protocol.store(these, "+FLAGS.SILENT", flags, by_uid=True))
        except RefusedError:
            with contextlib.suppress(RefusedError):
                await self._ask(protocol.store(these, "+FLAGS.SILENT", "(\\Seen)", by_uid=True))

    async def move(self, uids: Sequence[int], folder: str) -> None:
        """Into a folder, which is made when it is not there."""
        try:
            await self._move(uids, mailbox(folder))
        except RefusedError:
            await self._make(mailbox(folder))
            await self._move(uids, mailbox(folder))

    async def probe(self) -> None:
        """Does anybody still listen?"""
        await self._ask(self._protocol.simple_command("NOOP"))

    async def wait(self, stop: asyncio.Event, most: float) -> None:
        """Until there is news, `stop`, or so many seconds are over."""
        if "IDLE" in self._capabilities:
            await self._idle(stop, most)
        else:
            await self._rest(stop, min(most, self._settings.poll))

    async def _idle(self, stop: asyncio.Event, seconds: float) -> None:
        protocol = self._protocol
        idle = asyncio.ensure_future(protocol.idle())
        started = asyncio.ensure_future(protocol.wait_for_idle_response())
        try:
            await self._first({idle, started})
            if not idle.done():
                await self._rest(stop, seconds, idle)
            if not idle.done():
                protocol.idle_done()
            response = await self._answer(idle)
            if response.result != "OK":  # it only says that it can
                protocol.capabilities.discard("IDLE")
        finally:
            started.cancel()
            idle.cancel()
        while not protocol.idle_queue.empty():
            protocol.idle_queue.get_nowait()

    async def _rest(
        self, stop: asyncio.Event, seconds: float, *others: asyncio.Future[Any]
    ) -> None:
        events = [asyncio.ensure_future(event.wait()) for event in (stop, self.news)]
        try:
            await asyncio.wait(
                {*events, *others, self._protocol.lost},
                timeout=seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for event in events:
                event.cancel()

    async def _connect(self) -> None:
        settings, loop = self._settings, asyncio.get_running_loop()
        context = settings.context or ssl.create_default_context()
        connecting = loop.create_connection(
            lambda: self._protocol,
            settings.host,
            settings.port,
            ssl=context,
            server_hostname=settings.host,
            ssl_handshake_timeout=settings.patience,  # cancelled, uvloop would keep the socket open
        )
        try:
            await asyncio.wait_for(connecting, 2 * settings.patience)
        except (TimeoutError, ConnectionAbortedError):
            raise MailboxError(f"no connection in {settings.patience:g} s") from None

    def _selected(self, lines: Lines) -> None:
        said = b" ".join(lines)
        validity = _VALIDITY.search(said)
        if b"[READ-ONLY]" in said:
            raise MailboxError(f"{self._settings.folder} may only be read: mails cannot be moved")
        self.validity = int(validity[1]) if validity else 0

    @property
    def _capabilities(self) -> set[str]:
        return {str(word).upper() for word in self._protocol.capabilities}

    async def _fetch(self, uids: str, what: str, most: int) -> Lines:
        """Some 100 lines at most: the library reads all of them anew with each one."""
        return await self._ask(self._protocol.fetch(uids, what, by_uid=True), most)

    async def _move(self, uids: Sequence[int], folder: str) -> None:
        protocol, these = self._protocol, uid_set(uids)
        if "MOVE" in self._capabilities:
            await self._ask(protocol.move(these, folder, by_uid=True))
            return
        if new := [uid for uid in uids if (uid, folder) not in self._copied]:
            await self._ask(protocol.copy(uid_set(new), folder, by_uid=True))
            self._copied |= {(uid, folder) for uid in new}
        await self._ask(protocol.store(these, "+FLAGS.SILENT", "(\\Deleted)", by_uid=True))
        if "UIDPLUS" in self._capabilities:  # a plain EXPUNGE would hit other people's mails too
            await self._ask(protocol.expunge(these, by_uid=True))

    async def _make(self, folder: str) -> None:
        for command in ("CREATE", "SUBSCRIBE"):
            try:
                await self._ask(self._protocol.simple_command(command, folder))
            except RefusedError:  # it is there, or the move will say why not
                continue

    async def _ask(self, command: Coroutine[Any, Any, Any], mail: int = 0) -> Lines:
        """Run a command; its lines, the last of them the server's own words."""
        response = await self._answer(command, mail)
        lines: Lines = response.lines
        if response.result != "OK":
            words = lines[-1].decode("utf-8", "replace") if lines else ""
            words = wire.without(self._settings.password, words)
            raise RefusedError(clean(f"{response.result} {words}"))
        return lines

    async def _answer(
        self, command: Coroutine[Any, Any, Any] | asyncio.Future[Any], mail: int = 0
    ) -> Any:  # noqa: ANN401
        self._protocol.received, self._protocol.most = 0, mail + MOST
        task = asyncio.ensure_future(command)
        try:
            await self._first({task}, SLOWEST if mail else 0.0)
        finally:
            task.cancel()
        try:
            return task.result()
        except Exception as error:  # noqa: BLE001 - its text may hold the command: a password
            raise MailboxError(f"the library gave up ({type(error).__name__})") from None

    async def _first(self, tasks: set[asyncio.Future[Any]], least: float = 0.0) -> None:
        """Wait for the first of these. None in time: MailboxError, and the session is over.

        With `least`, time goes on while so many bytes a second come in.
        """
        protocol, patience = self._protocol, self._settings.patience
        while True:
            before = protocol.received
            everything = {*tasks, protocol.lost}
            await asyncio.wait(everything, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if any(task.done() for task in tasks):
                return
            if not (least and protocol.received - before >= least * patience):
                protocol.fail(f"no answer in {patience:g} s")
            if protocol.lost.done():
                raise MailboxError(protocol.lost.result())
