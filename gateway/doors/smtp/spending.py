"""Is there room for the faxes of a mail, and what its client hears when there is none."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from gateway.doors import spending
from gateway.doors.smtp.shared import Services
from gateway.numbers import E164
from gateway.outbound.permit import Permit
from gateway.store import Full


async def full(
    services: Services, permit: Permit, numbers: Iterable[E164], *, before: int = 0
) -> Full | None:
    """The ceiling that these numbers would exceed. Raises StoreError."""
    reached = await spending.full(
        services.store, permit.identity, permit.ceilings, numbers,
        now=services.clock(), before=before,
    )  # fmt: skip
    if reached:
        spending.tell(reached, services.page)
    return reached


def reply(reached: Full) -> str:
    """In the zone of this machine; without a time when there will never be room."""
    if not reached.until:
        return f"550 5.7.1 Quota: {reached.what}"
    when = datetime.fromtimestamp(reached.until, UTC).astimezone().strftime("%H:%M")
    return f"451 4.7.1 Quota, retry after {when}: {reached.what}"
