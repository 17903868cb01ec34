"""The simulator as a program: listens until it is told to stop, and says where."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable

from gateway.provider.simulator.outside import is_local
from gateway.provider.simulator.profile import Settings
from gateway.provider.simulator.server import DEFAULTS, Simulator

DEFAULT_LISTEN = "127.0.0.1:8443"


async def serve(listen: str, settings: Settings, on_ready: Callable[[Simulator], None]) -> None:
    """Listen on `host:port` (port 0 = a free one) until cancelled."""
    host, port = address(listen)
    simulator = Simulator(settings)
    await simulator.start(host, port)
    try:
        on_ready(simulator)
        await asyncio.get_running_loop().create_future()
    finally:
        await simulator.stop()


async def run_simulator(
    listen: str = DEFAULT_LISTEN,
    settings: Settings = DEFAULTS,
    on_ready: Callable[[Simulator], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; prints address, account and credentials unless told else."""
    serving = asyncio.ensure_future(serve(listen, settings, on_ready or announce))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    try:
        await asyncio.wait({serving})
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        serving.cancel()
        await asyncio.wait({serving})
    if not serving.cancelled():
        serving.result()


def announce(simulator: Simulator) -> None:
    """First a line for programs, then the settings a person copies into the env file."""
    settings, url = simulator.settings, simulator.url
    sys.stdout.write(
        f"simulator ready url={url} account={settings.account_id} token={settings.token}\n\n"
        f"AUDIAN_URL={url}\n"
        f"AUDIAN_ACCOUNT_ID={settings.account_id}\n"
        f"AUDIAN_AUTH_TOKEN={settings.token}\n"
        f"AUDIAN_API_KEY={settings.api_key}\n\n"
        f"profile {settings.profile.name}; how to play: {url}/_sim/\n"
        + "".join(f"webhook {hook}{_never(hook, settings)}\n" for hook in settings.hooks)
    )
    sys.stdout.flush()


def _never(hook: str, settings: Settings) -> str:
    called = settings.remote_hooks or is_local(hook)
    return "" if called else " is never called: not a loopback address"


def address(listen: str) -> tuple[str, int]:
    """Host and port of `host:port`, `[::1]:port`.

    Raises:
        ValueError: a sentence with the form.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{listen!r} is not host:port, such as {DEFAULT_LISTEN}")
    return host.strip("[]"), int(port)
