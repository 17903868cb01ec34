"""`user`: a line for the file of people who may log in."""

from __future__ import annotations

import sys
from getpass import getpass
from typing import Annotated

import typer

from gateway.cli.common import FAILED, stop, verb


def register(app: typer.Typer) -> None:
    verb(
        app,
        "user",
        "A line for SMTP_USERS_FILE: a name and its password's hash.",
        "Asks for the password twice, or reads one line from a pipe. Nothing is written.",
        "fax-gateway user ann >> /etc/fax-gateway/users",
    )(user)


def user(name: Annotated[str, typer.Argument(metavar="NAME", help="As people type it.")]) -> None:
    from gateway.doors.smtp.users import hash_line  # noqa: PLC0415 - keeps --help fast

    if sys.stdin.isatty():
        password = getpass("Password: ", sys.stderr)
        if getpass("Once more: ", sys.stderr) != password:
            stop(FAILED, "the two are not the same; nothing was printed")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        print(hash_line(name, password))
    except ValueError as error:
        stop(FAILED, str(error))
