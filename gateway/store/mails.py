"""What has become of a mail, found by its faxes: the same mail again is no new fax."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import Fax
from gateway.store import units
from gateway.store.sqlite import Sqlite, Unit

_FAXES_OF = "SELECT * FROM fax WHERE key >= :first AND key < :last AND number <> '' ORDER BY key"
_TAKEN = "SELECT key FROM fax WHERE key = :key AND created_at >= :since"
# What counts against a ceiling: faxes that wait, and uploads (quota).
_COUNTS = """SELECT 1 AS found FROM fax
    WHERE identity = :identity AND held = '' AND state IN ('accepted', 'prepared')
        AND number = :number AND sender = :sender AND created_at >= :since
    UNION ALL SELECT 1 FROM attempt JOIN fax ON fax.id = attempt.fax
    WHERE attempt.to_number = :number AND attempt.outcome NOT IN ('refused', 'absent')
        AND attempt.started_at >= :since AND fax.identity = :identity AND fax.sender = :sender
    LIMIT 1"""


class Mails:
    """Only looks. Raises StoreError."""

    def __init__(self, db: Sqlite) -> None:
        self._db = db

    async def faxes_of(self, mail: str) -> list[Fax]:
        """Those in the queue or behind it; not the refusals."""
        within = units.rows(_FAXES_OF, first=f"{mail}:", last=f"{mail};")  # ; follows : in ASCII
        return [units.fax_of(row) for row in await self._db.read(within)]

    async def taken(self, since: Mapping[str, float]) -> set[str]:
        """Those of the keys whose fax was taken since then."""
        return await self._db.read(_taken(since))

    async def counts(self, identity: str, sender: str, number: str, since: float) -> bool:
        """Is there a fax of theirs to this number, taken since, which they pay for?"""
        facts = {"identity": identity, "sender": sender, "number": number, "since": since}
        return bool(await self._db.read(units.rows(_COUNTS, **facts)))


def _taken(since: Mapping[str, float]) -> Unit[set[str]]:
    found: set[str] = set()
    for key, moment in since.items():
        found.update(row["key"] for row in (yield _TAKEN, {"key": key, "since": moment}))
    return found
