"""What senders ask for in address, Subject and fields: over sockets, to what the fax carries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from gateway.rules import Rules
from gateway.spool import Spool
from gateway.store import Store
from gateway.wishes import Wishes, wishes_of
from tests.conftest import Clock
from tests.doors.client import END, FROM, OK, TO, Connect, door, until

pytestmark = pytest.mark.anyio

NUMBER = "14155550100"
ONE, TWO = "+14155550100", "+14155550101"
FIXED = "RCPT TO:<fax@fax.local>"
IN_ADDRESS = "at=, body=, cover=, dup=, notify=, prio=, ref="
ELSEWHERE = f"{IN_ADDRESS}, to="
NO_NUMBER = "550 5.1.3 No number: end the Subject with the number, as in [fax to=+14155550100]"
ONCE = "550 5.5.4 Option [fax ...]: write it once, at the end, as [fax name=value]; known here: "
PRIO = "550 5.5.4 Option prio: allowed: high, normal, low; known here: "
AT = "550 5.5.4 Option at: HH:MM or YYYY-MM-DDTHH:MM (in an address HH.MM); known here: "
NUMBERS = "550 5.5.4 Option to: numbers such as +14155550100, commas between; known here: "
DIFFER = "550 5.5.4 Options: the same number was given before with other ones"
ALONE = "550 5.5.4 Option to: it belongs to a mail to the fixed address, fax@, alone"


@pytest.fixture
async def connect(store: Store, spool: Spool, clock: Clock) -> AsyncIterator[Connect]:
    async with door(store, spool, more={"clock": clock}) as connect:
        connect.listener.services.intake._clock = clock
        yield connect


def mail(subject: str = "x", *fields: str) -> bytes:
    return "\r\n".join([f"Subject: {subject}", *fields, "", "Hello"]).encode()


async def wishes(store: Store) -> Wishes:
    (fax,) = await store.latest(9)
    return wishes_of(fax.wishes)


async def nothing_is_kept(store: Store, spool: Spool) -> None:
    await until(lambda: not list(spool.incoming.iterdir()))
    assert spool.kept() == []
    assert await store.latest(9) == []


# one grammar in three places, one precedence (S3)


@pytest.mark.parametrize(
    ("address", "subject", "fields", "wish"),
    [
        (NUMBER, "x", [], Wishes()),
        (f"{NUMBER}/ref=4711", "x", [], Wishes(ref="4711")),
        (f"{NUMBER}/cover=none/prio=high", "x", [], Wishes(body="ignore", prio="high")),
        (f"FAX=+{NUMBER}/T33S=5/ref=a", "x", [], Wishes(subaddress="5", ref="a")),
        (NUMBER, "x [fax body=page notify=fail]", [], Wishes(body="page", notify="fail")),
        (NUMBER, '[fax ref="a b"]', [], Wishes(ref="a b")),
        (NUMBER, "=?utf-8?q?x_=5Bfax_ref=3D7=5D?=", [], Wishes(ref="7")),
        (NUMBER, "x", ["X-Fax-Prio: low", "x-fax-ref: 9"], Wishes(prio="low", ref="9")),
        # header before Subject before address
        (f"{NUMBER}/ref=a", "x [fax ref=s]", ["X-Fax-Ref: h"], Wishes(ref="h")),
        (f"{NUMBER}/ref=a", "x [fax ref=s]", [], Wishes(ref="s")),
        (f"{NUMBER}/ref=a/prio=low", "x [fax body=page]", ["X-Fax-Notify: ok"],
         Wishes(ref="a", prio="low", body="page", notify="ok")),
        # no options: nobody else's brackets, fields or bare words
        (NUMBER, "[fax machine] is broken", [], Wishes()),
        (NUMBER, "cover=none", ["X-Faxine: 1", "Comments: X-Fax-Ref: 1"], Wishes()),
    ],
)  # fmt: skip
async def test_options(
    connect: Connect, store: Store, address: str, subject: str, fields: list[str], wish: Wishes
) -> None:
    client = await connect()
    assert (await client.mail(mail(subject, *fields), f"{address}@fax.local")).startswith("250")
    assert await wishes(store) == wish


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        ("colour=red", f"550 5.5.4 Option colour: not known; known here: {IN_ADDRESS}"),
        (f"to={NUMBER}", f"550 5.5.4 Option to: not known; known here: {IN_ADDRESS}"),
        ("ref=1/ref=2", f"550 5.5.4 Option ref: given twice; known here: {IN_ADDRESS}"),
        ("body=page/cover=none", f"550 5.5.4 Option cover: given twice; known here: {IN_ADDRESS}"),
        ("prio=now", PRIO + IN_ADDRESS),
        ("at=25.00", AT + IN_ADDRESS),
        ("ref", "501 5.1.3 Bad number syntax"),
        ("", "501 5.1.3 Bad number syntax"),
    ],
)  # fmt: skip
async def test_what_is_not_understood_in_an_address(
    connect: Connect, options: str, reply: str
) -> None:
    """At RCPT; no other recipient is hurt by it."""
    client = await connect.ready(FROM)
    assert await client.say(f"RCPT TO:<{NUMBER}/{options}@fax.local>") == reply
    assert await client.say(TO) == OK


@pytest.mark.parametrize(
    ("subject", "fields", "reply"),
    [
        ("x [fax colour=red]", [],
         f"550 5.5.4 Option colour: not known; known here: {ELSEWHERE}"),
        ("x [fax ref=1 ref=2]", [],
         f"550 5.5.4 Option ref: given twice; known here: {ELSEWHERE}"),
        ("x [fax ref=1", [],
         ONCE + ELSEWHERE),
        ("[fax ref=1] x", [],
         ONCE + ELSEWHERE),
        ("x", ["X-Fax-Colour: red"],
         f"550 5.5.4 Option colour: not known; known here: {ELSEWHERE}"),
        ("x", ["X-Fax-Ref: 1", "X-Fax-Ref: 2"],
         f"550 5.5.4 Option ref: given twice; known here: {ELSEWHERE}"),
        ("x [fax at=18:00 prio=now]", [],
         PRIO + ELSEWHERE),
        # S4: only the fixed address takes its number from there
        (f"x [fax to={NUMBER}]", [], ALONE),
        ("x", [f"X-Fax-To: {NUMBER}"], ALONE),
    ],
)  # fmt: skip
async def test_what_is_not_understood_in_a_message(
    connect: Connect, store: Store, spool: Spool, subject: str, fields: list[str], reply: str
) -> None:
    """At the end of data, for the whole mail; nothing is faxed without what was asked for."""
    client = await connect()
    assert await client.mail(mail(subject, *fields)) == reply
    await nothing_is_kept(store, spool)


# the fixed address (S4)


@pytest.mark.parametrize(
    ("subject", "fields", "numbers"),
    [
        (f"x [fax to={NUMBER}]", [], [ONE]),
        ("x [fax to=+1-415-555-0100]", [], [ONE]),
        (f'x [fax to="{ONE}, {TWO}"]', [], [ONE, TWO]),
        (f"x [fax to={ONE},{TWO},{NUMBER}]", [], [ONE, TWO]),
        ("x", [f"X-Fax-To: {ONE}, {TWO}"], [ONE, TWO]),
        (f"x [fax to={TWO}]", [f"X-Fax-To: {ONE}"], [ONE]),
        (f"=?utf-8?b?WzE0MTU1NTUwMTk5XQ==?= [fax to={ONE}]", [], [ONE]),
    ],
)
async def test_numbers_in_the_subject(
    connect: Connect, store: Store, subject: str, fields: list[str], numbers: list[str]
) -> None:
    client = await connect()
    said = await client.mail(mail(subject, *fields), "fax@fax.local", "FAX@FAX.LOCAL")
    faxes = await store.latest(9)
    assert said.startswith("250 2.0.0 accepted as ")
    assert {fax.id for fax in faxes} == set(said.split()[4:])
    assert sorted(fax.number for fax in faxes) == numbers
    assert {fax.recipient for fax in faxes} == {"fax@fax.local"}


async def test_no_number_of_a_long_list_is_cut(store: Store, spool: Spool) -> None:
    """In many countries a shorter number is one, too: somebody else's."""
    numbers = [f"+49-30-12-34-56-{n:02}" for n in range(40)]
    rules = Rules.model_validate({"sender": [{"domain": ["example.com"], "countries": ["DE"]}]})
    async with door(store, spool, rules=rules, max_recipients=40) as connect:
        client = await connect()
        body = mail("x", f"X-Fax-To: {', '.join(numbers)}")
        assert (await client.mail(body, "fax@fax.local")).startswith("250 2.0.0 accepted as ")
    faxes = await store.latest(99)
    assert {fax.number for fax in faxes} == {number.replace("-", "") for number in numbers}


MANY = ",".join(f"1415555{n:04}" for n in range(21))


@pytest.mark.parametrize(
    ("subject", "reply"),
    [
        ("x", NO_NUMBER),
        (f"please fax to {NUMBER}", NO_NUMBER),  # never a bare digit run
        ("x [fax ref=1]", NO_NUMBER),
        (f"x [fax to={NUMBER},911]", "550 5.7.1 Destination not permitted"),
        (f"x [fax to={NUMBER},555]", "550 5.1.1 Not a valid fax number"),
        (f"x [fax to={NUMBER},office]",
         NUMBERS + ELSEWHERE),
        (f"x [fax to={MANY}]", "550 5.5.3 Too many numbers for one mail: send several"),
    ],
)  # fmt: skip
async def test_a_subject_that_will_not_do(
    connect: Connect, store: Store, spool: Spool, subject: str, reply: str
) -> None:
    """The whole mail is refused: no number of it is called."""
    client = await connect.ready(FROM, FIXED, "DATA")
    assert await client.say(mail(subject) + END) == reply
    await nothing_is_kept(store, spool)
    assert await client.say("NOOP") == "250 2.0.0 Ok"


async def test_a_mail_has_so_many_numbers_wherever_they_stand(
    connect: Connect, store: Store, spool: Spool
) -> None:
    commands = [f"RCPT TO:<1415555{n:04}@fax.local>" for n in range(19)]
    client = await connect.ready(FROM, FIXED, *commands, "DATA")
    too_many = mail("x [fax to=14155550000,14155550100,14155550101]")
    assert (await client.say(too_many + END)).startswith("550 5.5.3 Too many numbers")
    await nothing_is_kept(store, spool)
    client = await connect.ready(FROM, FIXED, *commands, "DATA")
    assert (await client.say(mail("x [fax to=14155550000,14155550100]") + END)).startswith("250")
    assert len(await store.latest(99)) == 20


async def test_the_fixed_address_beside_others(connect: Connect, store: Store) -> None:
    """Each keeps the options of its own address."""
    client = await connect()
    said = await client.mail(
        mail(f"x [fax to={TWO} prio=high]"), f"{NUMBER}/ref=a@fax.local", "fax/ref=b@fax.local"
    )
    assert said.startswith("250 2.0.0 accepted as ")
    assert {fax.number: wishes_of(fax.wishes) for fax in await store.latest(9)} == {
        ONE: Wishes(ref="a", prio="high"),
        TWO: Wishes(ref="b", prio="high"),
    }


@pytest.mark.parametrize(
    ("first", "second", "reply"),
    [
        ("14155550100/ref=a", "+1-415-555-0100/ref=a", OK),
        ("14155550100/ref=a", "+1-415-555-0100/ref=b", DIFFER),
        ("14155550100/ref=a", "14155550100", DIFFER),
        ("FAX=14155550100/T33S=1", "FAX=14155550100/T33S=2", DIFFER),
        ("fax/ref=a", "FAX/ref=a", OK),
        ("fax/ref=a", "fax/ref=b", DIFFER),
        ("fax/ref=a", "fax", DIFFER),
        ("fax/ref=a", "14155550101/ref=b", OK),
        ("offices/ref=a", "14155550101/ref=a", OK),
        ("offices/ref=a", "14155550101/ref=b", DIFFER),
        ("14155550101/ref=a", "offices/ref=b", DIFFER),
    ],
)
async def test_the_same_twice(
    store: Store, spool: Spool, first: str, second: str, reply: str
) -> None:
    """One fax carries one set of options: other ones are refused, never left out in silence."""
    rules = Rules.model_validate({"aliases": {"offices": [ONE, TWO]}})
    async with door(store, spool, rules=rules) as connect:
        client = await connect.ready(FROM)
        assert await client.say(f"RCPT TO:<{first}@fax.local>") == OK
        assert await client.say(f"RCPT TO:<{second}@fax.local>") == reply


@pytest.mark.parametrize(
    ("first", "second", "reply"),
    [
        ("", "", OK),
        (" NOTIFY=NEVER", " NOTIFY=NEVER ORCPT=rfc822;a@b", OK),
        (" NOTIFY=FAILURE,SUCCESS", " NOTIFY=success,failure", OK),
        (" NOTIFY=NEVER", " NOTIFY=FAILURE", DIFFER),
        (" NOTIFY=NEVER", "", DIFFER),
    ],
)
async def test_who_wants_to_hear_hears(
    connect: Connect, first: str, second: str, reply: str
) -> None:
    """One of two recipients with the same number said NEVER: the other must not wait in vain."""
    client = await connect.ready(FROM)
    assert await client.say(f"{TO}{first}") == OK
    assert await client.say(f"RCPT TO:<1-415-555-0100@fax.local>{second}") == reply


@pytest.mark.parametrize(
    ("beside", "fixed", "reply"),
    [
        ("/ref=a@fax.local>", "/ref=a@fax.local>", ""),
        ("/ref=a@fax.local> ORCPT=rfc822;a@b", "/ref=a@fax.local> ORCPT=rfc822;c@d", ""),
        ("/ref=a@fax.local>", "/ref=b@fax.local>", DIFFER),
        ("@fax.local> NOTIFY=NEVER", "@fax.local> NOTIFY=FAILURE", DIFFER),
    ],
)
async def test_the_subject_names_it_again(
    connect: Connect, store: Store, beside: str, fixed: str, reply: str
) -> None:
    said = (f"RCPT TO:<{NUMBER}{beside}", f"RCPT TO:<fax{fixed}")
    client = await connect.ready(FROM, *said, "DATA")
    answer = await client.say(mail(f"x [fax to={ONE}]") + END)
    faxes = await store.latest(9)
    assert answer == (reply or f"250 2.0.0 accepted as {faxes[0].id}")
    assert len(faxes) == (not reply)


async def test_options_of_a_group(store: Store, spool: Spool) -> None:
    rules = Rules.model_validate({"aliases": {"offices": [ONE, TWO]}})
    async with door(store, spool, rules=rules) as connect:
        client = await connect()
        assert (await client.mail(mail(), "offices/ref=7@fax.local")).startswith("250")
    faxes = await store.latest(9)
    assert {(fax.number, wishes_of(fax.wishes).ref) for fax in faxes} == {(ONE, "7"), (TWO, "7")}


# when, before whom, and once more


def written(seconds: float, form: str) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime(form)


async def test_not_before(connect: Connect, store: Store, clock: Clock) -> None:
    then = clock.now - clock.now % 60 + 7200
    client = await connect()
    for number, (address, subject) in enumerate((
        (f"/at={written(then, '%H.%M')}", "x"),
        (f"/at={written(then, '%Y-%m-%dT%H.%M')}", "x"),
        ("", f"x [fax at={written(then, '%H:%M')}]"),
        ("", f"x [fax at={written(then, '%Y-%m-%dT%H:%M')}]"),
    )):  # fmt: skip
        recipient = f"1415555{number:04}{address}@fax.local"
        assert (await client.mail(mail(subject), recipient)).startswith("250")
    assert [wishes_of(fax.wishes).at for fax in await store.latest(9)] == 4 * [then]
    late = await client.mail(mail(f"x [fax at={written(clock.now - 3600, '%Y-%m-%dT%H:%M')}]"))
    assert late.startswith("550 5.5.4 Option at: not past and within 7 days; ")


async def test_who_goes_first(connect: Connect, store: Store, clock: Clock) -> None:
    client = await connect()
    for number, prio in enumerate(("low", "normal", "high")):
        recipient = f"1415555{number:04}/prio={prio}@fax.local"
        assert (await client.mail(mail(), recipient)).startswith("250")
    due = {wishes_of(fax.wishes).prio: fax.due_at for fax in await store.latest(9)}
    assert due["high"] < due["normal"] < due["low"] == clock.now


async def test_the_same_again_on_purpose(connect: Connect, store: Store, clock: Clock) -> None:
    """A re-send is one for ten minutes, whatever it says; then `dup=ok` makes it a new fax."""
    client = await connect()
    same = mail("x [fax dup=ok]")
    first = await client.mail(same)
    assert first.startswith("250 2.0.0 accepted as ")
    assert (await client.mail(same)).startswith("250 2.0.0 duplicate of ")
    clock.advance(590)
    assert (await client.mail(same)).startswith("250 2.0.0 duplicate of ")
    clock.advance(20)
    assert (await client.mail(same)).startswith("250 2.0.0 accepted as ")
    assert len(await store.latest(9)) == 2


async def test_the_same_again_by_mistake(connect: Connect, store: Store, clock: Clock) -> None:
    client = await connect()
    assert (await client.mail(mail())).startswith("250 2.0.0 accepted as ")
    clock.advance(610)
    assert (await client.mail(mail())).startswith("250 2.0.0 duplicate of ")
    assert len(await store.latest(9)) == 1


# what the sender wants to hear (S1, S2)


async def test_dsn_parameters_are_kept(connect: Connect, store: Store) -> None:
    client = await connect.ready(
        "MAIL FROM:<ann@example.com> RET=HDRS ENVID=QQ+2B314",
        f"RCPT TO:<{NUMBER}@fax.local> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2BFax@example.com",
        "RCPT TO:<14155550101@fax.local> NOTIFY=NEVER",
        "RCPT TO:<14155550102@fax.local>",
        "DATA",
    )
    assert (await client.say(mail() + END)).startswith("250")
    said = {fax.number: wishes_of(fax.wishes) for fax in await store.latest(9)}
    assert said == {
        ONE: Wishes(
            dsn="SUCCESS,DELAY", orcpt="rfc822;Bob+Fax@example.com", envid="QQ+314", ret="HDRS"
        ),
        TWO: Wishes(dsn="NEVER", envid="QQ+314", ret="HDRS"),
        "+14155550102": Wishes(envid="QQ+314", ret="HDRS"),
    }


@pytest.mark.parametrize(
    ("parameters", "reply"),
    [
        ("NOTIFY=NEVER,SUCCESS", "501 5.5.4 Bad parameter"),
        ("NOTIFY=", "501 5.5.4 Bad parameter"),
        ("NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4 Bad parameter"),
        ("ORCPT=x", "501 5.5.4 Bad parameter"),
        ("RET=HDRS", "555 5.5.4 Parameter not supported"),
    ],
)
async def test_dsn_parameters_that_are_none(connect: Connect, parameters: str, reply: str) -> None:
    client = await connect.ready(FROM)
    assert await client.say(f"RCPT TO:<{NUMBER}@fax.local> {parameters}") == reply
    assert await client.say(TO) == OK


@pytest.mark.parametrize(
    ("fields", "mdn"),
    [
        (["Disposition-Notification-To: ann@example.com"], "ann@example.com"),
        (["Disposition-Notification-To: Ann <Ann@Example.com>"], "Ann@Example.com"),
        (["Disposition-Notification-To: bob@example.com"], ""),
        (["Disposition-Notification-To: ann@example.com, bob@example.com"], ""),
        (["Disposition-Notification-To: ann@example.com"] * 2, ""),
        (["Disposition-Notification-To: <>"], ""),
    ],
)
async def test_a_receipt_goes_to_the_sender_only(
    connect: Connect, store: Store, fields: list[str], mdn: str
) -> None:
    client = await connect()
    assert (await client.mail(mail("x", *fields))).startswith("250")
    assert (await wishes(store)).mdn == mdn
