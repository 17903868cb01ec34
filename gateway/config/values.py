"""What a setting's text means: durations, sizes, addresses, numbers, as types for pydantic.

Each refuses in a sysadmin's words: what is wanted, with an example.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import urlsplit

import phonenumbers
from pydantic import AfterValidator, BeforeValidator, Field

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 = any free one."""

    host: str
    port: int


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [item.strip() for item in value.split(",") if item.strip()]


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", value)
    if not match:
        raise ValueError("a number with its unit is wanted: 90s, 15m, 24h or 7d")
    return float(match[1]) * _UNITS[match[2]]


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+)\s*([kMG]?)(i?)B?", value)
    if not match:
        raise ValueError("a size is wanted: 25MB, 500kB or a plain number of bytes")
    return int(match[1]) * (1024 if match[3] else 1000) ** " kMG".index(match[2] or " ")


def _address(value: object) -> object:
    if not isinstance(value, str):
        return value
    host, colon, port = value.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 65536):
        raise ValueError("host:port is wanted, for example 127.0.0.1:2525")
    return Address(host.strip("[]"), int(port))


def _domain(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?", value.lower()):
        raise ValueError("a mail domain is wanted, for example fax.local")
    return value.lower()


def _country(value: str) -> str:
    if value.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("a two-letter country code is wanted, for example US or DE")
    return value.upper()


def _e164(value: str) -> str:
    if value and not re.fullmatch(r"\+[1-9]\d{6,14}", value):
        raise ValueError("a number in international form is wanted, for example +14155550100")
    return value


def _mailbox(value: str) -> str:
    if value and not re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", parseaddr(value)[1]):
        raise ValueError("a mail address is wanted, for example Fax Gateway <fax@fax.local>")
    return value


def _relay(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("smtp", "smtp+starttls", "smtps") or not parts.hostname:
        raise ValueError("smtp://host:25, smtp+starttls://user@host:587 or smtps://… is wanted")
    if parts.password:
        raise ValueError("the password does not belong in the URL: set RELAY_PASSWORD")
    return value


def _imap(value: str) -> str:
    parts = urlsplit(value)
    if value and not (parts.scheme == "imaps" and parts.hostname and parts.username):
        raise ValueError(
            "imaps://user@host:993/INBOX is wanted (plain imap:// would tell the password)"
        )
    if parts.password:
        raise ValueError("the password does not belong in the URL: set IMAP_PASSWORD")
    return value


def _folder(value: str) -> str:
    if not re.fullmatch(r"[ !#-\[\]-~]{1,200}", value):
        raise ValueError('a mailbox name such as "Done" or "Fax/Done" is wanted, in ASCII')
    return value


def is_local(host: str | None) -> bool:
    """This machine: what is said to it passes no wire."""
    return host in ("localhost", "127.0.0.1", "::1")


def _provider_url(value: str) -> str:
    parts = urlsplit(value)
    if not parts.hostname or parts.scheme not in ("https", "http"):
        raise ValueError("https://host:port is wanted")
    if parts.scheme == "http" and not is_local(parts.hostname):
        raise ValueError("plain http is allowed to this machine only: the token would be readable")
    return value.rstrip("/")


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return [ip_network(item.strip(), strict=False) for item in value.split(",") if item.strip()]
    except ValueError as error:
        raise ValueError(f"networks such as 192.0.2.0/24 are wanted ({error})") from error


Duration = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
Size = Annotated[int, BeforeValidator(_bytes)]
Listen = Annotated[Address, BeforeValidator(_address)]
Domains = Annotated[
    tuple[Annotated[str, AfterValidator(_domain)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
]
Country = Annotated[str, AfterValidator(_country)]
Countries = Annotated[tuple[Country, ...], BeforeValidator(_listed)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_networks)]
Number = Annotated[str, AfterValidator(_e164), Field(min_length=1)]
Mailbox = Annotated[str, AfterValidator(_mailbox)]
RelayUrl = Annotated[str, AfterValidator(_relay)]
ImapUrl = Annotated[str, AfterValidator(_imap)]
Folder = Annotated[str, AfterValidator(_folder)]
ProviderUrl = Annotated[str, AfterValidator(_provider_url)]
