"""Envelope and message → one fax for each number, durable, then yes. For every door.

A large mail, or one for many numbers, becomes a file, then a row; a small one is in the row's own
transaction, which costs one sync of the disk instead of three.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.errors import Cause
from gateway.model import Direction, Fax, State, new_id
from gateway.numbers import E164
from gateway.spool import Kind, Name, Spool, Unfinished
from gateway.store import SMALL, Added, Store, StoreError
from gateway.store.units import window
from gateway.wishes import NONE, Wishes

TOGETHER = 4 * SMALL  # bytes of all copies of a mail in rows; a file has many names instead


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody a mail is for."""

    address: str  # as written
    number: E164
    line: str = ""  # our number that the far machine sees; "" = the gateway's
    wishes: Wishes = NONE


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends to whom, as the door heard it; never from headers."""

    sender: str
    recipients: tuple[Recipient, ...]
    peer: str  # the client's IP address
    login: str = ""
    identity: str = ""  # who it counts for: "login:bob", "device:copier-2", "address:ann@…"
    key: str = ""  # of the mail at a door that knows one, such as a mailbox; "" = made here


class Message(Unfinished, Protocol):
    """A mail in the spool's care. Its facts are known when it is finished."""

    @property
    def digest(self) -> str: ...

    @property
    def subject(self) -> str: ...

    @property
    def message_id(self) -> str: ...


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
        self, envelope: Envelope | Callable[[], Envelope], message: Message
    ) -> list[Added]:
        """Take responsibility for a mail: when this returns, all of it is durable.

        One answer for each number, in the order of the recipients. An envelope that depends on
        what the message says is asked for, in the spool's thread, when that is known. Raises
        what the message, the envelope, the spool or the store raise: then nothing was taken.
        """
        faxes: list[Fax] = []
        now = self._clock()

        def small() -> bytes:
            return message.small if len(faxes) * len(message.small) <= TOGETHER else b""

        def names() -> list[Name]:
            told = envelope() if callable(envelope) else envelope
            recipients = one_for_each_number(told.recipients)
            faxes.extend(self._fax(told, to, message, now) for to in recipients)
            return [] if small() else [(fax.id, Kind.MESSAGE) for fax in faxes]

        try:
            added: list[Added] = await self._spool.keep(
                message, names, then=lambda: self._store.adding(faxes, small(), now=now)
            )
        except Exception as error:
            if not (isinstance(error, StoreError) and error.in_doubt):
                await self._drop(faxes)  # else they stay; the janitor sweeps what has no row
            raise
        self._store.added(faxes)
        taken = {answer.fax for answer in added if not answer.duplicate}
        await self._drop([] if small() else [fax for fax in faxes if fax.id not in taken])
        return added

    async def new(self, envelope: Envelope, message: Message) -> list[E164]:
        """The numbers that are no faxes yet: the same mail again costs nothing. StoreError."""
        keys = {
            natural_key(envelope, one.number, message.digest): one for one in envelope.recipients
        }
        now = self._clock()
        since = {key: now - window(one.wishes) for key, one in keys.items()}
        known = await self._store.mails.taken(since)
        return [one.number for key, one in keys.items() if key not in known]

    async def refuse(
        self, envelope: Envelope, message: Message, reason: str, cause: Cause, wishes: Wishes = NONE
    ) -> Added:
        """Take a mail that nobody may answer at the door: its sender hears why, and hears it once.

        It becomes a fax that has failed already, without a number and without a file. The reason
        is part of its key: two copies of a mail may be refused for two recipients.
        """
        now = self._clock()
        fax = self._fax(envelope, Recipient("", E164(""), wishes=wishes), message, now)
        key = f"{fax.key}:{hashlib.sha256(reason.encode()).hexdigest()[:16]}"
        failed = replace(fax, key=key, state=State.FAILED, reason=reason, cause=str(cause))
        (added,) = await self._store.add([failed], now=now)
        return added

    def _fax(self, envelope: Envelope, to: Recipient, message: Message, now: float) -> Fax:
        return Fax(
            id=new_id(), direction=Direction.OUTBOUND, state=State.ACCEPTED,
            key=natural_key(envelope, to.number, message.digest), number=to.number,
            line=to.line or self._line, identity=envelope.identity, wishes=to.wishes.text(),
            sender=envelope.sender, recipient=to.address,
            subject=message.subject, message_id=message.message_id, created_at=now,
            since=now, due_at=to.wishes.turn(now),
        )  # fmt: skip

    async def _drop(self, faxes: Sequence[Fax]) -> None:
        for fax in faxes:
            with contextlib.suppress(OSError):  # the janitor's; the mail is in the queue already
                await self._spool.drop(fax.id, (Kind.MESSAGE,))


def one_for_each_number(recipients: Sequence[Recipient]) -> list[Recipient]:
    """Two spellings of one number are one fax: the first stands for both."""
    first: dict[E164, Recipient] = {}
    for recipient in recipients:
        first.setdefault(recipient.number, recipient)
    return list(first.values())


def natural_key(envelope: Envelope, number: E164, digest: str) -> str:
    """The same for a mail client's re-send of a mail whose 250 it never saw (P4, RFC 1047)."""
    if envelope.key:
        return f"{envelope.key}:{number}"
    # a relay has several addresses: where nobody logged in, it is who the faxes count for
    who = envelope.login or envelope.identity or envelope.peer
    facts = (who, envelope.sender, number, digest)
    return "smtp:" + hashlib.sha256("\0".join(facts).encode()).hexdigest()
