"""What becomes of one mail: rows before anything else, an answer for people, none for machines."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.doors.imap.clerk import HOUR, MOST_ANSWERS, MOST_SENDERS, Clerk, Outcome
from gateway.doors.imap.orders import NO_NUMBER
from gateway.doors.imap.wire import mailbox, quoted, uid_set
from gateway.errors import Cause
from gateway.mail.notice import result
from gateway.mail.prescan import OUR_MARK
from gateway.model import State
from gateway.spool import Spool
from gateway.store import SMALL, Store, StoreError
from tests.conftest import Clock
from tests.doors.imap.kit import ANN, BOX, PROOF, House, mail, policy
from tests.make import LINE

pytestmark = pytest.mark.anyio

FAX = "+14155550100"
SUB = "Authentication-Results: mx.example.com; dmarc=pass header.from=p{}.example.com\n"


@pytest.fixture
def house(spool: Spool, store: Store) -> House:
    return House(spool, store)


@pytest.fixture
def clerk(house: House, clock: Clock) -> Clerk:
    clerk = house.door(0)._desk._clerk
    clerk.clock = clock
    return clerk


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({"Return_Path": "<>"}, "auto_mail"),
        ({"Return_Path": "< >"}, "auto_mail"),
        ({"Auto_Submitted": "auto-replied"}, "auto_mail"),
        ({"Precedence": "bulk"}, "auto_mail"),
        ({"List_Id": "<all.example.com>"}, "auto_mail"),
        ({"Content_Type": "multipart/report; boundary=x"}, "auto_mail"),
        ({OUR_MARK: "abc"}, "auto_mail"),
        ({"From": "eve@evil.example"}, "imap_unauth"),
        ({"From": f"{ANN}, bob@example.com"}, "imap_unauth"),
        ({"proof": ""}, "imap_unauth"),
        ({"proof": PROOF.replace("pass", "fail")}, "imap_unauth"),
        ({"proof": PROOF.replace("mx.example.com", "mx.evil.example")}, "imap_unauth"),
        ({"proof": SUB.replace("p{}.example.com", "fax.local"), "From": "14155550100@fax.local"},
         "fax_sender"),
    ],
)  # fmt: skip
async def test_nobody_is_answered(
    clerk: Clerk, house: House, fields: dict[str, str], because: str
) -> None:
    """M18, A20, A21, A33: out-of-office mails, lists, our own notices, forged senders."""
    assert await clerk.take(mail(**fields)) is Outcome.REJECTED
    assert await house.faxes() == []
    assert [event for event, _ in house.refusals] == [because]
    assert list(house.spool.incoming.iterdir()) == []


@pytest.mark.parametrize(
    ("proof", "pages"),
    [
        ("", 1),
        (PROOF.replace("mx.example.com", "mx.other.example"), 1),
        (PROOF.replace("pass", "fail"), 0),
        (PROOF.replace("mx.example.com", "MX.Example.Com").replace("pass", "fail"), 0),
    ],
)
async def test_the_admin_hears_of_mails_that_nobody_has_checked(
    clerk: Clerk, house: House, proof: str, pages: int
) -> None:
    """IMAP_AUTHSERV_ID may be wrong: then no sender of any mail would hear anything."""
    assert await clerk.take(mail(proof=proof)) is Outcome.REJECTED
    assert house.pages == ["a mail that nobody has checked"] * pages


@pytest.mark.parametrize(
    ("content", "reason", "cause"),
    [
        (mail(body="a\0b"), "It holds a NUL byte", Cause.DOCUMENT),
        (mail(X="\n ".join("x" * 70 for _ in range(1000))),
         "Message too complex: its headers are too long", Cause.DOCUMENT),
        (mail(Content_Type="message/partial; id=1; number=2; total=5"),
         ("Split mail (message/partial) is not faxed: "
          "switch splitting off in the copier or mail program"), Cause.DOCUMENT),
        (mail(to="911@fax.local"), "911@fax.local: Destination not permitted", Cause.POLICY),
        (mail(to=BOX), NO_NUMBER.partition(" 5.1.1 ")[2], Cause.NUMBER),
    ],
)  # fmt: skip
async def test_a_person_hears_why(
    clerk: Clerk, house: House, content: bytes, reason: str, cause: Cause
) -> None:
    assert await clerk.take(content) is Outcome.FAILED
    assert await clerk.take(content) is Outcome.FAILED  # found again after a crash
    (fax,) = await house.faxes()
    assert (fax.state, fax.number, fax.sender) == (State.FAILED, "", ANN)
    assert (fax.reason, fax.cause) == (reason, cause)
    assert fax.key.startswith("imap:")
    notice = result(fax, "fax@fax.local", 1_770_000_000.0, None)
    assert f"Your mail was not faxed: {reason}" in notice.text
    assert notice.to == (ANN,)
    assert list(house.spool.kept()) == []


async def test_half_of_it(clerk: Clerk, house: House) -> None:
    content = mail(to="14155550100@fax.local, 911@fax.local")
    for _ in range(2):
        assert await clerk.take(content) is Outcome.DONE
    failed, taken = sorted(await house.faxes(), key=lambda fax: fax.number)
    assert (taken.state, taken.number, taken.line) == (State.ACCEPTED, FAX, LINE)
    assert (failed.state, failed.reason) == (
        State.FAILED, "911@fax.local: Destination not permitted; it goes to the others (1)",
    )  # fmt: skip


async def test_a_flaw_that_the_door_found(clerk: Clerk, house: House) -> None:
    """A mail that is too big: only its headers are here."""
    head = mail().partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert await clerk.take(head, "552 5.3.4 It has 9 bytes") is Outcome.FAILED
    (fax,) = await house.faxes()
    assert (fax.reason, fax.cause) == ("It has 9 bytes", Cause.LIMIT)
    assert fax.subject == "Contract"


async def test_copies_are_known(clerk: Clerk, house: House) -> None:
    """By what the author wrote; without a Message-ID only the very same bytes are the same mail."""
    content = mail()
    copy = b"Delivered-To: a@example.com\r\nReceived: again\r\n" + content
    folded = content.replace(b"Subject: Contract", b"Subject:  Contract")
    for again in (content, copy, folded, content):
        assert await clerk.take(again) is Outcome.DONE
    assert len(await house.faxes()) == 1
    for other in (
        content.replace(b"hello", b"hullo"),
        content.replace(b"23 Nov", b"24 Nov"),
        content.replace(b"Contract", b"Contracts"),
        mail(Message_ID=""),
        mail(Message_ID=""),
        mail(Message_ID="<>"),
        mail(Message_ID="<>"),
        content.replace(b"\r\n\r\n", b"\r\nX-Fax-Ref: 2\r\n\r\n"),
    ):
        assert await clerk.take(other) is Outcome.DONE
        assert await clerk.take(other) is Outcome.DONE
    assert len(await house.faxes()) == 9


async def test_junk_of_a_verified_stranger(clerk: Clerk, house: House) -> None:
    """Spam is signed too: who may not send and asks for no fax hears nothing."""
    house.policy = policy(sender=[{"domain": "other.example"}])
    assert await clerk.take(mail(to=BOX)) is Outcome.REJECTED
    assert await house.faxes() == []
    assert await clerk.take(mail()) is Outcome.FAILED
    assert await house.reasons() == ["Sender not listed"]


STRANGE = policy(sender=[{"domain": "other.example"}])


async def test_who_may_fax_hears_of_every_mail(clerk: Clerk, house: House) -> None:
    """However many there are in an hour: those who tell make one mail of many (M18)."""
    for _ in range(MOST_ANSWERS + 5):
        assert await clerk.take(mail(to=BOX)) is Outcome.FAILED
    assert len(await house.reasons()) == MOST_ANSWERS + 5


async def test_who_may_not_is_not_told_for_ever(clerk: Clerk, house: House, clock: Clock) -> None:
    """The rest of its hour is silence, in Failed: no stranger fills our queue."""
    house.policy, usual = STRANGE, house.policy
    for _ in range(MOST_ANSWERS + 5):
        assert await clerk.take(mail()) is Outcome.FAILED
    assert len(await house.faxes()) == MOST_ANSWERS
    other = mail(proof=SUB.format(1), From="bob@p1.example.com")
    assert await clerk.take(other) is Outcome.FAILED
    assert len(await house.faxes()) == MOST_ANSWERS + 1
    house.policy = usual
    assert await clerk.take(mail(to=BOX)) is Outcome.FAILED
    assert len(await house.faxes()) == MOST_ANSWERS + 2
    house.policy = STRANGE
    clock.advance(HOUR)
    assert await clerk.take(mail()) is Outcome.FAILED
    assert len(await house.faxes()) == MOST_ANSWERS + 3


async def test_people_of_a_domain_that_is_also_for_faxes(clerk: Clerk, house: House) -> None:
    proof = SUB.replace("p{}.example.com", "fax.local")
    house.policy = policy(sender=[{"domain": "fax.local"}])
    assert await clerk.take(mail(proof=proof, From="ann@fax.local")) is Outcome.DONE


def test_the_list_of_the_answered_is_bounded(clerk: Clerk) -> None:
    may: Callable[[str], bool] = clerk._may_answer
    for number in range(3 * MOST_SENDERS):
        assert may(f"{number}@example.com")
        clerk._answered(f"{number}@example.com")
    assert len(clerk._answers) == MOST_SENDERS


async def test_a_clock_that_was_put_back(clerk: Clerk, house: House, clock: Clock) -> None:
    house.policy = STRANGE
    for _ in range(MOST_ANSWERS):
        await clerk.take(mail())
    clock.advance(-24 * HOUR)
    await clerk.take(mail())
    assert len(await house.faxes()) == MOST_ANSWERS + 1


async def test_what_nobody_could_be_told_uses_up_no_answer(
    clerk: Clerk, house: House, tmp_path: Path
) -> None:
    """The database is locked by somebody's shell for an hour: its author hears all the same."""
    house.policy = STRANGE
    house.store._db._writer.execute("PRAGMA busy_timeout = 0")
    content = mail()
    with contextlib.closing(sqlite3.connect(tmp_path / "gateway.db")) as shell:
        shell.execute("BEGIN IMMEDIATE")
        for _ in range(MOST_ANSWERS + 1):
            with pytest.raises(StoreError):
                await clerk.take(content)
    assert await clerk.take(content) is Outcome.FAILED
    for _ in range(MOST_ANSWERS):  # found again and again in a box that cannot be tidied
        assert await clerk.take(content) is Outcome.FAILED
    assert len(await house.reasons()) == 1
    await clerk.take(mail())
    assert len(await house.reasons()) == 2


async def test_two_copies_refused_for_two_recipients(clerk: Clerk, house: House) -> None:
    """Bcc: each copy names only whom it was delivered for."""
    content = mail(to="bob@example.com")
    for number in ("911", "19005550100", "911"):
        copy = f"Delivered-To: fax+{number}@example.com\r\n".encode() + content
        assert await clerk.take(copy) is Outcome.FAILED
    assert await house.reasons() == [
        f"fax+{number}@example.com: Destination not permitted" for number in ("911", "19005550100")
    ]


async def test_an_intake_that_fails_leaves_nothing(clerk: Clerk, house: House) -> None:
    content, kept = mail(body=SMALL * "x"), house.spool.root / "spool"
    kept.rename(kept.with_name("away"))
    with pytest.raises(OSError, match="spool"):
        await clerk.take(content)
    assert list(house.spool.incoming.iterdir()) == []
    assert await house.faxes() == []
    kept.with_name("away").rename(kept)
    assert await clerk.take(content) is Outcome.DONE


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("INBOX", '"INBOX"'),
        ("Fax Done", '"Fax Done"'),
        ("A&B", '"A&-B"'),
        ('say "x" \\', '"say \\"x\\" \\\\"'),
        ("Entwürfe", '"Entw&APw-rfe"'),
        ("~peter/mail/台北/日本語", '"~peter/mail/&U,BTFw-/&ZeVnLIqe-"'),  # RFC 3501 §5.1.3
        ("a\r\nb DELETE", '"a&AA0ACg-b DELETE"'),
        ("\U0001f4e0", '"&2D3c4A-"'),
    ],
)
def test_names_of_mailboxes(name: str, written: str) -> None:
    assert mailbox(name) == written


def test_words_on_the_wire() -> None:
    assert quoted('pass "word\\') == '"pass \\"word\\\\"'
    assert uid_set([3, 1, 2]) == "3,1,2"
