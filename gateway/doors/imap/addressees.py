"""The addresses of a mail in the box: which of them ask for a fax, and of whom. Pure.

Plus-addresses of the mailbox (`fax+14155550100@…`) count where the mail was delivered or written
to, fax addresses in To and Cc. A display name or a comment is never read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from gateway.address import (
    TOO_MANY,
    Destination,
    Kind,
    concerns,
    destination,
    header_addresses,
    plus_number,
)
from gateway.doors.imap.letters import Letter
from gateway.doors.imap.settings import ImapSettings
from gateway.mail.headers import LONGEST_VALUE
from gateway.numbers import Refusal

_WAY = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to")
_SCRAP = re.compile(r"[^@A-Za-z0-9]*+[0-9][^@A-Za-z]*+")  # never twice over the same text


@dataclass(frozen=True, slots=True)
class Asked:
    """One destination, as somebody wrote it."""

    written: str
    what: Destination | Refusal


def addressees(
    letter: Letter, settings: ImapSettings, aliases: Mapping[str, Sequence[str]]
) -> Iterator[Asked]:
    """Each destination that the mail's addresses name, once."""
    delivered = [value.strip().removeprefix("<").removesuffix(">") for value in letter.all(*_WAY)]
    boxes = _boxes(delivered, settings.user)
    named = [one for one in delivered if one.lower() not in boxes]  # all mail goes to those
    for address in dict.fromkeys([*named, *_in_header(letter)]):
        if isinstance(address, Refusal):
            yield Asked("", address)
        elif (what := _named(address, boxes, settings.domains, aliases)) is not None:
            yield Asked(address, what)


def _boxes(delivered: Sequence[str], user: str) -> set[str]:
    """The addresses of the mailbox. A user without a domain has those that mail came under."""
    user = user.lower()
    if "@" in user:
        return {user}
    parted = (address.lower().rpartition("@") for address in delivered)
    return {f"{user}@{domain}" for local, at, domain in parted
            if at and local.partition("+")[0] == user}  # fmt: skip


def _in_header(letter: Letter) -> Iterator[str | Refusal]:
    for value in letter.all("to", "cc"):
        found = header_addresses(value)
        if isinstance(found, Refusal) or len(value) >= LONGEST_VALUE:
            yield TOO_MANY  # and some may be ours; a cut value may even end in another number
        else:
            yield from _whole(found)


def _whole(items: Sequence[str]) -> Iterator[str]:
    """`030, 1234567@fax.local` is one address with a comma in it, not a shorter number (M3)."""
    before = ""
    for item in items:
        if _SCRAP.fullmatch(item):
            before += f"{item}, "
        else:
            yield before + item
            before = ""


def is_fixed(what: Destination | Refusal) -> TypeGuard[Destination]:
    """The address that leaves the number to the Subject (S4)?"""
    return isinstance(what, Destination) and what.kind is Kind.SUBJECT


def _named(
    address: str,
    boxes: Collection[str],
    domains: Collection[str],
    aliases: Mapping[str, Sequence[str]],
) -> Destination | Refusal | None:
    """What an address asks us to do; None = it is not ours, or asks for no fax."""
    if address.lower() in boxes:
        return Destination(Kind.SUBJECT)
    for plus in (plus_number(address, box) for box in boxes):
        if plus is not None:
            return plus if isinstance(plus, Refusal) else Destination(Kind.NUMBER, (plus,))
    if not concerns(address, domains):
        return None
    what = destination(address, domains, aliases)
    return None if isinstance(what, Destination) and what.kind is Kind.POSTMASTER else what
