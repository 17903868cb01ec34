"""What went wrong, named by what to do about it.

Rooms raise one of these; `worker.after_error` alone decides and logs. Anything else that
escapes a room is our bug: retried twice, then held, never bounced.

| raised           | means                                        | then                        |
|------------------|----------------------------------------------|-----------------------------|
| `TransientError` | nothing happened; it may work later          | retry, give up by age       |
| `UncertainError` | it may have happened                         | look, then retry, else hold |
| `PermanentError` | it will never work                           | fail at once, tell sender   |
"""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """Why a fax failed: one word for tables, an enhanced status code for mail (RFC 3463).

    The words and their codes are listed in `STATUS`; people read `Fax.reason`, a sentence.
    """

    NUMBER = "number"
    POLICY = "policy"
    MEDIA = "media"
    DOCUMENT = "document"
    CONVERSION = "conversion"
    LIMIT = "limit"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    LINE = "line"
    EXPIRED = "expired"
    REJECTED = "rejected"
    INTERNAL = "internal"
    UNKNOWN = "unknown-outcome"


STATUS: dict[Cause, str] = {
    Cause.NUMBER: "5.1.1",
    Cause.POLICY: "5.7.1",
    Cause.MEDIA: "5.6.1",
    Cause.DOCUMENT: "5.6.0",
    Cause.CONVERSION: "5.6.5",
    Cause.LIMIT: "5.3.4",
    Cause.BUSY: "5.4.1",
    Cause.NO_ANSWER: "5.4.1",
    Cause.LINE: "5.4.2",
    Cause.EXPIRED: "5.4.7",
    Cause.REJECTED: "5.5.0",
    Cause.INTERNAL: "5.3.0",
    Cause.UNKNOWN: "4.4.2",
}


class TransientError(Exception):
    """Nothing happened: refused connection, 429, our account. `after` is the wait asked for, s."""

    def __init__(self, reason: str, *, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class UncertainError(Exception):
    """It may have happened: no answer after the last byte, or an answer that proves nothing."""


class PermanentError(Exception):
    """It will never work. The text is a sentence that the sender of the fax understands."""

    def __init__(self, reason: str, cause: Cause = Cause.INTERNAL) -> None:
        super().__init__(reason)
        self.cause = cause
