"""Which faxes in the provider's list can be an upload whose answer was lost. Pure.

Two questions, because two mistakes are possible. To bind, everything must agree (`is_it`): a
wrong one would lose a fax. To send again, nothing may be left that might be it after all
(`may_be`): that would send it twice. What lies between is for a person.
"""

from __future__ import annotations

from gateway.model import Attempt
from gateway.provider import Sent, same_number

EARLIER, LATER = 60.0, 120.0  # s around an upload in which its row was made
FAR = 2 * 86400.0  # s that a row's time may be off: a clock was moved, a zone was forgotten


def is_it(row: Sent, attempt: Attempt) -> bool:
    """Whether all that is known of both agrees, and enough is known."""
    began, ended = attempt.started_at - EARLIER, attempt.ended_at + LATER
    return bool(
        row.id
        and began <= row.created_at <= ended
        and same_number(row.to_number, attempt.to_number)
        and same_number(row.from_number, attempt.from_number)
        and (not row.pages or not attempt.pages or row.pages == attempt.pages)
    )


def may_be(row: Sent, attempt: Attempt) -> bool:
    """Whether nothing excludes it. Pages do not: a list may count those that arrived."""
    return (
        (not row.created_at or abs(row.created_at - attempt.started_at) <= FAR)
        and (not row.to_number or same_number(row.to_number, attempt.to_number))
        and (not row.from_number or same_number(row.from_number, attempt.from_number))
    )
