"""What a word of the rules means: numbers, addresses, domains, networks, as types for pydantic.

Each refuses in a sysadmin's words: what is wanted, with an example.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

import phonenumbers
from pydantic import AfterValidator, BeforeValidator, Field

Network = IPv4Network | IPv6Network

COMPAT = ("tls1.0",)
"""What only a `[[device]]` that says so is forgiven; all else its listener forgives everybody."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOTTED = rf"{_LABEL}(?:\.{_LABEL})*"
_ADDRESS = re.compile(
    rf"(?=.{{1,64}}@.{{1,253}}$){_ATOM}(?:\.{_ATOM})*@{_DOTTED}"  # RFC 5321 §4.1.2
)
_DOMAIN = re.compile(rf"(?=.{{1,253}}$)(?:\*\.)?{_DOTTED}")
_NAME = re.compile(r"(?=.{1,64}$)(?=.*[a-z])[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_LOGIN = re.compile(r"[^\x00-\x1f\x7f:]{1,254}")  # what SMTP_USERS_FILE can hold
_MAPPED = IPv6Network("::ffff:0:0/96")
_TAKEN = ("fax", "postmaster")  # these addresses have a meaning already


def folded(address: str) -> str:
    """For comparison. ASCII alone: in other scripts letters are not what they look like.

    The Kelvin sign has a small k for its small letter: what looks like our bank need not be it.
    """
    return address.lower() if address.isascii() else address


def near(name: str, known: Collection[str]) -> str:
    """What may have been meant by a name that nobody knows, or all there is."""
    like = difflib.get_close_matches(name, known, 1, 0.5)
    return f": did you mean {like[0]}?" if like else f"; there is: {', '.join(known) or 'none'}"


def _list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _pattern(value: str) -> str:
    if not re.fullmatch(r"\+\d{1,15}\*?", value):
        raise ValueError('a number such as "+14155550100", or its beginning as "+1415*", is wanted')
    return value


def _number(value: str) -> str:
    if not re.fullmatch(r"\+[1-9]\d{6,14}", value):
        raise ValueError('a number in international form such as "+14155550100" is wanted')
    return value


def _address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError('a mail address such as "office@example.com" is wanted')
    return value


def _domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value):
        raise ValueError(
            'a domain such as "example.com", or "*.example.com" for those below it, is wanted'
        )
    return value.lower()


def _who(value: str) -> str:
    return _address(value).lower() if "@" in value else _domain(value)


def _login(value: str) -> str:
    if not _LOGIN.fullmatch(value) or value != value.strip():
        raise ValueError('the name of a user in SMTP_USERS_FILE such as "bob" is wanted')
    return folded(value)


def _network(value: object) -> object:
    try:
        network = ip_network(value) if isinstance(value, str) else None
    except ValueError as error:
        raise ValueError(f'a network such as "192.0.2.0/24" is wanted ({error})') from None
    if network is None:
        raise ValueError('a network such as "192.0.2.0/24" is wanted')
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):  # clients are IPv4 here
        network = ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    if network.prefixlen == 0:
        raise ValueError("this is the whole internet: anybody could fax")
    return network


def _country(value: str) -> str:
    if value.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError('a two-letter country code such as "US" or "DE" is wanted')
    return value.upper()


def _compat(value: str) -> str:
    if value not in COMPAT:
        raise ValueError(
            "the copiers' listener forgives all but old TLS by itself: "
            f"{value[:40]!r} is not known{near(value, COMPAT)}"
        )
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            'a name such as "sales" is wanted: small letters, digits, . _ - and not digits alone'
        )
    return value


def _alias(value: str) -> str:
    if value in _TAKEN:
        raise ValueError("this address has a meaning already: another name is wanted")
    return _name(value)


Pattern = Annotated[str, AfterValidator(_pattern)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_list)]
Number = Annotated[str, AfterValidator(_number)]
Numbers = Annotated[tuple[Number, ...], BeforeValidator(_list), Field(min_length=1, max_length=100)]
Mailbox = Annotated[str, AfterValidator(_address)]
Mailboxes = Annotated[tuple[Mailbox, ...], BeforeValidator(_list), Field(min_length=1)]
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_address), AfterValidator(str.lower)], ...],
    BeforeValidator(_list),
    Field(min_length=1),
]
Domains = Annotated[
    tuple[Annotated[str, AfterValidator(_domain)], ...], BeforeValidator(_list), Field(min_length=1)
]
People = Annotated[
    tuple[Annotated[str, AfterValidator(_who)], ...], BeforeValidator(_list), Field(min_length=1)
]
Logins = Annotated[
    tuple[Annotated[str, AfterValidator(_login)], ...], BeforeValidator(_list), Field(min_length=1)
]
Networks = Annotated[
    tuple[Annotated[Network, BeforeValidator(_network)], ...],
    BeforeValidator(_list),
    Field(min_length=1),
]
Countries = Annotated[
    frozenset[Annotated[str, AfterValidator(_country)]], BeforeValidator(_list), Field(min_length=1)
]
Compat = Annotated[frozenset[Annotated[str, AfterValidator(_compat)]], BeforeValidator(_list)]
Name = Annotated[str, AfterValidator(_name)]
AliasName = Annotated[str, AfterValidator(_alias)]
AliasNames = Annotated[tuple[AliasName, ...], BeforeValidator(_list)]
Count = Annotated[int, Field(strict=True, ge=1)]
Body = Literal["", "cover", "page", "ignore"]
Notices = Literal["", "all", "ok", "fail", "none"]
