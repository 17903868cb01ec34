"""What a client asked for in its envelope, and what it comes to once the message is read.

Options stand in addresses, in the Subject and in X-Fax fields; the fixed address takes its number
from there. So the envelope is complete only after the last byte of DATA.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from gateway.doors.smtp import replies
from gateway.doors.smtp.settings import Kind
from gateway.mail.prescan import Scan
from gateway.numbers import E164, Refusal
from gateway.options import OptionError, Options, from_mail, merge
from gateway.outbound.intake import Envelope, Recipient
from gateway.outbound.permit import Permit, Policy
from gateway.wishes import Wishes


class DraftError(Exception):
    """The message says something that cannot be done; `reply` is what its sender hears."""

    def __init__(self, reply: str, because: str) -> None:
        super().__init__(reply)
        self.reply = reply
        self.because = because


@dataclass(frozen=True, slots=True)
class Addressee:
    """One RCPT: its numbers, none for the fixed address, and what stood beside them."""

    address: str  # as written
    numbers: tuple[E164, ...]
    options: Options
    subaddress: str = ""
    notify: str = ""
    orcpt: str = ""

    def new(self, known: Collection[E164]) -> tuple[E164, ...]:
        return tuple(number for number in self.numbers if number not in known)

    def of(self, numbers: tuple[E164, ...]) -> Addressee:
        return replace(self, numbers=numbers)


@dataclass(frozen=True, slots=True)
class Draft:
    """The envelope of one mail before DATA."""

    sender: str  # who hears of it
    envelope_sender: str  # as the client gave it
    peer: str
    login: str
    door: Kind
    permit: Permit | None  # None = it is for the postmaster alone
    addressees: tuple[Addressee, ...]
    postmaster: bool
    most: int  # numbers of one mail
    most_bytes: int
    envid: str
    ret: str

    @property
    def _is_fixed(self) -> bool:
        return any(not one.numbers for one in self.addressees)

    def envelope(self, scan: Scan, policy: Policy, now: float) -> Envelope:
        """Complete: every number with what is wished for it. Raises DraftError."""
        if not self.permit:
            raise DraftError(replies.NO_RECIPIENTS, "no_number")
        try:
            asked = from_mail(scan.subject, scan.options, now)
        except OptionError as error:
            raise DraftError(error.reply, "option") from None
        named = self._named(asked, policy, self.permit)
        if len({*named, *(n for one in self.addressees for n in one.numbers)}) > self.most:
            raise DraftError(replies.TOO_MANY_NUMBERS, "quota")
        recipients = [
            Recipient(
                one.address, number, self.permit.line, self._wishes(one, asked, scan, self.permit)
            )
            for one in self.addressees
            for number in one.numbers or named
        ]
        if not _agree(recipients):
            raise DraftError(replies.OPTIONS_DIFFER, "option")
        return Envelope(self.sender, tuple(recipients), self.peer, self.login, self.permit.identity)

    def _named(self, asked: Options, policy: Policy, permit: Permit) -> tuple[E164, ...]:
        """The numbers of the Subject or a header, for the fixed address."""
        if asked.to and not self._is_fixed:
            raise DraftError(replies.NUMBER_TWICE, "option")
        if self._is_fixed and not asked.to:
            raise DraftError(replies.NO_SUBJECT_NUMBER, "no_number")
        return tuple(self._checked(asked, policy, permit))

    def _checked(self, asked: Options, policy: Policy, permit: Permit) -> Iterator[E164]:
        for written in asked.to:
            number = policy.number(permit, written)
            if isinstance(number, Refusal):
                raise DraftError(number.reply, number.event)
            yield number

    def _wishes(self, one: Addressee, asked: Options, scan: Scan, permit: Permit) -> Wishes:
        return permit.wishes(
            merge(asked, one.options), self.envelope_sender, scan.mdn,
            subaddress=one.subaddress, dsn=one.notify, orcpt=one.orcpt,
            envid=self.envid, ret=self.ret,
        )  # fmt: skip


def _agree(recipients: Iterable[Recipient]) -> bool:
    """Has each number one set of wishes? The fixed address may name one that stands there, too."""
    wanted: dict[E164, Wishes] = {}
    same = ((one.number, replace(one.wishes, orcpt="")) for one in recipients)
    return all(wanted.setdefault(number, wishes) == wishes for number, wishes in same)
