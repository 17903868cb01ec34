"""Is there room for the faxes of a mail, and what its sender hears when there is none."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import structlog

from gateway.doors.smtp.shared import Services
from gateway.numbers import E164
from gateway.outbound.permit import Permit
from gateway.store.quota import Full, Wanted

log = structlog.get_logger()


async def full(
    services: Services, permit: Permit, numbers: Iterable[E164], *, before: int = 0
) -> Full | None:
    """The ceiling that these numbers would exceed, which are taken together or not at all.

    `before`: how many others the mail is for. Raises StoreError.
    """
    for count, number in enumerate(dict.fromkeys(numbers)):
        wanted = Wanted(permit.identity, number, 1, before + count, together=count)
        reached = await services.store.room_for(wanted, permit.ceilings, now=services.clock())
        if reached:
            if reached.scope == "gateway" and reached.until:
                log.error("spending_stopped", limit=reached.what, until=reached.until)
                services.page(
                    "spending has stopped",
                    f"Faxes are turned away: the limit of the whole gateway is reached "
                    f"({reached.what}). It is set in rules.toml, in [limits].",
                )
            return reached
    return None


def reply(reached: Full) -> str:
    """In the zone of this machine; without a time when there will never be room."""
    if not reached.until:
        return f"550 5.7.1 Quota: {reached.what}"
    when = datetime.fromtimestamp(reached.until, UTC).astimezone().strftime("%H:%M")
    return f"451 4.7.1 Quota, retry after {when}: {reached.what}"
