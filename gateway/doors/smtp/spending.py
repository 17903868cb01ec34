"""Is there room for the faxes of a mail? In the words of this door."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.doors import spending
from gateway.doors.smtp.shared import Services
from gateway.doors.spending import reply
from gateway.numbers import E164
from gateway.outbound.permit import Permit
from gateway.store import Full

__all__ = ["full", "reply"]


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
