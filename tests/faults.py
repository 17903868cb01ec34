"""The disk fails: chosen fsyncs end in EIO, by the kernel itself (seccomp). For good, in a thread.

No root, no compiler and no other library are needed; what calls is none the wiser. As a program:
the gateway, whose disk fails from SIGUSR1 on.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_NO_NEW_PRIVS, _SET_FILTER, _ALL_THREADS = 38, 1, 1
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SYNCS = {"x86_64": (74, 75), "aarch64": (82, 83)}  # fsync, fdatasync
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/filter.h
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000  # linux/seccomp.h

POSSIBLE = platform.system() == "Linux" and platform.machine() in _SECCOMP


def opened(path: Path) -> list[int]:
    """Descriptors of this process for a file."""
    ours = Path("/proc/self/fd").iterdir()
    return [int(one.name) for one in ours if os.path.realpath(one) == str(path)]


def fail_fsync(descriptors: Iterable[int], *, all_threads: bool) -> None:
    """From here on, in this thread or in all of them. No descriptor = any."""
    program = b"".join(_program(list(descriptors)))
    code = ctypes.create_string_buffer(program)
    head = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(code)))
    flags = _ALL_THREADS if all_threads else 0
    _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _LIBC.syscall(_SECCOMP[platform.machine()], _SET_FILTER, flags, head):
        raise OSError(ctypes.get_errno(), "seccomp")


def _program(descriptors: list[int]) -> Iterator[bytes]:
    """Classic BPF over `struct seccomp_data`: call, architecture, first argument at 0, 4, 16."""
    machine = platform.machine()
    yield _step(_LOAD, 4)
    yield _step(_EQUAL, _ARCHITECTURE[machine], 1, 0)
    yield _step(_RETURN, _ALLOW)
    yield _step(_LOAD, 0)
    first, second = _SYNCS[machine]
    yield _step(_EQUAL, first, 2, 0)
    yield _step(_EQUAL, second, 1, 0)
    yield _step(_RETURN, _ALLOW)
    yield _step(_LOAD, 16)
    for descriptor in descriptors:
        yield _step(_EQUAL, descriptor, 0, 1)
        yield _step(_RETURN, _FAIL | errno.EIO)
    yield _step(_RETURN, _ALLOW if descriptors else _FAIL | errno.EIO)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _ill(*_: object) -> None:
    fail_fsync([], all_threads=True)
    print("every fsync fails now", flush=True)


if __name__ == "__main__":
    from gateway.__main__ import main

    signal.signal(signal.SIGUSR1, _ill)
    main()
