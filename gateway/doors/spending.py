"""Is there room for the faxes of a mail, and what is said when there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime

import structlog

from gateway.model import Ceiling
from gateway.numbers import E164
from gateway.store import RESEND_WINDOW, Full, Store, Wanted

log = structlog.get_logger()


async def full(  # noqa: PLR0913 - who, what and when
    store: Store, identity: str, ceilings: Sequence[Ceiling], numbers: Iterable[E164],
    *, now: float, before: int = 0,
) -> Full | None:  # fmt: skip
    """The ceiling that these numbers would exceed, which are taken together or not at all.

    Of several the one that lasts longest: who will never have room does not wait for another one.
    `before`: how many others the mail is for. Raises StoreError.
    """
    reached = []
    for count, number in enumerate(dict.fromkeys(numbers) if ceilings else ()):
        wanted = Wanted(identity, number, 1, before + count, together=count)
        if one := await store.room_for(wanted, ceilings, now=now):
            reached.append(one)
    return max(reached, key=lambda one: one.until or math.inf, default=None)


async def perhaps_full(  # noqa: PLR0913 - who, what and when
    store: Store, sender: str, identity: str, ceilings: Sequence[Ceiling],
    numbers: Collection[E164], *, now: float, others: Collection[E164],
) -> Full | None:  # fmt: skip
    """The same before the message is known; `others` are those of the mail so far.

    It may be one that was taken already and whose 250 was lost: then it costs nothing, and to turn
    it away would say that it was not faxed.
    """
    if not await full(store, identity, ceilings, numbers, now=now, before=len(others)):
        return None
    since = now - RESEND_WINDOW
    new = [
        number
        for number in (*others, *numbers)
        if not await store.mails.counts(identity, sender, number, since)
    ]
    before = sum(number in others for number in new)
    return await full(store, identity, ceilings, new[before:], now=now, before=before)


def tell(reached: Full, page: Callable[[str, str], None]) -> None:
    """The administrator hears when nobody's faxes are taken any more."""
    if reached.scope != "gateway" or not reached.until:
        return
    log.error("spending_stopped", limit=reached.what, until=reached.until)
    page(
        "spending has stopped",
        f"Faxes are turned away: the limit of the whole gateway is reached ({reached.what}). "
        "It is set in rules.toml, in [limits].",
    )


def reply(reached: Full, now: float) -> str:
    """In the zone of this machine, with the day if it is another; without when it is never."""
    if not reached.until:
        return f"550 5.7.1 Quota: {reached.what}"
    then, today = (datetime.fromtimestamp(at, UTC).astimezone() for at in (reached.until, now))
    when = f"{then:%H:%M}" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M}"
    return f"451 4.7.1 Quota, retry after {when}: {reached.what}"
