"""Keeps house: sweeps files that belong to no fax, purges content after its retention.

History and numbers stay; only documents go. A file without a row is never sent: it was not
acknowledged, so it is set aside for a week and then removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.model import Direction, Fax, State
from gateway.spool import Spool
from gateway.store import Store, StoreError

log = structlog.get_logger()

HOURLY = 3600.0
ORPHAN_AGE = 3600.0  # s; younger files may be of an intake that has not committed yet
QUARANTINE = 7 * 86400.0
FURTHEST = 2 * 3600.0  # s: nothing is ever put off for longer
REJECTS, MOST_REJECTS = 90 * 86400.0, 200_000  # age and number of rows that are kept
SESSIONS = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds that the documents of a closed fax are kept."""

    sent: float
    failed: float
    received: float


async def keep_house(store: Store, spool: Spool, retention: Retention, stop: asyncio.Event) -> None:
    """Sweep and purge now and every hour until `stop`."""
    while not stop.is_set():
        try:
            await store.clamp(time.time() + FURTHEST)
            await sweep(store, spool, time.time())
            await purge(store, spool, retention, time.time())
            await forget(store, time.time())
        except (StoreError, OSError) as error:  # a full disk ends by itself, we must not
            log.error("housekeeping_failed", error=str(error))  # noqa: TRY400 - no bug
        try:
            async with asyncio.timeout(HOURLY):
                await stop.wait()
        except TimeoutError:
            continue


async def sweep(store: Store, spool: Spool, now: float) -> list[str]:
    """Set files without a fax aside; returns their names.

    Files first, then faxes: a fax that is taken meanwhile is known when it is asked for.
    """
    old = await asyncio.to_thread(_older, spool, now - ORPHAN_AGE)
    known = await store.known({_fax(path) for path in old})
    orphans = [path for path in old if _fax(path) not in known]
    await asyncio.to_thread(_set_aside, orphans, spool.root / "orphans", now)
    names = [path.name for path in orphans]
    if names:
        log.warning("orphans_set_aside", files=names[:20], count=len(names))
    return names


async def purge(store: Store, spool: Spool, retention: Retention, now: float) -> int:
    """Remove the documents of faxes closed long enough; returns of how many."""
    shortest = min(retention.sent, retention.failed, retention.received)
    old = await asyncio.to_thread(_older, spool, now - shortest)
    count = 0
    for name in sorted({_fax(path) for path in old}):
        fax = await store.get(name)
        if fax and fax.state is State.CLOSED and now - fax.since > _keep(fax, retention):
            await spool.drop(fax.id)
            count += 1
    mails = await store.messages.purge(sent=now - retention.sent, failed=now - retention.failed)
    if count or mails:
        log.info("documents_purged", faxes=count, mails=mails)
    return count


async def forget(store: Store, now: float) -> int:
    """Drop old refusals and sessions of the doors; returns how many rows of refusals."""
    return await store.doors.forget(
        rejects=now - REJECTS, sessions=now - SESSIONS, most=MOST_REJECTS
    )


def _older(spool: Spool, than: float) -> list[Path]:
    """Durable files written before then. One that goes meanwhile is somebody's business."""
    found = []
    for path in spool.kept():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < than:
                found.append(path)
    return found


def _set_aside(orphans: list[Path], aside: Path, now: float) -> None:
    aside.mkdir(mode=0o700, exist_ok=True)
    for path in orphans:
        with contextlib.suppress(FileNotFoundError):
            os.utime(path, (now, now))  # its week begins: after a restore it may be old already
            path.rename(aside / path.name)
    for path in aside.iterdir():
        if now - path.stat().st_mtime > QUARANTINE:
            path.unlink()


def _fax(path: Path) -> str:
    return path.name.partition(".")[0]


def _keep(fax: Fax, retention: Retention) -> float:
    if fax.direction is Direction.INBOUND:
        return retention.received
    return retention.failed if fax.cause else retention.sent
