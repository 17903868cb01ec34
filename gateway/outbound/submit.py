"""PREPARED → SUBMITTED: hand the fax to the provider, once.

The upload is written down before its first byte leaves. If its outcome stays unknown (no answer,
a 500, our own death) nothing is ever sent again blindly: the provider's lists are searched for
it (`likeness`), and it is bound to what is found, or held for a person.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from gateway.errors import Cause, PermanentError, TransientError, UncertainError
from gateway.model import Attempt, Ceiling, Fax
from gateway.outbound.likeness import FAR, is_it, may_be
from gateway.provider import Outbox, Sent, spellings
from gateway.spool import Kind, Spool

LOOKS = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 601.0, 660.0)  # s after the upload, for 600 s
USUAL = 600.0
SOONEST = 1.0  # s between two looks
TRUSTED = 7 * 86400.0  # s: how old the proof may be that lists show faxes at work
ABSENT_LOOKS = len(LOOKS)  # passes, not only time: a clock may jump
PAIR_BUSY = 15.0  # s to wait while another upload between the same numbers is unknown
FULL = 600.0  # s at most until a ceiling is looked at again: it may be raised, the fax grows old


class Full(Protocol):
    """A ceiling that is reached: `what` names it, `until` is when there is room, 0 = never."""

    @property
    def what(self) -> str: ...
    @property
    def until(self) -> float: ...


class Attempts(Protocol):
    """Durable proof of what was begun; `gateway.store.Store` keeps it.

    An upload that was accepted, or is given up as unknown, ends when its fax is saved so.
    """

    async def begin_attempt(
        self, fax: Fax, *, now: float, ceilings: Sequence[Ceiling]
    ) -> Attempt | Full | None: ...
    async def end_attempt(
        self, attempt: Attempt, outcome: str, *, now: float, note: str = ""
    ) -> None: ...
    async def over(self, attempt: Attempt, *, now: float) -> Attempt: ...
    async def looked(self, attempt: Attempt) -> None: ...
    async def attempts(self, fax: str) -> list[Attempt]: ...
    async def doubtful(self, attempt: Attempt) -> list[Attempt]: ...
    async def bound(self, ids: Iterable[str]) -> set[str]: ...
    async def ever_shown(self, since: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Submit:
    """The room and what it works with."""

    provider: Outbox
    attempts: Attempts
    spool: Spool
    first_look: float = 5.0  # s until the provider's list is worth a look
    absent_after: float = USUAL  # s after an upload; earlier, a list may still lag
    ceilings: Callable[[Fax], Sequence[Ceiling]] = lambda _: ()  # that bind it by the rules now
    clock: Callable[[], float] = time.time

    async def __call__(self, fax: Fax) -> Fax:
        earlier = await self.attempts.attempts(fax.id)
        mine = {a.outcome: a for a in earlier if a.reference == fax.reference}
        if kept := mine.get("accepted"):  # the answer was kept, the move was not
            return self._submitted(fax, kept.provider_id)
        if open_one := mine.get("") or mine.get("unknown"):
            return await self._look(fax, open_one, again="absent" in mine)
        return await self._send(fax)

    async def _send(self, fax: Fax) -> Fax:
        document = self.spool.path(fax.id, Kind.DOCUMENT)
        if wrong := await asyncio.to_thread(_damage, document, fax.digest):
            return fax.hold(f"{wrong}; nothing was sent")
        attempt = await self._begin(fax)
        try:
            provider_id = await self._upload(fax, document)
        except (TransientError, PermanentError) as error:  # both prove that nothing was accepted
            await self._end(attempt, "refused", note=str(error))
            raise
        except UncertainError as error:
            await self.attempts.over(attempt, now=self.clock())
            return fax.later(self.clock() + self._wait(0), trouble=f"unknown whether sent: {error}")
        return self._submitted(fax, provider_id)

    async def _begin(self, fax: Fax) -> Attempt:
        """Reserve its pages and write the upload down, or raise why it must wait."""
        now, ceilings = self.clock(), self.ceilings(fax)
        begun = await self.attempts.begin_attempt(fax, now=now, ceilings=ceilings)
        if isinstance(begun, Attempt):
            return begun
        if begun is None:
            raise TransientError(
                "an earlier fax to this number has an unknown outcome, and this one waits for it",
                after=PAIR_BUSY,
            )
        if not begun.until:
            raise PermanentError(
                f"The fax has {fax.pages} pages; no more are allowed than {begun.what}",
                Cause.POLICY,
            )
        raise TransientError(
            f"no more are allowed than {begun.what}; there is room again at {_moment(begun.until)}",
            after=min(begun.until - now, FULL),
        )

    async def _upload(self, fax: Fax, document: Path) -> str:
        provider_id = await self.provider.send(
            to=fax.number, line=fax.line, reference=fax.reference, document=document
        )
        if await self.attempts.bound(spellings(provider_id)):
            raise UncertainError("the provider answered with the id of an earlier fax")
        return provider_id

    async def _look(self, fax: Fax, attempt: Attempt, *, again: bool) -> Fax:
        """Search the provider's lists for an upload whose answer never came."""
        attempt = await self.attempts.over(attempt, now=self.clock())
        rows = await self._possible(attempt)
        sure = [row for row in rows if is_it(row, attempt)]
        if len(sure) == 1 and not await self._shared(sure[0], attempt):
            return self._submitted(fax, sure[0].id)
        if sure:
            return _hold(fax, f"{_faxes(sure)} at the provider could be this one", sure)
        await self.attempts.looked(attempt)
        looks, ago = attempt.looks + 1, abs(self.clock() - attempt.ended_at)  # or put back
        if looks >= ABSENT_LOOKS and ago > self.absent_after:
            return await self._absent(fax, attempt, rows, again=again)
        wait = self._wait(min(looks, len(LOOKS) - 1))
        return fax.later(self.clock() + wait, trouble=fax.trouble or "unknown whether sent")

    async def _absent(self, fax: Fax, attempt: Attempt, rows: list[Sent], *, again: bool) -> Fax:
        """Not there. That counts only where lists were seen to show faxes still at work, and once.

        A provider that lists finished faxes alone would make us send everything again.
        """
        if rows:
            return _hold(fax, f"{_faxes(rows)} at the provider may be this one", rows)
        if again or not await self.attempts.ever_shown(self.clock() - TRUSTED):
            return _hold(fax, "the provider does not list it", [])
        note = f"not in {attempt.looks + 1} complete lists, which show faxes at work"
        await self._end(attempt, "absent", note=note)
        return fax.later(self.clock(), trouble=f"sent again: {note}")

    async def _possible(self, attempt: Attempt) -> list[Sent]:
        """Rows that may be this upload: nothing speaks against it, and they are nobody else's."""
        try:
            listed = await self.provider.sent(attempt.started_at - FAR)
        except (TransientError, PermanentError) as error:  # a question about the past adds doubt
            raise UncertainError(
                f"unknown whether sent, and no list to look in: {error}"
            ) from error
        rows = [row for row in listed if may_be(row, attempt)]
        bound = await self.attempts.bound(one for row in rows for one in spellings(row.id) if one)
        return [row for row in rows if bound.isdisjoint(spellings(row.id))]

    async def _shared(self, row: Sent, attempt: Attempt) -> bool:
        """Whether an upload that was never found could be this row as well."""
        return any(is_it(row, other) for other in await self.attempts.doubtful(attempt))

    def _wait(self, looks: int) -> float:
        """Seconds until the next look, in proportion to how long a list may lag."""
        since_last = LOOKS[looks] - (LOOKS[looks - 1] if looks else 0.0)
        return max(SOONEST, since_last * self.absent_after / USUAL)

    def _submitted(self, fax: Fax, provider_id: str) -> Fax:
        return fax.submitted(provider_id, look_at=self.clock() + self.first_look)

    async def _end(self, attempt: Attempt, outcome: str, *, note: str) -> None:
        await self.attempts.end_attempt(attempt, outcome, now=self.clock(), note=note)


def _hold(fax: Fax, why: str, rows: list[Sent]) -> Fax:
    """A person decides."""
    ids = " ".join(row.id or "(no id)" for row in rows[:10])
    return fax.hold(
        f"outcome unknown: {why}. It may have been sent; "
        f"do not send it again without checking{': ' if ids else ''}{ids}"
    )


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _faxes(rows: list[Sent]) -> str:
    return "1 fax" if len(rows) == 1 else f"{len(rows)} faxes"


def _damage(document: Path, digest: str) -> str:
    """What is wrong with a document that was fit to be faxed; "" = nothing."""
    try:
        with document.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "its document is missing"
    return "its document is not what was prepared" if digest and found != digest else ""
