"""Faxes and files for tests, made in one line each."""

from __future__ import annotations

import io
from typing import Any

import pikepdf

from gateway.model import Direction, Fax, State, new_id
from gateway.spool import Kind, Spool
from gateway.store import Store

NUMBER = "+14155550100"
LINE = "+14155550199"
SENDER = "ann@example.com"


def outbound(state: State = State.ACCEPTED, **facts: Any) -> Fax:
    fax_id = new_id()
    common: dict[str, Any] = {
        "id": fax_id, "direction": Direction.OUTBOUND, "state": state, "key": f"test:{fax_id}",
        "number": NUMBER, "line": LINE, "sender": SENDER, "recipient": "14155550100@fax.local",
        "subject": "Contract", "message_id": "<1@example.com>", "created_at": 1_770_000_000.0,
        "since": 1_770_000_000.0,
    }  # fmt: skip
    return Fax(**common | facts)


def inbound(state: State = State.ANNOUNCED, provider_id: str = "rx1", **facts: Any) -> Fax:
    common: dict[str, Any] = {
        "id": new_id(), "direction": Direction.INBOUND, "state": state,
        "key": f"audian:{provider_id}", "number": "+12025551234", "line": LINE,
        "provider_id": provider_id, "created_at": 1_770_000_000.0, "since": 1_770_000_000.0,
    }  # fmt: skip
    return Fax(**common | facts)


def pdf(pages: int = 1) -> bytes:
    """A real PDF with a line of ink on each page."""
    document = pikepdf.new()
    for number in range(pages):
        document.add_blank_page(page_size=(612, 792))
        ink = f"2 w 72 {700 - number} m 540 {700 - number} l S".encode()
        document.pages[-1].Contents = document.make_stream(ink)
    out = io.BytesIO()
    document.save(out, deterministic_id=True)
    return out.getvalue()


async def mails(store: Store, spool: Spool) -> list[bytes]:
    """What each fax came from, the newest first, whoever keeps it."""
    kept = []
    for fax in await store.latest(99):
        content = await store.messages.get(fax.id)
        kept.append(content or spool.path(fax.id, Kind.MESSAGE).read_bytes())
    return kept
