"""A mail that is looked at again: what the queue has of it counts, whatever would be said today."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from gateway.doors.imap.clerk import Clerk, Outcome
from gateway.doors.imap.letters import read
from gateway.doors.imap.orders import order
from gateway.mail.headers import LONGEST_VALUE
from gateway.spool import Spool
from gateway.store import RESEND_WINDOW, Store
from gateway.wishes import wishes_of
from tests.conftest import Clock
from tests.doors.imap.kit import ANN, BOX, PROOF, House, mail, policy

pytestmark = pytest.mark.anyio

A, B = "+14155550100", "+14155550101"
BOTH = "14155550100@fax.local, 14155550101@fax.local"


@pytest.fixture
def house(spool: Spool, store: Store, clock: Clock) -> House:
    return House(spool, store, clock=clock)


@pytest.fixture
def clerk(house: House) -> Clerk:
    return house.door(0)._desk._clerk


def written(when: float, form: str) -> str:
    return datetime.fromtimestamp(when).astimezone().strftime(form)


@pytest.mark.parametrize("place", ["Subject", "with its number", "header", "address"])
async def test_a_date_that_passes_between_commit_and_flag(
    clerk: Clerk, house: House, clock: Clock, place: str
) -> None:
    """K34: its fax waits in the queue, and nobody hears that it was not faxed."""
    date = written(clock() + 600, "%Y-%m-%dT%H:%M")
    content = {
        "Subject": mail(Subject=f"x [fax at={date}]"),
        "with its number": mail(to=BOX, Subject=f"x [fax to={A} at={date}]"),
        "header": mail(X_Fax_At=date),
        "address": mail(to=f"14155550100/at={date.replace(':', '.')}@fax.local"),
    }[place]
    assert await clerk.take(content) is Outcome.DONE
    clock.advance(3600)
    assert await clerk.take(content) is Outcome.DONE
    assert (await house.numbers(), await house.reasons()) == ([A], [])
    other = content.replace(b"hello", b"hullo")  # that one comes too late
    assert await clerk.take(other) is Outcome.FAILED
    assert len(await house.reasons()) == 1


async def test_a_time_is_that_after_the_mail_arrived(
    clerk: Clerk, house: House, clock: Clock
) -> None:
    """The gateway was down, or a ceiling full, until it was over: due now, not tomorrow."""
    arrived, at = clock(), clock() + 1800 - clock() % 60
    content = mail(Subject=f"x [fax at={written(at, '%H:%M')}]")
    dated = mail(Subject=f"x [fax at={written(at, '%Y-%m-%dT%H:%M')}]")
    clock.advance(2 * 3600)
    assert await clerk.take(content, arrived=arrived) is Outcome.DONE
    assert await clerk.take(dated, arrived=arrived) is Outcome.DONE
    assert [wishes_of(fax.wishes).at for fax in await house.faxes()] == [at, at]
    ahead = mail(Subject=f"x [fax at={written(clock() + 60, '%H:%M')}]")
    late = clock() + 3600.0  # says a server whose clock is wrong
    assert await clerk.take(ahead, arrived=late) is Outcome.DONE
    assert max(wishes_of(fax.wishes).at for fax in await house.faxes()) <= clock() + 60


@pytest.mark.parametrize(
    "rules",
    [
        {"sender": [{"domain": "other.example"}]},
        {"sender": [{"domain": "example.com", "deny": True}]},
        {"sender": [{"domain": "example.com", "countries": ["FR"]}]},
        {"sender": [{"domain": "example.com", "faxes_per_hour": 1}]},
        {"limits": {"faxes_per_day": 1}},
    ],
)
async def test_rules_that_are_made_between_commit_and_flag(
    clerk: Clerk, house: House, rules: dict[str, Any]
) -> None:
    content = mail(to=BOTH)
    assert await clerk.take(content) is Outcome.DONE
    house.policy = policy(**rules)
    assert await clerk.take(content) is Outcome.DONE
    assert (await house.numbers(), await house.reasons()) == ([A, B], [])
    assert await clerk.take(mail(to=BOTH)) is not Outcome.DONE


async def test_an_alias_that_is_gone(clerk: Clerk, house: House) -> None:
    house.policy = policy(aliases={"office": [A, B]})
    content = mail(to="office@fax.local")
    assert await clerk.take(content) is Outcome.DONE
    house.policy = policy()
    assert await clerk.take(content) is Outcome.DONE
    assert (await house.numbers(), await house.reasons()) == ([A, B], [])


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        ("911@fax.local", "911@fax.local: Destination not permitted"),
        (f"{'x' * 8000}@y.example", "Too many addresses in To and Cc"),
    ],
)
async def test_a_crash_between_the_faxes_and_the_refusal_of_others(
    clerk: Clerk, house: House, others: str, sentence: str
) -> None:
    """What was refused beside them is told by the next look."""
    content = mail(to="14155550100@fax.local", Cc=others)
    letter = read(house.spool.part(), content)
    await clerk._accept(letter, order(letter, ANN, house.policy, clerk.settings, clerk.clock()))
    assert (await house.numbers(), await house.reasons()) == ([A], [])
    for _ in range(2):
        assert await clerk.take(content) is Outcome.DONE
    assert await house.numbers() == [A]
    assert await house.reasons() == [f"{sentence}; it goes to the others (1)"]


async def test_copies_of_one_mail_are_judged_by_their_own_addresses(
    clerk: Clerk, house: House, clock: Clock
) -> None:
    """Bcc: what was taken for one of them says nothing of another one."""
    content = mail(to="bob@example.com", Subject=f"x [fax at={written(clock() + 60, '%H:%M')}]")

    def copy(number: str) -> bytes:
        return f"Delivered-To: fax+{number}@example.com\r\n".encode() + content

    assert await clerk.take(copy(A)) is Outcome.DONE
    clock.advance(120)  # one of them waited for a server: tomorrow is not what its author meant
    assert await clerk.take(copy(B)) is Outcome.DONE
    first, second = await house.faxes()
    assert (first.number, second.number, second.wishes) == (A, B, first.wishes)
    house.policy = policy(sender=[{"domain": "other.example"}])
    assert await clerk.take(copy(A)) is Outcome.DONE
    assert await clerk.take(copy("+14155550102")) is Outcome.FAILED
    assert await house.reasons() == ["Sender not listed"]


# dup=ok has nothing to do here


@pytest.mark.parametrize("subject", ["Contract", "Contract [fax dup=ok]"])
@pytest.mark.parametrize("ids", [("<1@example.com>", "<2@example.com>"), ("", "")])
async def test_the_same_document_sent_twice_is_two_faxes(
    clerk: Clerk, house: House, subject: str, ids: tuple[str, str]
) -> None:
    """On purpose, as two mails: nobody has to say dup=ok."""
    for message_id in ids:
        assert await clerk.take(mail(Subject=subject, Message_ID=message_id)) is Outcome.DONE
    assert await house.numbers() == [A, A]


async def test_the_same_mail_found_again_is_never_meant(
    clerk: Clerk, house: House, clock: Clock
) -> None:
    content = mail(Subject="Contract [fax dup=ok]")
    for seconds in (0.0, 700.0, RESEND_WINDOW + 1, 100 * 86400.0):
        clock.advance(seconds)
        assert await clerk.take(content) is Outcome.DONE
    assert await house.numbers() == [A]


# senders that are numbers


@pytest.mark.parametrize(
    ("local", "outcome"),
    [
        ("14155550100", Outcome.REJECTED),
        ("office", Outcome.REJECTED),
        ("OFFICE", Outcome.REJECTED),
        ("secret", Outcome.REJECTED),  # though it may not use that one itself
        ("fax", Outcome.REJECTED),
        ("ann", Outcome.DONE),
        ("postmaster", Outcome.DONE),
    ],
)
async def test_a_sender_that_is_itself_a_fax(
    clerk: Clerk, house: House, local: str, outcome: Outcome
) -> None:
    """A notice to it would be faxed, and its sender would hear nothing."""
    house.policy = policy(
        sender=[{"domain": "fax.local"}],
        aliases={"office": [A, B], "secret": {"numbers": [A], "for": ["ann@example.com"]}},
    )
    proof = PROOF.replace("example.com\n", "fax.local\n")
    assert await clerk.take(mail(proof=proof, From=f"{local}@fax.local")) is outcome
    assert len(await house.numbers()) == (outcome is Outcome.DONE)
    assert [event for event, _ in house.refusals] == ["fax_sender"] * (outcome is not Outcome.DONE)


async def test_a_subject_that_was_cut_has_lost_its_tail(clerk: Clerk, house: House) -> None:
    """The limit of the other door: never a fax without the options that somebody wrote."""
    content = mail(Subject="x" * LONGEST_VALUE + " [fax prio=high]")
    assert await clerk.take(content) is Outcome.FAILED
    assert await house.reasons() == ["Message too complex: its Subject is too long"]
