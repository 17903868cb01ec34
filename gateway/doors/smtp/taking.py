"""End of data: judge the message, hand it to the intake, and word the answer.

Nothing here ends because a client went away: what was begun is finished.
"""

from __future__ import annotations

import asyncio
import errno

import structlog

from gateway.doors import spending
from gateway.doors.smtp import replies
from gateway.doors.smtp.body import Body
from gateway.doors.smtp.draft import Draft, DraftError
from gateway.doors.smtp.part import Part, Unwanted
from gateway.doors.smtp.shared import Services, Shared
from gateway.errors import PermanentError, TransientError
from gateway.numbers import masked
from gateway.outbound.permit import Permit
from gateway.store import StoreError

log = structlog.get_logger()


async def take(body: Body, draft: Draft, shared: Shared) -> str:
    """The reply to DATA: 250 only when every fax is durable."""
    part = body.part
    try:
        await body.taken
    except asyncio.CancelledError:  # it may think that it sent a mail
        if shared.guests.worth_a_line(draft.peer, shared.loop.time()):
            log.info("mail_refused", because="no end of data", size=part.size, **_who(draft))
        raise
    reply, because = verdict(part, draft)
    if not reply:
        reply, because = shared.trouble(), "degraded"
    try:
        if not reply:
            done = await (_forward if draft.postmaster else _accept)(body, draft, shared)
            body.release()
            return done
    except Unwanted:
        reply, because = verdict(part, draft)
    except DraftError as error:
        reply, because = error.reply, error.because
    except Exception as error:  # noqa: BLE001 - our troubles are never the sender's
        reply, because = reply_to(error), "degraded"
        log.error("mail_refused", error=repr(error), reply=reply, **_who(draft))  # noqa: TRY400
        if isinstance(error, StoreError):
            shared.queue_failed()
    body.release()
    shared.writers.do(part.discard, lambda: None)
    shared.refused(draft.door, draft.peer, reply, because=because, sender=draft.sender)
    return reply


def verdict(part: Part, draft: Draft) -> tuple[str, str]:
    """What is wrong with the message itself, and a word for it; "" = nothing."""
    scan = part.scan
    verdicts = (
        (part.too_big, replies.TOO_BIG, "too_big"),
        (part.nul, replies.NUL, "nul"),
        (part.long_line, replies.LONG_LINE, "long_line"),
        (scan.complex, replies.COMPLEX, "complex"),
        (scan.loop, replies.LOOP, "loop"),
        (scan.auto and not draft.postmaster, replies.AUTOMATIC, "auto_mail"),
        (scan.partial and not draft.postmaster, replies.SPLIT, "split"),
    )
    return next(((reply, word) for wrong, reply, word in verdicts if wrong), ("", ""))


def reply_to(error: Exception) -> str:
    """Ours to say sorry for: always 4xx, and never the error's own text."""
    match error:
        case StoreError():
            return replies.QUEUE_DOWN
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return replies.DISK_FULL
        case TransientError():
            return replies.RELAY_DOWN
        case PermanentError():  # the smarthost's last word about the admin's mailbox
            return replies.ADMIN_REFUSED
    return replies.TROUBLE


async def _accept(body: Body, draft: Draft, shared: Shared) -> str:
    permit = draft.permit
    if not (permit and permit.ceilings):
        return await _keep(body.part, draft, shared)
    await asyncio.to_thread(_complete, body.part, draft)
    body.release()
    async with shared.turn(permit.identity):  # of two that race for the last fax one is too late
        await _count(body.part, draft, permit, shared.services)
        return await _keep(body.part, draft, shared)


async def _count(part: Part, draft: Draft, permit: Permit, services: Services) -> None:
    """Numbers of the Subject cost, too, and others have come since those of RCPT were counted.

    What is taken beyond a sender's ceiling would wait, and count against everybody else's. Not so
    the same mail again: its sender, whose 250 was lost, must not hear that it was not faxed.
    """
    now, store = services.clock(), services.store
    numbers = await services.intake.new(draft.envelope(part.scan, services.policy, now), part)
    if full := await spending.full(store, permit.identity, permit.ceilings, numbers, now=now):
        spending.tell(full, services.page)
        raise DraftError(spending.reply(full, now), "quota")


async def _keep(part: Part, draft: Draft, shared: Shared) -> str:
    services = shared.services
    added = await services.intake.accept(
        lambda: draft.envelope(part.scan, services.policy, services.clock()), part
    )
    log.info(
        "mail_accepted",
        faxes=[one.fax for one in added if not one.duplicate],
        duplicates=[one.fax for one in added if one.duplicate],
        size=part.size,
        **_who(draft),
    )
    return replies.accepted(added)


async def _forward(body: Body, draft: Draft, shared: Shared) -> str:
    """To the postmaster: ours no longer once the smarthost has it, and not before."""
    part, forward = body.part, shared.services.forward
    assert forward  # noqa: S101 - no postmaster was accepted without
    await asyncio.to_thread(_complete, part, draft)
    try:
        await asyncio.to_thread(part.to_file)
        errand = asyncio.ensure_future(forward(part.path, draft.peer))
        shared.errands.add(errand)
        await errand
    finally:
        shared.writers.do(part.discard, lambda: None)
    log.info("postmaster_told", size=part.size, **_who(draft))
    return replies.OK


def _complete(part: Part, draft: Draft) -> None:
    """In a thread: all of it is in its file. What machines write the postmaster reads, too."""
    if part.held:
        part.write(part.held)
    if part.failure:
        raise part.failure
    if verdict(part, draft)[0]:
        raise Unwanted


def _who(draft: Draft) -> dict[str, object]:
    numbers = [masked(number) for one in draft.addressees for number in one.numbers]
    return {"peer": draft.peer, "sender": draft.sender, "numbers": numbers}
