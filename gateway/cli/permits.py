"""`permit`: which rule decides over a sender and a number, and why, without doing it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.common import BAD_CONFIG, FAILED, USAGE, AsJson, EnvFile, print_json, stop, verb

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.outbound.explain import Door
    from gateway.outbound.permit import Policy


def register(app: typer.Typer) -> None:
    verb(
        app,
        "permit",
        "May this sender fax this number, and which rule says so?",
        "Reads settings and rules as the door does; nothing is sent. Exit 0 = yes, 1 = no.",
        "fax-gateway permit ann@example.com +14155550100 --explain",
        "fax-gateway permit scan@example.com sales@fax.local --peer 192.0.2.7 --explain",
    )(permit)


def permit(  # noqa: PLR0917 - typer reads them
    sender: Annotated[str, typer.Argument(metavar="SENDER", help="Envelope sender.")],
    number: Annotated[
        str, typer.Argument(metavar="NUMBER", help="Number, alias or whole fax address.")
    ],
    env_file: EnvFile = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say why, rule by rule.")] = False,
    login: Annotated[str, typer.Option("--login", help="As who has logged in so.")] = "",
    peer: Annotated[
        str, typer.Option("--peer", help="As who comes from this IP address.")
    ] = "127.0.0.1",
    mailbox: Annotated[
        bool, typer.Option("--mailbox", help="As a mail in the IMAP mailbox that was vouched for.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    import time  # noqa: PLC0415 - keeps --help fast

    from gateway.outbound.explain import explain as explained  # noqa: PLC0415

    try:
        ip_address(peer)
    except ValueError as error:
        stop(USAGE, f"--peer: {error}")
    policy, door = _policy(env_file)
    who = policy.who(
        sender.strip().removeprefix("<").removesuffix(">"),
        login="" if mailbox else login,
        peer="" if mailbox else peer,
        verified=mailbox,
    )
    verdict = explained(policy, door, who, number, time.time())
    if as_json:
        print_json(
            {
                "permitted": not verdict.reply,
                "reply": verdict.reply,
                "numbers": verdict.numbers,
                "identity": verdict.permit.identity if verdict.permit else "",
                "rule": verdict.permit.rule if verdict.permit else "",
                "line": verdict.permit.line if verdict.permit else "",
                "why": verdict.why,
            }
        )
    else:
        print("\n".join(verdict.why if explain else verdict.why[-1:]))
    raise typer.Exit(FAILED if verdict.reply else 0)


def _policy(env_file: Path | None) -> tuple[Policy, Door]:
    """As the daemon has them."""
    from gateway.build import policy_of, rules_of  # noqa: PLC0415
    from gateway.config import ConfigError, load  # noqa: PLC0415
    from gateway.outbound.explain import Door  # noqa: PLC0415
    from gateway.rules import RulesError  # noqa: PLC0415

    try:
        config, _ = load(env_file)
        door = Door(config.FAX_DOMAINS, config.FAX_MAX_RECIPIENTS, bool(config.MAIL_ADMIN))
        return policy_of(config, rules_of(config)), door
    except (ConfigError, RulesError) as error:
        stop(BAD_CONFIG, *error.problems)
