"""Against a real Dovecot: what is in the box becomes faxes, and the box ends tidy (M25)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.doors.imap import ImapDoor
from gateway.model import State
from gateway.spool import Spool
from gateway.store import Store
from gateway.wishes import wishes_of
from tests.doors.imap.dovecot import PASSWORD, PROGRAM, Box, Dovecot, dovecot
from tests.doors.imap.kit import ANN, PROOF, House, mail, policy, running, until
from tests.make import mails

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not PROGRAM, reason="install dovecot-imapd"),
]

FAX = "+14155550100"


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    """In a directory of its own: pytest's are root's alone, and too deep for a socket's name."""
    with TemporaryDirectory(prefix="dovecot-") as run, dovecot(Path(run)) as server:
        yield server


@pytest.fixture
def box(server: Dovecot) -> Box:
    return server.box()


@pytest.fixture
def house(spool: Spool, store: Store) -> House:
    return House(spool, store)


def door(house: House, server: Dovecot, box: Box, **facts: Any) -> ImapDoor:
    common = {"user": box.user, "password": PASSWORD, "context": server.context}
    return house.door(server.port, **(common | facts))


async def test_a_mail_becomes_a_fax(server: Dovecot, box: Box, house: House) -> None:
    content = mail()
    box.put(content)
    async with running(door(house, server, box)):
        await until(lambda: box.count() == {"Done": 1})
    (fax,) = await house.faxes()
    assert (fax.state, fax.number, fax.sender) == (State.ACCEPTED, FAX, ANN)
    assert (fax.subject, fax.identity) == ("Contract", f"address:{ANN}")
    assert await mails(house.store, house.spool) == [content]
    assert box.flags("Done") == ["$FaxTaken S"]
    assert list(house.spool.incoming.iterdir()) == []


async def test_each_mail_goes_its_way(server: Dovecot, box: Box, house: House) -> None:
    plus = box.user.replace("@example.com", "+14155550102")
    box.put(
        mail(),
        mail(to="+44 20 7946 0958 <+442079460958@fax.local>"),
        mail(proof=""),
        mail(From="Eve <eve@evil.example>"),
        mail(Auto_Submitted="auto-replied"),
        mail(to=box.user, Subject="[fax to=+14155550101]"),
        mail(to=f"{plus}@example.com, 14155550103@fax.local; 1@fax.local"),
    )
    async with running(door(house, server, box)):
        await until(lambda: box.count() == {"Done": 3, "Failed": 1, "Rejected": 3})
    assert await house.numbers() == [FAX, "+14155550101", "+14155550102", "+14155550103"]
    assert await house.reasons() == [
        "+442079460958@fax.local: Destination not permitted",
        "1@fax.local: Not a valid fax number; it goes to the others (2)",
    ]
    assert sorted(event for event, _ in house.refusals) == [
        "auto_mail", "imap_unauth", "imap_unauth", "no_number", "toll_denied",
    ]  # fmt: skip


async def test_a_time_that_is_over_when_the_gateway_comes(
    server: Dovecot, box: Box, house: House
) -> None:
    """The server knows when the mail arrived: its author did not mean tomorrow."""
    now = time.time() // 60 * 60
    clock = datetime.fromtimestamp(now - 3600).astimezone().strftime("%H:%M")
    box.put(mail(Subject=f"x [fax at={clock}]"))
    for path in (box.root / "new").iterdir():
        os.utime(path, (now - 7200, now - 7200))
    async with running(door(house, server, box)):
        await until(lambda: box.count() == {"Done": 1})
    (fax,) = await house.faxes()
    assert wishes_of(fax.wishes).at == now - 3600


async def test_mail_that_comes_while_it_waits(server: Dovecot, box: Box, house: House) -> None:
    """IDLE: no look is due for nine minutes."""
    box.put(mail())
    async with running(door(house, server, box)):
        await until(lambda: box.count() == {"Done": 1})
        for taken in (2, 3):
            box.put(mail())
            await until(partial(box.has, Done=taken))
    assert len(await house.faxes()) == 3


async def test_folders_of_the_sysadmins_choice(server: Dovecot, box: Box, house: House) -> None:
    box.put(mail(), mail(to="x@fax.local"), mail(proof=""))
    names = {"done": "Fax & Done", "failed": "Fähler", "rejected": 'Nöt "us"'}
    async with running(door(house, server, box, **names)):
        encoded = {"Fax &- Done": 1, "F&AOQ-hler": 1, "N&APY-t &ACI-us&ACI-": 1}
        await until(lambda: len(box.count()) == 3)
    assert box.count().keys() - encoded.keys() <= {'N&APY-t "us"'}


async def test_a_new_uidvalidity_makes_no_second_fax(
    server: Dovecot, box: Box, house: House
) -> None:
    """And a mail that somebody puts back, or that a relay sent twice, is known too (F-I3)."""
    first = mail()
    box.put(first)
    async with running(door(house, server, box)):
        await until(lambda: box.count() == {"Done": 1})
    box.renumber()
    box.put(first, b"X-Way: 2\r\nReceived: by other\r\n" + first, mail())
    async with running(door(house, server, box)):
        await until(lambda: box.count() == {"Done": 4})
    assert await house.numbers() == [FAX, FAX]


async def test_a_mail_that_is_too_big(server: Dovecot, box: Box, house: House) -> None:
    """It is not fetched, its sender hears of it, and the next one is taken."""
    box.put(mail(body="x" * 200_000), mail())
    async with running(door(house, server, box)):
        await until(lambda: box.count() == {"Done": 1, "Failed": 1})
    assert await house.numbers() == [FAX]
    (reason,) = await house.reasons()
    assert reason.startswith("It has 200,")
    assert reason.endswith("bytes, the most is 100,000")


async def test_ten_megabytes(server: Dovecot, box: Box, house: House) -> None:
    content = mail(body="0123456789abcdef\n" * 600_000)
    box.put(content)
    async with running(door(house, server, box, max_message=35_000_000)):
        await until(lambda: box.count() == {"Done": 1})
    assert await mails(house.store, house.spool) == [content]


async def test_three_thousand_mails(server: Dovecot, box: Box, house: House) -> None:
    """The library calls itself once for each line of an answer; 40 are for the queue."""
    stranger = mail(proof="")
    box.put(*[mail() for _ in range(20)], *[stranger] * 2960, *[mail() for _ in range(20)])
    async with running(door(house, server, box)):
        await until(lambda: box.count() == {"Done": 40, "Rejected": 2960}, seconds=60, pause=0.5)
    assert len(await house.numbers()) == 40


async def test_a_box_that_somebody_empties(server: Dovecot, box: Box, house: House) -> None:
    """Thousands of EXPUNGE lines in one answer are no reason to fall over."""
    box.put(*[mail(proof="") for _ in range(1500)])
    rejected = policy(sender=[{"domain": "example.com"}])
    house.policy = rejected
    async with running(door(house, server, box)):
        await until(lambda: box.count().get("Rejected", 0) >= 50)
        for path in [*(box.root / "new").iterdir(), *(box.root / "cur").iterdir()]:
            path.unlink(missing_ok=True)
        box.put(mail())
        await until(lambda: box.count().get("Done") == 1)


async def test_a_certificate_that_nobody_vouches_for(
    server: Dovecot, box: Box, house: House
) -> None:
    box.put(mail())
    for facts, why in (
        ({"context": None}, "unable to get local issuer certificate"),
        ({"host": "127.0.0.1"}, "IP address mismatch"),
    ):
        with capture_logs() as logs:
            async with running(door(house, server, box, **facts)):
                await until(partial(bool, logs))
        assert why in logs[0]["error"]
    assert box.count() == {"INBOX": 1}


async def test_the_proof_is_looked_at_anew_each_time(
    server: Dovecot, box: Box, house: House
) -> None:
    """New rules count for the next mail."""
    house.policy = policy(sender=[{"domain": "other.example"}])
    box.put(mail())
    async with running(door(house, server, box)):
        await until(lambda: box.count() == {"Failed": 1})
        house.policy = policy()
        box.put(mail())
        await until(lambda: box.count() == {"Failed": 1, "Done": 1})
    assert await house.reasons() == ["Sender not listed"]
    assert PROOF
