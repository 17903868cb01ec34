"""What a child that has been taken over can still do: asked of the kernel, from inside."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.document.limits import MEGABYTE, Limits

ROOT = Path(__file__).parents[2]
if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
    pytest.skip("the cage is for Linux on x86-64 and ARM", allow_module_level=True)

PROBE = r"""
import ctypes, errno, json, mmap, os, resource, signal, socket, sys, threading
from pathlib import Path
from gateway.document import cage, limits

work, source, other = map(Path, sys.argv[1:4])
daemon = int(sys.argv[4])
alone = limits.leave_network()
cards = [line.split(":")[0].strip()
         for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]]
bounds = limits.Limits(descriptors=64)
limits.confine(bounds)
files, calls = cage.lock_files(work, source), cage.lock_calls()
libc = ctypes.CDLL(None, use_errno=True)

def outcome(act):
    try:
        act()
    except (OSError, MemoryError) as error:
        return errno.errorcode.get(getattr(error, "errno", None), type(error).__name__)
    return "done"

def clone():
    if libc.syscall({"x86_64": 56, "aarch64": 220}[os.uname().machine], 0, 0, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "clone")
    os._exit(0)

def thread():
    one = threading.Thread(target=lambda: None)
    one.start()
    one.join()

def descriptors():
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(100)]

said = {
    "locked": [files, calls],
    "alone": alone,
    "cards": cards,
    "nnp": int(Path("/proc/self/status").read_text().split("NoNewPrivs:")[1].split()[0]),
    "limits": {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name))[0] for name in
               ("CPU", "FSIZE", "NOFILE", "CORE")},
    "read the source": outcome(lambda: source.read_bytes()),
    "write below work": outcome(lambda: (work / "a").write_bytes(b"x")),
    "replace below work": outcome(lambda: (work / "a").rename(work / "b")),
    "import": outcome(lambda: __import__("wave")),
    "a thread": outcome(thread),
    "read another fax": outcome(lambda: other.read_bytes()),
    "list other faxes": outcome(lambda: list(other.parent.iterdir())),
    "write another fax": outcome(lambda: other.write_bytes(b"x")),
    "change the source": outcome(lambda: source.write_bytes(b"x")),
    "cut another fax": outcome(lambda: os.truncate(other, 0)),
    "remove another fax": outcome(lambda: other.unlink()),
    "link another fax": outcome(lambda: os.link(other, work / "c")),
    "make a new file": outcome(lambda: (other.parent / "new").write_bytes(b"x")),
    "make a socket file": outcome(lambda: os.mkfifo(work / "fifo")),
    "read passwords": outcome(lambda: Path("/etc/passwd").read_bytes()),
    "read the daemon's environment": outcome(
        lambda: Path(f"/proc/{daemon}/environ").read_bytes()),
    "read the daemon's memory": outcome(lambda: open(f"/proc/{daemon}/mem", "rb")),
    "socket": outcome(lambda: socket.socket()),
    "unix socket": outcome(lambda: socket.socket(socket.AF_UNIX)),
    "signal": outcome(lambda: os.kill(daemon, signal.SIGTERM)),
    "pidfd": outcome(lambda: os.pidfd_open(daemon)),
    "fork": outcome(os.fork),
    "clone": outcome(clone),
    "spawn": outcome(lambda: os.posix_spawn("/bin/true", ["true"], {})),
    "exec": outcome(lambda: os.execv("/bin/true", ["true"])),
    "memory": outcome(lambda: mmap.mmap(-1, bounds.memory)),
    "descriptors": outcome(descriptors),
}
print(json.dumps(said))
"""

ALLOWED = ("read the source", "write below work", "replace below work", "import", "a thread")
BY_CALLS = {
    **dict.fromkeys(("socket", "unix socket", "signal", "pidfd", "fork", "clone"), "EPERM"),
    **dict.fromkeys(("spawn", "exec"), "EPERM"),
}
BY_FILES = dict.fromkeys(
    ("read another fax", "list other faxes", "write another fax", "change the source",
     "cut another fax", "remove another fax", "make a new file", "make a socket file",
     "read passwords", "read the daemon's environment", "read the daemon's memory"),
    "EACCES",
) | {"link another fax": "EXDEV"}  # fmt: skip


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("cage")
    work, source, other = place / "work", place / "mail.eml", place / "others" / "fax.pdf"
    work.mkdir()
    other.parent.mkdir()
    source.write_bytes(b"mail")
    other.write_bytes(b"secret")
    command = [sys.executable, "-c", PROBE, *map(str, (work, source, other, os.getpid()))]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert other.read_bytes() == b"secret"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_what_the_work_needs_is_left(said: dict[str, Any]) -> None:
    assert {what: said[what] for what in ALLOWED} == dict.fromkeys(ALLOWED, "done")


def test_no_sockets_programs_processes(said: dict[str, Any]) -> None:
    _, calls = said["locked"]
    if not calls:
        pytest.skip("this kernel has no seccomp filters")
    assert {what: said[what] for what in BY_CALLS} == BY_CALLS


def test_no_network(said: dict[str, Any]) -> None:
    """Even without the filter of calls: a network of its own, with nothing in it."""
    if not said["alone"]:
        pytest.skip("this kernel gives unprivileged processes no network of their own")
    assert set(said["cards"]) <= {"lo", "tunl0", "sit0", "ip6tnl0", "gre0"}


def test_no_files_but_its_own(said: dict[str, Any]) -> None:
    files, _ = said["locked"]
    if not files:
        pytest.skip("this kernel has no Landlock")
    assert {what: said[what] for what in BY_FILES} == BY_FILES


def test_limits_are_in_force(said: dict[str, Any]) -> None:
    limits = Limits()
    assert said["limits"] == {
        "CPU": limits.cpu, "FSIZE": limits.file, "NOFILE": 64, "CORE": 0,
    }  # fmt: skip
    assert (said["nnp"], said["memory"], said["descriptors"]) == (1, "ENOMEM", "EMFILE")
    assert limits.memory <= 512 * MEGABYTE
