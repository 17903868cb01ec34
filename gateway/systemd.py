"""What systemd wants to hear (sd_notify(3)), and the sockets it opened (sd_listen_fds(3))."""

from __future__ import annotations

import contextlib
import os
import socket

DOORS = ("smtp", "smtps", "device", "web")  # what a socket may be called: FileDescriptorName=
_FIRST = 3  # after the three standard streams
_MOST = 64


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


class SocketsError(ValueError):
    """The sockets cannot be used; `problems` names each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def listen_sockets() -> dict[str, socket.socket]:
    """The listening sockets that systemd passed, by their door; asked once: they are ours then.

    So port 25 needs no root: fax-gateway-smtp.socket and its like have it opened by systemd.
    """
    pid, count, names = (os.environ.pop(f"LISTEN_{n}", "") for n in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()):
        return {}  # they were for somebody else: our parent
    if not count.isdecimal() or int(count) > _MOST:
        raise SocketsError([f"LISTEN_FDS={count!r} is no number of sockets"])
    said = names.split(":") if names else []
    problems: list[str] = []
    sockets: dict[str, socket.socket] = {}
    for index in range(int(count)):
        name = said[index] if index < len(said) else ""
        if problem := _take(_FIRST + index, name, sockets):
            problems.append(f"socket {_FIRST + index} from systemd, called {name!r}: {problem}")
    if problems:
        for taken in sockets.values():
            taken.close()
        raise SocketsError(problems)
    return sockets


def _take(fd: int, name: str, sockets: dict[str, socket.socket]) -> str:
    """Put it where it belongs, or say why not."""
    if name not in DOORS:
        return f"FileDescriptorName= must be one of {', '.join(DOORS)}"
    if name in sockets:
        return "there is one already: one ListenStream= for each door"
    try:
        taken = socket.socket(fileno=fd)
    except OSError as error:
        return f"{error.strerror}"
    if taken.family not in (socket.AF_INET, socket.AF_INET6) or not _listens(taken):
        taken.detach()
        return "ListenStream= with a port is wanted"
    taken.set_inheritable(False)
    taken.setblocking(False)
    sockets[name] = taken
    return ""


def _listens(taken: socket.socket) -> bool:
    return (
        taken.type == socket.SOCK_STREAM
        and taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    )
