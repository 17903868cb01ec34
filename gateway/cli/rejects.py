"""`rejects`: what was refused at the doors and why, counted and searched beside the daemon."""

from __future__ import annotations

import re
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import USAGE, AsJson, EnvFile, print_json, query, stop, table, verb, when

if TYPE_CHECKING:
    from gateway.store.sqlite import Row

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def register(app: typer.Typer) -> None:
    verb(
        app,
        "rejects",
        "What was refused at the doors, and why.",
        "Newest first. Addresses are masked; who knows one finds it with --search.",
        "fax-gateway rejects --since 7d --search ann@example.com",
        "fax-gateway rejects --count",
    )(rejects)


def rejects(
    *,
    env_file: EnvFile = None,
    since: Annotated[str, typer.Option("--since", help="How far back: 90s, 15m, 24h, 7d.")] = "24h",
    peer: Annotated[str, typer.Option("--peer", help="Only of this IP address.")] = "",
    because: Annotated[str, typer.Option("--because", help="Only for this reason.")] = "",
    search: Annotated[
        str, typer.Option("--search", help="An address, a number, or words of the reply.")
    ] = "",
    count: Annotated[
        bool, typer.Option("--count", help="How often each, by reason, reply and peer.")
    ] = False,
    most: Annotated[int, typer.Option("--most", min=1, help="How many lines.")] = 50,
    as_json: AsJson = False,
) -> None:
    from gateway.store.doors import COUNTED, REJECTS, TOTAL  # noqa: PLC0415

    which = _which(since, peer, because, search)
    rows = query(env_file, COUNTED if count else REJECTS, **which, most=most)
    if as_json:
        print_json([_readable(row) for row in rows])
        return
    if count:
        shown = [
            (r["times"], r["because"], r["reply"], r["peer"], when(r["first"]), when(r["last"]))
            for r in rows
        ]
        table(("TIMES", "BECAUSE", "REPLY", "PEER", "FIRST", "LAST"), shown)
    else:
        titles = ("AT", "TIMES", "DOOR", "PEER", "SENDER", "RECIPIENT", "BECAUSE", "REPLY")
        table(titles, [(when(r["at"]), *(r[t.lower()] for t in titles[1:])) for r in rows])
    (total,) = query(env_file, TOTAL, **which)
    more = total["rows"] - len(rows)
    hint = f"; {more:,} older lines: --most" if more > 0 and not count else ""
    print(f"\n{total['times']:,} refusals since {when(which['since'])}{hint}")


def _which(since: str, peer: str, because: str, search: str) -> dict[str, Any]:
    """What `store.doors` asks with. What is masked is searched by the mask of what is sought."""
    from gateway.doors.refusals import masked_like  # noqa: PLC0415

    match = re.fullmatch(r"(\d{1,9})([smhd])", since)
    if not match:
        stop(USAGE, f"--since {since}: a number with its unit is wanted: 90s, 15m, 24h or 7d")
    return {
        "since": max(0.0, time.time() - int(match[1]) * _UNITS[match[2]]),
        "peer": peer and ip(peer),
        "because": because and f"%{_escaped(because.lower())}%",
        "text": search and f"%{_escaped(search.lower())}%",
        "masked": (alike := masked_like(search)) and f"%{_escaped(alike)}%",
    }


def ip(written: str) -> str:
    """An address as the doors write it."""
    try:
        address = ip_address(written)
    except ValueError:
        stop(USAGE, f"{written} is no IP address: 192.0.2.17 or 2001:db8::17 is wanted")
    return str(getattr(address, "ipv4_mapped", None) or address)


def _escaped(text: str) -> str:
    return re.sub(r"([%_\\])", r"\\\1", text)


def _readable(row: Row) -> Row:
    """Moments as people read them; the other keys are the columns."""
    moments = ("at", "first", "last")
    return {name: when(value) if name in moments else value for name, value in row.items()}
