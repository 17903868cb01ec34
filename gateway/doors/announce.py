"""A received fax's id becomes a row: the one way in for webhook and poll, once for each id."""

from __future__ import annotations

import re
from collections.abc import Sequence

import structlog

from gateway.model import Direction, Fax, State, new_id
from gateway.provider import without_month
from gateway.store import Added, Store

log = structlog.get_logger()

ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


async def announce(store: Store, provider_ids: Sequence[str], now: float) -> list[Added]:
    """Make a durable row for each id that has none; nothing but the id is taken from a hint."""
    faxes = [_fax(provider_id, _key(provider_id), now) for provider_id in provider_ids]
    added = await store.add(faxes, now=now)
    return [
        await _unless_forgotten(store, fax, one, now) for fax, one in zip(faxes, added, strict=True)
    ]


async def _unless_forgotten(store: Store, fax: Fax, added: Added, now: float) -> Added:
    """What was closed and mailed to nobody was unknown to the provider then: it is news again."""
    while added.duplicate:
        known = await store.get(added.fax)
        if known is None or known.state is not State.CLOSED or known.recipient:
            return added
        again = _fax(fax.provider_id, f"{_key(fax.provider_id)}#{known.id}", now)
        (added,) = await store.add([again], now=now)
    log.info("fax_announced", fax=added.fax, provider_id=fax.provider_id)
    return added


def _fax(provider_id: str, key: str, now: float) -> Fax:
    return Fax(
        id=new_id(), direction=Direction.INBOUND, state=State.ANNOUNCED, key=key, number="",
        provider_id=provider_id, created_at=now, since=now,
    )  # fmt: skip


def _key(provider_id: str) -> str:
    return f"audian:{without_month(provider_id)}"
