"""Envelope and message → one fax for each number: files, then rows, then yes. For every door."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.model import Direction, Fax, State, new_id
from gateway.numbers import E164
from gateway.spool import Kind, Spool
from gateway.store import Added, Store


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody a mail is for."""

    address: str  # as written
    number: E164


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends to whom, as the door heard it; never from headers."""

    sender: str
    recipients: tuple[Recipient, ...]
    peer: str  # the client's IP address
    login: str = ""


class Intake:
    """Takes mails into the queue. `line` is our number that the far machine sees."""

    def __init__(
        self, spool: Spool, store: Store, line: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._spool = spool
        self._store = store
        self._line = line
        self._clock = clock

    async def accept(
        self, envelope: Envelope, part: Path, digest: str, subject: str, message_id: str
    ) -> list[Added]:
        """Take responsibility for a written part, which is gone then.

        One answer for each number, in the order of the recipients. Raises what spool or store
        raise: then nothing was taken.
        """
        now = self._clock()
        faxes = [
            Fax(
                id=new_id(), direction=Direction.OUTBOUND, state=State.ACCEPTED,
                key=natural_key(envelope, recipient.number, digest), number=recipient.number,
                line=self._line, sender=envelope.sender, recipient=recipient.address,
                subject=subject, message_id=message_id, created_at=now, since=now,
            )
            for recipient in one_for_each_number(envelope.recipients)
        ]  # fmt: skip
        try:
            await self._spool.keep(part, [(fax.id, Kind.MESSAGE) for fax in faxes])
            added = await self._store.add(faxes, now=now)
        except Exception:
            await self._drop(fax.id for fax in faxes)  # else the janitor finds them
            raise
        taken = {answer.fax for answer in added if not answer.duplicate}
        await self._drop(fax.id for fax in faxes if fax.id not in taken)
        return added

    async def _drop(self, faxes: Iterable[str]) -> None:
        await asyncio.gather(*(self._spool.drop(fax, (Kind.MESSAGE,)) for fax in faxes))


def one_for_each_number(recipients: Sequence[Recipient]) -> list[Recipient]:
    """Two spellings of one number are one fax: the first stands for both."""
    first: dict[E164, Recipient] = {}
    for recipient in recipients:
        first.setdefault(recipient.number, recipient)
    return list(first.values())


def natural_key(envelope: Envelope, number: E164, digest: str) -> str:
    """The same for a mail client's re-send of a mail whose 250 it never saw (P4, RFC 1047)."""
    facts = (envelope.login or envelope.peer, envelope.sender, number, digest)
    return "smtp:" + hashlib.sha256("\0".join(facts).encode()).hexdigest()
