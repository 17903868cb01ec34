"""A received fax's id becomes a row: the one way in for webhook and poll, once for each id."""

from __future__ import annotations

import re

import structlog

from gateway.model import Direction, Fax, State, new_id
from gateway.store import Added, Store

log = structlog.get_logger()

ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


async def announce(store: Store, provider_ids: list[str], now: float) -> list[Added]:
    """Make a durable row for each id that has none; nothing but the id is taken from a hint."""
    faxes = [
        Fax(
            id=new_id(), direction=Direction.INBOUND, state=State.ANNOUNCED,
            key=f"audian:{provider_id}", number="", provider_id=provider_id,
            created_at=now, since=now,
        )
        for provider_id in provider_ids
    ]  # fmt: skip
    added = await store.add(faxes, now=now)
    for one, provider_id in zip(added, provider_ids, strict=True):
        if not one.duplicate:
            log.info("fax_announced", fax=one.fax, provider_id=provider_id)
    return added
