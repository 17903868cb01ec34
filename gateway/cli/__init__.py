"""The verbs, one module a family. Each imports the daemon's parts only when it runs."""

from __future__ import annotations

import typer

from gateway.cli import daemon, demonstration, device, faxes, permits, rejects, sandbox, users

app = typer.Typer(
    name="fax-gateway",
    help="The email ⇄ fax gateway. Start with: fax-gateway demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # half the start time, and it reads well in a pipe
)
for family in (daemon, demonstration, faxes, permits, rejects, device, users, sandbox):
    family.register(app)
