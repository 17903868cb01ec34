"""`list` and `show`: what became of each fax. They only read, beside a running daemon."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import (
    FAILED,
    AsJson,
    EnvFile,
    print_json,
    query,
    stop,
    table,
    verb,
    when,
)
from gateway.wishes import wishes_of

FaxId = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]

if TYPE_CHECKING:
    from gateway.model import Fax


def register(app: typer.Typer) -> None:
    verb(
        app,
        "list",
        "Faxes of both directions, newest first.",
        "Where each of them is, and which wait for a person (held).",
        "fax-gateway list --most 20",
        "fax-gateway list --json",
    )(list_faxes)
    verb(
        app,
        "show",
        "One fax and its whole time line.",
        "The id is in every answer and notice, and in `list`.",
        "fax-gateway show k7m2p9x4h3qd",
    )(show)


def list_faxes(
    env_file: EnvFile = None,
    as_json: AsJson = False,
    most: Annotated[int, typer.Option("--most", min=1, help="How many.")] = 50,
) -> None:
    from gateway.store import fax_of  # noqa: PLC0415
    from gateway.store.queries import LIST  # noqa: PLC0415

    faxes = [fax_of(row) for row in query(env_file, LIST, most=most)]
    if as_json:
        print_json([facts(fax) for fax in faxes])
        return
    table(
        ("ID", "CREATED", "DIRECTION", "STATE", "NUMBER", "PAGES", "SENDER / RECIPIENT", "NOTE"),
        [
            (f.id, when(f.created_at), f.direction, _state(f), f.number, f.pages or "",
             f.sender or f.recipient, f.held or "; ".join(filter(None, (f.reason, f.trouble))))
            for f in faxes
        ],
    )  # fmt: skip


def show(fax_id: FaxId, env_file: EnvFile = None, as_json: AsJson = False) -> None:
    from gateway.store import fax_of  # noqa: PLC0415
    from gateway.store.queries import ATTEMPTS, GET, HISTORY  # noqa: PLC0415

    rows = query(env_file, GET, id=fax_id)
    if not rows:
        stop(FAILED, f"there is no fax {fax_id}; fax-gateway list shows them")
    fax = fax_of(rows[0])
    history = query(env_file, HISTORY, fax=fax_id)
    attempts = query(env_file, ATTEMPTS, fax=fax_id)
    events = [{"at": when(e["at"]), "state": e["state"], "note": e["note"]} for e in history]
    if as_json:
        uploads = [
            a | {"started_at": when(a["started_at"]), "ended_at": when(a["ended_at"])}
            for a in attempts
        ]
        print_json(facts(fax) | {"history": events, "attempts": uploads})
        return
    for name, value in facts(fax).items():
        is_many = isinstance(value, dict)
        text = ", ".join(f"{one}={given}" for one, given in value.items()) if is_many else value
        if text not in ("", 0):
            print(f"{name.replace('_', ' '):<12} {text}")
    print()
    table(("AT", "STATE", "NOTE"), [(e["at"], e["state"], e["note"]) for e in events])


def facts(fax: Fax) -> dict[str, Any]:
    """The stable keys of `--json`."""
    return {
        "id": fax.id,
        "direction": str(fax.direction),
        "state": str(fax.state),
        "held": fax.held,
        "number": fax.number,
        "line": fax.line,
        "sender": fax.sender,
        "recipient": fax.recipient,
        "identity": fax.identity,
        "wishes": wishes(fax),
        "subject": fax.subject,
        "name": fax.name,
        "pages": fax.pages,
        "result_pages": fax.result_pages,
        "duration": fax.duration,
        "calls": fax.calls,
        "provider_id": fax.provider_id,
        "message_id": fax.message_id,
        "cause": fax.cause,
        "reason": fax.reason,
        "trouble": fax.trouble,
        "skipped": fax.skipped,
        "created_at": when(fax.created_at),
        "since": when(fax.since),
        "due_at": when(fax.due_at),
        "attempts": fax.attempts,
    }


def wishes(fax: Fax) -> dict[str, Any]:
    """What its sender asked for, as far as anything was said."""
    said = {name: value for name, value in asdict(wishes_of(fax.wishes)).items() if value}
    return said | ({"at": when(said["at"])} if "at" in said else {})


def _state(fax: Fax) -> str:
    return f"{fax.state} (held)" if fax.held else str(fax.state)
