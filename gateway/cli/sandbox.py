"""`simulate`: the provider simulator on its own, a sandbox that costs nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.common import USAGE, stop, verb


def register(app: typer.Typer) -> None:
    verb(
        app,
        "simulate",
        "The provider on this machine, as a sandbox.",
        "Every documented operation, faults on demand, and a ledger of what was asked.",
        "fax-gateway simulate --listen 127.0.0.1:8443 --time-scale 0.1",
    )(simulate)


def simulate(
    listen: Annotated[
        str, typer.Option("--listen", help="host:port; port 0 = any free one.")
    ] = "127.0.0.1:8443",
    profile: Annotated[
        str, typer.Option("--profile", help="How the provider behaves: documented.")
    ] = "documented",
    time_scale: Annotated[
        float, typer.Option("--time-scale", min=0.0, help="Length of a second; 0 = all at once.")
    ] = 1.0,
    hook: Annotated[
        list[str] | None, typer.Option("--hook", help="Webhook to call; may be given again.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Same seed, same ids and delays; default: new ones."),
    ] = None,
) -> None:
    import asyncio  # noqa: PLC0415 - keeps --help fast
    import secrets  # noqa: PLC0415

    from gateway.provider import simulator  # noqa: PLC0415

    try:
        settings = simulator.Settings(
            profile=simulator.profile(profile), time_scale=time_scale,
            seed=secrets.randbits(32) if seed is None else seed,
            hooks=tuple(hook or ()),
        )  # fmt: skip
        asyncio.run(simulator.run_simulator(listen, settings))
    except ValueError as error:
        stop(USAGE, str(error))
    except OSError as error:
        stop(USAGE, f"cannot listen on {listen}: {error}")
