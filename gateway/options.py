"""What a sender asks for beside the number: one grammar in address, Subject and X-Fax headers.

Pure. Only whole words `name=value` count, never bare words or digits. What is not understood is
refused by name: nothing is passed over, and nothing meant for us is printed on a page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from gateway.numbers import plain


class Where(StrEnum):
    """The places where options are read."""

    ADDRESS = "address"
    SUBJECT = "subject"
    HEADER = "header"


@dataclass(frozen=True, slots=True)
class Options:
    """Every field is empty where nothing was said. Texts are clean: printable ASCII, one line."""

    body: str = ""  # of the mail's text: cover, page, ignore
    ref: str = ""  # the sender's own reference
    at: float = 0.0  # not before, seconds since the epoch
    prio: str = ""  # high, normal, low
    dup: str = ""  # ok = the same fax again is meant
    notify: str = ""  # all, ok, fail, none
    to: tuple[str, ...] = ()  # numbers as written, without separators; not through a dial plan


NOTHING = Options()


class OptionError(Exception):
    """Names the option, cleaned, and lists the known ones. `reply` is one SMTP reply line."""

    def __init__(self, name: str, why: str, where: Where) -> None:
        # RFC 3463 X.5.4, invalid command arguments; 550 because no retry mends it
        known = ", ".join(f"{name}=" for name in known_in(where))
        self.reply = f"550 5.5.4 Option {_clean(name)}: {why}; known here: {known}"
        super().__init__(self.reply)


AHEAD = timedelta(days=7)  # the furthest `at`
LONGEST_REF = 40
LONGEST_VALUE = 4000  # characters of a field; one that was cut ends in another number
MOST_NUMBERS = 100  # of one `to`

_WORDS = {
    "body": ("cover", "page", "ignore"),
    "cover": ("none",),  # templates come later
    "dup": ("ok",),
    "notify": ("all", "ok", "fail", "none"),
    "prio": ("high", "normal", "low"),
}
_NAMES = sorted([*_WORDS, "at", "ref", "to"])
_FIELDS = {"cover": "body"}  # cover=none is another name for body=ignore
_HEADER = "x-fax-"
_NO_OPTION = frozenset({"x-fax-gateway"})  # our own mark on the mails we send
_CLOCK = re.compile(r"([01][0-9]|2[0-3])[:.]([0-5][0-9])")  # an address cannot hold a colon
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T(.+)", re.IGNORECASE)
_TAIL = re.compile(r'\[fax((?:\s+[a-z]+=(?:"[^"]*"|[^\s"\[\]]+))+)\s*\]\s*', re.IGNORECASE)
_WORD = re.compile(r'([a-z]+)=(?:"([^"]*)"|([^\s"\[\]]+))', re.IGNORECASE)
_MEANT = re.compile(r"\[fax\s+[^\s=\[\]]+\s*=", re.IGNORECASE)
_BEGIN = re.compile(r"\[fax\s", re.IGNORECASE)


def known_in(where: Where) -> list[str]:
    return [name for name in _NAMES if name != "to" or where != Where.ADDRESS]


def check_names(pairs: Iterable[tuple[str, str]], where: Where) -> None:
    """Each name is known here and given once, or `OptionError`."""
    given: set[str] = set()
    for name, _ in pairs:
        option = name.lower()
        if option not in known_in(where):
            raise OptionError(name, "not known", where)
        field = _FIELDS.get(option, option)
        if field in given:
            raise OptionError(name, "given twice", where)
        given.add(field)


def from_pairs(
    pairs: Sequence[tuple[str, str]], now: float, where: Where, zone: tzinfo | None = None
) -> Options:
    """Options as (name, value), or `OptionError`. zone None = the machine's own."""
    if not pairs:
        return NOTHING
    check_names(pairs, where)
    said: dict[str, Any] = {}
    for name, value in pairs:
        option = name.lower()
        try:
            said[_FIELDS.get(option, option)] = _value(option, value, now, zone)
        except ValueError as error:
            raise OptionError(name, str(error), where) from None
    return Options(**said)


def from_subject(subject: str, now: float, zone: tzinfo | None = None) -> tuple[Options, str]:
    """The options of a tail `[fax name=value ...]`, and the Subject without it.

    Takes the whole decoded Subject: one that was cut has lost its tail. What looks like our tail
    and cannot be read is an error.
    """
    if "[" not in subject:
        return NOTHING, subject
    tail = _tail(subject)
    rest = without_tail(subject)
    if _MEANT.search(rest) or (not tail and _is_open(subject)):
        raise OptionError("[fax ...]", "write it once, at the end, as [fax name=value]",
                          Where.SUBJECT)  # fmt: skip
    if not tail:
        return Options(), subject
    pairs = [(word[1], word[2] or word[3] or "") for word in _WORD.finditer(tail[1])]
    return from_pairs(pairs, now, Where.SUBJECT, zone), rest


def without_tail(subject: str) -> str:
    """For pages and notices, whenever: an answer to a notice must not order the fax again."""
    tail = _tail(subject) if "[" in subject else None
    return subject[: tail.start()].rstrip() if tail else subject


def from_headers(
    header: Sequence[tuple[str, str]], now: float, zone: tzinfo | None = None
) -> Options:
    """The options of all fields `X-Fax-Name: value`; other fields may be among them."""
    pairs = [
        (name.lower().removeprefix(_HEADER), _unquoted(value.strip()))
        for name, value in header
        if name.lower().startswith(_HEADER) and name.lower() not in _NO_OPTION
    ]
    for name, value in pairs:
        if len(value) > LONGEST_VALUE:
            raise OptionError(name, "too long", Where.HEADER)
    return from_pairs(pairs, now, Where.HEADER, zone)


def from_mail(
    subject: str, header: Sequence[tuple[str, str]], now: float, zone: tzinfo | None = None
) -> Options:
    """What a mail itself asks for: X-Fax fields before the end of the Subject."""
    return merge(from_headers(header, now, zone), from_subject(subject, now, zone)[0])


def merge(*by_precedence: Options) -> Options:
    """The first that says something wins, option by option: header, Subject, address, default."""
    said: dict[str, Any] = {}
    if not any(map(NOTHING.__ne__, by_precedence)):  # nearly always
        return NOTHING
    for field in fields(Options):
        values = (getattr(options, field.name) for options in by_precedence)
        said[field.name] = next(filter(None, values), field.default)
    return Options(**said)


def _value(option: str, value: str, now: float, zone: tzinfo | None) -> Any:  # noqa: ANN401
    """What the field holds, or ValueError with what is allowed."""
    match option:
        case "at":
            return _at(value, now, zone)
        case "ref":
            return _ref(value)
        case "to":
            return _to(value)
    if value.lower() not in _WORDS[option]:
        raise ValueError(f"allowed: {', '.join(_WORDS[option])}")
    return "ignore" if option == "cover" else value.lower()


def _ref(value: str) -> str:
    if not (re.fullmatch(r"[ -~]+", value) and 0 < len(value.strip()) <= LONGEST_REF):
        raise ValueError(f"1 to {LONGEST_REF} printable ASCII characters")
    return value.strip()


def _to(value: str) -> tuple[str, ...]:
    numbers = tuple(plain(part.strip(" ")) for part in value.split(",", MOST_NUMBERS))
    if not all(numbers) or len(numbers) > MOST_NUMBERS:
        raise ValueError("numbers such as +14155550100, commas between")
    return tuple(dict.fromkeys(numbers))


def _at(value: str, now: float, zone: tzinfo | None) -> float:
    date = _DATE.fullmatch(value)
    clock = _CLOCK.fullmatch(date[4] if date else value)
    if not clock:
        raise ValueError("HH:MM or YYYY-MM-DDTHH:MM (in an address HH.MM)")
    today = datetime.fromtimestamp(now, zone)
    year, month, day = map(int, date.groups()[:3]) if date else (today.year, today.month, today.day)
    try:
        when = datetime(year, month, day, int(clock[1]), int(clock[2]), tzinfo=zone)
        if not date and when.timestamp() <= now:
            when += timedelta(days=1)
        at = when.timestamp()
    except (ValueError, OverflowError):
        raise ValueError("there is no such time") from None
    if not now < at <= now + AHEAD.total_seconds():
        raise ValueError(f"not past and within {AHEAD.days} days")
    return at


def _begin(subject: str) -> int:
    """Where the last `[fax ` stands, -1 = nowhere."""
    return max((begin.start() for begin in _BEGIN.finditer(subject)), default=-1)


def _tail(subject: str) -> re.Match[str] | None:
    begin = _begin(subject)
    return _TAIL.fullmatch(subject, begin) if begin >= 0 else None


def _is_open(subject: str) -> bool:
    """Does the last `[fax ` run to the end, closed there or never?"""
    begin = _begin(subject)
    return begin >= 0 and "]" not in subject[begin:].rstrip()[:-1]


def _unquoted(value: str) -> str:
    return value[1:-1] if re.fullmatch(r'"[^"]*"', value) else value


def _clean(name: str) -> str:
    """For a reply: ASCII letters, digits and a few signs, short."""
    return re.sub(r"[^A-Za-z0-9_.\[\] -]", "?", name)[:20] or "?"
