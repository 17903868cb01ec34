"""What every verb shares: the env file, exit codes, tables and JSON."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from gateway.store.sqlite import Row

Verb = TypeVar("Verb", bound=Callable[..., None])
FAILED, USAGE, BAD_CONFIG = 1, 2, 78  # sysexits.h: EX_CONFIG

EnvFile = Annotated[
    Path | None,
    typer.Option(
        "--env-file", help="Settings; default /etc/fax-gateway/config.env, else ./config.env."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")]


def verb(
    app: typer.Typer, name: str, does: str, more: str, *examples: str
) -> Callable[[Verb], Verb]:
    """Register a verb with its help, which ends with examples. `does` fits the list of verbs."""
    shown = "\n".join(f"  {example}" for example in examples)
    return app.command(name, help=f"{does}\n\n{more}", epilog=f"\b\nExample:\n{shown}")


def stop(code: int, *sentences: str) -> NoReturn:
    for sentence in sentences:
        print(f"fax-gateway: {sentence}", file=sys.stderr)
    raise typer.Exit(code)


def print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table that also reads well in a pipe: no frames, columns as wide as their text."""
    texts = [titles, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(titles))]
    for row in texts:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def when(at: float) -> str:
    """A moment as people and machines read it; "" for none."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""


def query(env_file: Path | None, statement: str, **parameters: object) -> list[Row]:
    """Rows of the database, read beside a running daemon."""
    from gateway.config import ConfigError, data_dir  # noqa: PLC0415 - keeps --help fast
    from gateway.store import DATABASE  # noqa: PLC0415
    from gateway.store.sqlite import open_read_only  # noqa: PLC0415

    try:
        path = data_dir(env_file) / DATABASE
    except ConfigError as error:
        stop(BAD_CONFIG, *error.problems)
    try:
        connection = open_read_only(path)
        try:
            return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        stop(FAILED, f"{path} cannot be read: {error}; has the gateway run here, may you read it?")
