"""`device doctor`: what a copier did in its last sessions, in words, and what mends it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import FAILED, AsJson, EnvFile, print_json, query, table, verb, when

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.doctor import Finding, Known
    from gateway.store.sqlite import Row

Ip = Annotated[str, typer.Argument(metavar="IP", help="The copier's address.")]

_MOST_SESSIONS = 5
_MOST_REJECTS = 50
_LATELY = 7 * 86400.0  # s: what was refused before is an old story
_MOST_PEERS = 10


def register(app: typer.Typer) -> None:
    device = typer.Typer(
        help="Copiers: what goes wrong with them.", no_args_is_help=True, rich_markup_mode=None
    )
    app.add_typer(device, name="device")
    verb(
        device,
        "doctor",
        "What a copier did in its last sessions, and what mends it.",
        "Reads what was said, and prints the lines for rules.toml or the settings.",
        "fax-gateway device doctor 192.0.2.17",
    )(doctor)


def doctor(peer: Ip, env_file: EnvFile = None, as_json: AsJson = False) -> None:
    from gateway import doctor as doctors  # noqa: PLC0415
    from gateway.cli.rejects import ip  # noqa: PLC0415
    from gateway.store.doors import PEERS, REJECTS_OF, SESSIONS_OF  # noqa: PLC0415

    peer = ip(peer)
    sessions = query(env_file, SESSIONS_OF, peer=peer, most=_MOST_SESSIONS)
    lately = {"since": time.time() - _LATELY, "most": _MOST_REJECTS}
    rejects = query(env_file, REJECTS_OF, peer=peer, **lately)
    known = _known(env_file, peer)
    dialogues = [one["dialogue"] for one in sessions]
    findings = doctors.examine(
        [(one["door"], one["dialogue"]) for one in sessions],
        [(one["reply"], one["because"]) for one in rejects],
    )
    block = doctors.device_block(peer, findings, known)
    lines = doctors.settings(peer, findings, dialogues, known)
    door = sessions[0]["door"] if sessions else ""
    copier = doctors.at_the_copier(door, findings, known)
    if as_json:
        cure = {"rules": block, "settings": lines, "copier": copier}
        print_json(_facts(peer, sessions, findings) | cure)
    elif sessions or rejects:
        _tell(peer, sessions, findings)
        _prescribe(block, lines, copier, env_file)
    else:
        _tell_unknown(peer, known, query(env_file, PEERS, most=_MOST_PEERS))
    if not (sessions or rejects):
        raise typer.Exit(FAILED)


def _facts(peer: str, sessions: list[Row], findings: list[Finding]) -> dict[str, Any]:
    """The stable keys of `--json`."""
    from gateway.doctor import story  # noqa: PLC0415

    return {
        "peer": peer,
        "sessions": [
            one
            | {"at": when(one["at"]), "dialogue": one["dialogue"].split("\n")}
            | {"story": story(one["dialogue"])}
            for one in sessions
        ],
        "findings": [
            {
                "name": one.sign.name,
                "means": one.sign.means,
                "do": one.sign.do,
                "compat": one.sign.compat,
                "quote": one.quote.split("\n"),
                "sessions": one.sessions,
                "newest": one.newest,
            }
            for one in findings
        ],
    }


def _tell(peer: str, sessions: list[Row], findings: list[Finding]) -> None:
    from gateway.doctor import story, took  # noqa: PLC0415

    for session in sessions:
        print(f"{when(session['at'])}  {peer} at the door {session['door']}: {session['outcome']}")
        print(f"  {story(session['dialogue'])}")
    if not sessions:
        print(f"{peer} was refused, and no session of it is kept.")
    for number, one in enumerate(findings, 1):
        old = "" if one.newest or not sessions else ", not in the newest"
        seen = f" ({one.sessions} of {len(sessions)} sessions{old})" if one.sessions else ""
        print(f"\n{number}. {one.sign.means}{seen}")
        for line in one.quote.split("\n"):
            print(f"     {line}")
        print(f"   → {one.sign.do}")
    if not findings:
        well = all(took(session["dialogue"]) for session in sessions)
        also = "." if well else ", and yet no mail came of some: press scan, and ask again."
        print(f"\nNothing went wrong in these sessions{also}")


def _prescribe(block: str, lines: list[str], copier: str, env_file: Path | None) -> None:
    if block:
        print(f"\nInto rules.toml (then: systemctl reload fax-gateway):\n\n{block}")
    if lines:
        file = env_file or "config.env"
        print(f"\nInto {file} (then: systemctl restart fax-gateway):\n")
        print("\n".join(lines))
    if copier:
        print(f"\n{copier}")


def _tell_unknown(peer: str, known: Known, peers: list[Row]) -> None:
    print(
        f"Nothing is known of {peer}: it has not come to a door of this gateway lately, or all went"
        " well there.\n\nPress scan at the copier, wait ten seconds, and ask again. When still"
        " nothing is known:\n- compare the server and the port in the copier's settings with"
        f" {_doors(known)};\n- look whether a firewall is between, or the copier comes by another"
        " address (NAT);\n- fax-gateway list shows what was taken."
    )
    if peers:
        print("\nLast seen at the doors:\n")
        table(
            ("PEER", "DOOR", "SESSIONS", "LAST"),
            [(one["peer"], one["door"], one["sessions"], when(one["at"])) for one in peers],
        )


def _doors(known: Known) -> str:
    return ", ".join(known.doors) or "SMTP_LISTEN and SMTP_DEVICE_LISTEN"


def _known(env_file: Path | None, peer: str) -> Known:
    """What the files say of the device. Broken ones say nothing: `check` tells why."""
    from gateway.config import ConfigError, load  # noqa: PLC0415
    from gateway.doctor import Known  # noqa: PLC0415

    try:
        config: Config | None = load(env_file)[0]
    except ConfigError as error:
        config = error.rest
    return _said_of(peer, config) if config else Known()


def _said_of(peer: str, config: Config) -> Known:
    from gateway.doctor import Known  # noqa: PLC0415
    from gateway.rules import RulesError, load, within  # noqa: PLC0415

    try:
        devices = load(config.RULES_FILE, config.FAX_DOMAINS).device
    except RulesError:
        devices = ()
    mine = next((one for one in devices if within(peer, one.network)), None)
    names = ("SMTP_LISTEN", "SMTP_TLS_LISTEN", "SMTP_DEVICE_LISTEN")
    at = {name: f"{a.host}:{a.port}" for name in names if (a := getattr(config, name))}
    return Known(
        networks=tuple(map(str, config.SMTP_DEVICE_NETWORKS)),
        listed=within(peer, config.SMTP_DEVICE_NETWORKS),
        listener=at.get("SMTP_DEVICE_LISTEN", ""),
        device=mine.name if mine else "",
        compat=mine.compat if mine else frozenset(),
        names=frozenset(one.name for one in devices),
        doors=tuple(f"{name}={place}" for name, place in at.items()),
    )
