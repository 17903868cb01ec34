"""Keeps house: sweeps files that belong to no fax, purges content after its retention.

History and numbers stay; only documents go. A file without a row is never sent: it was not
acknowledged, so it is set aside for a week and then removed.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.model import Direction, Fax, State
from gateway.spool import Spool
from gateway.store import Store

log = structlog.get_logger()

HOURLY = 3600.0
ORPHAN_AGE = 3600.0  # s; younger files may be of an intake that has not committed yet
QUARANTINE = 7 * 86400.0
FURTHEST = 2 * 3600.0  # s: nothing is ever put off for longer


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds that the documents of a closed fax are kept."""

    sent: float
    failed: float
    received: float


async def keep_house(store: Store, spool: Spool, retention: Retention, stop: asyncio.Event) -> None:
    """Sweep and purge now and every hour until `stop`."""
    while not stop.is_set():
        await store.clamp(time.time() + FURTHEST)
        await sweep(store, spool, time.time())
        await purge(store, spool, retention, time.time())
        try:
            async with asyncio.timeout(HOURLY):
                await stop.wait()
        except TimeoutError:
            continue


async def sweep(store: Store, spool: Spool, now: float) -> list[str]:
    """Set files without a fax aside; returns their names."""
    known = await store.ids()
    aside = spool.root / "orphans"

    def move() -> list[str]:
        aside.mkdir(mode=0o700, exist_ok=True)
        orphans = [
            path
            for path in spool.kept()
            if path.name.partition(".")[0] not in known and _age(path, now) > ORPHAN_AGE
        ]
        for path in orphans:
            path.rename(aside / path.name)
        for path in aside.iterdir():
            if _age(path, now) > QUARANTINE:
                path.unlink()
        return [path.name for path in orphans]

    names = await asyncio.to_thread(move)
    if names:
        log.warning("orphans_set_aside", files=names[:20], count=len(names))
    return names


async def purge(store: Store, spool: Spool, retention: Retention, now: float) -> int:
    """Remove the documents of faxes closed long enough; returns of how many."""
    shortest = min(retention.sent, retention.failed, retention.received)
    files = await asyncio.to_thread(spool.kept)
    old = {path.name.partition(".")[0] for path in files if _age(path, now) > shortest}
    count = 0
    for name in sorted(old):
        fax = await store.get(name)
        if fax and fax.state is State.CLOSED and now - fax.since > _keep(fax, retention):
            await spool.drop(fax.id)
            count += 1
    if count:
        log.info("documents_purged", faxes=count)
    return count


def _keep(fax: Fax, retention: Retention) -> float:
    if fax.direction is Direction.INBOUND:
        return retention.received
    return retention.failed if fax.cause else retention.sent


def _age(path: Path, now: float) -> float:
    return now - path.stat().st_mtime
