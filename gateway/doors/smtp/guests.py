"""Who may be connected at once: limits in all, for one address and in a minute; and who must go.

Pure: the time is an argument (monotonic seconds), nothing here touches a socket. When the house or
an address's share is full, a newcomer gets the place of the guest who has brought nothing useful
for longest: accepted MAIL and RCPT, DATA at a decent rate and accepted mails are useful; talk is
not. Addresses with many guests give way sooner to one with few. Who waits for our answer is never
sent away.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from itertools import chain

TOO_MANY = "421 4.7.0 Too many connections"
BUSY = "421 4.3.2 Busy"

DECENT = 500  # bytes/s of a mail: a 9,600 bit/s line is faster, a trickle slower
PATIENCE = 3.0  # s without anything useful until a newcomer may have the place
_CROWD = 4  # times as many guests as the newcomer's address has, with it: less patience with them
_CROWD_PATIENCE = 1.0  # s
_ENVELOPE = 15.0  # s from the first MAIL: later RCPTs of an envelope win no more time
_LOOK_AGAIN = 0.1  # s
_MINUTE = 60.0
_STRESS = 0.8  # of all places
_MOST_LINES = 100  # of the log, about refusals of one address in a minute
_MOST_KNOWN = 10_000  # addresses whose connections are counted


@dataclass(frozen=True)
class GuestLimits:
    total: int = 200
    per_address: int = 20
    per_minute: int = 60  # connections from one address


class Guest:
    """One connection, and when it last brought something useful."""

    __slots__ = ("_bytes", "_envelope_since", "_waiting_since", "cut", "home", "useful_at")

    def __init__(self, home: str, now: float, cut: Callable[[], None]) -> None:
        self.home = home
        self.cut = cut  # how its connection is ended
        self.useful_at = now
        self._bytes = 0  # of DATA since then
        self._envelope_since = self._waiting_since = -1.0

    def step(self, now: float) -> None:
        """MAIL or RCPT was accepted; who starts envelope after envelope wins no time by it."""
        if self._envelope_since < 0:
            self._envelope_since = now
        if now - self._envelope_since <= _ENVELOPE:
            self.useful_at, self._bytes = now, 0

    def received(self, count: int, now: float) -> None:
        """Bytes of DATA came: useful when as many as a slow line brings in that time."""
        self._bytes += count
        if self._bytes >= DECENT * (now - self.useful_at):
            self.done(now)

    def done(self, now: float) -> None:
        """A mail was accepted."""
        self.useful_at, self._bytes, self._envelope_since = now, 0, -1.0

    def waits(self, now: float) -> None:
        """The client waits for us: for a commit, a login."""
        self._waiting_since = now

    def answered(self, now: float) -> None:
        """It has our answer; the time that we took is not counted against it."""
        if self._waiting_since >= 0:
            self.useful_at += now - self._waiting_since
            self._waiting_since = -1.0

    @property
    def waiting(self) -> bool:
        return self._waiting_since >= 0


@dataclass(frozen=True, slots=True)
class Admission:
    """A reply to close with, or a guest; `evict` is the guest whose place it took: cut it."""

    reply: str = ""
    guest: Guest | None = None
    evict: Guest | None = None


class _Caller:
    """What one address did of late."""

    __slots__ = ("count", "lines", "logged_at", "since")

    def __init__(self, now: float) -> None:
        self.since, self.count, self.lines, self.logged_at = now, 0, 0, float("-inf")


class Guests:
    """The guest list of all listeners together."""

    def __init__(self, limits: GuestLimits | None = None) -> None:
        self._limits = limits or GuestLimits()
        self._here: dict[str, set[Guest]] = {}
        self._count = 0
        self._callers: OrderedDict[str, _Caller] = OrderedDict()
        self._nobody_until = self._no_crowd_until = 0.0  # no guest can be sent away before

    def __len__(self) -> int:
        return self._count

    @property
    def stressed(self) -> bool:
        """Nearly full: be less patient with the idle."""
        return self._count >= _STRESS * self._limits.total

    def admit(
        self,
        peer: str,
        now: float,
        *,
        trusted: bool = False,
        cut: Callable[[], None] = lambda: None,
    ) -> Admission:
        """One connection came; every admitted guest must `leave` in the end."""
        home = home_of(peer)
        caller = self._caller(home, now)
        caller.count += 1
        if caller.count > self._limits.per_minute and not trusted:
            return Admission(TOO_MANY)
        evict: Guest | None = None
        mine = self._here.get(home, ())
        if len(mine) >= self._limits.per_address:
            if not (evict := _idlest(mine, now)):
                return Admission(TOO_MANY)
        elif self._count >= self._limits.total and not (evict := self._makes_room(len(mine), now)):
            return Admission(BUSY)
        if evict:
            self.leave(evict)
        guest = Guest(home, now, cut)
        self._here.setdefault(home, set()).add(guest)
        self._count += 1
        return Admission("", guest, evict)

    def leave(self, guest: Guest) -> None:
        """It is gone; saying so twice does no harm."""
        mine = self._here.get(guest.home, set())
        if guest in mine:
            self._count -= 1
            mine.remove(guest)
            if not mine:
                del self._here[guest.home]

    def log_now(self, peer: str, now: float) -> bool:
        """One line a minute for an address says enough."""
        caller = self._caller(home_of(peer), now)
        if now - caller.logged_at < _MINUTE:
            return False
        caller.logged_at = now
        return True

    def worth_a_line(self, peer: str, now: float) -> bool:
        """So many refusals of one address in a minute are told; the rows count the others."""
        caller = self._caller(home_of(peer), now)
        caller.lines += 1
        return caller.lines <= _MOST_LINES

    def _makes_room(self, mine: int, now: float) -> Guest | None:
        return self._idlest_of_all(now) or self._idlest_of_a_crowd(mine, now)

    def _idlest_of_a_crowd(self, mine: int, now: float) -> Guest | None:
        """Many from few addresses must not keep out who comes from another."""
        if now < self._no_crowd_until:
            return None
        crowds = [g for g in self._here.values() if len(g) >= _CROWD * (mine + 1)]
        found = _idlest(chain.from_iterable(crowds), now, _CROWD_PATIENCE)
        if crowds and not found:
            self._no_crowd_until = now + _LOOK_AGAIN
        return found

    def _idlest_of_all(self, now: float) -> Guest | None:
        if now < self._nobody_until:  # a flood of newcomers costs one look, not one each
            return None
        everybody = [guest for guests in self._here.values() for guest in guests]
        found = _idlest(everybody, now)
        if not found:
            first = min((guest.useful_at for guest in everybody), default=now)
            self._nobody_until = max(first + PATIENCE, now + _LOOK_AGAIN)
        return found

    def _caller(self, home: str, now: float) -> _Caller:
        caller = self._callers.get(home)
        if not caller:
            caller = self._callers[home] = _Caller(now)
            if len(self._callers) > _MOST_KNOWN:
                self._callers.popitem(last=False)
        self._callers.move_to_end(home)
        if now - caller.since >= _MINUTE:
            caller.since, caller.count, caller.lines = now, 0, 0
        return caller


def _idlest(guests: Iterable[Guest], now: float, patience: float = PATIENCE) -> Guest | None:
    """Who has brought nothing useful for longest, and for long enough."""
    idle = (g for g in guests if not g.waiting and now - g.useful_at >= patience)
    return min(idle, key=lambda g: g.useful_at, default=None)


def home_of(peer: str) -> str:
    """The address that counts: an IPv6 customer has a whole /64."""
    if ":" not in peer:
        return peer
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    if not isinstance(address, IPv6Address):
        return peer
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return f"{address.packed[:8].hex()}::/64"
