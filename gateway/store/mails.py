"""What has become of a mail: found by the key of the mail, which those of its faxes begin with."""

from __future__ import annotations

from gateway.model import Fax
from gateway.store import Store, units
from gateway.store.units import fax_of

FAXES_OF = "SELECT * FROM fax WHERE key >= :first AND key < :last AND number <> '' ORDER BY key"


async def faxes_of(store: Store, mail: str) -> list[Fax]:
    """Those in the queue or behind it; not the refusals. Raises StoreError."""
    within = units.rows(FAXES_OF, first=f"{mail}:", last=f"{mail};")  # ; is next to : in ASCII
    return [fax_of(row) for row in await store._db.read(within)]  # noqa: SLF001 - it is the store's
