"""The file `rules.toml` → `Rules`, or every mistake in it, as sentences with their place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gateway.rules.tables import Alias, Device, Limits, Route, Rules, Sender, Spending
from gateway.rules.values import near

_LISTS: dict[str, type[BaseModel]] = {"sender": Sender, "device": Device, "route": Route}
_WORDS = {
    "tuple_type": "a list is wanted",
    "frozen_set_type": "a list is wanted",
    "dict_type": "a table is wanted",
    "model_type": "a table is wanted",
    "too_short": "at least one is wanted",
    "missing": "is missing",
    "greater_than_equal": "a count of 1 or more is wanted",
    "int_type": "a whole number is wanted",
    "bool_type": "true or false is wanted",
    "bool_parsing": "true or false is wanted",
}


class RulesError(Exception):
    """Everything that is wrong with the rules, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(path: Path, fax_domains: Collection[str], *, inbound: bool = True) -> Rules:
    """Read the file. Raises RulesError with every problem of it.

    Who takes no faxes in (INBOUND=off) needs no routes.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8-sig"))
        rules = Rules.model_validate(table)
    except (OSError, UnicodeDecodeError) as error:
        raise RulesError([f"{path} cannot be read: {error}"]) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RulesError([f"{path}: {error}"]) from None
    except ValidationError as error:
        errors = error.errors()
        plain = [one for one in errors if one["type"] != "too_short"] or errors  # its consequence
        raise RulesError([f"{path}: {_sentence(one)}" for one in plain]) from None
    problems = [*_senders(rules, fax_domains), *_routes(rules, fax_domains, wanted=inbound)]
    if problems:
        raise RulesError([f"{path}: {problem}" for problem in problems])
    return rules


def _senders(rules: Rules, fax_domains: Collection[str]) -> Iterator[str]:
    for number, sender in enumerate(rules.sender, 1):
        for name in sender.aliases or ():
            if name not in rules.aliases:
                yield f"sender {number}: aliases: {name} is no alias{near(name, rules.aliases)}"
    told = {f"sender {n}": one.tell for n, one in enumerate(rules.sender, 1)}
    for number, device in enumerate(rules.device, 1):
        told[f"device {number}"] = tuple(filter(None, (*device.tell, device.sender)))
    for place, mailboxes in told.items():
        for address in _fax_addresses(mailboxes, fax_domains):
            yield f"{place}: {address} is a fax address: a notice would be faxed"


def _routes(rules: Rules, fax_domains: Collection[str], *, wanted: bool) -> Iterator[str]:
    for number, route in enumerate(rules.route, 1):
        for address in _fax_addresses(route.mail, fax_domains):
            yield f"route {number}: {address} is a fax address: a received fax would be faxed"
        last = number == len(rules.route)
        if route.catches_all() and not last and not route.go_on:
            yield f"route {number} catches every fax: the routes behind it never match"
    if wanted and not rules.route:
        yield 'route is missing: add [[route]] with mail = ["…"]'
    if rules.route and not rules.route[-1].catches_all():
        yield 'the last route must catch what no other did: add [[route]] with mail = ["…"] alone'


def _fax_addresses(mailboxes: Collection[str], fax_domains: Collection[str]) -> list[str]:
    """Also `name@number.fax.local` is a fax (M2)."""
    return [
        address
        for address in mailboxes
        for domain in (address.rpartition("@")[2].lower(),)
        if any(domain == fax or domain.endswith(f".{fax}") for fax in fax_domains)
    ]


def _sentence(error: Any) -> str:  # noqa: ANN401 - pydantic's own shape
    where, rest, known = _place(error["loc"])
    name = next((part for part in rest if isinstance(part, str)), "")
    if error["type"] == "extra_forbidden":
        return f"{where}{name} is no key{near(name, known)}"
    said = _WORDS.get(error["type"]) or re.sub(
        r"^(?:Value error, |Input should be (?:''(?:,| or) )?)", "", error["msg"]
    )
    if error["msg"].startswith("Input should be") and error["type"] not in _WORDS:
        said = f"allowed is {said}"
    separator = " " if error["type"] == "missing" else ": " if name else ""
    return f"{where}{name}{separator}{said}"


def _place(loc: tuple[str | int, ...]) -> tuple[str, tuple[str | int, ...], Collection[str]]:
    """Where an error is, what is left of its path, and which keys there are."""
    match loc:
        case (str(table), int(number), *rest) if table in _LISTS:
            return f"{table} {number + 1}: ", tuple(rest), _keys(_LISTS[table])
        case ("limits", "destination", str(), *_):
            return "limits.destination: ", loc[2:], _keys(Spending)
        case ("limits", str(), *_):
            return "limits: ", loc[1:], _keys(Limits)
        case ("aliases", str(name), "[key]"):
            return "aliases: ", (name,), ()
        case ("aliases", str(name), *rest):
            return f"aliases: {name}: ", tuple(rest), _keys(Alias)
    return "", loc, _keys(Rules)


def _keys(table: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in table.model_fields.items()]
