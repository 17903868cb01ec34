"""Is there room for the faxes of a mail? In the words of this door."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gateway.doors import spending
from gateway.doors.smtp.shared import Services
from gateway.doors.spending import reply
from gateway.numbers import E164
from gateway.outbound.permit import Permit
from gateway.store import RESEND_WINDOW, Full, mails

__all__ = ["full", "perhaps_full", "reply"]


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


async def perhaps_full(
    services: Services, permit: Permit, numbers: Collection[E164], others: Collection[E164]
) -> Full | None:
    """The same before the message is known; `others` are those of the mail so far.

    It may be one that was taken already and whose 250 was lost: then it costs nothing, and to turn
    it away would say that it was not faxed.
    """
    if not await full(services, permit, numbers, before=len(others)):
        return None
    since = services.clock() - RESEND_WINDOW
    new = [
        number
        for number in (*others, *numbers)
        if not await mails.counts(services.store, permit.identity, permit.sender, number, since)
    ]
    before = sum(number in others for number in new)
    return await full(services, permit, new[before:], before=before)
