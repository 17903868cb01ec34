"""`demo`: the whole product on loopback, once or until stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.common import FAILED


def register(app: typer.Typer) -> None:
    app.command(
        "demo",
        help="Gateway, simulator and mailbox on this machine: a mail becomes a fax, a fax a mail.",
    )(demo)


def demo(
    once: Annotated[bool, typer.Option("--once", help="End when both have arrived.")] = False,
    document: Annotated[
        Path | None,
        typer.Option(
            "--document", help="Fax this file.", exists=True, dir_okay=False, resolve_path=True
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", help="Leave all files in this directory.", file_okay=False, resolve_path=True
        ),
    ] = None,
) -> None:
    import asyncio  # noqa: PLC0415 - keeps --help fast

    from gateway.demo.play import play  # noqa: PLC0415

    arrived = asyncio.run(play(once=once, document=document, keep=keep))
    raise typer.Exit(0 if arrived else FAILED)
