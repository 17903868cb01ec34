"""What a mail in the box asks for: addresses, Subject and X-Fax fields, each way once (M2, M3)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.doors.imap.addressees import _whole
from gateway.doors.imap.letters import Letter, read
from gateway.doors.imap.orders import NO_NUMBER, Order, order
from gateway.doors.imap.settings import ImapSettings
from gateway.errors import Cause
from gateway.outbound.permit import Policy
from gateway.wishes import Wishes
from tests.doors.imap.kit import ANN, BOX, mail, policy
from tests.make import LINE

NOW = 1_790_000_000.0
A, B, C = "+14155550100", "+14155550101", "+14155550102"
BRACKETS = "Brackets, comments and spaces are never dialled: write +14155550100@"
SETTINGS = ImapSettings("imap.example.com", BOX, "secret", "mx.example.com", max_recipients=3)
POLICY = policy(aliases={"office": [A, B]})


def letter(**fields: str) -> Letter:
    return read(Path("/nowhere"), mail(**fields))


def asked(rules: Policy = POLICY, /, **fields: str) -> Order:
    return order(letter(**fields), ANN, rules, SETTINGS, NOW)


def numbers(**fields: str) -> list[str]:
    """The numbers, or the sentences of the refusal."""
    found = asked(**fields)
    return [one.number for one in found.recipients] + [one.sentence for one in found.refused]


NONE = [NO_NUMBER.partition(" 5.1.1 ")[2]]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"to": "14155550100@fax.local"}, [A]),
        ({"to": "Bob <+1-415-555-0100@FAX.LOCAL>"}, [A]),
        ({"to": "bob@14155550100.fax.local"}, [A]),
        ({"to": "/FAX=+14155550100/T33S=42/@fax.local"}, [A]),
        ({"to": "office@fax.local"}, [A, B]),
        ({"to": "fax+14155550100@example.com"}, [A]),
        ({"to": "FAX+1-415-555-0100@Example.Com"}, [A]),
        ({"to": BOX, "Delivered_To": "fax+14155550100@example.com"}, [A]),
        ({"to": BOX, "X_Original_To": "<fax+14155550100@example.com>"}, [A]),
        ({"to": BOX, "Cc": "x@y.example, 14155550100@fax.local"}, [A]),
        # one after the other, each once
        ({"to": "14155550100@fax.local; 14155550101@fax.local"}, [A, B]),
        ({"to": "14155550100@fax.local", "Cc": "+14155550100@fax.local"}, [A]),
        ({"to": "14155550100@fax.local", "Delivered_To": "fax+14155550101@example.com"}, [B, A]),
        ({"to": '"x, 14155550102@fax.local" <14155550100@fax.local>, <14155550101@fax.local>'},
         [A, B]),
        # Subject and header
        ({"to": BOX, "Subject": "Contract [fax to=+14155550100]"}, [A]),
        ({"to": BOX, "Subject": "=?utf-8?q?Vertr=C3=A4ge_=5Bfax_to=3D14155550100=5D?="}, [A]),
        ({"to": "ann@example.com", "Subject": "x [FAX TO=4155550100,+14155550101]"}, [A, B]),
        ({"to": BOX, "X_Fax_To": "+14155550100"}, [A]),
        ({"to": BOX, "X_Fax_To": "+14155550100", "Subject": "x [fax to=+14155550101]"}, [A]),
        ({"to": f"{BOX}, 14155550101@fax.local", "Subject": "x [fax to=+14155550100]"}, [B, A]),
        ({"to": "fax@fax.local, 14155550101@fax.local", "X_Fax_To": A}, [B, A]),
        ({"to": BOX, "Subject": "x" * 7900 + " [fax to=+14155550100]"}, [A]),
        ({"to": BOX, "X_Fax_To": "=?utf-8?q?+14155550100?="}, [A]),
        ({"to": "Lee, Ann <14155550100@fax.local>, Dept 42, <14155550101@fax.local>"}, [A, B]),
        # what is no order
        ({"to": BOX}, NONE),
        ({"to": BOX, "Subject": "14155550100"}, NONE),
        ({"to": BOX, "Subject": "Re: your fax to 14155550100"}, NONE),
        ({"to": '"14155550100@fax.local" <bob@example.com>'}, NONE),
        ({"to": "Bob (14155550100@fax.local) <bob@example.com>"}, NONE),
        ({"to": "fax+orders@example.com"}, NONE),
        ({"to": "fax+14155550100@example.org"}, NONE),
        ({"to": "14155550100@example.com"}, NONE),
        ({"to": "postmaster@fax.local"}, NONE),
        ({"to": BOX, "Reply_To": "14155550100@fax.local", "Bcc": "14155550100@fax.local"}, NONE),
        ({"to": "", "Subject": ""}, NONE),
    ],
)  # fmt: skip
def test_numbers(fields: dict[str, str], expected: list[str]) -> None:
    assert numbers(**fields) == expected


TWICE = "Option to: it belongs to a mail to the fixed address alone"


@pytest.mark.parametrize(
    ("fields", "start"),
    [
        ({"to": "(415) 555-0100@fax.local"}, f"(415) 555-0100@fax.local: {BRACKETS}"),
        ({"to": "fax+(415)5550100@example.com"}, BRACKETS),
        ({"to": "4155550100 (home)@fax.local"}, BRACKETS),
        ({"to": "911@fax.local"}, "911@fax.local: Destination not permitted"),
        ({"to": "+442079460958@fax.local"}, "Destination not permitted"),
        ({"to": "19005550100@fax.local"}, "Destination not permitted"),
        ({"to": "5550100@fax.local"}, "Not a valid fax number"),
        ({"to": "nobody@fax.local"}, "Bad number syntax"),
        ({"to": "1,4155550100@fax.local"}, f"1, 4155550100@fax.local: {BRACKETS}"),
        ({"to": "<1,14155550100@fax.local>"}, "Bad number syntax"),
        ({"to": "bob@example.com, 1; (415), 14155550100@fax.local"}, "1, (415), 1415"),
        ({"to": "14155550100/colour=red@fax.local"}, "Option colour: not known"),
        ({"to": "14155550100/body=red@fax.local"}, "Option body: allowed: cover, page, ignore"),
        ({"to": BOX, "Subject": "x [fax to=911]"}, "911: Destination not permitted"),
        ({"to": BOX, "Subject": "x [fax to=(415)5550100]"}, "Option to: numbers such as"),
        ({"Subject": "x [fax colour=red]"}, "Option colour: not known"),
        ({"Subject": "x [fax cover=none"}, "Option [fax ...]: write it once, at the end"),
        ({"Subject": "=?utf-8?q?=3D=3Futf-8=3Fq=3F=5Bfax_to=3D14155550101=5D=3F=3D?="},
         "Option [fax ...]: write it once, at the end"),  # decoded once, not twice
        ({"X_Fax_Colour": "red"}, "Option colour: not known"),
        ({"Subject": "x [fax to=+14155550101]"}, TWICE),
        ({"X_Fax_To": "+14155550101"}, TWICE),
        ({"to": ", ".join(f"1415555010{n}@fax.local" for n in range(4))},
         "It is for 4 numbers and 3 are allowed: none was faxed"),
        ({"to": ", ".join(f"u{n}@example.com" for n in range(201))}, "Too many addresses"),
        ({"to": "x" * 7990 + "@y.example, 14155550100@fax.local"}, "Too many addresses"),
    ],
)  # fmt: skip
def test_refusals(fields: dict[str, str], start: str) -> None:
    found = asked(**fields)
    assert found.recipients == ()
    (one,) = found.refused
    assert start in one.sentence
    assert found.reason == one.sentence


def test_one_bad_number_does_not_affect_the_others() -> None:
    """M4: one notice names what was refused."""
    found = asked(to="14155550100@fax.local, 911@fax.local, x@fax.local")
    assert [one.number for one in found.recipients] == [A]
    assert found.reason.split("; ") == [
        "911@fax.local: Destination not permitted",
        "x@fax.local: Bad number syntax",
        "it goes to the others (1)",
    ]
    assert found.refused[0].cause is Cause.POLICY
    odd = asked(to="\u202e\x07x\u00e9" + "y" * 300 + "@fax.local").reason
    assert odd.isprintable()
    assert len(odd) < 200
    many = asked(to=",".join(f"x{n}@fax.local" for n in range(13)))
    assert many.reason.endswith("x9@fax.local: Bad number syntax; and 3 more")
    assert many.refused[0].cause is Cause.NUMBER


def test_who_may_not_send() -> None:
    stranger = policy(sender=[{"domain": "other.example"}])
    assert asked(stranger).reason == "Sender not listed"
    assert not asked(stranger).is_strange
    assert asked(stranger, to=BOX).is_strange  # junk asks for no fax
    assert not asked(stranger, to=BOX, Subject="x [fax to=+14155550100]").is_strange
    assert asked(policy(sender=[]), to=BOX).reason == "Sender not listed"  # fails closed


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"Delivered_To": "fax+14155550100@example.com"}, [A]),
        ({"Delivered_To": "fax@example.com", "to": "fax+14155550100@example.com"}, [A]),
        ({"Delivered_To": "fax@example.com", "to": "fax+14155550100@other.example"}, NONE),
        ({"Delivered_To": "fay+14155550100@example.com"}, NONE),
        ({"Delivered_To": "fax"}, NONE),
        ({"to": "fax+14155550100@example.com"}, NONE),
    ],
)
def test_a_mailbox_whose_address_is_not_known(fields: dict[str, str], expected: list[str]) -> None:
    """imaps://fax@host: its domain is that under which the mail was delivered."""
    found = order(letter(**{"to": BOX} | fields), ANN, POLICY, replace(SETTINGS, user="fax"), NOW)
    said = [one.number for one in found.recipients] + [one.sentence for one in found.refused]
    assert said == expected


def wishes(**fields: Any) -> Wishes:
    (recipient,) = asked(**fields).recipients
    return recipient.wishes


def test_header_before_subject_before_address_before_rule() -> None:
    """S3."""
    to = "14155550100/body=page/ref=adr/prio=low@fax.local"
    assert wishes(to=to) == Wishes(body="page", ref="adr", prio="low")
    subject = "x [fax ref=sub prio=high]"
    assert wishes(to=to, Subject=subject) == Wishes(body="page", ref="sub", prio="high")
    both = wishes(to=to, Subject=subject, X_Fax_Ref="hdr")
    assert both == Wishes(body="page", ref="hdr", prio="high")
    fixed = wishes(to="fax/ref=adr@fax.local", Subject="x [fax to=+14155550100]")
    assert fixed == Wishes(ref="adr")


def test_facts_of_the_rule() -> None:
    rule = {"domain": "example.com", "from_number": "+14155550177", "body": "ignore",
            "notices": "fail", "tell": ["a@example.com", "b@example.com"]}  # fmt: skip
    found = asked(policy(sender=[rule]), to="14155550100/notify=all@fax.local, 1@fax.local")
    (recipient,) = found.recipients
    tell = "a@example.com, b@example.com"
    assert recipient.line == "+14155550177"
    assert recipient.wishes == Wishes(body="ignore", notify="all", tell=tell)
    assert (found.sender, found.identity) == (ANN, f"address:{ANN}")
    assert found.wishes == Wishes(body="ignore", notify="fail", tell=tell)
    assert asked().recipients[0].line == LINE


def test_a_subaddress_is_carried_and_never_dialled() -> None:
    assert wishes(to="FAX=+14155550100/T33S=99@fax.local") == Wishes(subaddress="99")


@pytest.mark.parametrize(("to", "mdn"), [(ANN, ANN), ("eve@evil.example", "")])
def test_a_receipt_goes_to_the_sender_alone(to: str, mdn: str) -> None:
    assert wishes(Disposition_Notification_To=to).mdn == mdn


def test_a_long_row_of_digits_is_read_once() -> None:
    """A regular expression that goes over it again for each of them would need hours."""
    row = 1_000_000 * "1"
    assert list(_whole([f"{row}@", row, "x@y.example"])) == [f"{row}@", f"{row}, x@y.example"]


PIECES = st.sampled_from(
    ["14155550100", "+", "@", "fax.local", "example.com", "fax+", "<", ">", '"', "(", ")", ",",
     ";", ":", " ", "/", "body=page", "FAX=", "[fax to=", "]", "911", "office", "\\", "=", "."]
)  # fmt: skip
WORDS = st.lists(PIECES | st.text("0123456789 -", max_size=3), max_size=14).map("".join)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(WORDS, WORDS, WORDS)
def test_any_words_have_an_answer(to: str, delivered: str, subject: str) -> None:
    """Never an error, never nothing; and what is dialled was written as it is."""
    found = asked(to=to, Delivered_To=delivered, Subject=f"x {subject}")
    assert found.recipients or found.refused
    written = to + delivered + subject
    for one in found.recipients:
        digits = one.number.removeprefix("+1")
        assert digits in written.replace("-", "").replace(".", "") or "office" in written
