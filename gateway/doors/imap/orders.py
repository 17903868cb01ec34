"""What a verified sender asks for: a mail's addresses, Subject and X-Fax fields → an order. Pure.

A mailbox knows no envelope. Numbers come from its plus-addresses (`fax+14155550100@…`, where the
mail was delivered or written to), from fax addresses in To and Cc, and from `to=` in the Subject's
tail or an X-Fax header; never from a display name or a bare digit run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.address import TOO_MANY, Destination, Kind, destination, header_addresses, plus_number
from gateway.doors.imap.letters import Letter
from gateway.doors.imap.settings import ImapSettings
from gateway.errors import Cause
from gateway.mail.headers import LONGEST_VALUE
from gateway.numbers import Refusal
from gateway.options import (
    OptionError,
    Options,
    Where,
    from_headers,
    from_pairs,
    from_subject,
    merge,
)
from gateway.outbound.intake import Recipient, one_for_each_number
from gateway.outbound.permit import Denied, Permit, Policy
from gateway.wishes import Wishes

MOST_TOLD = 10  # refusals that one notice names
NO_NUMBER = Refusal(
    "550 5.1.1 It names no fax number: write to fax+14155550100@ of this mailbox, or end the "
    "Subject with [fax to=+14155550100]",
    "no_number",
)
_ENVELOPE = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to")
_CODES = re.compile(r"\d{3} (?:(\d\.\d{1,3})\.\d{1,3} )?")
_CAUSES = {
    "5.3": Cause.LIMIT, "5.5": Cause.LIMIT, "5.6": Cause.DOCUMENT, "5.7": Cause.POLICY,
}  # fmt: skip
_NOBODY: Mapping[str, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that is not faxed: what the sender wrote, and why not."""

    written: str
    why: Refusal

    @property
    def cause(self) -> Cause:
        codes = _CODES.match(self.why)
        return _CAUSES.get(codes[1] or "" if codes else "", Cause.NUMBER)

    @property
    def sentence(self) -> str:
        why = _CODES.sub("", self.why, count=1)
        return f"{self.written}: {why}" if self.written else why


@dataclass(frozen=True, slots=True)
class Order:
    """Whom to fax, what is refused, and who hears of it."""

    sender: str
    identity: str = ""
    recipients: tuple[Recipient, ...] = ()
    refused: tuple[Refused, ...] = ()
    wishes: Wishes = field(default_factory=Wishes)  # for the notice of what is refused
    is_strange: bool = False  # neither permitted nor asking for a fax: junk, not a customer

    @property
    def reason(self) -> str:
        told = "; ".join(one.sentence for one in self.refused[:MOST_TOLD])
        more = len(self.refused) - MOST_TOLD
        return told + (f"; and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class _Asked:
    written: str
    what: Destination | Refusal


def order(letter: Letter, author: str, policy: Policy, settings: ImapSettings, now: float) -> Order:
    """Read the order of a mail whose author is verified."""
    permit = policy.sender(policy.who(author, verified=True))
    asked = list(_asked(letter, settings, getattr(permit, "aliases", _NOBODY)))
    wrong, said = None, Options()
    try:
        subject, _ = from_subject(letter.whole_subject, now)
        said = merge(from_headers(letter.fields, now), subject)
    except OptionError as error:
        wrong = Refused("", Refusal(error.reply, "bad_option"))
    asked += [_Asked(number, Destination(Kind.NUMBER, (number,))) for number in said.to]
    if isinstance(permit, Denied):
        denied = Refused("", Refusal(permit.reply, "denied"))
        return Order(author, refused=(denied,), is_strange=not (asked or wrong))
    taker = _Taker(letter, permit, said, policy, now)
    return taker.refusal(wrong) if wrong else taker.order(asked, settings.max_recipients)


@dataclass(frozen=True, slots=True)
class _Taker:
    """Fills in the order of somebody who may send."""

    letter: Letter
    permit: Permit
    said: Options  # header before Subject
    policy: Policy
    now: float

    def order(self, asked: Sequence[_Asked], most: int) -> Order:
        taken: list[Recipient] = []
        refused: list[Refused] = []
        for one in asked:
            recipients, problems = self._each(one)
            taken += recipients
            refused += problems
        taken = one_for_each_number(taken)
        if len(taken) > most:
            many = (
                f"552 5.5.3 It is for {len(taken)} numbers and {most} are allowed: none was faxed"
            )
            taken, refused = [], [Refused("", Refusal(many, "quota")), *refused]
        if not (taken or refused):
            refused = [Refused("", NO_NUMBER)]
        return self.refusal(*dict.fromkeys(refused), recipients=tuple(taken))

    def refusal(self, *refused: Refused, recipients: tuple[Recipient, ...] = ()) -> Order:
        permit = self.permit
        return Order(permit.sender, permit.identity, recipients, refused, self._wishes(self.said))

    def _each(self, asked: _Asked) -> tuple[list[Recipient], list[Refused]]:
        """One destination: a recipient for each of its numbers, or why not."""
        what = asked.what
        if isinstance(what, Refusal):
            return [], [Refused(asked.written, what)]
        try:
            own = from_pairs(what.options, self.now, Where.ADDRESS)
        except OptionError as error:
            return [], [Refused(asked.written, Refusal(error.reply, "bad_option"))]
        wishes = self._wishes(merge(self.said, own), what.subaddress)
        found = [self.policy.number(self.permit, written) for written in what.numbers]
        return (
            [
                Recipient(asked.written, number, self.permit.line, wishes)
                for number in found
                if not isinstance(number, Refusal)
            ],
            [Refused(asked.written, why) for why in found if isinstance(why, Refusal)],
        )

    def _wishes(self, said: Options, subaddress: str = "") -> Wishes:
        permit, mdn = self.permit, self.letter.scan.mdn
        return Wishes(
            body=said.body or permit.body,
            ref=said.ref,
            at=said.at,
            prio=said.prio,
            notify=said.notify or permit.notices,
            tell=",".join(permit.tell),
            subaddress=subaddress,
            mdn=mdn if mdn.lower() == permit.sender.lower() else "",
        )


def _asked(
    letter: Letter, settings: ImapSettings, aliases: Mapping[str, Sequence[str]]
) -> Iterator[_Asked]:
    """Each destination that the mail's addresses name, once."""
    for address in dict.fromkeys(_addresses(letter)):
        if isinstance(address, Refusal):
            yield _Asked("", address)
        elif (what := _named(address, settings, aliases)) is not None:
            yield _Asked(address, what)


def _addresses(letter: Letter) -> Iterator[str | Refusal]:
    for value in letter.all(*_ENVELOPE):
        yield value.strip().removeprefix("<").removesuffix(">")
    for value in letter.all("to", "cc"):
        if len(value) >= LONGEST_VALUE:  # it was cut: the last number may be another one
            yield TOO_MANY
            continue
        found = header_addresses(value)
        yield from [found] if isinstance(found, Refusal) else found


def _named(
    address: str, settings: ImapSettings, aliases: Mapping[str, Sequence[str]]
) -> Destination | Refusal | None:
    """What an address asks us to do; None = it is not ours, or asks for no fax."""
    plus = plus_number(address, settings.address) if settings.address else None
    if plus is not None:
        return plus if isinstance(plus, Refusal) else Destination(Kind.NUMBER, (plus,))
    if not _is_at(address, settings.domains) or address.lower() == settings.address.lower():
        return None
    what = destination(address, settings.domains, aliases)
    return what if isinstance(what, Refusal) or what.kind is Kind.NUMBER else None


def _is_at(address: str, domains: Collection[str]) -> bool:
    """Does a fax domain, or a number below one, stand after any @?"""
    ours = "|".join(map(re.escape, domains))
    return re.search(rf"@[-.0-9]*(?:{ours})(?![\w.-])", address, re.IGNORECASE) is not None
