"""The oracle: what the simulator stored and saw, told apart from what it answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

REMEMBERED = 100_000  # requests and tries; a sandbox may run for weeks
SECRET_PARAMS = {"auth_token", "api_key", "token", "access_token"}


@dataclass(frozen=True, slots=True)
class Stored:
    """One document of one fax that was accepted (outbound) or injected (inbound)."""

    id: str
    from_number: str
    to_number: str
    sha256: str
    pages: int
    bytes: int
    format: str
    name: str
    at: float


@dataclass(slots=True)
class Seen:
    """One request. `status` 0 = it got no answer; `fault` = the action that struck it."""

    at: float
    method: str
    path: str
    query: str
    request_id: str
    user_agent: str
    received: int = 0
    sent: int = 0
    status: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class HookTry:
    """One webhook on its way. `status` 0 = no answer, and `error` says why."""

    at: float
    url: str
    event: str
    id: str
    number: int  # 1 = first, 0 = a fault dropped it untried
    status: int
    error: str = ""


@dataclass(slots=True)
class Gauge:
    """How many at once, and the most there ever were."""

    now: int = 0
    most: int = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            yield
        finally:
            self.now -= 1


@dataclass(slots=True)
class Ledger:
    stored: list[Stored] = field(default_factory=list)  # outbound
    swallowed: list[Stored] = field(default_factory=list)  # accepted in words, never stored
    injected: list[Stored] = field(default_factory=list)  # inbound
    deleted: list[str] = field(default_factory=list)
    requests: deque[Seen] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    hook_tries: deque[HookTry] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    at_once: Gauge = field(default_factory=Gauge)
    downloads: Gauge = field(default_factory=Gauge)
    auths: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "stored": [asdict(one) for one in self.stored],
            "swallowed": [asdict(one) for one in self.swallowed],
            "injected": [asdict(one) for one in self.injected],
            "deleted": list(self.deleted),
            "requests": [asdict(one) for one in self.requests],
            "hook_tries": [asdict(one) for one in self.hook_tries],
            "most_requests_at_once": self.at_once.most,
            "most_downloads_at_once": self.downloads.most,
            "auths": self.auths,
        }


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text without our credentials: what a ledger keeps, people paste into tickets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def redacted_query(query: Iterable[tuple[str, str]], secrets: Iterable[str]) -> str:
    hidden = ((name, "***" if name.lower() in SECRET_PARAMS else text) for name, text in query)
    return redacted("&".join(f"{name}={text}" for name, text in hidden), secrets)
