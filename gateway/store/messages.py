"""Small mails, kept in the transaction of their rows: a file for each would cost more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.model import State
from gateway.store import units
from gateway.store.sqlite import Row, Sqlite, Unit

SMALL = 64 * 1024  # bytes of a mail that we keep ourselves
_SLICE = 500  # rows of one look
_ERASED = 50  # mails of one transaction: they may be overwritten, page by page

_GET = "SELECT content FROM message WHERE fax = :fax"
_DROP = "DELETE FROM message WHERE fax = :fax"
# Of a key the first ones after another: a pass over all of them holds nobody up for long.
_SOME = """SELECT fax.id AS fax, fax.state, fax.since, fax.cause
    FROM message JOIN fax ON fax.id = message.fax
    WHERE message.fax > :after ORDER BY message.fax LIMIT :most"""


class Messages:
    """Every method is one transaction, or many small ones. Raises StoreError."""

    def __init__(self, db: Sqlite) -> None:
        self._db = db

    async def get(self, fax: str) -> bytes:
        """The mail that a fax comes from; b"" = it is a file, or gone."""
        rows = await self._db.read(units.rows(_GET, fax=fax))
        content: bytes = rows[0]["content"] if rows else b""
        return content

    async def purge(self, *, sent: float, failed: float) -> int:
        """Drop those of faxes that were closed before; returns how many.

        A slice at a time: mails that come in wait behind each.
        """
        dropped, after = 0, ""
        while rows := await self._db.read(units.rows(_SOME, after=after, most=_SLICE)):
            after = rows[-1]["fax"]
            old = list(_old(rows, sent, failed))
            for begin in range(0, len(old), _ERASED):
                dropped += await self._db.write(_drop(old[begin : begin + _ERASED]))
        return dropped


def _old(rows: Iterable[Row], sent: float, failed: float) -> Iterable[str]:
    closed = (row for row in rows if row["state"] == State.CLOSED)
    return (row["fax"] for row in closed if row["since"] < (failed if row["cause"] else sent))


def _drop(faxes: Sequence[str]) -> Unit[int]:
    for fax in faxes:
        yield _DROP, {"fax": fax}
    return len(faxes)
