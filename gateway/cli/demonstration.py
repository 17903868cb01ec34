"""`demo`: the whole product on loopback, once or until stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.common import FAILED, verb


def register(app: typer.Typer) -> None:
    verb(
        app,
        "demo",
        "See it work: a mail becomes a fax, a fax becomes a mail.",
        "Gateway, provider and mailbox, all on this machine; nothing is dialled.",
        "fax-gateway demo",
        "fax-gateway demo --once --document contract.pdf",
    )(demo)


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End when both have arrived; exit 0 only then.")
    ] = False,
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
