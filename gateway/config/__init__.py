"""The env file and the environment → one frozen `Config`; the only reader of either.

All problems are found at once and told in a sysadmin's words: name, value, what is allowed, and
where it stands. `sources` reads the text of settings, `settings` and `values` say what it means.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from gateway.config import sources
from gateway.config.settings import Config, conflicts

__all__ = ["Config", "ConfigError", "data_dir", "load"]

_IN_PLACE = {  # of missing ones, so that the others can be judged
    "AUDIAN_ACCOUNT_ID": "missing",
    "AUDIAN_AUTH_TOKEN": "missing",
    "FAX_FROM_NUMBER": "+14155550100",
}
Problem = Mapping[str, Any]  # pydantic's ErrorDetails


class ConfigError(Exception):
    """Everything that is wrong, one sentence each. `rest` is what can be made of the right ones."""

    def __init__(self, problems: list[str], rest: Config | None = None) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.rest = rest


def load(
    env_file: Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Config, Path | None]:
    """Read the env file (see `sources.DEFAULT_FILE`), then the environment over it.

    Returns the settings and the file they came from, None = none. Raises ConfigError.
    """
    environ = os.environ if environ is None else environ
    given = sources.gather(env_file, environ)
    given.take_secrets(environ.get("CREDENTIALS_DIRECTORY", ""))
    given.refuse_unknown(environ)
    if (rules := given.values.get("RULES_FILE")) and not Path(rules).exists():
        # without its rules the gateway would let in more senders than somebody wanted
        given.problems.append(f"{given.place('RULES_FILE')}: RULES_FILE={rules} is not there")
    if given.file and "RULES_FILE" not in given.values:
        given.values["RULES_FILE"] = str(given.file.parent / "rules.toml")
    config, wrong = _validated({name: v for name, v in given.values.items() if v != ""})
    problems = [*given.problems, *(_sentence(one, given) for one in wrong)]
    names = {_name(one) for one in wrong}
    problems += [one for one in conflicts(config) if not names & set(re.findall(r"\w+", one))]
    if problems:
        raise ConfigError(problems, config)
    return config, given.file


def _validated(values: dict[str, str]) -> tuple[Config, Sequence[Problem]]:
    """The settings, and what is wrong with some: these then have their defaults."""
    try:
        return Config.model_validate(values), []
    except ValidationError as error:
        wrong = error.errors(include_url=False)
    right = {name: value for name, value in values.items() if name not in map(_name, wrong)}
    return Config.model_validate(_IN_PLACE | right), wrong


def data_dir(env_file: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """DATA_DIR alone: who only looks at faxes needs no secrets, which only the service may have."""
    if env_file and not os.access(env_file, os.R_OK):
        raise ConfigError([f"{env_file} cannot be read"])
    given = sources.gather(env_file, os.environ if environ is None else environ)
    return Path(given.values.get("DATA_DIR") or Config.model_fields["DATA_DIR"].default)


def _name(error: Problem) -> str:
    return str(error["loc"][0])


def _sentence(error: Problem, given: sources.Given) -> str:
    name = _name(error)
    said = re.sub(r"^(Value|Assertion) error, ", "", error["msg"])
    said = re.sub(r"^Input should be ", "allowed is ", said)
    if error["type"] == "missing":
        return f"{name} is missing; config.example.env says what it means"
    secret = Config.model_fields[name].annotation is SecretStr
    shown = "…" if secret else re.sub(r"(://[^/@]*:)[^/]*@", r"\1…@", given.values.get(name, ""))
    return f"{given.place(name)}: {name}={shown}: {said}"
