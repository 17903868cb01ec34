"""Every setting: its name, type, default, and what does not go together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import formataddr, parseaddr
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from gateway.config.values import (
    Address,
    Countries,
    Country,
    Domains,
    Duration,
    Folder,
    ImapUrl,
    Listen,
    Mailbox,
    Networks,
    Number,
    ProviderUrl,
    RelayUrl,
    Size,
    is_local,
)


class Config(BaseModel):
    """Every setting, by its environment name. Durations in seconds, sizes in bytes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    AUDIAN_URL: ProviderUrl = "https://api.audian.com:8443"
    AUDIAN_ACCOUNT_ID: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    AUDIAN_AUTH_TOKEN: SecretStr
    AUDIAN_AUTH: Literal["token", "bearer"] = "token"
    AUDIAN_PROFILE: Literal["auto", "documented"] = "auto"
    AUDIAN_MAX_DOWNLOADS: Annotated[int, Field(ge=1, le=10)] = 10
    AUDIAN_REQUESTS_PER_SECOND: Annotated[float, Field(gt=0, le=1000)] = 5.0

    FAX_DOMAINS: Domains = ("fax.local",)
    FAX_FROM_NUMBER: Number
    FAX_HOME_COUNTRY: Country = "US"
    FAX_ALLOWED_COUNTRIES: Countries = ()
    FAX_MAX_PAGES: Annotated[int, Field(ge=1, le=1000)] = 200
    FAX_MAX_RECIPIENTS: Annotated[int, Field(ge=1, le=100)] = 20
    FAX_MAX_NOTICES: Annotated[int, Field(ge=0, le=10_000)] = 20
    FAX_BODY: Literal["cover", "page", "ignore"] = "cover"
    FAX_QUEUE_LIFE: Duration = 86400.0
    FAX_TRACK_INTERVAL: Duration = 15.0
    FAX_ABSENT_AFTER: Duration = 600.0
    FAX_RETENTION_SENT: Duration = 7 * 86400.0
    FAX_RETENTION_FAILED: Duration = 30 * 86400.0
    FAX_RETENTION_RECEIVED: Duration = 30 * 86400.0

    SMTP_LISTEN: Listen = Address("127.0.0.1", 2525)
    SMTP_TLS_LISTEN: Listen | None = None
    SMTP_DEVICE_LISTEN: Listen | None = None
    SMTP_TLS_CERT: Path | None = None
    SMTP_TLS_KEY: Path | None = None
    SMTP_USERS_FILE: Path | None = None
    SMTP_TRUSTED_NETWORKS: Networks = (
        ip_network("127.0.0.0/8"),
        ip_network("::1"),
    )
    SMTP_DEVICE_NETWORKS: Networks = ()
    SMTP_PROXY_NETWORKS: Networks = ()
    SMTP_MAX_MESSAGE: Annotated[Size, Field(ge=65536, le=200_000_000)] = 35_000_000
    SMTP_MAX_CONNECTIONS: Annotated[int, Field(ge=1, le=10_000)] = 200
    SMTP_MAX_CONNECTIONS_PER_IP: Annotated[int, Field(ge=1, le=10_000)] = 20

    IMAP_URL: ImapUrl = ""
    IMAP_PASSWORD: SecretStr = SecretStr("")
    IMAP_DONE_FOLDER: Folder = "Done"
    IMAP_FAILED_FOLDER: Folder = "Failed"
    IMAP_REJECTED_FOLDER: Folder = "Rejected"
    IMAP_AUTHSERV_ID: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,253}$")] = ""
    IMAP_POLL_INTERVAL: Duration = 60.0

    RELAY_URL: RelayUrl = "smtp://localhost:25"
    RELAY_PASSWORD: SecretStr = SecretStr("")
    MAIL_FROM: Mailbox = ""
    MAIL_ADMIN: Mailbox = ""

    INBOUND: Literal["both", "webhook", "poll", "off"] = "both"
    INBOUND_POLL_INTERVAL: Duration = 60.0
    INBOUND_ARCHIVE: bool = True
    WEB_LISTEN: Listen = Address("127.0.0.1", 8025)
    WEBHOOK_SECRET: SecretStr = SecretStr("")
    WEBHOOK_HMAC_SECRET: SecretStr = SecretStr("")

    RULES_FILE: Path = Path("rules.toml")
    DATA_DIR: Path = Path("/var/lib/fax-gateway")

    LOG_LEVEL: Literal["debug", "info", "warning", "error"] = "info"
    LOG_FORMAT: Literal["auto", "console", "json"] = "auto"
    LOG_NUMBERS: Literal["masked", "full"] = "masked"

    @property
    def mail_from(self) -> str:
        return self.MAIL_FROM or formataddr(("Fax Gateway", f"fax@{self.FAX_DOMAINS[0]}"))

    @property
    def countries(self) -> frozenset[str]:
        return frozenset(self.FAX_ALLOWED_COUNTRIES or (self.FAX_HOME_COUNTRY,))

    def secrets(self) -> list[str]:
        """Every secret's text, for the log to keep out."""
        texts = (getattr(self, name).get_secret_value() for name in self.secret_names())
        return [text for text in texts if text]

    def secret_names(self) -> list[str]:
        fields = type(self).model_fields
        return [name for name in fields if isinstance(getattr(self, name), SecretStr)]

    def shown(self) -> dict[str, str]:
        """Each setting as text, secrets hidden; for `check`."""
        return {name: _shown(getattr(self, name)) for name in type(self).model_fields}

    @property
    def paper(self) -> Literal["letter", "a4"]:
        """Letter where people use it (CLDR measurement and paper data), A4 elsewhere."""
        letter = {"US", "CA", "MX", "PH", "PR", "CL", "CO", "CR", "GT", "NI", "PA", "SV", "VE"}
        return "letter" if self.FAX_HOME_COUNTRY in letter else "a4"


def conflicts(config: Config) -> Iterator[str]:
    """What is wrong only together."""
    secret = config.WEBHOOK_SECRET.get_secret_value()
    if config.INBOUND in ("both", "webhook") and not re.fullmatch(r"[\w-]{22,200}", secret):
        yield (
            "WEBHOOK_SECRET is wanted: at least 22 letters, digits, - or _ (128 bit); make one "
            "with: python3 -c 'import secrets; print(secrets.token_urlsafe())' "
            "- or set INBOUND=poll"
        )
    if config.INBOUND != "off" and not (config.RULES_FILE.exists() or config.MAIL_ADMIN):
        yield (
            f"RULES_FILE={config.RULES_FILE} is not there and MAIL_ADMIN is not set: "
            "nobody would get the received faxes"
        )
    at = f".{parseaddr(config.MAIL_ADMIN)[1].rpartition('@')[2].lower()}"
    if any(at.endswith(f".{domain}") for domain in config.FAX_DOMAINS):
        yield (
            f"MAIL_ADMIN={config.MAIL_ADMIN} is an address of FAX_DOMAINS: what is mailed there "
            "comes back to this door; a mailbox that people read is wanted"
        )
    yield from _doors(config)
    relay = urlsplit(config.RELAY_URL)
    if bool(relay.username) != bool(config.RELAY_PASSWORD):
        yield "RELAY_URL names the user and RELAY_PASSWORD is theirs: set both or none"
    if relay.username and relay.scheme == "smtp" and not is_local(relay.hostname):
        yield (
            "RELAY_URL sends RELAY_PASSWORD in plain words: smtp+starttls:// or smtps:// is wanted"
        )


def _doors(config: Config) -> Iterator[str]:
    if bool(config.SMTP_TLS_CERT) != bool(config.SMTP_TLS_KEY):
        yield "SMTP_TLS_CERT and SMTP_TLS_KEY belong together: set both or none"
    if config.SMTP_TLS_LISTEN and not config.SMTP_TLS_CERT:
        yield "SMTP_TLS_LISTEN speaks TLS from the first byte: SMTP_TLS_CERT and _KEY are wanted"
    if config.SMTP_USERS_FILE and not config.SMTP_TLS_CERT:
        yield "SMTP_USERS_FILE: no login is taken in plain words: SMTP_TLS_CERT and _KEY are wanted"
    if config.SMTP_DEVICE_LISTEN and not config.SMTP_DEVICE_NETWORKS:
        yield "SMTP_DEVICE_LISTEN serves SMTP_DEVICE_NETWORKS only: name the copiers' networks"
    if config.IMAP_URL and not config.IMAP_AUTHSERV_ID:
        yield (
            "IMAP_URL: any stranger may write a From line: IMAP_AUTHSERV_ID must name the server "
            "whose Authentication-Results are to be trusted"
        )
    folders = (config.IMAP_DONE_FOLDER, config.IMAP_FAILED_FOLDER, config.IMAP_REJECTED_FOLDER)
    inbox = unquote(urlsplit(config.IMAP_URL).path.strip("/")) or "INBOX"
    if config.IMAP_URL and inbox.upper() in (folder.upper() for folder in folders):
        yield f"IMAP_URL: {inbox} cannot also be a folder that its mails are moved to"
    if config.IMAP_URL and not config.IMAP_PASSWORD:
        yield "IMAP_URL is set and IMAP_PASSWORD is not"


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value else ""
    if isinstance(value, Address):
        return f"{value.host}:{value.port}"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
