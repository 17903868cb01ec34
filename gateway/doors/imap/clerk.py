"""One mail → what becomes of it: faxes, a refusal that its author hears of, or nothing at all.

Nobody is answered whose address may be forged, and no machine: their mails are put aside. Every
other mail becomes rows of the queue before the mailbox hears of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import structlog

from gateway.doors import spending
from gateway.doors.imap.letters import Letter, read
from gateway.doors.imap.orders import Order, Refused, order
from gateway.doors.imap.settings import ImapSettings
from gateway.mail.authentication import UnverifiedError, verified_sender
from gateway.mail.prescan import SPLIT
from gateway.numbers import E164, Refusal, masked
from gateway.outbound.intake import Envelope, Intake
from gateway.outbound.permit import Policy
from gateway.spool import Spool
from gateway.store import Full, Store

log = structlog.get_logger()

HOUR = 3600.0
MOST_ANSWERS = 10  # that somebody who may not fax gets in an hour
MOST_SENDERS = 1000
PEER = "imap"  # what stands for an IP address


class Outcome(StrEnum):
    """Which folder a mail goes to."""

    DONE = "done"
    FAILED = "failed"  # its author hears why
    REJECTED = "rejected"  # nobody does


@dataclass(frozen=True, slots=True)
class Waits:
    """A mail that stays where it is: a ceiling is full, and will have room for it later."""

    sender: str
    identity: str
    numbers: tuple[E164, ...]
    full: Full


@dataclass
class Clerk:
    """Decides over mails, one at a time. `note` is told of every refusal (`Refusals.note`)."""

    settings: ImapSettings
    intake: Intake
    spool: Spool
    store: Store
    policy: Callable[[], Policy]
    clock: Callable[[], float]
    note: Callable[..., None]
    page: Callable[[str, str], None]
    _answers: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    async def take(self, content: bytes, flaw: str = "", arrived: float = 0.0) -> Outcome | Waits:
        """Decide over a whole mail, or with a flaw (why it is not faxed) over its headers.

        What it asks for is understood as of when it arrived, however late it is read: `at=18:00`
        is not tomorrow. When this returns, what it decided is durable.
        """
        letter = await asyncio.to_thread(read, self.spool.part(), content)
        if machine := _machine(letter):
            return self._reject(letter, "auto_mail", machine)
        try:
            author = verified_sender(letter.fields, self.settings.authserv_id)
        except UnverifiedError as error:
            self._wonder(letter)
            return self._reject(letter, "imap_unauth", str(error))
        policy = self.policy()
        if policy.is_fax(author, self.settings.domains):
            return self._reject(
                letter, "fax_sender", "its sender is a fax address: nobody could be told"
            )
        taken = await self.store.mails.faxes_of(self._key(letter, author))
        now = min([self.clock(), arrived or math.inf, *(fax.created_at for fax in taken)])
        asked = await asyncio.to_thread(order, letter, author, policy, self.settings, now)
        if flaw := flaw or _flaw(letter):
            refused = Refused("", Refusal(flaw, "message"))
            return await self._refuse(letter, replace(asked, recipients=(), refused=(refused,)))
        return await self._carry_out(
            letter, asked.besides({fax.recipient for fax in taken}), {fax.number for fax in taken}
        )

    async def full(self, sender: str, identity: str, numbers: Sequence[E164]) -> Full | None:
        """The ceiling, by the rules in force, that these numbers would exceed."""
        ceilings = self.policy().ceilings(identity, sender)
        return await spending.full(self.store, identity, ceilings, numbers, now=self.clock())

    async def _carry_out(
        self, letter: Letter, asked: Order, taken: Collection[str]
    ) -> Outcome | Waits:
        """`taken`: the numbers whose faxes are in the queue, from a look that a crash ended."""
        new = tuple(one.number for one in asked.recipients if one.number not in taken)
        if full := await self.full(asked.sender, asked.identity, new):
            spending.tell(full, self.page)
            no = Refused("", Refusal(spending.reply(full, self.clock()), "quota"))
            if full.until:
                self._tell(no.why, no.why.event, asked.sender, "")
                return Waits(asked.sender, asked.identity, new, full)
            known = tuple(one for one in asked.recipients if one.number in taken)
            asked = replace(asked, recipients=known, refused=(no, *asked.refused))
        if asked.recipients:
            await self._accept(letter, asked)
        outcome = await self._refuse(letter, asked) if asked.refused else Outcome.DONE
        return Outcome.DONE if asked.recipients else outcome

    async def _accept(self, letter: Letter, asked: Order) -> None:
        try:
            added = await self.intake.accept(self._envelope(letter, asked), letter)
        except BaseException:
            await asyncio.to_thread(letter.discard)
            raise
        log.info(
            "mail_accepted",
            faxes=[one.fax for one in added if not one.duplicate],
            duplicates=[one.fax for one in added if one.duplicate],
            size=len(letter.content),
            peer=PEER,
            sender=asked.sender,
            numbers=[masked(recipient.number) for recipient in asked.recipients],
        )

    async def _refuse(self, letter: Letter, asked: Order) -> Outcome:
        """A row that has failed already, from which the author's notice is written."""
        may_fax = bool(asked.identity)  # it hears of every mail, and `Notify` makes no flood of it
        may_answer = may_fax or self._may_answer(asked.sender)
        if may_answer and not asked.is_strange:
            cause = asked.refused[0].cause
            answer = await self.intake.refuse(
                self._envelope(letter, asked), letter, asked.reason, cause, asked.wishes
            )
            if not (may_fax or answer.duplicate):
                self._answered(asked.sender)
        for one in asked.refused:
            self._tell(one.why, one.why.event, asked.sender, one.written)
        if asked.is_strange:
            return Outcome.REJECTED
        if not may_answer:
            log.warning("mail_unanswered", sender=asked.sender, peer=PEER)
        return Outcome.FAILED

    def _reject(self, letter: Letter, event: str, because: str) -> Outcome:
        self._tell(because, event, ", ".join(letter.all("from"))[:200], "")
        return Outcome.REJECTED

    def _wonder(self, letter: Letter) -> None:
        """With a wrong setting no mail would ever be faxed, and nobody would hear of it."""
        server = self.settings.authserv_id.lower()
        if not any(server in said.lower() for said in letter.all("authentication-results")):
            self.page(
                "a mail that nobody has checked",
                f"A mail in {self.settings.account} bears no Authentication-Results of {server}. "
                f"It is in {self.settings.rejected}, and its sender hears nothing. If so are all "
                "mails, IMAP_AUTHSERV_ID is wrong: that field of a good mail begins with it.",
            )

    def _tell(self, reply: str, event: str, sender: str, written: str) -> None:
        log.info("mail_refused", reply=str(reply), because=event, peer=PEER, sender=sender)
        self.note(PEER, PEER, str(reply), because=event, sender=sender, recipient=written)

    def _envelope(self, letter: Letter, asked: Order) -> Envelope:
        key = self._key(letter, asked.sender)
        return Envelope(asked.sender, asked.recipients, PEER, identity=asked.identity, key=key)

    def _key(self, letter: Letter, sender: str) -> str:
        """Of the mail, however often it is found.

        So `dup=ok` has nothing to do here: who means it sends the document again, and that is
        another mail, with another Message-ID and UID: another fax. The same mail found again was
        never meant.
        """
        facts = (self.settings.account, sender, letter.digest)
        return "imap:" + hashlib.sha256("\0".join(facts).encode()).hexdigest()

    def _may_answer(self, sender: str) -> bool:
        """A clock that was put back must not make the silence longer."""
        answers = self._answers.get(sender) or deque()
        return len(answers) < MOST_ANSWERS or not 0 <= self.clock() - answers[0] < HOUR

    def _answered(self, sender: str) -> None:
        """Only what is durable counts: a queue that is down for an hour uses up no answer."""
        self._answers.setdefault(sender, deque(maxlen=MOST_ANSWERS)).append(self.clock())
        self._answers.move_to_end(sender)
        while len(self._answers) > MOST_SENDERS:
            self._answers.popitem(last=False)


def _machine(letter: Letter) -> str:
    """Why no person waits for an answer: bounces, lists, our own notices (RFC 3834 §2)."""
    if any(value.replace(" ", "") == "<>" for value in letter.all("return-path")):
        return "null sender"
    return letter.scan.loop or letter.scan.auto


def _flaw(letter: Letter) -> str:
    if letter.scan.complex:
        return f"554 5.6.0 Message too complex: {letter.scan.complex}"
    if letter.scan.partial:
        return f"554 5.6.1 {SPLIT}"
    return "554 5.6.0 It holds a NUL byte" if letter.has_nul else ""
