"""Is there room for the faxes of a mail? Asked before a door takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import structlog

from gateway.model import Ceiling
from gateway.numbers import E164
from gateway.store import Full, Store, Wanted

log = structlog.get_logger()


async def full(  # noqa: PLR0913 - who, what and when
    store: Store, identity: str, ceilings: Sequence[Ceiling], numbers: Iterable[E164],
    *, now: float, before: int = 0,
) -> Full | None:  # fmt: skip
    """The ceiling that these numbers would exceed, which are taken together or not at all.

    `before`: how many others the mail is for. Raises StoreError.
    """
    for count, number in enumerate(dict.fromkeys(numbers)):
        wanted = Wanted(identity, number, 1, before + count, together=count)
        if reached := await store.room_for(wanted, ceilings, now=now):
            return reached
    return None


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
