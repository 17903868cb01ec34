"""What a sender was told of in an hour, and the results that wait for the same mail (M18)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.model import State
from gateway.store import queries
from gateway.store.sqlite import Row, Unit

ENDS = frozenset({State.DELIVERED, State.FAILED})
HOUR = 3600.0

# Faxes that were told of in one mail were closed in one transaction.
_MAILS = """SELECT COUNT(DISTINCT since) AS mails FROM fax
    WHERE state = 'closed' AND told = 1 AND sender = :sender
        AND since > :now - :window AND since <= :now"""

_ALIKE = """UPDATE fax SET version = version + 1, attempts = attempts + 1, leased = 1,
        due_at = :lease
    WHERE held = '' AND leased = 0 AND id IN (SELECT id FROM fax
        WHERE state IN ('delivered', 'failed') AND held = '' AND leased = 0
            AND sender = :sender AND told = :told ORDER BY due_at, id LIMIT :most)
    RETURNING *"""


def mails(sender: str, now: float) -> Unit[int]:
    rows = yield _MAILS, {"sender": sender, "now": now, "window": HOUR}
    count: int = rows[0]["mails"]
    return count


def claim(facts: Mapping[str, Any]) -> Unit[list[Row]]:
    """What is due first, and all that waits for the same mail, though it may be due later."""
    rows = yield queries.CLAIM, {**facts, "most": 1}
    if rows and rows[0]["told"] > 1 and facts["most"] > 1:
        alike = {"sender": rows[0]["sender"], "told": rows[0]["told"], "most": facts["most"] - 1}
        rows += yield _ALIKE, {**facts, **alike}
    return rows
