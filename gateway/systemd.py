"""What systemd wants to hear (sd_notify(3)): READY, STATUS, STOPPING, WATCHDOG."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(*facts: str) -> None:
    """Send lines such as "READY=1" to the supervisor, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    path = "\0" + address[1:] if address[0] == "@" else address
    with (
        contextlib.suppress(OSError),  # a deaf supervisor is no reason to stop faxing
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as talk,
    ):
        talk.sendto("\n".join(facts).encode(), path)


def watchdog_interval() -> float:
    """Seconds between signs of life: half of what WatchdogSec allows; 0 = none wanted."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdecimal() else 0.0
