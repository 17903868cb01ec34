"""PREPARED → SUBMITTED: hand the fax to the provider, once.

The upload is written down before its first byte leaves. If its outcome stays unknown (no answer,
a 500, our own death) nothing is ever sent again blindly: the provider's lists are searched for
it, and it is bound to what is found, or held for a person.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import PermanentError, TransientError, UncertainError
from gateway.model import Attempt, Fax
from gateway.provider import Outbox, Sent, same_number
from gateway.spool import Kind, Spool

LOOKS = (0.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)  # s between looks; the last one repeats
TRUSTED = 7 * 86400.0  # s: how old the proof may be that lists show faxes at work
ABSENT_LOOKS = 3  # complete list passes without it
EARLIER, LATER = 60.0, 120.0  # s around an upload in which its row may have been made
PAIR_BUSY = 15.0  # s to wait while another upload between the same numbers is unknown


class Attempts(Protocol):
    """Durable proof of what was begun; `gateway.store.Store` keeps it."""

    async def begin_attempt(self, fax: Fax, *, now: float) -> Attempt | None: ...
    async def end_attempt(
        self, attempt: Attempt, outcome: str, *, now: float, provider_id: str = "", note: str = ""
    ) -> None: ...
    async def looked(self, attempt: Attempt) -> None: ...
    async def attempts(self, fax: str) -> list[Attempt]: ...
    async def bound(self, since: float) -> set[str]: ...
    async def ever_shown(self, since: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Submit:
    """The room and what it works with."""

    provider: Outbox
    attempts: Attempts
    spool: Spool
    first_look: float = 5.0  # s until the provider's list is worth a look
    absent_after: float = 600.0  # s after an upload; earlier, a list may still lag
    clock: Callable[[], float] = time.time

    async def __call__(self, fax: Fax) -> Fax:
        earlier = await self.attempts.attempts(fax.id)
        last = earlier[-1] if earlier else None
        if last and last.reference == fax.reference:
            if last.outcome == "accepted":  # the answer was kept, the move was not
                return self._submitted(fax, last.provider_id)
            if last.outcome == "":
                return await self._look(fax, last)
        return await self._send(fax)

    async def _send(self, fax: Fax) -> Fax:
        attempt = await self.attempts.begin_attempt(fax, now=self.clock())
        if attempt is None:
            raise TransientError(
                "an earlier fax to this number has an unknown outcome, and this one waits for it",
                after=PAIR_BUSY,
            )
        try:
            provider_id = await self.provider.send(
                to=fax.number, line=fax.line, reference=fax.reference,
                document=self.spool.path(fax.id, Kind.DOCUMENT),
            )  # fmt: skip
        except (TransientError, PermanentError) as error:  # both prove that nothing was accepted
            await self._end(attempt, "refused", note=str(error))
            raise
        except UncertainError as error:
            return fax.later(self.clock() + LOOKS[1], trouble=f"unknown whether sent: {error}")
        await self._end(attempt, "accepted", provider_id=provider_id)
        return self._submitted(fax, provider_id)

    async def _look(self, fax: Fax, attempt: Attempt) -> Fax:
        """Search the provider's lists for an upload whose answer never came."""
        found = await self._candidates(attempt)
        if len(found) == 1:
            await self._end(attempt, "accepted", provider_id=found[0].id, note="found in the list")
            return self._submitted(fax, found[0].id)
        if found:
            why = f"{len(found)} faxes at the provider could be this one"
            return await self._hold(fax, attempt, why, found)
        await self.attempts.looked(attempt)
        looks = attempt.looks + 1
        if looks >= ABSENT_LOOKS and self.clock() - attempt.started_at > self.absent_after:
            return await self._absent(fax, attempt)
        wait = LOOKS[min(looks, len(LOOKS) - 1)]
        return fax.later(self.clock() + wait, trouble=fax.trouble or "unknown whether sent")

    async def _absent(self, fax: Fax, attempt: Attempt) -> Fax:
        """Not there. That counts only where lists were seen to show faxes still at work, and once.

        A provider that lists finished faxes alone would make us send everything again.
        """
        before = await self.attempts.attempts(fax.id)
        again = any(a.outcome == "absent" and a.reference == fax.reference for a in before)
        proven = await self.attempts.ever_shown(self.clock() - TRUSTED)
        if again or not proven:
            return await self._hold(fax, attempt, "the provider does not list it", [])
        note = f"not in {attempt.looks + 1} complete lists, which show faxes at work"
        await self._end(attempt, "absent", note=note)
        return fax.later(self.clock(), trouble=f"sent again: {note}")

    async def _candidates(self, attempt: Attempt) -> list[Sent]:
        """Rows that can only be this upload: its numbers, its time, nobody else's id."""
        since = attempt.started_at - EARLIER
        try:
            listed = await self.provider.sent(since)
        except (TransientError, PermanentError) as error:  # a question about the past adds doubt
            raise UncertainError(
                f"unknown whether sent, and no list to look in: {error}"
            ) from error
        others = await self.attempts.bound(since - 86400)
        return [row for row in listed if row.id not in others and _fits(row, attempt)]

    def _submitted(self, fax: Fax, provider_id: str) -> Fax:
        return fax.submitted(provider_id, look_at=self.clock() + self.first_look)

    async def _hold(self, fax: Fax, attempt: Attempt, why: str, found: list[Sent]) -> Fax:
        """A person decides. The two numbers are free again: later uploads have another time."""
        await self._end(attempt, "unknown", note=why)
        ids = " ".join(row.id for row in found)
        return fax.hold(
            f"outcome unknown: {why}. It may have been sent; "
            f"do not send it again without checking{': ' if ids else ''}{ids}"
        )

    async def _end(self, attempt: Attempt, outcome: str, **facts: str) -> None:
        await self.attempts.end_attempt(attempt, outcome, now=self.clock(), **facts)


def _fits(row: Sent, attempt: Attempt) -> bool:
    in_time = not row.created_at or (
        attempt.started_at - EARLIER <= row.created_at <= attempt.started_at + LATER
    )
    pages = not (row.pages and attempt.pages) or row.pages == attempt.pages
    return (
        in_time
        and pages
        and same_number(row.to_number, attempt.to_number)
        and same_number(row.from_number, attempt.from_number)
    )
