"""`simulate`: the provider simulator on its own, a sandbox that costs nothing."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    app.command(
        "simulate", help="A provider on this machine. Example: fax-gateway simulate --time-scale 10"
    )(simulate)


def simulate() -> None:
    raise typer.Exit(2)
