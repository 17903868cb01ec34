"""Who may log in: `SMTP_USERS_FILE`, passwords checked off the loop, guessing made slow.

A line of the file is `name:argon2hash` as `hash_line` writes it; `#` begins a comment line.

Failures are counted for the peer and name together (10), for the peer (30: somebody tries names)
and for the name (50: many peers try one), each forgiven at one a minute; beyond that nothing is
checked. One peer alone never gets a name near its 50, so its guessing locks out nobody else; and
where a name has logged in before from a peer, only failures of these two together lock it out: a
copier with an old password does not lock out the office behind the same address.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from hashlib import blake2b
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError, VerifyMismatchError

from gateway.doors.smtp.guests import home_of

AT_ONCE = 2  # checks: each takes 64 MB and a core for a tenth of a second
MOST_WAITING = 20
PAIR, PEER, NAME = 10, 30, 50  # failures
FORGIVEN_EVERY = 60.0  # s
LONGEST_PAUSE = 8  # s
_NICE = 10
_MOST_KNOWN = 10_000  # peers, names or pairs that are remembered
_MOST_MEMORY = 128 * 1024  # KiB that a hash may want
_MOST_TURNS, _MOST_LANES = 20, 16

_HASH = re.compile(
    r"(?P<kind>\$argon2(?:id|i|d)\$v=\d+\$)m=(?P<m>\d{1,9}),t=(?P<t>\d{1,9}),p=(?P<p>\d{1,9})"
    r"(?P<rest>\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+)",
    re.ASCII,
)
_NAME = re.compile(r"[^:#\s\x00-\x1f\x7f](?:[^:\x00-\x1f\x7f]{0,252}[^:\s\x00-\x1f\x7f])?")
_HASHER = PasswordHasher()


class UsersError(ValueError):
    """The file cannot be used; `problems` names every line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Verdict(Enum):
    OK = auto()
    WRONG = auto()  # the name or the password, nobody is told which
    LOCKED = auto()  # not checked: too many failures of late
    BUSY = auto()  # not checked: too many wait already


def hash_line(name: str, password: str) -> str:
    """The line of the users file; raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name has 1 to 254 characters and no colon, control or outer space")
    if not password:
        raise ValueError("an empty password protects nothing")
    return f"{name}:{_HASHER.hash(password)}"


def masked(name: str) -> str:
    """For the log: tells one name from another, and not a password typed into its field."""
    return blake2b(name.encode(), digest_size=4).hexdigest()


class Users:
    """One for all listeners: they share the counts and the two threads."""

    def __init__(
        self,
        path: Path,
        hashes: dict[str, str],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path, self._hashes, self._clock, self._pause = path, hashes, clock, pause
        # on Linux of this thread and those that argon2 starts in it: mail under way goes first
        self._threads = ThreadPoolExecutor(AT_ONCE, "login", os.nice, (_NICE,))
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._pairs, self._peers, self._names = _Strikes(PAIR), _Strikes(PEER), _Strikes(NAME)
        self._welcome: OrderedDict[tuple[str, str], None] = OrderedDict()

    @classmethod
    def load(cls, path: Path) -> Users:
        """Raises UsersError."""
        return cls(path, _read(path))

    def reload(self) -> None:
        """Take the file as it is now; raises UsersError and keeps the users there were."""
        self._hashes = _read(self._path)

    @property
    def warnings(self) -> list[str]:
        try:
            open_to_all = self._path.stat().st_mode & 0o007
        except OSError as error:
            return [f"{self._path}: {error.strerror}"]
        says = f"{self._path}: everybody on this machine may read the hashes: chmod o= {self._path}"
        return [says] if open_to_all else []

    async def verify(self, name: str, password: bytes, peer: str) -> Verdict:
        """A failure takes some seconds to tell: longer each time, and as long for any name."""
        home = home_of(peer)
        if self._locked(home, name):
            return Verdict.LOCKED
        if self._waiting >= AT_ONCE + MOST_WAITING:
            return Verdict.BUSY
        self._waiting += 1
        try:
            async with self._turns:
                if self._locked(home, name):  # by those who were before it in the queue
                    return Verdict.LOCKED
                right = await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._right, name, password
                )
        finally:
            self._waiting -= 1
        if right:
            self._let_in(home, name)
            return Verdict.OK
        await self._pause(min(self._strike(home, name), LONGEST_PAUSE))
        return Verdict.WRONG

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _right(self, name: str, password: bytes) -> bool:
        """In a thread. For a name that is not there somebody else's hash does the same work."""
        hashes = self._hashes
        others = list(hashes.values())
        try:
            _HASHER.verify(hashes.get(name) or others[hash(name) % len(others)], password)
        except VerifyMismatchError:
            return False
        return name in hashes

    def _locked(self, home: str, name: str) -> bool:
        now = self._clock()
        if self._pairs.out((home, name), now):
            return True
        if (home, name) in self._welcome:
            return False
        return self._peers.out(home, now) or self._names.out(name, now)

    def _strike(self, home: str, name: str) -> int:
        """How many seconds of thought that is worth."""
        now = self._clock()
        self._pairs.add((home, name), now)
        self._names.add(name, now)
        self._peers.add(home, now)
        return max(1, round(self._peers.count(home, now)))

    def _let_in(self, home: str, name: str) -> None:
        self._pairs.forget((home, name))
        self._welcome[home, name] = None
        self._welcome.move_to_end((home, name))
        if len(self._welcome) > _MOST_KNOWN:
            self._welcome.popitem(last=False)


class _Strikes:
    """Failures of each key; who has not failed for longest is forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def count(self, key: Hashable, now: float) -> float:
        strikes, at = self._of.get(key, (0.0, now))
        return max(0.0, strikes - (now - at) / FORGIVEN_EVERY)

    def out(self, key: Hashable, now: float) -> bool:
        return self.count(key, now) > self._most - 1

    def add(self, key: Hashable, now: float) -> None:
        self._of[key] = (self.count(key, now) + 1, now)
        self._of.move_to_end(key)
        if len(self._of) > _MOST_KNOWN:
            self._of.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        self._of.pop(key, None)


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsersError([f"{path}: {error.strerror}"]) from error
    hashes: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        text = line.decode("utf-8", "replace").strip()
        if not text or text.startswith("#"):
            continue
        name, _, hashed = text.partition(":")
        problems += [f"{path}:{number}: {says}" for says in _faults(name, hashed, hashes)]
        hashes[name] = hashed
    if not hashes:
        problems.append(f"{path}: no user: nobody could log in")
    if problems:
        raise UsersError(problems)
    return hashes


def _faults(name: str, hashed: str, known: dict[str, str]) -> Iterator[str]:
    """What is wrong with a line; its hash is never shown."""
    if not _NAME.fullmatch(name) or "\ufffd" in name:
        yield "`name:argon2hash` is wanted: the name is missing or has signs it must not have"
    elif name in known:
        yield f"{name} is there already"
    found = _HASH.fullmatch(hashed)
    if not found or not _is_whole(found):
        yield "the hash is none of argon2 (`$argon2id$v=19$m=65536,t=3,p=4$…`)"
        return
    memory, turns, lanes = int(found["m"]), int(found["t"]), int(found["p"])
    if memory > _MOST_MEMORY or turns > _MOST_TURNS or lanes > _MOST_LANES or memory < 8 * lanes:
        yield (
            f"m={memory},t={turns},p={lanes} is too much for every login, or impossible: "
            f"at most m={_MOST_MEMORY},t={_MOST_TURNS},p={_MOST_LANES}"
        )


def _is_whole(found: re.Match[str]) -> bool:
    """Argon2 itself reads it, at the least cost there is."""
    try:
        _HASHER.verify(f"{found['kind']}m=8,t=1,p=1{found['rest']}", b"")
    except VerifyMismatchError:
        return True
    except VerificationError:
        return False
    return True
