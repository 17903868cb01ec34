"""MAILED → CLOSED: tell the provider that the fax is ours now. Each call may be repeated."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Fax
from gateway.provider import Inbox


@dataclass(frozen=True, slots=True)
class Settle:
    """The room and what it works with."""

    provider: Inbox
    archive: bool

    async def __call__(self, fax: Fax) -> Fax:
        if not fax.digest:  # the provider has the only copy that anybody may still read
            return fax.closed(f"kept at the provider: {fax.reason}")
        await self.provider.mark_processed(fax.provider_id)
        if self.archive:
            await self.provider.archive(fax.provider_id)
        return fax.closed()
