"""`rules.toml` → who gets which received fax. The only reader of that file.

A file is taken whole or not at all; every mistake in it is told at once, with its place.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)


class RulesError(Exception):
    """Everything that is wrong with the rules, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _pattern(value: str) -> str:
    if not re.fullmatch(r"\+\d{1,15}\*?", value):
        raise ValueError('a number such as "+14155550100", or its beginning as "+1415*", is wanted')
    return value


_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_ADDRESS = re.compile(
    rf"(?=.{{1,64}}@.{{1,253}}$){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*"  # RFC 5321 §4.1.2
)


def _address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError('a mail address such as "office@example.com" is wanted')
    return value


Numbers = Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], BeforeValidator(_list)]
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_address)], ...],
    BeforeValidator(_list),
    Field(min_length=1),
]


class Route(BaseModel):
    """One `[[route]]`: whom it is about, and who gets the fax."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    to: Numbers = ()  # our called numbers
    sender: Numbers = Field(default=(), alias="from")  # the caller's
    mail: Addresses
    go_on: bool = Field(default=False, alias="continue")

    def catches_all(self) -> bool:
        return not (self.to or self.sender)


class Rules(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: tuple[Route, ...] = Field(min_length=1)

    @staticmethod
    def default(mail: str) -> Rules:
        """With no file: one mailbox gets every fax."""
        return Rules(route=(Route(mail=(mail,)),))


def load(path: Path, fax_domains: Collection[str]) -> Rules:
    """Read the file. Raises RulesError with every problem of it."""
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
    problems = [f"{path}: {problem}" for problem in _problems(rules, fax_domains)]
    if problems:
        raise RulesError(problems)
    return rules


def _problems(rules: Rules, fax_domains: Collection[str]) -> list[str]:
    problems = []
    for number, route in enumerate(rules.route, 1):
        problems += [
            f"route {number}: {address} is a fax address: a received fax would be faxed"
            for address in route.mail
            if _is_within(address.rpartition("@")[2].lower(), fax_domains)
        ]
        last = number == len(rules.route)
        if route.catches_all() and not last and not route.go_on:
            problems.append(f"route {number} catches every fax: the routes behind it never match")
    if not rules.route[-1].catches_all():
        problems.append(
            'the last route must catch what no other did: add [[route]] with mail = ["…"] alone'
        )
    return problems


def _is_within(domain: str, fax_domains: Collection[str]) -> bool:
    """Also `name@number.fax.local` is a fax (M2)."""
    return any(domain == fax or domain.endswith(f".{fax}") for fax in fax_domains)


def _sentence(error: Any) -> str:  # noqa: ANN401 - pydantic's own shape
    place = [part for part in error["loc"] if isinstance(part, str)]
    numbers = [part + 1 for part in error["loc"] if isinstance(part, int)]
    where = f"route {numbers[0]}: " if numbers else ""
    name = place[-1] if place else "the file"
    if error["type"] == "extra_forbidden":
        known = ["to", "from", "mail", "continue"] if numbers else ["route"]
        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f": did you mean {near[0]}?" if near else f"; there is: {', '.join(known)}"
        return f"{where}{name} is no key{hint}"
    if error["type"] == "missing":
        return f"{where}{name} is missing"
    return f"{where}{name}: {re.sub(r'^Value error, ', '', error['msg'])}"
