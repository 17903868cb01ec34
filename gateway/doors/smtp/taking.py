"""End of data: judge the message, hand it to the intake, and word the answer.

Nothing here ends because a client went away: what was begun is finished.
"""

from __future__ import annotations

import asyncio
import errno

import structlog

from gateway.doors.smtp import replies
from gateway.doors.smtp.body import Body
from gateway.doors.smtp.part import Part, Unwanted
from gateway.doors.smtp.shared import Shared
from gateway.numbers import masked
from gateway.outbound.intake import Envelope
from gateway.store import StoreError

log = structlog.get_logger()


async def take(body: Body, envelope: Envelope, shared: Shared) -> str:
    """The reply to DATA: 250 only when every fax is durable."""
    part, trouble = body.part, ""
    try:
        await body.taken
    except asyncio.CancelledError:  # it may think that it sent a mail
        log.info("mail_refused", because="no end of data", size=part.size, **_who(envelope))
        raise
    reply = verdict(part) or shared.trouble()
    try:
        if not reply:
            return await _accept(part, envelope, shared)
    except Unwanted:
        reply = verdict(part)
    except Exception as error:  # noqa: BLE001 - our troubles are never the sender's
        reply, trouble = reply_to(error), repr(error)
        if isinstance(error, StoreError):
            shared.queue_failed()
    finally:
        body.release()
    shared.writers.do(part.discard, lambda: None)
    _log_refusal(reply, trouble, part, envelope)
    return reply


def verdict(part: Part) -> str:
    """What is wrong with the message itself, "" = nothing."""
    verdicts = (
        (part.too_big, replies.TOO_BIG),
        (part.nul, replies.NUL),
        (part.long_line, replies.LONG_LINE),
        (part.scan.complex, replies.COMPLEX),
        (part.scan.loop, replies.LOOP),
        (part.scan.auto, replies.AUTOMATIC),
    )
    return next((reply for wrong, reply in verdicts if wrong), "")


def reply_to(error: Exception) -> str:
    """Ours to say sorry for: always 4xx, and never the error's own text."""
    match error:
        case StoreError():
            return replies.QUEUE_DOWN
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return replies.DISK_FULL
    return replies.TROUBLE


async def _accept(part: Part, envelope: Envelope, shared: Shared) -> str:
    added = await shared.intake.accept(envelope, part)
    log.info(
        "mail_accepted",
        faxes=[one.fax for one in added if not one.duplicate],
        duplicates=[one.fax for one in added if one.duplicate],
        size=part.size,
        **_who(envelope),
    )
    return replies.accepted(added)


def _log_refusal(reply: str, trouble: str, part: Part, envelope: Envelope) -> None:
    facts = _who(envelope) | {"reply": reply, "size": part.size}
    if trouble:
        log.error("mail_refused", error=trouble, **facts)
    else:
        because = part.scan.auto or part.scan.loop or part.scan.complex
        log.info("mail_refused", because=because, **facts)


def _who(envelope: Envelope) -> dict[str, object]:
    return {
        "peer": envelope.peer,
        "sender": envelope.sender,
        "numbers": [masked(recipient.number) for recipient in envelope.recipients],
    }
