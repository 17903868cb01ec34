"""The kernel holds the child: files by Landlock, system calls by seccomp; no right is needed.

Landlock: it reads libraries, fonts and its one source, and writes in its own directory alone; the
other faxes, the database and the secrets of the daemon (also below /proc) are out of reach.
Seccomp: no sockets, no other programs, no other processes. Where the kernel lacks one of them, or
a service manager forbids it, the other and the limits still hold.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_SECCOMP, _FILTER_MODE = 22, 2

# linux/landlock.h; these numbers are the same on every machine
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_FIRST, _REFER, _TRUNCATE = (1 << 13) - 1, 1 << 13, 1 << 14  # of version 1, 2, 3
_OWN = _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG
_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/etc/fonts", "/etc/ld.so.cache", "/etc/localtime"),
    *("/var/cache/fontconfig", "/dev/null", "/dev/urandom", "/proc/self"),
)

# number on x86_64 and on aarch64 (which never had some); the rest are the same on both
_COLUMN = {"x86_64": 0, "aarch64": 1}
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
_DENIED = {
    "socket": (41, 198), "connect": (42, 203), "io_uring_setup": (425, 425),
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217),
}  # fmt: skip
_CLONE, _CLONE3 = (56, 220), 435
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/filter.h
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000  # linux/seccomp.h


def lock_files(work: Path, source: Path) -> bool:
    """From here on: read what the libraries need and `source`, write below `work`."""
    version = _LIBC.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    truncate = _TRUNCATE if version >= 3 else 0
    handled = _FIRST | (_REFER if version >= 2 else 0) | truncate
    rules = _LIBC.syscall(_CREATE_RULESET, struct.pack("=Q", handled), 8, 0)
    if rules < 0:
        return False
    for path in (*_SYSTEM, sys.prefix, sys.base_prefix, *filter(None, sys.path)):
        _allow(rules, path, _READ_FILE | _READ_DIR)
    _allow(rules, source, _READ_FILE)
    _allow(rules, work, _OWN | truncate)
    refused = _LIBC.syscall(_RESTRICT_SELF, rules, 0)
    os.close(rules)
    return not refused


def _allow(rules: int, path: str | Path, rights: int) -> None:
    """What is not there needs no rule."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not Path(path).is_dir():
        rights &= ~_READ_DIR
    _LIBC.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", rights, place), 0)
    os.close(place)


def lock_calls() -> bool:
    """From here on: no sockets, programs, processes; threads are left."""
    machine = platform.machine()
    if machine not in _COLUMN:
        return False
    program = b"".join(_program(machine))
    code = ctypes.create_string_buffer(program)
    head = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
    return not _LIBC.prctl(_PR_SET_SECCOMP, _FILTER_MODE, head, 0, 0)


def _program(machine: str) -> Iterator[bytes]:
    """Classic BPF over `struct seccomp_data`: call, architecture, first argument at 0, 4, 16."""
    column = _COLUMN[machine]
    refuse = _step(_RETURN, _FAIL | errno.EPERM)
    yield _step(_LOAD, 4)
    yield _step(_EQUAL, _ARCHITECTURE[machine], 1, 0)
    yield _step(_RETURN, _KILL)
    yield _step(_LOAD, 0)
    yield _step(_AT_LEAST, _X32, 0, 1)
    yield refuse
    for numbers in _DENIED.values():
        if (number := numbers[column]) is not None:
            yield _step(_EQUAL, number, 0, 1)
            yield refuse
    yield _step(_EQUAL, _CLONE3, 0, 1)
    yield _step(_RETURN, _FAIL | errno.ENOSYS)  # the C library then takes clone, whose flags we see
    yield _step(_EQUAL, _CLONE[column], 0, 3)
    yield _step(_LOAD, 16)
    yield _step(_ANY_BIT, _CLONE_THREAD, 1, 0)
    yield refuse
    yield _step(_RETURN, _ALLOW)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
