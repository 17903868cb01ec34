"""Composition root: builds everyone from the settings, introduces them, and runs one TaskGroup.

Start: spool and store first (they prove that this process is alone), then rooms, then doors. Stop
has two stages: SIGTERM closes the doors and lets rooms finish their fax; after `GRACE` seconds
the deadline cancels what is left, and that comes due again at the next start.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

import structlog

from gateway import build, numbers, systemd
from gateway.build import StartError, doors
from gateway.config import Config, ConfigError
from gateway.doors.poll import Poll
from gateway.doors.smtp.tls import Certificates, TlsError
from gateway.doors.smtp.users import Users, UsersError
from gateway.janitor import Retention, keep_house
from gateway.mail import compose
from gateway.rules import RulesError
from gateway.store import StoreError
from gateway.store.sqlite import SAFE_VERSION, SchemaError
from gateway.worker import Room, staff

log = structlog.get_logger()

GRACE = 25.0  # s that rooms get to finish their fax
LAST_WORDS = 1.0  # s in which those who wait hear that their mail was not taken
_THIS_WAS_WRITTEN = 1_790_000_000.0  # 2026: a clock before it is wrong
STATUS_EVERY = 10.0  # s between status lines for systemd, where no watchdog sets the pace

__all__ = ["Gateway", "StartError", "run_gateway"]


class Gateway:
    """The daemon: everyone it is made of, from start to stop."""

    def __init__(self, config: Config, again: Callable[[], Config] | None = None) -> None:
        """`again` reads the settings anew: of what may change, the mailbox's password is used."""
        numbers.load_all()
        self.config = config
        self._again = again
        self.stop = asyncio.Event()
        self.parts = build.parts(config)
        self.spool, self.store = self.parts.spool, self.parts.store
        self.workshop, self.provider = self.parts.workshop, self.parts.provider
        try:
            sockets = systemd.listen_sockets()
            self.smtp = doors.smtp_door(self.parts, sockets)
        except (systemd.SocketsError, TlsError, UsersError) as error:
            raise StartError("; ".join(error.problems)) from error
        self.imap = doors.imap_door(self.parts)
        self.web = doors.web_server(config, self.store, self.spool, sockets)

    async def run(self, ready: Callable[[Gateway], None] | None = None) -> None:
        """Work until `stop` is set; then finish what is begun, at most `GRACE` seconds."""
        async with AsyncExitStack() as stack:
            await self._open(stack)
            rooms = build.rooms(self.parts)
            await self._listen(stack)
            self._tell_started()
            if ready:
                ready(self)
            await self._work(rooms)
        log.info("gateway_stopped")

    async def _open(self, stack: AsyncExitStack) -> None:
        try:
            await self.spool.open()
            stack.push_async_callback(self.spool.close)
            await self.store.open()
        except BlockingIOError:
            raise StartError(f"another gateway works in {self.config.DATA_DIR}: stop it") from None
        except (OSError, SchemaError, StoreError, sqlite3.Error) as error:
            raise StartError(f"{self.config.DATA_DIR} is of no use: {error}") from error
        stack.push_async_callback(self.store.close)
        stack.push_async_callback(self.parts.refusals.flush)  # what the last sessions brought
        stack.push_async_callback(self.parts.transcripts.flush)
        stack.push_async_callback(self.provider.close)
        stack.push_async_callback(self.workshop.stop)
        await self.workshop.start()

    async def _listen(self, stack: AsyncExitStack) -> None:
        at = self.config.WEB_LISTEN
        try:
            await self.web.start()
            stack.push_async_callback(self.web.stop)
        except OSError as error:
            raise StartError(f"cannot listen on {at.host}:{at.port}: {error}") from error
        try:
            await self.smtp.start()
            stack.push_async_callback(self.smtp.stop)
        except OSError as error:
            raise StartError(str(error)) from error

    async def _work(self, rooms: list[Room]) -> None:
        config = self.config
        keep = Retention(
            config.FAX_RETENTION_SENT, config.FAX_RETENTION_FAILED, config.FAX_RETENTION_RECEIVED
        )
        poll = Poll(self.provider, self.store, config.INBOUND_POLL_INTERVAL)
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as tasks:
                for room in rooms:
                    for _ in range(room.at_once):
                        tasks.create_task(staff(room, self.store, self.stop), name=room.name)
                if config.INBOUND in ("both", "poll"):
                    tasks.create_task(poll.run(self.stop), name="poll")
                if self.imap:
                    tasks.create_task(self.imap.run(self.stop), name="imap")
                tasks.create_task(self.parts.refusals.run(self.stop), name="refusals")
                tasks.create_task(self.parts.transcripts.run(self.stop), name="transcripts")
                house = keep_house(self.store, self.spool, keep, self.stop)
                tasks.create_task(house, name="janitor")
                tasks.create_task(self._watch(), name="watchdog")
                until_stop = [
                    tasks.create_task(self.parts.pager.run(), name="pager"),
                    tasks.create_task(_end_when(self.spool.broken), name="spool's disk"),
                    tasks.create_task(_end_when(self.store.broken), name="store's disk"),
                ]
                await self.stop.wait()
                systemd.notify("STOPPING=1", "STATUS=finishing the faxes at work")
                self.store.ring()
                for task in until_stop:
                    task.cancel()
                tasks.create_task(self.smtp.stop(GRACE - 5.0), name="smtp")  # doors close first
                deadline.reschedule(asyncio.get_running_loop().time() + GRACE)

    async def _watch(self) -> None:
        """Feed the watchdog after a real round: the loop runs, the store answers."""
        interval = systemd.watchdog_interval()
        while not self.stop.is_set():
            try:
                counts = await self.store.counts()
                held = sum(row["faxes"] for row in counts if row["held"])
                at_work = sum(row["faxes"] for row in counts) - held
                systemd.notify("WATCHDOG=1", f"STATUS={at_work} faxes at work, {held} held")
            except StoreError as error:
                log.error("store_failed", error=str(error))  # noqa: TRY400 - no bug
            with suppress(TimeoutError):
                async with asyncio.timeout(min(interval or STATUS_EVERY, STATUS_EVERY)):
                    await self.stop.wait()

    def reload(self) -> None:
        """SIGHUP: new rules, users, certificates, password, or the old ones and a word why."""
        self._reload_rules()
        self._reload_password()
        for what in self._credentials():
            try:
                what.reload()
            except (TlsError, UsersError) as error:
                log.error("reload_refused", problems=error.problems)  # noqa: TRY400 - no bug
            else:
                self._warn(what)

    def _reload_rules(self) -> None:
        if not self.config.RULES_FILE.exists():  # just being replaced, perhaps
            gone = f"{self.config.RULES_FILE} is not there: the rules in force are kept"
            log.error("rules_refused", problems=[gone])
            return
        try:
            rules = build.rules_of(self.config)
        except RulesError as error:
            log.error("rules_refused", problems=error.problems)  # noqa: TRY400 - no bug
            return
        self.parts.rules, self.parts.policy = rules, build.policy_of(self.config, rules)
        self.smtp.services.policy = self.parts.policy
        log.info("rules_loaded", routes=len(rules.route), senders=len(rules.sender))

    def _reload_password(self) -> None:
        if not (self.imap and self._again):
            return
        try:
            password = self._again().IMAP_PASSWORD
        except ConfigError as error:
            log.error("reload_refused", problems=error.problems)  # noqa: TRY400 - no bug
        else:
            self.imap.renew(password.get_secret_value())

    def _credentials(self) -> list[Users | Certificates]:
        services = self.smtp.services
        return [what for what in (services.users, services.certificates) if what]

    def _warn(self, what: Users | Certificates) -> None:
        for warning in what.warnings:
            log.warning("credentials_warning", problem=warning)

    def _tell_started(self) -> None:
        for what in self._credentials():
            self._warn(what)
        web = "{}:{}".format(*self.web.address)
        mail = {kind: f"{host}:{port}" for kind, (host, port) in self.smtp.addresses.items()}
        log.info("gateway_started", **mail, web=web, pid=os.getpid())
        systemd.notify("READY=1", f"STATUS=mail on {', '.join(mail.values())}, webhooks on {web}")


async def _end_when(broken: asyncio.Event) -> None:
    await broken.wait()
    await asyncio.sleep(LAST_WORDS)
    raise StartError("the disk failed an fsync, or lost a file: nothing on it can be vouched for")


async def run_gateway(config: Config, again: Callable[[], Config] | None = None) -> None:
    """The daemon in the foreground: SIGTERM and SIGINT end it, SIGHUP reads the rules again."""
    warn(config)
    gateway = Gateway(config, again)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stop.set)
    loop.add_signal_handler(signal.SIGHUP, gateway.reload)
    try:
        await gateway.run()
    except* StartError as group:
        raise group.exceptions[0] from None  # one sentence for people, not a tree


def warn(config: Config) -> None:
    """The self-test at the start: what is not as it should be, and is no reason to stop."""
    if broken := compose.self_test():
        raise StartError(f"this Python writes broken mail headers for {broken}")
    if sqlite3.sqlite_version_info < SAFE_VERSION:
        log.info("sqlite_old", version=sqlite3.sqlite_version, protected_by="one writer connection")
    if time.time() < _THIS_WAS_WRITTEN:
        log.warning("clock_wrong", now=time.time())
    for name in config.secret_names():
        os.environ.pop(name, None)  # no child ever sees it
