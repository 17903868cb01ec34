"""MAIL and RCPT: the envelope as it grows. Every recipient is judged alone."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from gateway import address
from gateway.address import Destination, Kind
from gateway.doors.smtp import grammar, replies, spending
from gateway.doors.smtp.draft import Addressee, Draft
from gateway.doors.smtp.grammar import Hangup, Mail, Rcpt, Refused
from gateway.doors.smtp.settings import MOST_REFUSED
from gateway.doors.smtp.shared import Shared
from gateway.mail.compose import ADDRESS
from gateway.numbers import E164, Refusal
from gateway.options import OptionError, Options, Where, from_pairs
from gateway.outbound.permit import Permit
from gateway.store import StoreError

if TYPE_CHECKING:
    from gateway.doors.smtp.session import SmtpSession

Asked = tuple[Options, str]  # options and subaddress of a number
_MOST_ASKED = 1000  # RCPTs of one mail, the same number again and again
_WORDS = {  # that name a refusal at MAIL which is not about who sends
    replies.TOO_BIG: "too_big",
    replies.FAX_SENDER: "fax_sender",
    replies.NOT_TOLD: "fax_sender",
    **dict.fromkeys((replies.TROUBLE, replies.QUEUE_DOWN, replies.DISK_FULL), "degraded"),
}


class Transaction:
    """One mail of one client. A reply that is raised as `Refused` was no sensible command."""

    def __init__(self, shared: Shared, session: SmtpSession, login: str) -> None:
        self._shared = shared
        self._session = session
        self._login = login
        self._mail: Mail | None = None
        self._permit: Permit | None = None  # None = it may write to the postmaster only
        self._addressees: list[Addressee] = []
        self._numbers: dict[E164, Asked] = {}
        self._postmaster = False
        self._refused = self._asked = 0
        self._turned_away = False  # at MAIL
        self._sender = ""  # as the client gave it

    @property
    def begun(self) -> bool:
        return self._mail is not None

    def mail(self, argument: str) -> str:
        if self._mail:
            raise Refused(replies.ONE_SENDER)
        self._turned_away = True  # until it is accepted
        mail = grammar.mail(argument, tolerant=self._session.tolerant)
        self._sender, self._permit = mail.sender, None  # of one refused before nothing counts
        if refusal := self._refusal(mail):
            return self._refuse(Refusal(refusal, _WORDS.get(refusal, "sender_denied")))
        self._mail, self._refused, self._turned_away = mail, 0, False
        self._session.step()
        return replies.SENDER_OK

    def rcpt(self, argument: str) -> str | Coroutine[Any, Any, str]:
        """The reply, or, where spending has a ceiling, how to get it."""
        if not self._mail:
            if self._turned_away:  # a client that pipelines could not know (RFC 2920 §3.1)
                return self._refuse(Refusal(replies.MAIL_FIRST, "sender_denied"))
            raise Refused(replies.MAIL_FIRST)
        if not (argument.isascii() or self._mail.utf8):
            raise Refused(replies.BAD_LINE)
        self._asked += 1
        if self._asked > _MOST_ASKED:
            raise Hangup(replies.TOO_MANY_COMMANDS, "junk")
        rcpt = grammar.rcpt(argument, tolerant=self._session.tolerant)
        aliases = self._permit.aliases if self._permit else {}
        found = address.destination(rcpt.address, self._shared.settings.domains, aliases)
        if isinstance(found, Refusal):
            return self._refuse(found, rcpt.address)
        if found.kind is Kind.POSTMASTER:
            return self._to_postmaster(rcpt)
        if not self._permit:
            return self._refuse(Refusal(replies.AUTOMATIC, "auto_mail"), rcpt.address)
        if self._postmaster:
            return self._refuse(Refusal(replies.SEND_APART, "quota"), rcpt.address)
        return self._to_numbers(found, rcpt, self._permit)

    def draft(self) -> Draft:
        """Complete, or `Refused`."""
        mail, permit = self._mail, self._permit
        if not (mail and (self._addressees or self._postmaster)):
            asked = self._refused or self._turned_away
            raise Refused(replies.NO_RECIPIENTS if asked else replies.RCPT_FIRST)
        limit = self._shared.settings.max_recipients
        return Draft(
            sender=permit.sender if permit else mail.sender, envelope_sender=mail.sender,
            peer=self._session.peer, login=self._login, door=self._session.kind,
            permit=permit, addressees=tuple(self._addressees), postmaster=self._postmaster,
            most=limit, envid=mail.envid, ret=mail.ret,
        )  # fmt: skip

    def _refusal(self, mail: Mail) -> str:
        policy = self._shared.services.policy
        who = policy.who(mail.sender, login=self._login, peer=self._session.peer)
        verdict = policy.sender(who)
        if isinstance(verdict, Permit):
            self._permit = verdict
            if self._is_fax(verdict.sender):
                return replies.FAX_SENDER
            if not (verdict.tell or self._session.tolerant or _is_mailbox(verdict.sender)):
                return replies.NOT_TOLD
        elif mail.sender or not (who.login or who.trusted or who.device):
            return verdict.reply
        # else a bounce: the postmaster reads those (A16), nobody faxes them
        if mail.size > self._shared.settings.max_message:
            return replies.TOO_BIG
        return self._shared.trouble()

    def _is_fax(self, sender: str) -> bool:
        """A notice to it would come back to this door, and its sender would hear nothing."""
        domains = self._shared.settings.domains
        if not address.concerns(sender, domains):
            return False
        aliases = self._shared.services.policy.rules.aliases
        book = {name: alias.numbers for name, alias in aliases.items()}  # not only its own ones
        found = address.destination(sender, domains, book)
        return isinstance(found, Destination) and found.kind is not Kind.POSTMASTER

    def _to_postmaster(self, rcpt: Rcpt) -> str:
        if not self._shared.services.forward:
            return self._refuse(Refusal(replies.NO_POSTMASTER, "no_postmaster"), rcpt.address)
        if self._addressees:
            return self._refuse(Refusal(replies.SEND_APART, "quota"), rcpt.address)
        self._postmaster = True
        return replies.RECIPIENT_OK

    def _to_numbers(
        self, found: Destination, rcpt: Rcpt, permit: Permit
    ) -> str | Coroutine[Any, Any, str]:
        numbers: list[E164] = []
        for written in found.numbers:
            number = self._shared.services.policy.number(permit, written)
            if isinstance(number, Refusal):
                return self._refuse(number, rcpt.address)
            numbers.append(number)
        try:
            options = from_pairs(found.options, self._shared.services.clock(), Where.ADDRESS)
        except OptionError as error:
            return self._refuse(Refusal(error.reply, "option"), rcpt.address)
        most = self._shared.settings.max_recipients
        if len(set(numbers)) > most:  # of one alias: no mail will ever have room for it
            return self._refuse(Refusal(replies.TOO_MANY_NUMBERS, "quota"), rcpt.address)
        if len(self._numbers.keys() | numbers) > most:
            return self._refuse(Refusal(replies.TOO_MANY_RECIPIENTS, "quota"), rcpt.address)
        addressee = Addressee(
            rcpt.address, tuple(numbers), options, found.subaddress, rcpt.notify, rcpt.orcpt
        )
        if permit.ceilings and numbers:
            return self._if_room(addressee, permit, rcpt)
        return self._take(addressee)

    def _take(self, addressee: Addressee) -> str:
        """Two spellings of one number are one fax: the first stands for both."""
        asked = addressee.options, addressee.subaddress
        if any(self._numbers.get(number, asked) != asked for number in addressee.numbers):
            return self._refuse(Refusal(replies.OPTIONS_DIFFER, "option"), addressee.address)
        new = addressee.new(self._numbers)
        fixed = not addressee.numbers and all(one.numbers for one in self._addressees)
        if new or fixed:
            self._addressees.append(addressee.of(new))
        self._numbers |= dict.fromkeys(new, asked)
        self._session.step()
        return replies.RECIPIENT_OK

    async def _if_room(self, addressee: Addressee, permit: Permit, rcpt: Rcpt) -> str:
        services, new = self._shared.services, addressee.new(self._numbers)
        try:
            full = await spending.full(services, permit, new, before=len(self._numbers))
        except StoreError:
            self._shared.queue_failed()
            return self._refuse(Refusal(replies.QUEUE_DOWN, "degraded"), rcpt.address)
        if full and full.scope == "gateway" and full.until and not self._addressees:
            # it is not this sender who may retry; but whoever is accepted goes, or the same mail
            # would come again and again and never fit
            raise Hangup(f"421 4.3.2 Quota of the gateway: {full.what}", "quota")
        if full:
            return self._refuse(Refusal(spending.reply(full), "quota"), rcpt.address)
        return self._take(addressee)

    def _refuse(self, refusal: Refusal, recipient: str = "") -> str:
        reply, session = refusal.reply, self._session
        self._refused += not reply.startswith("452")  # that asks to send the rest later
        session.record.outcome = reply
        self._shared.refused(
            session.kind, session.peer, reply,
            because=refusal.event, sender=self._sender, recipient=recipient,
        )  # fmt: skip
        if self._refused > MOST_REFUSED:
            raise Hangup(replies.TOO_MANY_ERRORS, "junk")
        return reply


def _is_mailbox(sender: str) -> bool:
    """Can a notice be addressed to it? In other scripts that is for the smarthost to say."""
    return ADDRESS.fullmatch(sender) is not None or not sender.isascii()
