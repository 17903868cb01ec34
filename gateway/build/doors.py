"""Settings → doors: the SMTP listeners, the mailbox, the web server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

from starlette.routing import BaseRoute, Route

from gateway.build import Parts, StartError
from gateway.config import Config
from gateway.doors.imap import ImapDoor, ImapSettings
from gateway.doors.smtp import Kind, Listener, Services, SmtpDoor, SmtpSettings
from gateway.doors.smtp.tls import Certificates, TlsError
from gateway.doors.smtp.users import Users, UsersError
from gateway.doors.webhook import Webhook
from gateway.mail.forward import Forward
from gateway.spool import Spool
from gateway.store import Store, StoreError
from gateway.web import WebServer, health


def smtp_door(parts: Parts, sockets: Mapping[str, socket.socket]) -> SmtpDoor:
    """Raises TlsError, UsersError. A socket that systemd opened wins over a setting."""
    config = parts.config
    settings = SmtpSettings(
        hostname=socket.gethostname(),
        listeners=tuple(_listeners(config, sockets)),
        domains=config.FAX_DOMAINS,
        trusted=config.SMTP_TRUSTED_NETWORKS,
        devices=config.SMTP_DEVICE_NETWORKS,
        proxies=config.SMTP_PROXY_NETWORKS,
        max_message=config.SMTP_MAX_MESSAGE,
        max_recipients=config.FAX_MAX_RECIPIENTS,
        most=config.SMTP_MAX_CONNECTIONS,
        most_per_address=config.SMTP_MAX_CONNECTIONS_PER_IP,
    )
    certificates = None
    if config.SMTP_TLS_CERT and config.SMTP_TLS_KEY:
        certificates = Certificates(config.SMTP_TLS_CERT, config.SMTP_TLS_KEY)
    forward = None
    if config.MAIL_ADMIN:
        admin = parseaddr(config.MAIL_ADMIN)[1]
        forward = Forward(parts.post, admin, settings.hostname)
    services = Services(
        parts.intake, parts.store, parts.spool, parts.policy, parts.refusals, parts.transcripts,
        users=Users.load(config.SMTP_USERS_FILE) if config.SMTP_USERS_FILE else None,
        certificates=certificates, forward=forward, page=parts.pager,
    )  # fmt: skip
    return SmtpDoor(settings, services)


def _listeners(config: Config, sockets: Mapping[str, socket.socket]) -> list[Listener]:
    wanted = {
        Kind.MAIN: config.SMTP_LISTEN,
        Kind.TLS: config.SMTP_TLS_LISTEN,
        Kind.DEVICE: config.SMTP_DEVICE_LISTEN,
    }
    listeners = []
    if sockets.get(Kind.TLS) and not config.SMTP_TLS_CERT:
        raise StartError("systemd passed a socket for TLS (smtps), and SMTP_TLS_CERT is not set")
    for kind, at in wanted.items():
        if given := sockets.get(kind):
            listeners.append(Listener(kind, socket=given))
        elif at:
            listeners.append(Listener(kind, at.host, at.port))
    return listeners


def credentials(config: Config) -> tuple[list[str], list[str]]:
    """What is wrong with certificates and users, and what soon will be; for `check`."""
    problems: list[str] = []
    warnings: list[str] = []
    cert, key, users = config.SMTP_TLS_CERT, config.SMTP_TLS_KEY, config.SMTP_USERS_FILE
    try:
        if cert and key:
            warnings += Certificates(cert, key).warnings
    except TlsError as error:
        problems += error.problems
    try:
        if users:
            warnings += Users.load(users).warnings
    except UsersError as error:
        problems += error.problems
    return problems, warnings


def imap_door(parts: Parts) -> ImapDoor | None:
    config = parts.config
    if not config.IMAP_URL:
        return None
    url = urlsplit(config.IMAP_URL)
    settings = ImapSettings(
        host=url.hostname or "",
        port=url.port or 993,
        user=unquote(url.username or ""),
        password=config.IMAP_PASSWORD.get_secret_value(),
        authserv_id=config.IMAP_AUTHSERV_ID,
        folder=unquote(url.path.strip("/")) or "INBOX",
        done=config.IMAP_DONE_FOLDER,
        failed=config.IMAP_FAILED_FOLDER,
        rejected=config.IMAP_REJECTED_FOLDER,
        domains=config.FAX_DOMAINS,
        max_message=config.SMTP_MAX_MESSAGE,
        max_recipients=config.FAX_MAX_RECIPIENTS,
        poll=config.IMAP_POLL_INTERVAL,
        life=config.FAX_QUEUE_LIFE,
    )
    return ImapDoor(
        settings,
        parts.intake,
        parts.spool,
        parts.store,
        lambda: parts.policy,
        note=parts.refusals.note,
        page=parts.pager,
    )


def web_server(
    config: Config, store: Store, spool: Spool, sockets: Mapping[str, socket.socket]
) -> WebServer:
    """Webhook where it is wanted, health always."""

    async def database() -> str:
        try:
            await store.counts()
        except StoreError as error:
            return str(error)
        return "the disk failed" if spool.broken.is_set() or store.broken.is_set() else ""

    async def disk() -> str:
        free = await asyncio.to_thread(spool.free)
        return "" if free > 2 * config.SMTP_MAX_MESSAGE + (256 << 20) else "nearly full"

    routes: list[BaseRoute] = health({"database": database, "disk": disk})
    if config.INBOUND in ("both", "webhook"):
        webhook = Webhook(
            store,
            config.WEBHOOK_SECRET.get_secret_value(),
            config.WEBHOOK_HMAC_SECRET.get_secret_value(),
        )
        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        routes.append(Route("/webhook/{secret}", webhook.__call__, methods=methods))
    at = config.WEB_LISTEN
    return WebServer(at.host, at.port, routes, given=sockets.get("web"))
