"""Composition root: builds everyone from the settings, introduces them, and runs one TaskGroup.

Start: spool and store first (they prove that this process is alone), then rooms, then doors. Stop
has two stages: SIGTERM closes the doors and lets rooms finish their fax; after `GRACE` seconds
the deadline cancels what is left, and that comes due again at the next start.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog

from gateway import systemd
from gateway.config import Config
from gateway.document import Workshop
from gateway.doors.smtp import SmtpDoor, SmtpSettings
from gateway.janitor import Retention, keep_house
from gateway.model import State
from gateway.numbers import DialPlan
from gateway.outbound.intake import Intake
from gateway.outbound.prepare import Prepare
from gateway.outbound.submit import Submit
from gateway.outbound.track import Track
from gateway.provider.audian import Access, Audian
from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store
from gateway.store.sqlite import SchemaError
from gateway.worker import Room, one, staff

log = structlog.get_logger()

DATABASE = "gateway.db"
GRACE = 25.0  # s that rooms get to finish their fax
DAY = 86400.0


class StartError(Exception):
    """The gateway cannot start here; the text says why and what to do."""


class Gateway:
    """Everyone, built and introduced."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.stop = asyncio.Event()
        self.spool = Spool(config.DATA_DIR)
        self.store = Store(config.DATA_DIR / DATABASE)
        self.workshop = Workshop(scratch=config.DATA_DIR / "incoming")
        self.provider = Audian(
            Access(
                config.AUDIAN_URL,
                config.AUDIAN_ACCOUNT_ID,
                config.AUDIAN_AUTH_TOKEN.get_secret_value(),
                config.AUDIAN_AUTH,
                config.AUDIAN_REQUESTS_PER_SECOND,
            )
        )
        self.smtp = self._smtp_door()

    def rooms(self) -> list[Room]:
        """One line a step."""
        config = self.config
        prepare = Prepare(self.spool, self.workshop, config.FAX_MAX_PAGES, config.paper)
        submit = Submit(self.provider, self.store, self.spool)
        track = Track(self.provider, config.FAX_TRACK_INTERVAL)
        life = config.FAX_QUEUE_LIFE
        return [
            Room("prepare", State.ACCEPTED, one(prepare), at_once=2, life=life, give_up="fail"),
            Room(
                "submit", State.PREPARED, one(submit), at_once=4, life=life, limit=900.0,
                give_up="fail",
            ),
            Room("track", State.SUBMITTED, track, most=20_000, limit=600.0, longest_wait=60.0),
        ]  # fmt: skip

    def _smtp_door(self) -> SmtpDoor:
        config = self.config
        settings = SmtpSettings(
            hostname=socket.gethostname(),
            host=config.SMTP_LISTEN.host,
            port=config.SMTP_LISTEN.port,
            domains=config.FAX_DOMAINS,
            trusted=config.SMTP_TRUSTED_NETWORKS,
            max_message=config.SMTP_MAX_MESSAGE,
            max_recipients=config.FAX_MAX_RECIPIENTS,
        )
        intake = Intake(self.spool, self.store, config.FAX_FROM_NUMBER)
        plan = DialPlan(config.FAX_HOME_COUNTRY, config.countries)
        return SmtpDoor(settings, plan, intake, self.spool)
