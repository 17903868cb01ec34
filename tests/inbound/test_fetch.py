"""fetch: what the provider really has, downloaded until it is what it should be."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import pytest

from gateway.errors import TransientError
from gateway.inbound.fetch import ANEW_AFTER, TRIES, UNKNOWN_LIFE, e164
from gateway.model import Fax, State
from gateway.provider.simulator import Rule
from gateway.spool import Kind
from tests.inbound.road import DOWNLOAD, Road
from tests.journeys.test_mail_becomes_a_fax import picture
from tests.make import inbound

pytestmark = pytest.mark.anyio

LATER = 9  # attempts: long after the first ones
HEX = "0123456789abcdef0123456789abcdef"


async def test_facts_come_from_the_provider(road: Road) -> None:
    fetched = await road.fetched()
    assert (fetched.state, fetched.pages, fetched.number) == (State.FETCHED, 2, "+12025551234")
    assert (fetched.line, fetched.name) == ("+14155550199", "John Smith")
    assert road.spool.path(fetched.id, Kind.THUMBNAIL).read_bytes().startswith(b"\x89PNG")
    document = road.spool.path(fetched.id, Kind.DOCUMENT).read_bytes()
    assert hashlib.sha256(document).hexdigest() == fetched.digest


async def test_twice_is_harmless(road: Road) -> None:
    fax = await road.inject()
    assert (await road.fetch(fax)).digest == (await road.fetch(fax)).digest


@pytest.mark.parametrize("pages", [1, 3])
async def test_tiff_becomes_pdf(road: Road, pages: int) -> None:
    fetched = await road.fetched(picture("TIFF", pages))
    assert fetched.pages == pages
    assert road.spool.path(fetched.id, Kind.DOCUMENT).read_bytes().startswith(b"%PDF-")


# ids that the provider does not know


async def test_a_hint_before_the_record(road: Road) -> None:
    early = inbound(provider_id="fax_received_early", created_at=road.clock(), attempts=1)
    with pytest.raises(TransientError, match="does not know"):
        await road.fetch(early)


async def test_a_forged_hint_is_forgotten_after_a_day(road: Road) -> None:
    forged = inbound(provider_id="forged", created_at=road.clock(), attempts=1)
    road.clock.advance(UNKNOWN_LIFE + 1)
    after = await road.fetch(forged)
    assert (after.state, after.reason) == (State.CLOSED, "the provider does not know this fax")
    assert not road.mailbox.mails


@pytest.mark.parametrize("broken", ["details", "list"])
async def test_what_is_listed_is_never_forgotten(road: Road, broken: str) -> None:
    """We were off for a day, and its details answer 404 for a moment: it is no forgery."""
    fax = await road.inject()
    road.clock.advance(UNKNOWN_LIFE + 1)
    road.simulator.add_fault(Rule("status", {"code": 404}, path_regex=rf"/{fax.provider_id}$"))
    if broken == "list":
        road.simulator.add_fault(Rule("status", {"code": 404}, path_regex=r"/received$"))
        with pytest.raises(TransientError):
            await road.fetch(fax)
    else:
        assert (await road.fetch(fax)).pages == 2


@pytest.mark.parametrize("code", [400, 422])
async def test_an_id_that_the_provider_refuses_troubles_nobody(road: Road, code: int) -> None:
    """No hold, and so no alarm, for what anybody may make up; what is listed is fetched."""
    road.simulator.add_fault(Rule("status", {"code": code}, path_regex=r"/received/[^/]+$"))
    forged = inbound(provider_id="forged", created_at=road.clock(), attempts=1)
    with pytest.raises(TransientError, match="does not know"):
        await road.fetch(forged)
    assert (await road.fetch(await road.inject())).pages == 2


async def test_a_hint_may_name_it_without_its_month(road: Road) -> None:
    fax = await road.inject()
    account = road.simulator.account
    kept = account.inbound.pop(fax.provider_id)
    kept.id = f"202611-{HEX}"
    account.inbound[kept.id] = kept
    fetched = await road.fetch(replace(fax, provider_id=HEX))
    assert (fetched.pages, fetched.provider_id) == (2, kept.id), "settle will use the one it knows"


# documents that are not what they should be


@pytest.mark.parametrize(
    "rule",
    [
        Rule("status", {"code": 404}, path_regex=DOWNLOAD, times=1),
        Rule("status", {"code": 406}, path_regex=DOWNLOAD, times=1),
        Rule("status", {"code": 503}, path_regex=DOWNLOAD, times=1),
        Rule("truncate", {"percent": 50}, path_regex=DOWNLOAD, times=1),
        Rule("drop_before", path_regex=DOWNLOAD, times=1),
        Rule("garbage", {"kind": "html"}, path_regex=DOWNLOAD, times=1),
        Rule("garbage", {"kind": "json"}, path_regex=DOWNLOAD, times=1),
        Rule("garbage", {"kind": "empty"}, path_regex=DOWNLOAD, times=1),
        Rule("wrong_type", {"content": "json"}, path_regex=DOWNLOAD, times=1),
        Rule("wrong_type", {"content": "gzip"}, path_regex=DOWNLOAD, times=1),
    ],
    ids=lambda rule: f"{rule.action} {dict(rule.params)}" if isinstance(rule, Rule) else None,
)
async def test_a_bad_download_is_tried_again(road: Road, rule: Rule) -> None:
    """Also when much else went wrong before: only what was really downloaded counts."""
    fax = replace(await road.inject(), attempts=LATER)
    road.simulator.add_fault(rule)
    with pytest.raises(TransientError):
        await road.fetch(fax)
    fetched = await road.fetch(fax)
    assert (fetched.pages, fetched.reason) == (2, "")


async def until_it_is_so(road: Road, fax: Fax) -> tuple[Fax, list[TransientError]]:
    errors: list[TransientError] = []
    for attempts in range(LATER, LATER + 10):
        try:
            return await road.fetch(replace(fax, attempts=attempts)), errors
        except TransientError as error:
            errors.append(error)
    raise AssertionError


@pytest.mark.parametrize("kind", ["html", "json", "empty"])
async def test_a_document_that_stays_bad(road: Road, kind: str) -> None:
    """A51: three times, and not in one breath: an outage may answer so, too."""
    fax = await road.inject()
    road.simulator.add_fault(Rule("garbage", {"kind": kind}, path_regex=DOWNLOAD))
    fetched, errors = await until_it_is_so(road, fax)
    assert (fetched.state, fetched.digest, len(errors)) == (State.FETCHED, "", TRIES - 1)
    assert "The received fax is" in fetched.reason
    assert {error.after for error in errors} == {ANEW_AFTER}


async def test_other_pages_than_announced(road: Road) -> None:
    fetched, errors = await until_it_is_so(road, await road.inject(pages=5))
    assert (fetched.pages, len(errors)) == (2, TRIES - 1)
    assert fetched.reason == "the provider says 5 pages, the document has 2"


async def test_two_bad_faxes_are_counted_apart(road: Road) -> None:
    one, other = await road.inject(pages=5), await road.inject(pages=7)
    for fax in (one, other, one, other):
        with pytest.raises(TransientError):
            await road.fetch(fax)
    assert (await road.fetch(one)).state is (await road.fetch(other)).state is State.FETCHED


async def test_no_part_is_left_behind(road: Road) -> None:
    fax = await road.inject()
    for kind in ("html", "empty"):
        road.simulator.add_fault(Rule("garbage", {"kind": kind}, path_regex=DOWNLOAD, times=1))
        with pytest.raises(TransientError):
            await road.fetch(fax)
    await road.fetch(fax)
    assert not list(road.spool.incoming.iterdir())


async def test_downloads_at_once_are_bounded(road: Road) -> None:
    faxes = [await road.inject() for _ in range(24)]
    road.simulator.add_fault(Rule("slow_body", {"rate": 5000.0}, path_regex=DOWNLOAD))
    await asyncio.gather(*(road.fetch(fax) for fax in faxes))
    assert road.simulator.ledger.downloads.most == 10


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+1 (202) 555-1234", "+12025551234"),
        ("12025551234", "+12025551234"),
        ("2025551234", "+12025551234"),
        ("(202) 555-1234", "+12025551234"),
        ("+2025551234", "+2025551234"),
        ("442071234567", "+442071234567"),
        ("+4512345678", "+4512345678"),
        ("anonymous", "anonymous"),
        ("", ""),
        ("911", "911"),
        ("0012025551234", "0012025551234"),
        ("+1202555123456789012345", "+1202555123456789012345"),
    ],
)
def test_numbers_of_callers(written: str, number: str) -> None:
    assert e164(written) == number
