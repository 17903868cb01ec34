"""MAIL and RCPT: the envelope as it grows. Every recipient is judged alone."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from gateway import address
from gateway.address import Destination, Kind
from gateway.doors import spending
from gateway.doors.smtp import grammar, replies
from gateway.doors.smtp.draft import Addressee, Draft
from gateway.doors.smtp.grammar import Hangup, Mail, Rcpt, Refused
from gateway.doors.smtp.postmaster import MOST_BYTES
from gateway.doors.smtp.settings import MOST_REFUSED
from gateway.doors.smtp.shared import Shared
from gateway.numbers import E164, Refusal
from gateway.options import OptionError, Options, Where, from_pairs
from gateway.outbound.permit import Denied, Permit
from gateway.outbound.verdict import BOUNCE, judge
from gateway.store import StoreError

if TYPE_CHECKING:
    from gateway.doors.smtp.session import SmtpSession

Asked = tuple[Options, str, str]  # of a number: options, subaddress, when to hear of it
_MOST_ASKED = 1000  # RCPTs of one mail, the same number again and again


class Transaction:
    """One mail of one client. A reply that is raised as `Refused` was no sensible command."""

    def __init__(self, shared: Shared, session: SmtpSession, login: str) -> None:
        self._shared = shared
        self._session = session
        self._login = login
        self._mail: Mail | None = None
        self._verdict: Permit | Denied = BOUNCE  # denied: it may write to the postmaster only
        self._is_strange = False  # denied, and not even known
        self._addressees: list[Addressee] = []
        self._numbers: dict[E164, Asked] = {}
        self._fixed: Asked | None = None  # of the fixed address, if it was given
        self._postmaster = False
        self._refused = self._asked = 0
        self._turned_away = ""  # at MAIL: the word for why
        self._sender = ""  # as the client gave it

    @property
    def begun(self) -> bool:
        return self._mail is not None

    def mail(self, argument: str) -> str:
        if self._mail:
            raise Refused(replies.ONE_SENDER)
        self._sender = ""  # not that of one refused before
        try:
            mail = grammar.mail(argument, tolerant=self._session.tolerant)
        except Refused as error:
            self._turned_away = error.because
            raise
        self._sender = mail.sender
        if refusal := self._refusal(mail):
            self._turned_away = refusal.event
            return self._refuse(refusal)
        self._mail, self._refused, self._turned_away = mail, 0, ""
        if not self._is_strange:
            self._session.step()
        return replies.SENDER_OK

    def rcpt(self, argument: str) -> str | Coroutine[Any, Any, str]:
        """The reply, or, where spending has a ceiling, how to get it."""
        if not self._mail:
            if self._turned_away:  # a client that pipelines could not know (RFC 2920 §3.1)
                return self._refuse(Refusal(replies.MAIL_FIRST, self._turned_away))
            raise Refused(replies.MAIL_FIRST)
        if not (argument.isascii() or self._mail.utf8):
            raise Refused(replies.BAD_LINE)
        self._asked += 1
        if self._asked > _MOST_ASKED:
            raise Hangup(replies.TOO_MANY_COMMANDS, "junk")
        rcpt = grammar.rcpt(argument, tolerant=self._session.tolerant)
        verdict = self._verdict
        aliases = verdict.aliases if isinstance(verdict, Permit) else {}
        found = address.destination(rcpt.address, self._shared.settings.domains, aliases)
        if isinstance(found, Destination) and found.kind is Kind.POSTMASTER:
            return self._to_postmaster(rcpt, self._mail.size)
        if isinstance(verdict, Denied):
            relay = Refusal.RELAY_TRY
            return self._refuse(relay if found is relay else _refusal(verdict), rcpt.address)
        if isinstance(found, Refusal):
            return self._refuse(found, rcpt.address)
        if self._postmaster:
            return self._refuse(Refusal(replies.SEND_APART, "quota"), rcpt.address)
        return self._to_numbers(found, rcpt, verdict)

    def draft(self) -> Draft:
        """Complete, or `Refused`."""
        mail, verdict = self._mail, self._verdict
        if not (mail and (self._addressees or self._postmaster)):
            asked = self._refused or self._turned_away
            raise Refused(replies.NO_RECIPIENTS if asked else replies.RCPT_FIRST)
        permit = None if isinstance(verdict, Denied) else verdict
        return Draft(
            sender=permit.sender if permit else mail.sender, envelope_sender=mail.sender,
            peer=self._session.peer, login=self._login, door=self._session.kind,
            permit=permit, addressees=tuple(self._addressees), postmaster=self._postmaster,
            most=self._shared.settings.max_recipients, most_bytes=self._most_bytes,
            envid=mail.envid, ret=mail.ret,
        )  # fmt: skip

    def _refusal(self, mail: Mail) -> Refusal | None:
        """Of the whole mail. Who may not fax may still write to the postmaster (A16)."""
        policy, session = self._shared.services.policy, self._session
        who = policy.who(mail.sender, login=self._login, peer=session.peer)
        verdict = judge(policy, who, self._shared.settings.domains, tolerant=session.tolerant)
        self._verdict = verdict
        self._is_strange = isinstance(verdict, Denied) and not who.is_proven
        may_go_on = verdict is BOUNCE or self._shared.services.forward
        if isinstance(verdict, Denied) and not may_go_on:
            return _refusal(verdict)
        if mail.size > self._shared.settings.max_message:
            return Refusal(replies.TOO_BIG, "too_big")
        trouble = self._shared.trouble()
        return Refusal(trouble, "degraded") if trouble else None

    @property
    def _most_bytes(self) -> int:
        most = self._shared.settings.max_message
        return min(most, MOST_BYTES) if self._is_strange else most

    def _to_postmaster(self, rcpt: Rcpt, size: int) -> str:
        if not self._shared.services.forward:
            return self._refuse(Refusal(replies.NO_POSTMASTER, "no_postmaster"), rcpt.address)
        if size > self._most_bytes:
            return self._refuse(Refusal(replies.TOO_BIG, "too_big"), rcpt.address)
        if self._addressees:
            return self._refuse(Refusal(replies.SEND_APART, "quota"), rcpt.address)
        if not (self._postmaster or self._has_room()):
            return self._refuse(Refusal(replies.POSTMASTER_BUSY, "quota"), rcpt.address)
        self._postmaster = True
        return replies.RECIPIENT_OK

    def _has_room(self) -> bool:
        now, peer = self._shared.loop.time(), self._session.peer
        return self._shared.postbox.takes(peer, now, strange=self._is_strange)

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
        asked = addressee.options, addressee.subaddress, addressee.notify
        known = [self._numbers.get(number, asked) for number in addressee.numbers]
        if any(one != asked for one in known or [self._fixed or asked]):
            return self._refuse(Refusal(replies.OPTIONS_DIFFER, "option"), addressee.address)
        new = addressee.new(self._numbers)
        if not (addressee.numbers or self._fixed):
            self._fixed = asked
            self._addressees.append(addressee)
        elif new:
            self._addressees.append(addressee.of(new))
        self._numbers |= dict.fromkeys(new, asked)
        self._session.step()
        return replies.RECIPIENT_OK

    async def _if_room(self, addressee: Addressee, permit: Permit, rcpt: Rcpt) -> str:
        services, new = self._shared.services, addressee.new(self._numbers)
        now = services.clock()
        try:
            full = await spending.perhaps_full(
                services.store, permit.sender, permit.identity, permit.ceilings, new,
                now=now, others=self._numbers,
            )  # fmt: skip
        except StoreError:
            self._shared.queue_failed()
            return self._refuse(Refusal(replies.QUEUE_DOWN, "degraded"), rcpt.address)
        if not full:
            return self._take(addressee)
        spending.tell(full, services.page)
        if full.scope == "gateway" and full.until and not self._addressees:
            # it is not this sender who may retry; but whoever is accepted goes, or the same mail
            # would come again and again and never fit
            raise Hangup(f"421 4.3.2 Quota of the gateway: {full.what}", "quota")
        return self._refuse(Refusal(spending.reply(full, now), "quota"), rcpt.address)

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


def _refusal(denied: Denied) -> Refusal:
    return Refusal(denied.reply, denied.event)
