"""Fault rules: which request or webhook goes wrong, and how. The first match wins.

`before` faults strike instead of the operation, `after` faults once it was accepted (2xx),
`hook` faults when a webhook is due. `misbehave` carries them out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any


class Phase(StrEnum):
    BEFORE = "before"
    AFTER = "after"
    HOOK = "hook"


# action → the phase it belongs to, and its parameters with their defaults
ACTIONS: dict[str, tuple[Phase, dict[str, Any]]] = {
    "status": (Phase.BEFORE, {"code": 500, "body": "envelope", "headers": {}}),
    "garbage": (Phase.BEFORE, {"kind": "html"}),
    "hang_before": (Phase.BEFORE, {"seconds": 30.0}),
    "drop_before": (Phase.BEFORE, {"reset": False}),
    "hang_after_accept": (Phase.AFTER, {"seconds": 30.0}),
    "drop_after_accept": (Phase.AFTER, {"reset": False}),
    "slow_body": (Phase.AFTER, {"rate": 1024.0, "stall_after": -1, "stall": 0.0}),
    "truncate": (Phase.AFTER, {"bytes": -1, "percent": 50.0, "length": "full"}),
    "wrong_type": (Phase.AFTER, {"label": "", "content": "same"}),
    "webhook": (Phase.HOOK, {"duplicate": 0, "drop": False, "delay": 0.0, "burst": 0}),
}
CHOICES = {
    ("status", "body"): ("envelope", "bare", "html", "empty"),
    ("garbage", "kind"): ("html", "json", "empty"),
    ("wrong_type", "content"): ("same", "html", "json", "empty", "gzip"),
    ("truncate", "length"): ("full", "short", "chunked"),
}
MATCH = {
    "method": "",
    "path_regex": "",
    "nth": 0,
    "every": 0,
    "prob": 1.0,
    "from_t": 0.0,
    "to_t": 0.0,
    "after_accept": False,
}
MOST = {"prob": 1.0, "percent": 100.0}  # of other numbers: 1e9
MOVABLE = {"status", "garbage"}  # what `after_accept` may move behind the operation
OURS = {"content-length", "transfer-encoding", "connection"}  # `truncate` lies about these
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+: ?[\x21-\x7e](?:[ \t\x21-\x7e]*[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class Rule:
    """`nth`: only that match, from 1. `every`: each k-th. `times`: at most so often, 0 = always.

    `from_t`, `to_t`: only between these seconds of the sandbox's clock; 0 = no limit.
    """

    action: str
    params: Mapping[str, Any] = field(default_factory=dict)
    method: str = ""
    path_regex: str = ""
    nth: int = 0
    every: int = 0
    prob: float = 1.0
    from_t: float = 0.0
    to_t: float = 0.0
    after_accept: bool = False
    times: int = 0

    def __post_init__(self) -> None:
        """Refuse what could not be carried out, while its author still looks."""
        _check(self)

    @property
    def phase(self) -> Phase:
        return Phase.AFTER if self.after_accept else ACTIONS[self.action][0]

    def param(self, name: str) -> Any:  # noqa: ANN401 - the table of defaults knows the type
        return self.params.get(name, ACTIONS[self.action][1][name])

    def meets(self, method: str, path: str) -> bool:
        return self.method.upper() in ("", method) and bool(re.search(self.path_regex, path))

    def lasts(self, elapsed: float) -> bool:
        return self.from_t <= elapsed and (not self.to_t or elapsed < self.to_t)

    def as_json(self) -> dict[str, Any]:
        match = {name: getattr(self, name) for name in MATCH if getattr(self, name) != MATCH[name]}
        return {
            "match": match,
            "action": self.action,
            "params": dict(self.params),
            "times": self.times,
        }


def rule(written: object) -> Rule:
    """A rule from its JSON form.

    Raises:
        ValueError: what is wrong with it, in words.
    """
    if not isinstance(written, dict) or not isinstance(written.get("action"), str):
        raise ValueError('a fault is an object with an "action"')  # noqa: TRY004 - one kind for all
    match = written.get("match", {})
    _known("", {"match": {}, "action": "", "params": {}, "times": 0}, written)
    _known("match.", MATCH, match)
    return Rule(
        written["action"], written.get("params", {}), times=written.get("times", 0), **match
    )


class Faults:
    """The rules in force, with their counts."""

    def __init__(
        self, rules: Iterable[Rule], rng: Random, elapsed: Callable[[], float] = float
    ) -> None:
        self.rules = list(rules)
        self._rng = rng
        self._elapsed = elapsed  # seconds of the sandbox's clock
        self._seen: Counter[int] = Counter()
        self._struck: Counter[int] = Counter()

    def pick(self, phase: Phase, method: str, path: str) -> Rule | None:
        """The fault for this one, if any. Every rule counts what it meets, chosen or not."""
        elapsed = self._elapsed()
        met = [
            (at, rule)
            for at, rule in enumerate(self.rules)
            if rule.phase is phase and rule.meets(method, path) and rule.lasts(elapsed)
        ]
        due = [(at, rule) for at, rule in met if self._due(at, rule)]
        for at, rule in due:
            if rule.prob >= 1 or self._rng.random() < rule.prob:
                self._struck[at] += 1
                return rule
        return None

    def add(self, rule: Rule) -> None:
        self.rules.append(rule)

    def clear(self) -> None:
        self.rules.clear()
        self._seen.clear()
        self._struck.clear()

    def _due(self, at: int, rule: Rule) -> bool:
        self._seen[at] += 1
        return (
            rule.nth in (0, self._seen[at])
            and not (rule.every and self._seen[at] % rule.every)
            and not (rule.times and self._struck[at] >= rule.times)
        )


def _check(rule: Rule) -> None:
    if rule.action not in ACTIONS:
        raise ValueError(f"no action {rule.action!r}; there is: {', '.join(ACTIONS)}")
    _known(f"{rule.action}.", ACTIONS[rule.action][1], rule.params)
    _known("", {**MATCH, "times": 0}, {n: getattr(rule, n) for n in (*MATCH, "times")})
    for (action, name), choices in CHOICES.items():
        if action == rule.action and rule.param(name) not in choices:
            raise ValueError(f"{action}.{name} is one of {', '.join(choices)}")
    if (
        rule.after_accept
        and rule.action not in MOVABLE
        and ACTIONS[rule.action][0] is not Phase.AFTER
    ):
        raise ValueError(f"{rule.action} cannot come after_accept")
    try:
        re.compile(rule.path_regex)
    except re.error as error:
        raise ValueError(f"path_regex: {error}") from error
    if rule.to_t and rule.to_t <= rule.from_t:
        raise ValueError("to_t comes after from_t")
    if rule.action == "status":
        _check_status(rule)


def _check_status(rule: Rule) -> None:
    if not 200 <= rule.param("code") <= 599:
        raise ValueError("status.code is a number from 200 to 599")
    for name, text in rule.param("headers").items():
        if str(name).lower() in OURS or not HEADER.fullmatch(f"{name}: {text}"):
            raise ValueError(f"status.headers: {name!r} cannot be sent like that")


def _known(where: str, defaults: Mapping[str, Any], written: object) -> None:
    """Only names there are, each of its default's type, no number out of its range."""
    if not isinstance(written, Mapping):
        raise ValueError(f"{where or 'a fault'} is an object")  # noqa: TRY004 - the same
    for name, value in written.items():
        if name not in defaults:
            raise ValueError(f"no {where}{name}; there is: {', '.join(defaults)}")
        if not _fits(value, defaults[name], MOST.get(name, 1e9)):
            raise ValueError(f"{where}{name} cannot be {value!r}")


def _fits(value: object, default: object, most: float) -> bool:
    if isinstance(default, bool) or not isinstance(default, int | float):
        return isinstance(value, Mapping if isinstance(default, Mapping) else type(default))
    whole = isinstance(default, int)
    numbers = int if whole else (int, float)
    least = min(default, 0)  # -1 is "none" where 0 means something
    return isinstance(value, numbers) and not isinstance(value, bool) and least <= value <= most
