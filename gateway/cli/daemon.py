"""`run` and `check`: the daemon in the foreground, and whether it could."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.cli.common import BAD_CONFIG, FAILED, AsJson, EnvFile, print_json, stop, verb

if TYPE_CHECKING:
    from gateway.config import Config


def register(app: typer.Typer) -> None:
    verb(
        app,
        "run",
        "The gateway in the foreground, as systemd starts it.",
        "SIGTERM ends it cleanly, SIGHUP re-reads rules and credentials.",
        "fax-gateway run --env-file /etc/fax-gateway/config.env",
    )(run)
    verb(
        app,
        "check",
        "Read settings and rules, and tell every mistake at once.",
        "Shows what is in force; secrets stay hidden.",
        "fax-gateway check --env-file ./config.env",
    )(check)


def run(env_file: EnvFile = None) -> None:
    import uvloop  # noqa: PLC0415 - keeps --help fast

    from gateway import log  # noqa: PLC0415
    from gateway.app import StartError, run_gateway  # noqa: PLC0415
    from gateway.config import ConfigError, load  # noqa: PLC0415
    from gateway.rules import RulesError  # noqa: PLC0415

    environ = dict(os.environ)  # the daemon forgets what is secret in its own
    try:
        config, _ = load(env_file, environ)
        log.setup(config.LOG_LEVEL, config.LOG_FORMAT, config.LOG_NUMBERS, config.secrets())
        uvloop.run(run_gateway(config, lambda: load(env_file, environ)[0]))
    except (ConfigError, RulesError) as error:
        stop(BAD_CONFIG, *error.problems)
    except StartError as error:
        stop(FAILED, str(error))


def check(env_file: EnvFile = None, as_json: AsJson = False) -> None:
    from gateway.build import rules_of  # noqa: PLC0415
    from gateway.build.doors import credentials  # noqa: PLC0415
    from gateway.config import ConfigError, load  # noqa: PLC0415
    from gateway.rules import RulesError  # noqa: PLC0415

    problems: list[str] = []
    shown: dict[str, str] = {}
    file: Path | None = env_file
    config: Config | None = None
    try:
        config, file = load(env_file)
        shown = config.shown()
    except ConfigError as error:
        problems, config = list(error.problems), error.rest
    warnings: list[str] = []
    if config:
        try:
            rules_of(config)
        except RulesError as error:
            problems += error.problems
        wrong, warnings = credentials(config)
        problems += wrong
    if as_json:
        print_json({"file": file, "problems": problems, "warnings": warnings, "settings": shown})
    else:
        for name, value in shown.items():
            print(f"{name}={value}")
        for warning in warnings:
            print(f"fax-gateway: warning: {warning}", file=sys.stderr)
    if problems:
        stop(BAD_CONFIG, *([] if as_json else problems))
    if not as_json:
        print(f"\nfine: {file or 'the environment'}")
