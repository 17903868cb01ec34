"""May this sender fax this number? The rules, and what holds where they say nothing. Pure.

The first `[[sender]]` that matches decides. Who is not proven to be a sender (by a login, by the
network it comes from, by a mailbox's check of the mail) is nobody: an address alone can be written
by anybody, and counts only where a rule says so. A copier that has not logged in is judged by its
`[[device]]`. With no `[[sender]]` at all whoever is proven may send.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from gateway.address import Destination, Kind, concerns, destination
from gateway.model import Ceiling
from gateway.numbers import E164, DialPlan, Refusal
from gateway.options import Options
from gateway.outbound.identity import of_sender, spender
from gateway.rules import Device, Facts, Network, Rules, Sender, Spending, folded, within
from gateway.wishes import Wishes

NOT_LISTED = "550 5.7.1 Sender not listed"
NOT_OWNED = "553 5.7.1 Sender not owned"
LOGIN_FIRST = "530 5.7.0 Authentication required"

MOST_KNOWN = 4096  # verdicts that are kept: the same few people fax again and again
MOST_BOOKS = 64
Scope = Literal["sender", "destination", "gateway"]


@dataclass(frozen=True, slots=True)
class Who:
    """A sender as a door knows it. `trusted`, `verified` and `device` are the door's own proof."""

    sender: str  # envelope sender, without brackets
    login: str = ""
    peer: str = ""  # IP address; "" = it came from a mailbox
    trusted: bool = False  # the peer is in SMTP_TRUSTED_NETWORKS
    verified: bool = False  # the mailbox's own server vouches for the address
    device: bool = False  # the peer is in SMTP_DEVICE_NETWORKS

    @property
    def is_proven(self) -> bool:
        return bool(self.login) or self.trusted or self.verified or self.device


@dataclass(frozen=True, slots=True)
class Permit:
    """It may send: as whom, and what holds for its faxes."""

    identity: str  # who it counts for
    rule: str  # which one decided, for people
    sender: str  # who hears of the results
    line: str  # our number that the far machine sees
    countries: frozenset[str]
    body: str = ""  # "" = the gateway's
    notices: str = ""  # "" = the gateway's
    tell: tuple[str, ...] = ()  # who hears instead of the sender
    ceilings: tuple[Ceiling, ...] = ()  # the sender's own
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def wishes(self, said: Options, asker: str, mdn: str, **asked: str) -> Wishes:
        """What was asked for, over what the rules say. `asked`: more of it, by its field.

        A receipt to anybody but its asker is for a person to decide (RFC 8098 §2.1).
        """
        return Wishes(
            body=said.body or self.body, ref=said.ref, at=said.at, prio=said.prio, dup=said.dup,
            notify=said.notify or self.notices, tell=", ".join(self.tell),
            mdn=mdn if mdn.lower() == asker.lower() else "", **asked,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Denied:
    """It may not; `reply` is the SMTP reply, `event` names it in the log."""

    reply: str
    rule: str
    event: str = "sender_denied"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where the rules say nothing: settings of the gateway."""

    line: str  # FAX_FROM_NUMBER
    home: str = "US"
    countries: frozenset[str] = frozenset()  # empty = home
    trusted: tuple[Network, ...] = ()
    devices: tuple[Network, ...] = ()


class Policy:
    """The rules in force. A reload makes a new one."""

    def __init__(self, rules: Rules, defaults: Defaults) -> None:
        self.rules = rules
        self.defaults = defaults
        self._countries = frozenset(defaults.countries or {defaults.home})
        self._everybody = (
            *_ceilings("destination", rules.limits.destination),
            *_ceilings("gateway", rules.limits),
        )
        self._owners: defaultdict[str, list[Sender]] = defaultdict(list)
        for rule in rules.sender:
            for login in () if rule.deny else rule.login:
                self._owners[login].append(rule)
        self.sender: Callable[[Who], Permit | Denied] = lru_cache(MOST_KNOWN)(self._sender)
        self._book = lru_cache(MOST_BOOKS)(self._numbers_of)

    def who(self, sender: str, *, login: str = "", peer: str = "", verified: bool = False) -> Who:
        """A sender as the networks of the settings show it."""
        trusted = within(peer, self.defaults.trusted)
        device = within(peer, self.defaults.devices)
        return Who(sender, login, peer, trusted=trusted, verified=verified, device=device)

    def device(self, peer: str) -> Device | None:
        """The copier at this IP address."""
        return next((one for one in self.rules.device if within(peer, one.network)), None)

    def plan(self, permit: Permit) -> DialPlan:
        return DialPlan(self.defaults.home, permit.countries)

    def number(self, permit: Permit, written: str) -> E164 | Refusal:
        """What the digits mean, if this sender may call there."""
        return self.plan(permit).number(written)

    def ceilings(self, identity: str, sender: str = "") -> tuple[Ceiling, ...]:
        """All that bind a fax of this identity and envelope sender, by the rules in force.

        Also of one that came in long ago: the first rule that names its login or its address
        counts; one of a network alone binds what came from there, and logins that no other names.
        """
        facts = spender(self.rules, identity, sender)
        return (*(_ceilings("sender", facts) if facts else ()), *self._everybody)

    def is_fax(self, sender: str, domains: Collection[str]) -> bool:
        """Would a notice to it be faxed? Then its sender would hear nothing.

        Whoever may use an alias: a notice goes to its number all the same.
        """
        if not concerns(sender, domains):
            return False
        found = destination(sender, domains, self._book(tuple(self.rules.aliases)))
        return isinstance(found, Destination) and found.kind is not Kind.POSTMASTER

    # who decides

    def _sender(self, who: Who) -> Permit | Denied:
        number, rule = self._first(who)
        device = self.device(who.peer)
        if rule and rule.deny:
            return Denied(NOT_LISTED, f"sender {number} denies it")
        if device and (not rule or not who.login):
            return self._copier(who, device)
        if rule:
            return self._permit(
                who, rule, f"sender {number}", of_sender(who.sender, who.login, rule)
            )
        return self._unnamed(who)

    def _unnamed(self, who: Who) -> Permit | Denied:
        if not who.is_proven:
            return Denied(LOGIN_FIRST, "it comes from no known network and has not logged in")
        if self._is_foreign(who):
            return Denied(NOT_OWNED, f"the rules of login {who.login} do not name its address")
        if self.rules.sender or not (who.login or who.trusted or who.device):
            return Denied(NOT_LISTED, "no rule names it")
        strange = who.device and not who.login  # it may write any address: its place counts
        identity = f"device:{who.peer}" if strange else of_sender(who.sender, who.login)
        return self._permit(who, Facts(), "there are no sender rules", identity)

    def _first(self, who: Who) -> tuple[int, Sender | None]:
        """The first rule that is about it, and its number."""
        for number, rule in enumerate(self.rules.sender, 1):
            if not self.why_not(rule, who):
                return number, rule
        return 0, None

    def why_not(self, rule: Sender, who: Who) -> str:
        """Why a rule does not decide; "" = it does. What it denies needs no proof."""
        if not rule.owns(who.sender):
            return "it names other addresses"
        if not rule.is_of(who.login):
            return "it names other logins" if who.login else "it wants a login"
        if not rule.is_at(who.peer):
            return "it names other networks"
        if not rule.deny and self._is_foreign(who):
            return f"login {who.login} has only the addresses of its own rules"
        if not (rule.deny or rule.network or rule.trust or who.is_proven):
            return 'anybody can write this address: a login, a known network or trust = "from"'
        return ""

    def _is_foreign(self, who: Who) -> bool:
        """A login that rules name with its addresses has no others."""
        named = self._owners.get(folded(who.login), ())
        return bool(named) and not any(one.owns(who.sender) for one in named)

    # what holds for it

    def _copier(self, who: Who, device: Device) -> Permit | Denied:
        rule = f"device {device.name}"
        written = who.sender if "@" in who.sender else ""
        sender = device.sender or written or next(iter(device.tell), "")
        if not sender:
            return Denied(NOT_LISTED, f"{rule} has no address: give it a sender in the rules")
        return self._permit(replace(who, sender=sender), device, rule, f"device:{device.name}")

    def _permit(self, who: Who, facts: Facts, rule: str, identity: str) -> Permit | Denied:
        if not who.sender:
            return Denied(NOT_LISTED, f"{rule}, but it names no sender: nobody could be told")
        return Permit(
            identity, rule, who.sender,
            line=facts.from_number or self.defaults.line,
            countries=facts.countries or self._countries,
            body=facts.body, notices=facts.notices, tell=facts.tell,
            ceilings=self.ceilings(identity, who.sender),
            aliases=self._book(tuple(self._aliases(who.sender, facts))),
        )  # fmt: skip

    def _aliases(self, sender: str, facts: Facts) -> Iterator[str]:
        """Those that it may use."""
        named = facts.aliases if isinstance(facts, Sender) else None
        for name, alias in self.rules.aliases.items():
            if (named is None or name in named) and alias.is_for(sender):
                yield name

    def _numbers_of(self, names: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
        """One phone book for all who may use the same names."""
        return MappingProxyType({name: self.rules.aliases[name].numbers for name in names})


def _ceilings(scope: Scope, spending: Spending) -> Iterator[Ceiling]:
    return (Ceiling(scope, *window) for window in spending.windows())
