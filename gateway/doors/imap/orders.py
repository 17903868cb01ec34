"""What a verified sender asks for: a mail's addresses, Subject and X-Fax fields → an order. Pure.

A mailbox knows no envelope. Numbers come from its plus-addresses (`fax+14155550100@…`, where the
mail was delivered or written to), from fax addresses in To and Cc, and from `to=` in the Subject's
tail or an X-Fax header; never from a display name or a bare digit run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.address import Destination, Kind
from gateway.doors.imap.addressees import Asked, addressees, is_fixed
from gateway.doors.imap.letters import Letter
from gateway.doors.imap.settings import ImapSettings
from gateway.errors import Cause
from gateway.mail.headers import clean
from gateway.numbers import Refusal
from gateway.options import OptionError, Options, Where, from_mail, from_pairs, merge
from gateway.outbound.intake import Recipient, one_for_each_number
from gateway.outbound.permit import Denied, Permit, Policy
from gateway.wishes import Wishes

MOST_TOLD = 10  # refusals that one notice names
NO_NUMBER = Refusal(
    "550 5.1.1 It names no fax number: write to fax+14155550100@ of this mailbox, or end the "
    "Subject with [fax to=+14155550100]",
    "no_number",
)
NUMBER_TWICE = Refusal(
    "550 5.5.4 Option to: it belongs to a mail to the fixed address alone",
    "bad_option",
)
_CODES = re.compile(r"\d{3} (?:(\d\.\d{1,3})\.\d{1,3} )?")
_CAUSES = {
    "5.3": Cause.LIMIT, "5.5": Cause.POLICY, "5.6": Cause.DOCUMENT, "5.7": Cause.POLICY,
}  # fmt: skip
_FIXED = (Destination(Kind.SUBJECT),)
_NOBODY: Mapping[str, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that is not faxed: what the sender wrote, and why not."""

    written: str
    why: Refusal

    @property
    def cause(self) -> Cause:
        codes = _CODES.match(self.why)
        return _CAUSES.get(codes[1] or "" if codes else "", Cause.NUMBER)

    @property
    def sentence(self) -> str:
        why = _CODES.sub("", self.why, count=1)
        return f"{clean(self.written, most=100)}: {why}" if self.written else why


@dataclass(frozen=True, slots=True)
class Order:
    """Whom to fax, what is refused, and who hears of it."""

    sender: str
    identity: str = ""
    recipients: tuple[Recipient, ...] = ()
    refused: tuple[Refused, ...] = ()
    named: tuple[str, ...] = ()  # every destination, as written
    wishes: Wishes = field(default_factory=Wishes)  # for the notice of what is refused
    is_strange: bool = False  # neither permitted nor asking for a fax: junk, not a customer

    @property
    def reason(self) -> str:
        told = [one.sentence for one in self.refused[:MOST_TOLD]]
        if more := len(self.refused) - len(told):
            told.append(f"and {more} more")
        if self.recipients:
            told.append(f"it goes to the others ({len(self.recipients)})")
        return "; ".join(told)

    def besides(self, taken: Collection[str]) -> Order:
        """Without what the queue refutes: for these destinations a fax of this mail is there.

        The rules may have changed since it was taken, by a look that a crash ended.
        """
        nobody = not self.recipients and any(one in taken for one in self.named)
        refuted = {*taken, ""} if nobody else taken  # "" = the whole mail
        return replace(
            self, refused=tuple(one for one in self.refused if one.written not in refuted)
        )


def order(letter: Letter, author: str, policy: Policy, settings: ImapSettings, now: float) -> Order:
    """Read the order of a mail whose author is verified."""
    permit = policy.sender(policy.who(author, verified=True))
    named = list(addressees(letter, settings, getattr(permit, "aliases", _NOBODY)))
    wrong, said = None, Options()
    try:
        said = from_mail(letter.scan.subject, letter.scan.options, now)
    except OptionError as error:
        wrong = Refused("", Refusal(error.reply, "bad_option"))
    fixed = [one.what for one in named if is_fixed(one.what)]
    asked = [one for one in named if not is_fixed(one.what)]
    written = (*(one.written for one in asked), *said.to)
    if isinstance(permit, Denied):
        denied = Refused("", Refusal(permit.reply, "denied"))
        return Order(author, "", (), (denied,), written, is_strange=not (written or wrong))
    if said.to and asked and not fixed:
        wrong = wrong or Refused("", NUMBER_TWICE)
    taker = _Taker(letter, permit, said, policy, now)
    asked += [Asked(one, replace(*fixed[:1] or _FIXED, numbers=(one,))) for one in said.to]
    found = taker.refusal(wrong) if wrong else taker.order(asked, settings.max_recipients)
    return replace(found, named=written)


@dataclass(frozen=True, slots=True)
class _Taker:
    """Fills in the order of somebody who may send."""

    letter: Letter
    permit: Permit
    said: Options  # header before Subject
    policy: Policy
    now: float

    def order(self, asked: Sequence[Asked], most: int) -> Order:
        taken: list[Recipient] = []
        refused: list[Refused] = []
        for one in asked:
            recipients, problems = self._each(one)
            taken += recipients
            refused += problems
        taken = one_for_each_number(taken)
        if len(taken) > most:
            many = (
                f"552 5.5.3 It is for {len(taken)} numbers and {most} are allowed: none was faxed"
            )
            taken, refused = [], [Refused("", Refusal(many, "quota")), *refused]
        if not (taken or refused):
            refused = [Refused("", NO_NUMBER)]
        return self.refusal(*dict.fromkeys(refused), recipients=tuple(taken))

    def refusal(self, *refused: Refused, recipients: tuple[Recipient, ...] = ()) -> Order:
        permit = self.permit
        wishes = self._wishes(self.said)
        return Order(permit.sender, permit.identity, recipients, refused, wishes=wishes)

    def _each(self, asked: Asked) -> tuple[list[Recipient], list[Refused]]:
        """One destination: a recipient for each of its numbers, or why not."""
        what = asked.what
        if isinstance(what, Refusal):
            return [], [Refused(asked.written, what)]
        try:
            own = from_pairs(what.options, self.now, Where.ADDRESS)
        except OptionError as error:
            return [], [Refused(asked.written, Refusal(error.reply, "bad_option"))]
        wishes = self._wishes(merge(self.said, own), what.subaddress)
        found = [self.policy.number(self.permit, written) for written in what.numbers]
        return (
            [
                Recipient(asked.written, number, self.permit.line, wishes)
                for number in found
                if not isinstance(number, Refusal)
            ],
            [Refused(asked.written, why) for why in found if isinstance(why, Refusal)],
        )

    def _wishes(self, said: Options, subaddress: str = "") -> Wishes:
        permit = self.permit
        return permit.wishes(said, permit.sender, self.letter.scan.mdn, subaddress=subaddress)
