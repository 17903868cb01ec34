"""Settings → parts: each is built here, once, and gets only its own settings."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

from gateway.alarm import Alarm
from gateway.config import Config
from gateway.document import Workshop
from gateway.doors.refusals import Refusals
from gateway.doors.transcripts import Transcripts
from gateway.inbound.deliver import Deliver
from gateway.inbound.fetch import Fetch
from gateway.inbound.settle import Settle
from gateway.mail.post import Post
from gateway.mail.smarthost import Relay, Smarthost
from gateway.model import State
from gateway.outbound.intake import Intake
from gateway.outbound.notify import MOST, Notify
from gateway.outbound.permit import Defaults, Policy
from gateway.outbound.prepare import Prepare
from gateway.outbound.submit import Submit
from gateway.outbound.track import Track
from gateway.pager import Pager
from gateway.provider.audian import Access, Audian
from gateway.rules import Rules, load
from gateway.spool import Spool
from gateway.store import DATABASE, HELD, Store
from gateway.worker import Room, one

DAY = 86400.0
MOST_OPEN = 20_000  # faxes that one pass of the tracker follows
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


class StartError(Exception):
    """The gateway cannot start here, or not go on; the text says why and what to do."""


@dataclass
class Parts:
    """The services that rooms and doors share. Rules and policy are replaced on SIGHUP."""

    config: Config
    spool: Spool
    store: Store
    workshop: Workshop
    provider: Audian
    post: Post
    rules: Rules
    policy: Policy
    refusals: Refusals
    transcripts: Transcripts
    intake: Intake
    pager: Pager


def parts(config: Config) -> Parts:
    """Build them all; nothing is opened yet. Raises RulesError."""
    spool, store = Spool(config.DATA_DIR), Store(config.DATA_DIR / DATABASE)
    rules, post = rules_of(config), Post(smarthost(config), spool.part)
    return Parts(
        config=config,
        spool=spool,
        store=store,
        workshop=Workshop(scratch=spool.incoming),
        provider=provider(config),
        post=post,
        rules=rules,
        policy=policy_of(config, rules),
        refusals=Refusals(store),
        transcripts=Transcripts(store),
        intake=Intake(spool, store, config.FAX_FROM_NUMBER),
        pager=Pager(post, config.mail_from, config.MAIL_ADMIN),
    )


def rooms(parts: Parts) -> list[Room]:
    """One line a step."""
    config, spool, post = parts.config, parts.spool, parts.post
    provider, workshop = parts.provider, parts.workshop
    sender, admin, life = config.mail_from, config.MAIL_ADMIN, config.FAX_QUEUE_LIFE
    look = config.FAX_TRACK_INTERVAL
    prepare = Prepare(
        parts.store.messages.get, spool, workshop, config.FAX_MAX_PAGES, config.paper,
        config.FAX_BODY,
    )  # fmt: skip
    submit = Submit(
        provider, parts.store, spool, first_look=look / 3, absent_after=config.FAX_ABSENT_AFTER,
        ceilings=lambda fax: parts.policy.ceilings(fax.identity, fax.sender),
    )  # fmt: skip

    async def witness(provider_id: str) -> None:
        await parts.store.shown(provider_id, now=time.time())

    downloads = asyncio.Semaphore(config.AUDIAN_MAX_DOWNLOADS)
    notify = Notify(
        post, spool, sender, admin, told=parts.store.told, most=config.FAX_MAX_NOTICES
    ).in_turn
    fetch = Fetch(provider, spool, workshop, downloads, 5 * config.FAX_MAX_PAGES)
    deliver = Deliver(post, spool, lambda: parts.rules, sender, admin)
    settle = Settle(provider, config.INBOUND_ARCHIVE)
    return [
        Room("prepare", State.ACCEPTED, one(prepare), at_once=2, limit=900.0, life=life,
             give_up="fail"),
        Room("submit", State.PREPARED, one(submit), at_once=4, limit=900.0, life=life,
             give_up="fail"),
        Room("track", State.SUBMITTED, Track(provider, look, witness=witness), most=MOST_OPEN,
             ahead=look / 3, limit=600.0, longest_wait=60.0),
        Room("notify", State.DELIVERED, notify, most=MOST, at_once=2, life=5 * DAY),
        Room("notify", State.FAILED, notify, most=MOST, at_once=2, life=5 * DAY),
        Room("fetch", State.ANNOUNCED, one(fetch), at_once=config.AUDIAN_MAX_DOWNLOADS,
             limit=3600.0, life=7 * DAY),
        Room("deliver", State.FETCHED, one(deliver), at_once=4, limit=600.0, life=5 * DAY),
        Room("settle", State.MAILED, one(settle), at_once=2, life=7 * DAY),
        Room("alarm", HELD, one(Alarm(post, spool, sender, admin)), life=365 * DAY),
    ]  # fmt: skip


def rules_of(config: Config) -> Rules:
    """The rules in force; with no file the admin gets every fax. Raises RulesError."""
    if not config.RULES_FILE.exists():
        return Rules.default(parseaddr(config.MAIL_ADMIN or config.mail_from)[1])
    return load(config.RULES_FILE, config.FAX_DOMAINS, inbound=config.INBOUND != "off")


def policy_of(config: Config, rules: Rules) -> Policy:
    return Policy(
        rules,
        Defaults(
            line=config.FAX_FROM_NUMBER,
            home=config.FAX_HOME_COUNTRY,
            countries=config.countries,
            trusted=config.SMTP_TRUSTED_NETWORKS,
            devices=config.SMTP_DEVICE_NETWORKS,
        ),
    )


def provider(config: Config) -> Audian:
    return Audian(
        Access(
            config.AUDIAN_URL,
            config.AUDIAN_ACCOUNT_ID,
            config.AUDIAN_AUTH_TOKEN.get_secret_value(),
            config.AUDIAN_AUTH,
            config.AUDIAN_REQUESTS_PER_SECOND,
        )
    )


def smarthost(config: Config) -> Smarthost:
    url = urlsplit(config.RELAY_URL)
    relay = Relay(
        host=url.hostname or "",
        port=url.port or _PORTS[url.scheme],
        tls="implicit" if url.scheme == "smtps" else "starttls" if "+" in url.scheme else "none",
        user=unquote(url.username or ""),
        password=config.RELAY_PASSWORD.get_secret_value(),
        hostname=socket.gethostname(),
    )
    return Smarthost(relay)
