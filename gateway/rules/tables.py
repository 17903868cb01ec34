"""The tables of `rules.toml`, each a frozen value: senders, devices, aliases, limits, routes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from gateway.rules.values import (
    Addresses,
    AliasName,
    AliasNames,
    Body,
    Compat,
    Count,
    Countries,
    Domains,
    Logins,
    Mailbox,
    Mailboxes,
    Name,
    Networks,
    Notices,
    Number,
    Numbers,
    Patterns,
    People,
    folded,
)

HOUR, DAY = 3600.0, 86400.0


class Table(BaseModel):
    """A table of the file: nothing in it is guessed, a key that is not known is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Spending(Table):
    """How much may be sent in an hour and in a day. 0 = no limit."""

    faxes_per_hour: Count = 0
    faxes_per_day: Count = 0
    pages_per_hour: Count = 0
    pages_per_day: Count = 0

    def windows(self) -> Iterator[tuple[float, int, int]]:
        """(seconds, faxes, pages) of each window that has a limit."""
        hour = (HOUR, self.faxes_per_hour, self.pages_per_hour)
        day = (DAY, self.faxes_per_day, self.pages_per_day)
        return (window for window in (hour, day) if window[1] or window[2])


class Facts(Spending):
    """What a sender or a device may do, and how its faxes look."""

    from_number: Number = ""
    countries: Countries = frozenset()
    body: Body = ""
    notices: Notices = ""
    tell: Mailboxes = ()


class Sender(Facts):
    """One `[[sender]]`: every kind that is given must match; the first rule that does decides."""

    address: Addresses = ()
    domain: Domains = ()
    login: Logins = ()
    network: Networks = ()
    aliases: AliasNames | None = None  # None = all
    trust: Literal["", "from"] = ""
    deny: bool = False

    def owns(self, sender: str) -> bool:
        """Is it one of the addresses that this rule names? A rule that names none is for all."""
        return not (self.address or self.domain) or is_among(sender, self.address + self.domain)

    def is_of(self, login: str) -> bool:
        return not self.login or folded(login) in self.login

    def is_at(self, peer: str) -> bool:
        return not self.network or within(peer, self.network)

    @model_validator(mode="after")
    def _is_about_somebody(self) -> Sender:
        if not (self.address or self.domain or self.login or self.network):
            raise ValueError("address, domain, login or network is wanted: who is it about?")
        if self.trust and not (self.address or self.domain):
            raise ValueError('trust = "from" is about addresses: address or domain is wanted')
        return self


class Device(Facts):
    """One `[[device]]`: a copier that is known by its network."""

    network: Networks
    name: Name
    sender: Mailbox = ""
    compat: Compat = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _address_is_a_network(cls, table: Any) -> Any:  # noqa: ANN401 - as TOML has it
        if isinstance(table, dict) and "address" in table and "network" not in table:
            table = {("network" if key == "address" else key): v for key, v in table.items()}
        return table


class Alias(Table):
    """A name that is dialled as numbers. `people` may use it, empty = everybody may."""

    numbers: Numbers
    people: People = Field(default=(), alias="for")

    def is_for(self, sender: str) -> bool:
        return not self.people or is_among(sender, self.people)


def _alias(value: object) -> object:
    return {"numbers": value} if isinstance(value, str | list) else value


class Limits(Spending):
    """`[limits]` of the whole gateway; `[limits.destination]` of each number that is called."""

    destination: Spending = Spending()


class Route(Table):
    """One `[[route]]`: whom it is about, and who gets the fax."""

    to: Patterns = ()  # our called numbers
    sender: Patterns = Field(default=(), alias="from")  # the caller's
    mail: Mailboxes
    go_on: bool = Field(default=False, alias="continue")

    def catches_all(self) -> bool:
        return not (self.to or self.sender)


class Rules(Table):
    """The whole file."""

    sender: tuple[Sender, ...] = ()
    device: tuple[Device, ...] = ()
    aliases: dict[AliasName, Annotated[Alias, BeforeValidator(_alias)]] = {}
    limits: Limits = Limits()
    route: tuple[Route, ...] = ()

    @field_validator("device")
    @classmethod
    def _names_differ(cls, devices: tuple[Device, ...]) -> tuple[Device, ...]:
        names = [device.name for device in devices]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"two are named {twice}: each counts for itself, by its name")
        return devices

    @staticmethod
    def default(mail: str) -> Rules:
        """With no file: one mailbox gets every fax."""
        return Rules(route=(Route(mail=(mail,)),))

    def lines(self) -> frozenset[str]:
        """Every caller number that the rules name: each must be on the account (M7)."""
        return frozenset(one.from_number for one in (*self.sender, *self.device)) - {""}


def is_among(address: str, named: tuple[str, ...]) -> bool:
    """Whether `named` (addresses, domains, *.domains) holds it. Whole names: nothing in between."""
    address = folded(address)
    name, _, domain = address.rpartition("@")
    return bool(name) and any(
        domain.endswith(one[1:]) if one.startswith("*.") else one in (address, domain)
        for one in named
    )


@lru_cache(maxsize=4096)  # every connection asks, and every mail
def within(peer: str, networks: Networks) -> bool:
    """An IPv4 client of an IPv6 socket is the same client."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)
