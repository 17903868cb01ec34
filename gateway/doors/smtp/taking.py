"""End of data: judge the message, hand it to the intake, and word the answer.

Nothing here ends because a client went away: what was begun is finished.
"""

from __future__ import annotations

import errno
import time

import structlog

from gateway.doors.smtp import replies
from gateway.doors.smtp.body import Body
from gateway.doors.smtp.part import Part
from gateway.doors.smtp.shared import Shared
from gateway.numbers import masked
from gateway.outbound.intake import Envelope
from gateway.store import StoreError

log = structlog.get_logger()


async def take(body: Body, envelope: Envelope, shared: Shared) -> str:
    """The reply to DATA: 250 only when every fax is durable."""
    await body.written
    part, begun = body.part, time.monotonic()
    reply = verdict(part) or shared.trouble() or reply_to(part.failure)
    if not reply:
        try:
            reply = await _accept(part, envelope, shared)
        except Exception as error:  # noqa: BLE001 - the queue's troubles are never the sender's
            part.failure = error
            reply = reply_to(error)
            if reply == replies.QUEUE_DOWN:
                shared.queue_failed()
    if reply.startswith("250"):
        return reply
    shared.writers.do(part.discard, lambda: None)
    _log_refusal(reply, part, envelope, time.monotonic() - begun)
    return reply


def verdict(part: Part) -> str:
    """What is wrong with the message itself, "" = nothing."""
    verdicts = (
        (part.too_big, replies.TOO_BIG),
        (part.nul or part.scan.has_nul, replies.NUL),
        (part.long_line, replies.LONG_LINE),
        (part.scan.complex, replies.COMPLEX),
        (part.scan.loop, replies.LOOP),
        (part.scan.auto, replies.AUTOMATIC),
    )
    return next((reply for wrong, reply in verdicts if wrong), "")


def reply_to(failure: Exception | None) -> str:
    """Ours to say sorry for: always 4xx, and never the error's own text."""
    match failure:
        case None:
            return ""
        case StoreError():
            return replies.QUEUE_DOWN
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return replies.DISK_FULL
    return replies.TROUBLE


async def _accept(part: Part, envelope: Envelope, shared: Shared) -> str:
    added = await shared.intake.accept(
        envelope, part.path, part.digest, part.scan.subject, part.scan.message_id
    )
    log.info(
        "mail_accepted",
        faxes=[one.fax for one in added if not one.duplicate],
        duplicates=[one.fax for one in added if one.duplicate],
        size=part.size,
        **_who(envelope),
    )
    return replies.accepted(added)


def _log_refusal(reply: str, part: Part, envelope: Envelope, seconds: float) -> None:
    ours = {"error": repr(part.failure)} if part.failure else {}
    tell = log.error if ours else log.info
    tell(
        "mail_refused",
        reply=reply,
        size=part.size,
        because=part.scan.auto or part.scan.complex or "",
        seconds=round(seconds, 3),
        **ours,
        **_who(envelope),
    )


def _who(envelope: Envelope) -> dict[str, object]:
    return {
        "peer": envelope.peer,
        "sender": envelope.sender,
        "numbers": [masked(recipient.number) for recipient in envelope.recipients],
    }
