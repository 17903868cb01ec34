"""What a sender asked for beyond "fax this": options, DSN and MDN requests. Pure.

A fax carries its wishes as one text (JSON, "" = none), decided once at the door: later steps obey
them and never read the mail's headers again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Wishes:
    """Every text is "" where nothing was said; all of it is clean (one line, printable)."""

    body: str = ""  # of the mail's text: cover, page, ignore
    ref: str = ""  # the sender's own reference, shown in notices
    at: float = 0.0  # not before, seconds since the epoch
    prio: str = ""  # high, normal, low
    dup: str = ""  # ok = the same fax again is meant
    notify: str = ""  # which results the sender wants to hear of: all, ok, fail, none
    tell: str = ""  # who hears of results instead of the envelope sender (a copier's mailbox)
    subaddress: str = ""  # T33S (RFC 3192): carried as data, never dialled
    dsn: str = ""  # NOTIFY of RFC 3461 §4.1: NEVER, or a list of SUCCESS, FAILURE, DELAY
    orcpt: str = ""  # RFC 3461 §4.2, decoded: rfc822;+14155550100@fax.local
    envid: str = ""  # RFC 3461 §4.4, decoded
    ret: str = ""  # FULL or HDRS (RFC 3461 §4.3)
    mdn: str = ""  # where Disposition-Notification-To wants its answer (RFC 8098 §2.1)

    def turn(self, now: float) -> float:
        """When a step of it comes due: of what is due, the least goes first."""
        return {"high": -1.0, "low": now}.get(self.prio, 0.0)

    def text(self) -> str:
        """As a fax carries it."""
        if self == NONE:  # nearly always
            return ""
        said = {name: value for name, value in asdict(self).items() if value}
        return json.dumps(said, ensure_ascii=False, sort_keys=True)


NONE = Wishes()


@lru_cache(maxsize=1024)
def wishes_of(text: str) -> Wishes:
    """The way back. A field of a newer gateway is passed over."""
    if not text:
        return NONE
    known = Wishes.__dataclass_fields__
    return Wishes(**{name: value for name, value in json.loads(text).items() if name in known})
