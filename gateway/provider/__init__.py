"""The seam to the fax provider: what the rooms may ask, and the few types of the answers.

Every call raises only the errors of `gateway.errors`: Transient (nothing happened), Uncertain
(it may have), Permanent (never). A vendor is one package beside this file.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Phase(StrEnum):
    """What the vendors' many status words mean. An unknown word is WORKING, never terminal."""

    WORKING = "working"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Sent:
    """One outbound fax as the provider tells of it; 0 and "" where it does not say."""

    id: str  # "" = the row names none that can be used
    phase: Phase
    word: str  # the provider's own status word
    to_number: str = ""
    from_number: str = ""
    pages: int = 0
    duration: int = 0
    reason: str = ""
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Received:
    """One received fax as the provider tells of it."""

    id: str
    from_number: str = ""
    to_number: str = ""
    from_name: str = ""
    pages: int = 0  # 0 = the provider does not say
    size: int = 0
    format: str = ""
    status: str = ""
    received_at: float = 0.0


class Outbox(Protocol):
    """mail → fax: what `outbound/` needs of a provider."""

    async def send(self, *, to: str, line: str, document: Path, reference: str) -> str:
        """Upload one PDF, return the provider's id. Never repeats by itself.

        Transient: provably not accepted, may work later. Permanent: refused for good.
        Uncertain: no proof either way; only `sent` can tell.
        """
        ...

    async def sent(self, since: float) -> list[Sent]:
        """All outbound faxes created since then: one complete list pass, or an error."""
        ...

    async def details(self, provider_id: str) -> Sent | None:
        """One fax; None = 404, which alone means nothing."""
        ...


class Inbox(Protocol):
    """fax → mail: what `inbound/` and the polling door need of a provider."""

    async def unprocessed(self) -> list[Received]:
        """Every received fax that nobody marked processed, all pages of the list."""
        ...

    async def received(self, fax_id: str) -> Received | None:
        """One received fax; None = the provider does not know the id (yet)."""
        ...

    async def download(self, fax_id: str, to: Path) -> int:
        """Write the document's bytes durably to `to`; return their count."""
        ...

    async def mark_processed(self, fax_id: str) -> None: ...

    async def archive(self, fax_id: str) -> None: ...


class Provider(Outbox, Inbox, Protocol):
    """Both roads of one vendor."""


def same_number(one: str, other: str) -> bool:
    """Whether two spellings mean one number: vendors drop the plus, or the country (last 10)."""
    a, b = ("".join(filter(str.isdigit, number)) for number in (one, other))
    return a == b or (min(len(a), len(b)) >= 10 and a[-10:] == b[-10:])


_HEX = r"[0-9a-f]{32}$"  # a received fax's id on the platform behind the API


def has_two_spellings(fax_id: str) -> bool:
    """Whether a received fax may be told of under this id with a month in front and without."""
    return re.match(rf"(\d{{6}}-)?{_HEX}", fax_id) is not None


def without_month(fax_id: str) -> str:
    """A received fax's id in the shorter of its two spellings."""
    return re.sub(rf"\d{{6}}-(?={_HEX})", "", fax_id)


def spellings(fax_id: str) -> tuple[str, ...]:
    """An id, and what it was before it grew a month prefix (`YYYYMM-id`) at its end."""
    return (fax_id, fax_id[7:]) if re.match(r"\d{6}-.", fax_id) else (fax_id,)


def by_id(listed: Collection[Sent]) -> dict[str, Sent]:
    """Rows by every spelling of their id. Of two rows for one fax the one with the last word."""
    rows: dict[str, Sent] = {}
    for row in listed:
        for fax_id in spellings(row.id):
            known = rows.get(fax_id)
            if fax_id and (known is None or known.phase is Phase.WORKING):
                rows[fax_id] = row
    return rows
