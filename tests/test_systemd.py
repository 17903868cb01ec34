"""Sockets from systemd: passed to a real process as systemd passes them, and every way to fail."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.systemd import SocketsError, listen_sockets

ROOT = Path(__file__).parent.parent

# What stands between fork and exec in systemd: the sockets from 3 on, and who they are for.
AS_SYSTEMD = """
import os, sys
pid, names, program, *fds = sys.argv[1:]
spare = [os.dup(int(fd)) for fd in fds]
for at, fd in enumerate(spare, 3):
    os.dup2(fd, at)
    os.set_inheritable(at, True)
os.environ |= {"LISTEN_PID": pid or str(os.getpid()), "LISTEN_FDS": str(len(fds))}
os.environ |= {"LISTEN_FDNAMES": names}
os.execv(sys.executable, [sys.executable, "-c", program])
"""

# Serves one client on each, with asyncio, and says what it was given.
SERVES = """
import asyncio, os
from gateway.systemd import listen_sockets

async def serve(name, sock):
    served = asyncio.Event()
    async def greet(reader, writer):
        writer.write(f"220 {name} {sock.get_inheritable()} {sock.getblocking()}\\r\\n".encode())
        writer.close()
        await writer.wait_closed()
        served.set()
    async with await asyncio.start_server(greet, sock=sock):
        await served.wait()

async def main():
    sockets = listen_sockets()
    left = [name for name in os.environ if name.startswith("LISTEN_")]
    print(sorted(sockets), left, listen_sockets(), flush=True)
    await asyncio.gather(*(serve(name, sock) for name, sock in sockets.items()))

asyncio.run(main())
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def started(
    names: str, *sockets: socket.socket, pid: str = "", program: str = SERVES
) -> subprocess.Popen[str]:
    fds = [one.fileno() for one in sockets]
    return subprocess.Popen(
        [sys.executable, "-c", AS_SYSTEMD, pid, names, program, *map(str, fds)],
        pass_fds=fds, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


def greeting(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address, timeout=30) as client, client.makefile("rb") as lines:
        return lines.readline()


def test_sockets_are_served() -> None:
    """One of IPv4, one of both kinds: what systemd opens for `ListenStream=25`."""
    with (
        socket.create_server(("127.0.0.1", 0)) as smtp,
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as device,
        started("smtp:device", smtp, device) as process,
    ):
        assert greeting(smtp.getsockname()) == b"220 smtp False False\r\n"
        assert greeting(("127.0.0.1", device.getsockname()[1])) == b"220 device False False\r\n"
        said, _ = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "['device', 'smtp'] [] {}\n")


def test_sockets_for_another_process_are_left_alone(listener: socket.socket) -> None:
    with started("smtp", listener, pid=str(os.getpid())) as process:
        said, _ = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "[] [] {}\n")


ACTIVATE = shutil.which("systemd-socket-activate") or ""


@pytest.mark.skipif(not ACTIVATE, reason="systemd-socket-activate: apt-get install systemd")
def test_systemd_itself_passes_sockets() -> None:
    pid = os.getpid()  # an address of its own: nobody else takes the port meanwhile
    with socket.create_server((f"127.9.{pid >> 8 & 255}.{pid & 255}", 0)) as free:
        host, port = free.getsockname()
    command = [ACTIVATE, "-l", f"{host}:{port}", "--fdname=smtps", f"--setenv=PYTHONPATH={ROOT}"]
    with subprocess.Popen(
        [*command, sys.executable, "-c", SERVES], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr
        assert "Listening on" in process.stderr.readline()
        assert greeting((host, port)) == b"220 smtps False False\r\n"
        said, _ = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "['smtps'] [] {}\n")


TELLS = """
from gateway.systemd import SocketsError, listen_sockets
try:
    listen_sockets()
except SocketsError as error:
    print("\\n".join(error.problems))
"""
WANTED = "FileDescriptorName= must be one of smtp, smtps, device, web"


@pytest.mark.parametrize(
    ("names", "problems"),
    [
        ("smtp:pop3", [f"called 'pop3': {WANTED}"]),
        ("", [f"called '': {WANTED}"] * 2),
        ("fax-gateway-smtp.socket:smtp", [f"called 'fax-gateway-smtp.socket': {WANTED}"]),
        ("smtp:smtp", ["called 'smtp': there is one already: one ListenStream= for each door"]),
        ("smtp", [f"called '': {WANTED}"]),
        ("x:y", [f"called 'x': {WANTED}", f"called 'y': {WANTED}"]),
    ],
)
def test_a_name_that_is_no_door(listener: socket.socket, names: str, problems: list[str]) -> None:
    with started(names, listener, listener, program=TELLS) as process:
        said, _ = process.communicate(timeout=30)
    assert (process.returncode, [re.sub("^socket . from systemd, ", "", line) for line in
                                 said.splitlines()]) == (0, problems)  # fmt: skip


def test_what_does_not_listen(tmp_path: Path) -> None:
    with (
        socket.socket() as idle,
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.bind(str(tmp_path / "web"))
        local.listen()
        with started("smtp:device:web", idle, datagrams, local, program=TELLS) as process:
            said, _ = process.communicate(timeout=30)
    assert said.splitlines() == [
        f"socket {fd} from systemd, called '{name}': ListenStream= with a port is wanted"
        for fd, name in ((3, "smtp"), (4, "device"), (5, "web"))
    ]


def test_a_file_is_no_socket() -> None:
    program = f"import os; os.dup2(os.open('/dev/null', 0), 3)\n{TELLS}"
    with socket.socket() as idle, started("smtp", idle, program=program) as process:
        said, _ = process.communicate(timeout=30)
    assert said == "socket 3 from systemd, called 'smtp': Socket operation on non-socket\n"


@pytest.mark.parametrize("count", ["-1", "many", "", "65", "999999999"])
def test_a_count_that_is_none(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    with pytest.raises(SocketsError, match=f"LISTEN_FDS='{count}' is no number of sockets"):
        listen_sockets()
    assert "LISTEN_PID" not in os.environ


def test_no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    assert listen_sockets() == {}
