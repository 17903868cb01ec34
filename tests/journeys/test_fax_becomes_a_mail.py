"""fax → mail, as its people see it: announced by webhook or found by polling, mailed once."""

from __future__ import annotations

import hashlib
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.house import SECRET, House, house, wait_for
from tests.journeys.test_mail_becomes_a_fax import picture
from tests.make import pdf

pytestmark = pytest.mark.slow

RULES = """
[[route]]
to = "+14155550188"
mail = ["sales@example.com", "archive@example.com"]
[[route]]
from = "+1303*"
mail = "denver@example.com"
[[route]]
mail = ["office@example.com"]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house"), rules=RULES) as home:
        yield home


def delivered(home: House, provider_id: str) -> dict[str, Any]:
    """The closed fax of an id."""

    def look() -> dict[str, Any] | None:
        found = [f for f in home.faxes() if f["provider_id"] == provider_id]
        return found[0] if found and found[0]["state"] == "closed" else None

    return wait_for(look, f"{provider_id} to close")


def mails_of(home: House, fax: dict[str, Any]) -> list[dict[str, Any]]:
    return [m for m in home.mails() if m["message_id"].startswith(f"<rx.{fax['id']}@")]


def at_provider(home: House, provider_id: str) -> dict[str, Any]:
    received = home.control("state")["inbound"]
    return next(f for f in received if f["id"] == provider_id)


@pytest.mark.parametrize(
    ("document", "pages"), [(pdf(2), 2), (picture("TIFF", 3), 3), (picture("TIFF"), 1)]
)
def test_polled(home: House, document: bytes, pages: int) -> None:
    provider_id = home.inject(document)
    fax = delivered(home, provider_id)
    (mail,) = mails_of(home, fax)
    assert mail["recipients"] == ["office@example.com"]
    assert mail["subject"] == f"Fax from +1 202 555 1234 (John Smith), {pages} page" + "s" * (
        pages > 1
    )
    assert mail["auto_submitted"] == "auto-generated"
    (file,) = mail["files"]
    assert (file["kind"], file["pages"], file["sha256"]) == (
        "application/pdf",
        pages,
        fax["digest"],
    )
    assert at_provider(home, provider_id)["status"] == "archived"


def test_a_pdf_arrives_as_it_was_sent(home: House) -> None:
    document = pdf(1)
    fax = delivered(home, home.inject(document, from_number="+12125550123"))
    received = home.data / "spool" / f"{fax['id']}.received.bin"
    assert hashlib.sha256(received.read_bytes()).digest() == hashlib.sha256(document).digest()


@pytest.mark.parametrize(
    ("facts", "recipients"),
    [
        ({"to_number": "+14155550188"}, ["sales@example.com", "archive@example.com"]),
        ({"from_number": "+13035551234"}, ["denver@example.com"]),
        ({}, ["office@example.com"]),
    ],
)
def test_routes(home: House, facts: dict[str, str], recipients: list[str]) -> None:
    fax = delivered(home, home.inject(pdf(1), **facts))
    (mail,) = mails_of(home, fax)
    assert mail["recipients"] == recipients


def test_many_hints_are_one_delivery(tmp_path: Path) -> None:
    """Webhook before, between, after; again and again; beside polling: one mail."""
    with house(tmp_path, settings={"INBOUND_POLL_INTERVAL": "200ms"}) as home:
        assert home.hook({"event": "fax_received", "id": "fax_received_none"}) == 200
        provider_id = home.inject(pdf(1))
        for _ in range(5):
            assert home.hook({"event": "fax_received", "id": provider_id}) == 200
            form = f"event=fax_received&id={provider_id}".encode()
            assert home.hook(form, kind="application/x-www-form-urlencoded") == 200
            xml = f"<fax><event>fax_received</event><id>{provider_id}</id></fax>".encode()
            assert home.hook(xml, kind="application/xml") == 200
        fax = delivered(home, provider_id)
        assert home.hook({"event": "fax_received", "id": provider_id}) == 200
        requests = len(home.control("ledger")["requests"])
        wait_for(lambda: len(home.control("ledger")["requests"]) > requests + 3 or None, "polls")
        assert len(mails_of(home, fax)) == 1


def test_by_webhook_alone(tmp_path: Path) -> None:
    with house(tmp_path, settings={"INBOUND": "webhook"}) as home:
        provider_id = home.inject(pdf(1))
        assert home.hook({"event": "fax_received", "id": provider_id}) == 200
        delivered(home, provider_id)


def test_the_smarthost_is_away_for_a_while(tmp_path: Path) -> None:
    """Kept and tried again; nothing is marked processed before the 250."""
    with house(tmp_path) as home:
        home.mailbox.end()
        provider_id = home.inject(pdf(1))
        wait_for(
            lambda: any(f["state"] == "fetched" and f["trouble"] for f in home.faxes()) or None,
            "a fetched fax that waits",
        )
        assert at_provider(home, provider_id)["status"] == "received"
        home.mailbox.arguments[2] = home.relay
        home.mailbox.start()
        fax = delivered(home, provider_id)
        assert len(mails_of(home, fax)) == 1
        assert at_provider(home, provider_id)["status"] == "archived"


def test_a_caller_cannot_write_headers(home: House) -> None:
    name = "Eve\r\nBcc: all@example.com\u2028<script>"
    fax = delivered(home, home.inject(pdf(1), from_name=name))
    (mail,) = mails_of(home, fax)
    assert mail["recipients"] == ["office@example.com"]
    assert "\n" not in mail["subject"]
    assert mail["files"][0]["name"] == f"fax-{fax['id']}.pdf"


def asked(home: House, path: str) -> int:
    """How often the provider was asked for a path."""
    return sum(str(one["path"]).endswith(path) for one in home.control("ledger")["requests"])


def test_a_flood_of_hints_asks_the_provider_a_few_times(home: House) -> None:
    """A45, A46: a forged id costs a few questions, and no mail."""
    known = len(home.mails())
    hint = {"event": "fax_received", "id": "forged_1", "pages": 3, "from_number": "+12025550000"}
    with ThreadPoolExecutor(8) as crowd:
        answers = set(crowd.map(lambda _: home.hook(hint), range(500)))
    assert answers == {200}
    wait_for(lambda: asked(home, "/received/forged_1") or None, "a look")
    (fax,) = [one for one in home.faxes() if one["provider_id"] == "forged_1"]
    assert fax["state"] == "announced"
    assert asked(home, "/received/forged_1") <= 8  # one in five seconds, and its own tries
    assert len(home.mails()) == known


def test_addresses_in_a_hint_are_never_asked(home: House) -> None:
    """A44: with our token, only the provider is ever asked."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/x"
        provider_id = home.inject(pdf(1))
        hint = {"event": "fax_received", "id": provider_id, "document_url": url, "url": url}
        assert home.hook(hint) == 200
        delivered(home, provider_id)
        trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.accept()


def test_ten_downloads_at_once(home: House) -> None:
    """However many faxes come in, by webhook and by polling."""
    slow = {
        "action": "slow_body", "match": {"path_regex": "/download$"}, "times": 30,
        "params": {"rate": 1e6, "stall_after": 100, "stall": 0.3},
    }  # fmt: skip
    home.control("faults", slow)
    ids = [home.inject(pdf(1)) for _ in range(30)]
    for provider_id in ids[::2]:
        assert home.hook({"event": "fax_received", "id": provider_id}) == 200
    for provider_id in ids:
        delivered(home, provider_id)
    assert 2 <= home.control("ledger")["most_downloads_at_once"] <= 10


def test_rules_are_read_again(home: House) -> None:
    """A broken file changes nothing; a good one counts from the next fax on."""
    rules, process = home.root / "rules.toml", home.daemon.process
    assert process
    for text, said, mailbox in (
        ("[[route", "rules_refused", "office@example.com"),
        ('[[route]]\nmail = "new@example.com"\n', "rules_loaded", "new@example.com"),
        (RULES, "rules_loaded", "office@example.com"),
    ):
        since = len(home.daemon.output.read_text("utf-8"))
        rules.write_text(text)
        process.send_signal(signal.SIGHUP)
        home.daemon.said(said, since)
        (mail,) = mails_of(home, delivered(home, home.inject(pdf(1))))
        assert mail["recipients"] == [mailbox]


def test_inbound_is_off(tmp_path: Path) -> None:
    with house(tmp_path, settings={"INBOUND": "off", "INBOUND_POLL_INTERVAL": "50ms"}) as home:
        provider_id = home.inject(pdf(1))
        assert home.hook({"event": "fax_received", "id": provider_id}) == 404
        home.send("14155550100@fax.local", content=pdf(1))
        home.all_closed(1)  # an outbound fax has gone all its way meanwhile
        assert asked(home, "/v2/fax/received") == 0
        assert at_provider(home, provider_id)["status"] == "received"


def test_the_secret_of_the_webhook(home: House) -> None:
    assert home.hook({"event": "fax_received", "id": "x"}, secret=SECRET[:-1]) == 401
    assert home.hook({"event": "fax_received", "id": "x"}, secret=SECRET + "x") == 401
