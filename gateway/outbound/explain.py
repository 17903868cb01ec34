"""Which rule decides whether a sender may fax a number, and why, as sentences. Nothing is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.address import Destination, Kind, destination
from gateway.model import Ceiling
from gateway.numbers import Refusal
from gateway.options import OptionError, Where, from_pairs
from gateway.outbound.permit import Denied, Permit, Policy, Who
from gateway.outbound.verdict import BOUNCE, NO_POSTMASTER, TOO_MANY_NUMBERS, judge

_WHOSE = {"sender": "from this sender", "destination": "to one number", "gateway": "in all"}
_OTHER = {
    Kind.SUBJECT: "its numbers are to stand in the Subject or in X-Fax-To",
    Kind.POSTMASTER: "mail for the people who run the gateway; nothing is faxed",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict of the door, and why. `reply` is "" when it is yes."""

    reply: str
    permit: Permit | None
    numbers: tuple[str, ...]
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Door:
    """What the settings say."""

    domains: tuple[str, ...]
    most: int  # numbers of a mail
    has_postmaster: bool


def explain(policy: Policy, door: Door, who: Who, address: str, now: float) -> Explanation:
    """What would become of a mail of `who` to an address, an alias or a bare number."""
    whole = address if "@" in address else f"{address}@{door.domains[0]}"
    verdict = judge(policy, who, door.domains, tolerant=who.device)
    permit = None if isinstance(verdict, Denied) else verdict
    meant = destination(whole, door.domains, permit.aliases if permit else {})
    why = [_met(who), *_rules(policy, who)]
    if isinstance(meant, Destination) and meant.kind is Kind.POSTMASTER:
        if door.has_postmaster:
            return Explanation("", permit, (), (*why, f"{whole} is {_OTHER[meant.kind]}."))
        if permit or verdict is BOUNCE:
            verdict = Denied(NO_POSTMASTER, "MAIL_ADMIN is not set")
    if isinstance(verdict, Denied):
        why += [f"Refused: {verdict.rule}: {verdict.reply}"]
        return Explanation(verdict.reply, None, (), tuple(why))
    why += _facts(verdict)
    numbers, reply, more = _numbers(policy, verdict, meant, now)
    reply = reply or _too_many(verdict, len(set(numbers)), door.most)
    said = f"Refused: {reply}" if reply else f"Permitted: {', '.join(numbers) or 'the address'}."
    return Explanation(reply, verdict, numbers, (*why, f"It is addressed to {whole}.", *more, said))


def _met(who: Who) -> str:
    how = [
        f"logged in as {who.login}" if who.login else "not logged in",
        f"from {who.peer}" if who.peer else "by the mailbox",
        "in SMTP_TRUSTED_NETWORKS" if who.trusted else "",
        "in SMTP_DEVICE_NETWORKS" if who.device else "",
        "vouched for by the mailbox's server" if who.verified else "",
    ]
    return f"The sender is {who.sender or '<>'}, {', '.join(filter(None, how))}."


def _rules(policy: Policy, who: Who) -> Iterator[str]:
    """Each rule up to the one that decides."""
    if device := policy.device(who.peer):
        yield f"device {device.name} is at {who.peer}."
    for number, rule in enumerate(policy.rules.sender, 1):
        reason = policy.why_not(rule, who)
        yield f"sender {number}: {reason or ('it is denied' if rule.deny else 'it matches')}."
        if not reason:
            return


def _facts(permit: Permit) -> Iterator[str]:
    heard = ", ".join(permit.tell) or permit.sender
    yield f"It may send ({permit.rule}) and counts as {permit.identity}."
    yield f"It calls from {permit.line}; {heard} hears of the results."
    yield from (f"No more than {one.amount} {_WHOSE[one.scope]}." for one in permit.ceilings)


def _numbers(
    policy: Policy, permit: Permit, meant: Destination | Refusal, now: float
) -> tuple[tuple[str, ...], str, list[str]]:
    """Those that would be called, or the refusal; and sentences about each."""
    if isinstance(meant, Refusal):
        return (), str(meant), []
    why = [f"{_OTHER[meant.kind]}."] if meant.kind in _OTHER else []
    numbers = []
    for written in meant.numbers:
        why += [f"{written}: {sentence}" for sentence in policy.plan(permit).explain(written)]
        number = policy.number(permit, written)
        if isinstance(number, Refusal):
            return (), str(number), why
        numbers.append(number)
    try:
        from_pairs(meant.options, now, Where.ADDRESS)
    except OptionError as error:
        return (), error.reply, why
    return tuple(numbers), "", why


def _too_many(permit: Permit, count: int, most: int) -> str:
    """The refusal of an alias for which no mail will ever have room, "" = one may have."""
    if count > most:
        return TOO_MANY_NUMBERS
    full = [one for one in permit.ceilings if one.scope != "destination" and count > _least(one)]
    first = min(full, key=_least, default=None)
    return f"550 5.7.1 Quota: {first.amount} {_WHOSE[first.scope]}" if first else ""


def _least(ceiling: Ceiling) -> int:
    """How many faxes of a page it has room for."""
    return min(filter(None, (ceiling.faxes, ceiling.pages)))
