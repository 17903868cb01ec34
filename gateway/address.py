"""Address → destination: every way to write a fax number before or after the @ (M2).

Pure. An address is understood whole or refused: no digit is guessed, dropped or dialled in part.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from gateway.numbers import Refusal, plain
from gateway.options import OptionError, Where, check_names


class Kind(StrEnum):
    NUMBER = "number"
    SUBJECT = "subject"  # the fixed address fax@: the numbers stand in the Subject or a header
    POSTMASTER = "postmaster"  # for the people who run the gateway (RFC 5321 §4.5.1)


@dataclass(frozen=True, slots=True)
class Destination:
    """What an address names. Its numbers have not been through a dial plan yet."""

    kind: Kind
    numbers: tuple[str, ...] = ()  # as written, without separators; several of a group alias
    subaddress: str = ""  # T33S: carried as data, never dialled
    options: tuple[tuple[str, str], ...] = ()  # names are known ones; values are for `options`
    alias: str = ""


TOO_MANY = Refusal("552 5.5.3 Too many addresses in To and Cc", "too_many_addresses")

FIXED = "fax"  # the local part of Kind.SUBJECT
LONGEST_LOCAL_PART = 200  # RFC 5321 §4.5.3.1.1: at least 64; IMCEA writes one character as three
LONGEST_HEADER = 8192  # characters of one To or Cc
MOST_ADDRESSES = 200

_NO_ALIASES: Mapping[str, Sequence[str]] = MappingProxyType({})
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_ROUTE = re.compile(r"[@%!:]")
_COMMENTS = re.compile(r"[() \t\[\]]")
_COMMENTS_BEHIND = re.compile(r"[() \t]")  # the @, where brackets may hold an IP address
_SEGMENT = re.compile(r"([A-Za-z0-9-]+)=([ -~]+)")
_ALIAS = re.compile(r"(?=.*[a-z])[a-z0-9._-]+")
# ann@14155550100.fax.local: who reads the fax. It must not look like another number
_NAME = re.compile(r"(?=.*[A-Za-z])(?!.*[0-9](?:[-.]?[0-9]){6})[A-Za-z0-9!#$&'*+?^_`{|}~.-]+")
_FAX = re.compile(r"/?FAX=(.*?)/?", re.IGNORECASE)  # RFC 3192 §2
# MS-OXCMAIL §2.1.3.1.8; older mailers leave a dot as it is
_IMCEA = re.compile(r"IMCEAFAX-((?:[A-Z0-9=._-]|\+[0-9A-F]{2})+)", re.IGNORECASE)
_PERSON = re.compile(r"(?!.*[0-9](?:[-. ]?[0-9]){6})[^@|<>\x00-\x1f]*")
_CANONICAL = re.compile(
    r"\+?(?:[0-9]+[-. ]?)?(?:\([0-9]+\)[-. ]?)?[0-9]+(?:[-. ][0-9]+)*"  # +1 (206) 936-7329
)
_COMMENT = r"\((?:[^()\\]|\\.)*\)"
_BRACKETED = re.compile(
    rf'(?:"(?:[^"\\]|\\.)*"|{_COMMENT}|[^"<>()])*<([^<>]*)>(?:\s|{_COMMENT})*', re.DOTALL
)
_AT = re.compile(rf"@(?:\s|{_COMMENT})*([^\s<>()\",;:@]+)", re.DOTALL)


def destination(
    address: str, domains: Collection[str], aliases: Mapping[str, Sequence[str]] = _NO_ALIASES
) -> Destination | Refusal:
    """What a raw address (between the angle brackets) names. Domains and aliases: lower case."""
    if address.lower() == "postmaster":
        return Destination(Kind.POSTMASTER)
    local, at, domain = address.rpartition("@")
    if _ROUTE.search(local):  # two @, source route, percent and bang paths
        return Refusal.RELAY_TRY
    if _COMMENTS.search(local) or _COMMENTS_BEHIND.search(domain):
        return Refusal.COMMENT
    if not (at and address.isascii() and _DOMAIN.fullmatch(domain.lower())):
        return Refusal.RELAY_TRY if _is_literal(domain) else Refusal.BAD_NUMBER
    number = _number_in(domain.lower(), domains)
    if number is None or len(local) > LONGEST_LOCAL_PART:
        return Refusal.RELAY_TRY if number is None else Refusal.BAD_NUMBER
    return _named(local, number) if number else _understood(local, aliases)


def _number_in(domain: str, domains: Collection[str]) -> str | None:
    """The number of `name@number.fax.local`, "" = a fax domain itself, None = not ours."""
    if domain in domains:
        return ""
    ours = [one for one in domains if domain.endswith(f".{one}")]
    if not ours:
        return None
    return plain(domain.removesuffix(f".{max(ours, key=len)}")) or None


def _named(local: str, number: str) -> Destination | Refusal:
    """`name@number.fax.local`: the name is for people, the number stands in the domain."""
    head, *segments = local.split("/")
    if head.lower() == Kind.POSTMASTER:
        return _with(Destination(Kind.POSTMASTER), segments)
    return _with(_dialled(number if _NAME.fullmatch(head) else ""), segments)


def _understood(local: str, aliases: Mapping[str, Sequence[str]]) -> Destination | Refusal:
    """Each way to write one is tried on the whole of the text."""
    if fax := _FAX.fullmatch(local):
        head, *segments = fax[1].split("/")
        return _with(_dialled(plain(head)), segments)
    if imcea := _IMCEA.fullmatch(local):
        person, _, text = _decoded(imcea[1]).rpartition("@")
        head, *segments = text.split("/")
        return _with(_dialled(_canonical(head) if _PERSON.fullmatch(person) else ""), segments)
    head, *segments = local.split("/")
    number = plain(head)
    return _with(_dialled(number) if number else _called(head.lower(), aliases), segments)


def _dialled(number: str) -> Destination | Refusal:
    return Destination(Kind.NUMBER, (number,)) if number else Refusal.BAD_NUMBER


def _called(name: str, aliases: Mapping[str, Sequence[str]]) -> Destination | Refusal:
    """What a word means: one of ours, or an alias."""
    if name == Kind.POSTMASTER:
        return Destination(Kind.POSTMASTER)
    if name == FIXED:
        return Destination(Kind.SUBJECT)
    if not _ALIAS.fullmatch(name) or name not in aliases:
        return Refusal.BAD_NUMBER
    numbers = tuple(plain(number) for number in aliases[name])
    if not (numbers and all(numbers)):
        return Refusal.NO_NUMBER
    return Destination(Kind.NUMBER, numbers, alias=name)


def _with(found: Destination | Refusal, segments: Sequence[str]) -> Destination | Refusal:
    """What follows the number: T33S (RFC 3192 §2.2) and options. Nothing else may."""
    if isinstance(found, Refusal) or not segments:
        return found
    words = [word for word in map(_SEGMENT.fullmatch, segments) if word]
    if len(words) < len(segments) or found.kind == Kind.POSTMASTER:
        return Refusal.BAD_NUMBER
    subaddress = [word[2] for word in words if word[1].upper() == "T33S"]
    options = tuple((word[1], word[2]) for word in words if word[1].upper() != "T33S")
    if subaddress and not (found.kind == Kind.NUMBER and _is_subaddress(subaddress)):
        return Refusal.BAD_NUMBER
    try:
        check_names(options, Where.ADDRESS)
    except OptionError as error:
        return Refusal(error.reply, "bad_option")
    return replace(found, subaddress="".join(subaddress), options=options)


def _is_subaddress(values: Sequence[str]) -> bool:
    """Given once, of what a SUB frame holds (ITU-T T.30; T.33 §4 has # between levels)."""
    return len(values) == 1 and re.fullmatch(r"[0-9*#]{1,20}", values[0]) is not None


def _decoded(text: str) -> str:
    """Plus-encoding undone: `+XX` is a byte, `_` is a slash."""
    plus = re.compile(r"\+([0-9A-F]{2})", re.IGNORECASE)
    return plus.sub(lambda byte: chr(int(byte[1], 16)), text.replace("_", "/"))


def _canonical(text: str) -> str:
    """+1 (206) 936-7329, where brackets and spaces are no comment: nothing may be left over."""
    return plain(re.sub(r"[-. ()]", "", text)) if _CANONICAL.fullmatch(text) else ""


# To and Cc of a mail


def header_addresses(value: str) -> list[str] | Refusal:
    """The addresses of a raw To or Cc value, as written; an item that is no address stays whole.

    Give it the value undecoded: a name in an encoded word may decode to brackets and commas.
    """
    if len(value) > LONGEST_HEADER:
        return TOO_MANY
    items = [item.strip() for item in _split(re.sub(r"\r?\n(?=[ \t])", "", value))]
    if len(items) > MOST_ADDRESSES:
        return TOO_MANY
    bracketed = ((item, _BRACKETED.fullmatch(item)) for item in items if item)
    return [match[1] if match else item for item, match in bracketed]


def _split(value: str) -> Iterator[str]:
    """At `,` and `;` that stand in no quotes, comment or angle brackets."""
    start, within, depth, escaped = 0, "", 0, False
    for at, char in enumerate(value):
        if escaped:
            escaped = False
        elif char == "\\" and (depth or within == '"'):
            escaped = True
        elif within:
            within = "" if char == within else within
        elif depth or char == "(":
            depth += (char == "(") - (char == ")")
        elif char in '"<':
            within = '"' if char == '"' else ">"
        elif char in ",;":
            yield value[start:at]
            start = at + 1
    yield value[start:]


def concerns(text: str, domains: Collection[str]) -> bool:
    """Does a domain of ours stand after any @? Then a refusal is better than silence."""
    ours = tuple(f".{domain}" for domain in domains)
    found = (match[1].lower().strip(".") for match in _AT.finditer(text))
    return any(one in domains or (one[:1].isdigit() and one.endswith(ours)) for one in found)


def plus_number(address: str, mailbox: str) -> str | Refusal | None:
    """`fax+14155550100@example.com` for the mailbox fax@example.com: +14155550100.

    None = not ours, or a word for people behind the plus. A number behind it is international.
    """
    local, at, domain = mailbox.lower().rpartition("@")
    written, _, other = address.rpartition("@")
    if not at or other.lower() != domain or not written.lower().startswith(f"{local}+"):
        return None
    tag = written[len(local) + 1 :]
    if re.match(r"[A-Za-z]", tag):
        return None
    if re.search(r"[() \t\[\]]", tag):
        return Refusal.COMMENT
    number = plain(tag)
    return f"+{number.removeprefix('+')}" if number else Refusal.BAD_NUMBER


def _is_literal(domain: str) -> bool:
    return domain.startswith("[") and domain.endswith("]")
