"""What a process that opens untrusted bytes may use: no network, little memory, little time."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from dataclasses import dataclass

MEGABYTE = 1 << 20
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one task. `memory` is what it may take beyond what the libraries take already.

    `cpu` stops who works too much; `seconds` who waits, and must leave room for a busy machine:
    200 pages scanned in colour take 45 s of CPU.
    """

    seconds: float = 150.0
    cpu: int = 60
    memory: int = 512 * MEGABYTE
    file: int = 256 * MEGABYTE
    descriptors: int = 128
    output: int = 256 * 1024


def leave_network() -> bool:
    """Move to a network of our own with nothing in it; False where the kernel refuses."""
    return any(_LIBC.unshare(flags) == 0 for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET))


def confine(limits: Limits) -> None:
    """Bind this process and die with its parent."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _limit(resource.RLIMIT_AS, _mapped() + limits.memory)
    _limit(resource.RLIMIT_CPU, limits.cpu, spare=2)  # the soft one names its cause: SIGXCPU
    _limit(resource.RLIMIT_FSIZE, limits.file)
    _limit(resource.RLIMIT_NOFILE, limits.descriptors)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(what: int, value: int, spare: int = 0) -> None:
    _, hard = resource.getrlimit(what)
    most = value + spare if hard == resource.RLIM_INFINITY else min(value + spare, hard)
    resource.setrlimit(what, (min(value, most), most))


def _mapped() -> int:
    """Bytes of address space in use now."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - no path object needed
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
