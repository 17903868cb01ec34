"""What has become of a mail, by its key."""

from __future__ import annotations

import pytest

from gateway.model import State
from gateway.store import Store
from tests.make import outbound

pytestmark = pytest.mark.anyio

KEYS = [
    "imap:ab:+14155550100", "imap:ab:+14155550101", "imap:abc:+14155550102",
    "imap:a:+14155550103", "imap:ab;:+14155550104", "imap:AB:+14155550105", "smtp:ab",
]  # fmt: skip


async def test_all_of_a_mail_and_of_no_other(store: Store) -> None:
    faxes = [outbound(key=key, number=key.rpartition(":")[2]) for key in KEYS]
    refusal = outbound(State.FAILED, key="imap:ab::0123456789abcdef", number="")
    await store.add([*faxes, refusal], now=1.0)
    assert await store.mails.faxes_of("imap:ab") == faxes[:2]
    assert await store.mails.faxes_of("imap:abc") == faxes[2:3]
    assert await store.mails.faxes_of("imap:") == []
    assert await store.mails.faxes_of("imap:abcd") == []
