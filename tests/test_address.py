"""Addresses: every form of M2 names its number whole, everything else is refused in exact words."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.address import (
    LONGEST_HEADER,
    MOST_ADDRESSES,
    TOO_MANY,
    Destination,
    Kind,
    concerns,
    destination,
    header_addresses,
    plus_number,
)
from gateway.numbers import Refusal

DOMAINS = ("fax.local", "fax.example.com", "1.fax.local")
ALIASES = {
    "front-desk": ["+14155550100"],
    "board": ["1-415-555-0101", "+14155550102"],
    "broken": ["415 555 0100"],
    "half": ["+14155550100", "(415) 555-0101"],
    "empty": [],
    "fax": ["+19005550100"],
    "14155550100": ["+19005550100"],
}

BAD_NUMBER = "501 5.1.3 Bad number syntax"
COMMENT = "553 5.1.3 Brackets, comments and spaces are never dialled: write +14155550100@"
NO_NUMBER = "550 5.1.1 Not a valid fax number"
RELAY_TRY = "554 5.7.1 Relay access denied"
KNOWN = "known here: at=, body=, cover=, dup=, notify=, prio=, ref="


def header_destinations(
    value: str, domains: Collection[str], aliases: Mapping[str, Sequence[str]] | None = None
) -> list[Destination | Refusal]:
    """As the mailbox reads a To or Cc: split it, then what is at our domains, one by one."""
    addresses = header_addresses(value)
    if isinstance(addresses, Refusal):
        return [addresses] if concerns(value, domains) else []
    ours = (address for address in addresses if concerns(address, domains))
    return [destination(address, domains, aliases or {}) for address in ours]


def to(*numbers: str, subaddress: str = "", alias: str = "", **options: str) -> Destination:
    return Destination(Kind.NUMBER, numbers, subaddress, tuple(options.items()), alias)


@pytest.mark.parametrize(
    ("local", "outcome"),
    [
        ("14155550100", to("14155550100")),
        ("+14155550100", to("+14155550100")),
        ("1-415-555-0100", to("14155550100")),
        ("+1.415.555.0100", to("+14155550100")),
        ("911", to("911")),  # read; the dial plan denies it
        # RFC 3192 §2: FAX=, in any case, in slashes or not
        ("FAX=+14155550100", to("+14155550100")),
        ("fax=+1-415-555-0100", to("+14155550100")),
        ("/FAX=+14155550100/", to("+14155550100")),
        ("/Fax=+14155550100", to("+14155550100")),
        ("FAX=0454771459", to("0454771459")),  # copiers leave the plus out
        ("FAX=+14155550100/T33S=77", to("+14155550100", subaddress="77")),
        ("/fax=+14155550100/t33s=*12#34/", to("+14155550100", subaddress="*12#34")),
        ("FAX=+14155550100/T33S=77/ref=4711", to("+14155550100", subaddress="77", ref="4711")),
        ("14155550100/T33S=77", to("14155550100", subaddress="77")),
        # T33S is never dialled, and nothing else rides along
        ("FAX=+14155550100T33S=77", BAD_NUMBER),
        ("FAX=+14155550100/T33S=", BAD_NUMBER),
        ("FAX=+14155550100/T33S=7a", BAD_NUMBER),
        ("FAX=+14155550100/T33S=123456789012345678901", BAD_NUMBER),
        ("FAX=+14155550100/T33S=1/T33S=2", BAD_NUMBER),
        ("FAX=+14155550100/22", BAD_NUMBER),
        ("FAX=+14155550100//", BAD_NUMBER),
        ("//FAX=+14155550100", BAD_NUMBER),
        ("FAX=", BAD_NUMBER),
        ("FAX=fax", BAD_NUMBER),
        ("FAX=front-desk", BAD_NUMBER),
        ("FAX=FAX=+14155550100", BAD_NUMBER),
        ("VOICE=+14155550100", BAD_NUMBER),
        ("FAX=#001", BAD_NUMBER),
        ("FAX=+14155550100/ISUB=1", f"550 5.5.4 Option ISUB: not known; {KNOWN}"),
        # MS-OXCMAIL §2.1.3.1.8
        ("IMCEAFAX-+2B14155550100", to("+14155550100")),
        ("imceafax-+2b14155550100", to("+14155550100")),
        ("IMCEAFAX-14155550100", to("14155550100")),
        ("IMCEAFAX-1-415-555-0100", to("14155550100")),
        ("IMCEAFAX-1+2E415+2E555.0100", to("14155550100")),
        ("IMCEAFAX-+2B1+20+28206+29+20936-7329", to("+12069367329")),
        ("IMCEAFAX-+2B1+28206+299367329", to("+12069367329")),
        ("IMCEAFAX-+28206+29+20936-7329", to("2069367329")),
        ("IMCEAFAX-Ann+20Smith+40+2B1+20+28206+29+20936-7329", to("+12069367329")),
        ("IMCEAFAX-M+C3+BCller_Sales+40+2B12069367329", to("+12069367329")),
        ("IMCEAFAX-+2B12069367329_cover=none", to("+12069367329", cover="none")),
        ("IMCEAFAX-+2B12069367329_at+3D18+3A00", to("+12069367329", at="18:00")),
        ("IMCEAFAX-+2B44+20+280+2920+207946+200958", to("+4402079460958")),  # every digit
        # two numbers, or one with something left over
        ("IMCEAFAX-936-7329+20+7C+20+2B1+20+28206+29+20936-7329", BAD_NUMBER),
        ("IMCEAFAX-936-7329+40+2B12069367329", BAD_NUMBER),
        ("IMCEAFAX-Ann+40Bob+40+2B12069367329", BAD_NUMBER),
        ("IMCEAFAX-+2B12069367329+20x22", BAD_NUMBER),
        ("IMCEAFAX-+2B12069367329+2C22", BAD_NUMBER),
        ("IMCEAFAX-+28comment+29+2B12069367329", BAD_NUMBER),
        ("IMCEAFAX-+28+28206+29+299367329", BAD_NUMBER),
        ("IMCEAFAX-+2B1+28206", BAD_NUMBER),
        ("IMCEAFAX-+2B1206+299367329", BAD_NUMBER),
        ("IMCEAFAX-+2B1206++209367329", BAD_NUMBER),
        ("IMCEAFAX-+2B1206+20+209367329", BAD_NUMBER),
        ("IMCEAFAX-+12069367329", BAD_NUMBER),  # +12 is a byte, not a country
        ("IMCEAFAX-+2B1206+009367329", BAD_NUMBER),
        ("IMCEAFAX-front-desk", BAD_NUMBER),
        ("IMCEAFAX-", BAD_NUMBER),
        ("IMCEAEX-_o=x_cn=ann", BAD_NUMBER),
        # aliases
        ("front-desk", to("+14155550100", alias="front-desk")),
        ("Front-Desk", to("+14155550100", alias="front-desk")),
        ("board", to("14155550101", "+14155550102", alias="board")),
        ("board/cover=none", to("14155550101", "+14155550102", alias="board", cover="none")),
        ("broken", NO_NUMBER),
        ("half", NO_NUMBER),
        ("empty", NO_NUMBER),
        ("nobody", BAD_NUMBER),
        # options
        ("14155550100/cover=none/ref=4711", to("14155550100", cover="none", ref="4711")),
        ("14155550100/Cover=None", to("14155550100", Cover="None")),
        ("14155550100/at=18.00", to("14155550100", at="18.00")),
        ("14155550100/cover", BAD_NUMBER),
        ("14155550100/", BAD_NUMBER),
        ("14155550100//cover=none", BAD_NUMBER),
        ("/cover=none", BAD_NUMBER),
        ("/14155550100", BAD_NUMBER),
        ("14155550100/22", BAD_NUMBER),
        ("14155550100/14155550101", BAD_NUMBER),
        ("14155550100/colour=red", f"550 5.5.4 Option colour: not known; {KNOWN}"),
        ("14155550100/to=+19005550100", f"550 5.5.4 Option to: not known; {KNOWN}"),
        ("14155550100/ref=1/REF=2", f"550 5.5.4 Option REF: given twice; {KNOWN}"),
        ("14155550100/cover=none/body=page", f"550 5.5.4 Option body: given twice; {KNOWN}"),
        ("board/colour=red", f"550 5.5.4 Option colour: not known; {KNOWN}"),
        # the words of our own
        ("fax", Destination(Kind.SUBJECT)),
        ("FAX", Destination(Kind.SUBJECT)),
        ("fax/cover=none", Destination(Kind.SUBJECT, options=(("cover", "none"),))),
        ("fax/T33S=1", BAD_NUMBER),
        ("fax+14155550100", BAD_NUMBER),
        ("postmaster", Destination(Kind.POSTMASTER)),
        ("PostMaster", Destination(Kind.POSTMASTER)),
        ("postmaster/cover=none", BAD_NUMBER),
        # A17
        ("1--4155550100", BAD_NUMBER),
        ("1-.4155550100", BAD_NUMBER),
        ("-14155550100", BAD_NUMBER),
        ("14155550100.", BAD_NUMBER),
        ("+-14155550100", BAD_NUMBER),
        ("1_415_555_0100", BAD_NUMBER),
        ("14155550100,,22", BAD_NUMBER),
        ("14155550100;22", BAD_NUMBER),
        ("14155550100p22", BAD_NUMBER),
        ("14155550100x22", BAD_NUMBER),
        ("14155550100ext.22", BAD_NUMBER),
        ("*6714155550100", BAD_NUMBER),
        ("14155550100#", BAD_NUMBER),
        ("14155550100^NOCOVER", BAD_NUMBER),
        ("1415555010\u0660", BAD_NUMBER),
        ("１４１５５５５０１００", BAD_NUMBER),
        ("front\u2011desk", BAD_NUMBER),
        ("0" * 65, BAD_NUMBER),
        ("1" + "-1" * 99, BAD_NUMBER),
        ("board/ref=" + "x" * 190, to("14155550101", "+14155550102", alias="board", ref="x" * 190)),
        ("board/ref=" + "x" * 191, BAD_NUMBER),
        # M3: what a mail program may take for a comment
        ("(206) 555-1234", COMMENT),
        ("(206)555-1234", COMMENT),
        ("206 555-1234", COMMENT),
        ("+14155550100(x)", COMMENT),
        ("+14155550100\t", COMMENT),
        ("[14155550100]", COMMENT),
        ("[FAX:14155550100]", RELAY_TRY),
        # A15
        ("@relay.example:+14155550100", RELAY_TRY),
        ("@a,@b:+14155550100", RELAY_TRY),
        ("+14155550100%evil.example", RELAY_TRY),
        ("evil.example!+14155550100", RELAY_TRY),
        ('"+14155550100@evil.example"', RELAY_TRY),
        ("+14155550100@evil.example", RELAY_TRY),
        ('"+14155550100"', BAD_NUMBER),
        ("", BAD_NUMBER),
    ],
)
def test_a_local_part(local: str, outcome: Destination | str) -> None:
    assert destination(f"{local}@Fax.Local", DOMAINS, ALIASES) == outcome


@pytest.mark.parametrize(
    ("address", "outcome"),
    [
        ("+14155550100@fax.example.com", to("+14155550100")),
        ("+14155550100@FAX.EXAMPLE.COM", to("+14155550100")),
        ("postmaster", Destination(Kind.POSTMASTER)),
        ("POSTMASTER", Destination(Kind.POSTMASTER)),
        ("postmaster@elsewhere.example", RELAY_TRY),
        # name@number.fax.local
        ("ann@14155550100.fax.local", to("14155550100")),
        ("Ann.O'Neill+x@1-415-555-0100.FAX.local", to("14155550100")),
        ("ann@1.415.555.0100.fax.local", to("14155550100")),
        ("room7@14155550100.fax.example.com/", BAD_NUMBER),
        ("room7/cover=none@14155550100.fax.local", to("14155550100", cover="none")),
        ("room7/T33S=5@14155550100.fax.local", to("14155550100", subaddress="5")),
        ("ann@4155550100.1.fax.local", to("4155550100")),  # the longest of our domains
        ("fax@14155550100.fax.local", to("14155550100")),
        ("front-desk@14155550100.fax.local", to("14155550100")),  # there it is only a name
        ("postmaster@14155550100.fax.local", Destination(Kind.POSTMASTER)),
        # which of two numbers?
        ("12065550100@14155550100.fax.local", BAD_NUMBER),
        ("fax+12065550100@14155550100.fax.local", BAD_NUMBER),
        ("x1-206-555-0100@14155550100.fax.local", BAD_NUMBER),
        ("22@14155550100.fax.local", BAD_NUMBER),
        ("FAX=+12065550100@14155550100.fax.local", BAD_NUMBER),
        ("FAX=ann@14155550100.fax.local", BAD_NUMBER),
        ("IMCEAFAX-+2B12065550100@14155550100.fax.local", BAD_NUMBER),
        ("@14155550100.fax.local", BAD_NUMBER),
        ("ann b@14155550100.fax.local", COMMENT),
        ("ann@1415(x)5550100.fax.local", COMMENT),
        ("ann@+14155550100.fax.local", BAD_NUMBER),
        ("ann@1--4155550100.fax.local", RELAY_TRY),
        ("ann@1415555ABCD.fax.local", RELAY_TRY),
        ("ann@14155550100.mail.fax.local", RELAY_TRY),
        ("ann@14155550100fax.local", RELAY_TRY),
        ("ann@14155550100.fax.local.evil.example", RELAY_TRY),
        # A15
        ("+14155550100@evil.example", RELAY_TRY),
        ("+14155550100@xfax.local", RELAY_TRY),
        ("+14155550100@fax.local.evil.example", RELAY_TRY),
        ("+14155550100@[127.0.0.1]", RELAY_TRY),
        ("+14155550100@(x)fax.local", COMMENT),
        ("+14155550100@fax.local ", COMMENT),
        ("+14155550100@fax.local.", BAD_NUMBER),
        ("+14155550100@.fax.local", BAD_NUMBER),
        ("+14155550100@fax..local", BAD_NUMBER),
        ("+14155550100@f\u00e4x.local", BAD_NUMBER),
        ("+14155550100@", BAD_NUMBER),
        ("+14155550100", BAD_NUMBER),
        ("@", BAD_NUMBER),
        ("", BAD_NUMBER),
    ],
)
def test_an_address(address: str, outcome: Destination | str) -> None:
    assert destination(address, DOMAINS, ALIASES) == outcome


def test_a_letter_that_only_becomes_ascii_in_lower_case_is_no_domain_of_ours() -> None:
    assert destination("+14155550100@\u212aelvin.example", ["kelvin.example"]) == BAD_NUMBER


def test_without_aliases_no_name_is_known() -> None:
    assert destination("front-desk@fax.local", DOMAINS) == BAD_NUMBER


def test_a_refusal_names_itself_for_the_log() -> None:
    refusal = destination("14155550100/colour=red@fax.local", DOMAINS)
    assert isinstance(refusal, Refusal)
    assert (refusal.event, refusal.reply) == ("bad_option", str(refusal))


# To and Cc


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        ("+14155550100@fax.local", [to("+14155550100")]),
        ("<+14155550100@fax.local>", [to("+14155550100")]),
        ("Ann <ann@example.com>, +14155550100@fax.local", [to("+14155550100")]),
        ("a@example.com;+14155550100@fax.local;;,", [to("+14155550100")]),
        ('"Smith, Ann; (x)" <+14155550100@fax.local>, b@example.com', [to("+14155550100")]),
        (r'"a\"b, <1@fax.local>" <+14155550100@fax.local>', [to("+14155550100")]),
        ("Ann (a, b; c) <+14155550100@fax.local> (x)", [to("+14155550100")]),
        ("=?utf-8?q?Ann=2C_=3C911=40fax.local=3E?= <+14155550100@fax.local>", [to("+14155550100")]),
        ("+14155550100@fax.local,\r\n +14155550101@fax.local",
         [to("+14155550100"), to("+14155550101")]),
        ("front-desk@fax.local, fax@fax.local",
         [to("+14155550100", alias="front-desk"), Destination(Kind.SUBJECT)]),
        (r"(\) , b) <+14155550100@fax.local>", [to("+14155550100")]),
        ("ann@14155550100.fax.local", [to("14155550100")]),
        # M3, and a name is never dialled
        ("(206) 555-1234@fax.local", [COMMENT]),
        ('"(206) 555-1234" <+14155550100@fax.local>', [to("+14155550100")]),
        ("206 555-1234 <+14155550100@fax.local>", [to("+14155550100")]),
        ('"+12065551234@fax.local" <ann@example.com>', []),
        ("+12065551234@fax.local <ann@example.com>", []),
        ("(+12065551234@fax.local) ann@example.com", [RELAY_TRY]),
        ("+14155550100@fax.local (Ann)", [COMMENT]),
        ("Ann +14155550100@fax.local", [COMMENT]),
        ("< +14155550100@fax.local>", [COMMENT]),
        ("+14155550100(x)@fax.local", [COMMENT]),
        ("+14155550100@(x)fax.local", [COMMENT]),
        ("+14155550100 @ fax.local", [COMMENT]),
        ("+1415@5550100@fax.local", [RELAY_TRY]),
        ("+14155550100@fax.local.", [BAD_NUMBER]),
        ("ann@1415555O100.fax.local", [RELAY_TRY]),
        # broken, and ours: refused rather than passed over
        ("Ann <+14155550100@fax.local", [COMMENT]),
        ('"Ann <+14155550100@fax.local>', [COMMENT]),
        ("(Ann <+14155550100@fax.local>", [COMMENT]),
        ("<+14155550100@fax.local> <+14155550101@fax.local>", [RELAY_TRY]),
        ("<+14155550100@fax.local>x", [BAD_NUMBER]),
        ("x <y <+14155550100@fax.local>", [COMMENT]),
        # not ours
        ("", []),
        ("undisclosed-recipients:;", []),
        ("ann@example.com (Ann)", []),
        ("ann@mail.fax.local", []),
        ("ann@fax.local.evil.example", []),
        ("fax.local@example.com", []),
        ("fax.local", []),
        ("postmaster", []),
        (",;,", []),
    ],
)  # fmt: skip
def test_to_and_cc(value: str, outcome: list[Destination | str]) -> None:
    assert header_destinations(value, DOMAINS, ALIASES) == outcome


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        ("+14155550100@fax.local" + ",a@b" * (MOST_ADDRESSES - 1), [to("+14155550100")]),
        ("+14155550100@fax.local" + ",a@b" * MOST_ADDRESSES, [TOO_MANY]),
        ("a@b," * MOST_ADDRESSES + "c@d", []),
        ("+14155550100@fax.local" + " " * (LONGEST_HEADER - 22), [to("+14155550100")]),
        ("+14155550100@fax.local" + " " * (LONGEST_HEADER - 21), [TOO_MANY]),
        (" " * LONGEST_HEADER + "a@b", []),
    ],
)
def test_to_and_cc_have_bounds(value: str, outcome: list[Destination | str]) -> None:
    assert header_destinations(value, DOMAINS) == outcome


def test_addresses_of_a_field_stay_as_written() -> None:
    assert header_addresses(' "A, B" <a@b>; c@d (x) ,<e@f>') == ["a@b", "c@d (x)", "e@f"]


@pytest.mark.parametrize(
    ("address", "outcome"),
    [
        ("fax+14155550100@example.com", "+14155550100"),
        ("Fax+14155550100@Example.COM", "+14155550100"),
        ("fax++14155550100@example.com", "+14155550100"),
        ("fax+1-415-555-0100@example.com", "+14155550100"),
        ("fax@example.com", None),
        ("fax+invoices@example.com", None),
        ("faxes+14155550100@example.com", None),
        ("fax+14155550100@example.org", None),
        ("fax+14155550100@fax@example.com", BAD_NUMBER),
        ("fax+@example.com", BAD_NUMBER),
        ("fax+++14155550100@example.com", BAD_NUMBER),
        ("fax+14155550100x22@example.com", BAD_NUMBER),
        ("fax+1415555O100@example.com", BAD_NUMBER),
        ("fax+14155550100/cover=none@example.com", BAD_NUMBER),
        ("fax+(206) 555-1234@example.com", COMMENT),
        ("fax+14155550100 (x)@example.com", COMMENT),
        ("fax", None),
        ("", None),
    ],
)
def test_a_number_behind_a_plus(address: str, outcome: str | None) -> None:
    assert plus_number(address, "fax@Example.com") == outcome


def test_a_mailbox_without_a_domain_has_no_plus() -> None:
    assert plus_number("+14155550100", "") is None


# Whatever comes


WORDS = ["FAX=", "/fax=", "/T33S=7", "/", "IMCEAFAX-", "+2B", "+20", "+28", "+29", "_", "Ann+40",
         "board", "front-desk", "fax", "postmaster", "/cover=none", "/ref=1", "/at=18.00", "/to=1",
         "(", ")", " ", "-", ".", "+", "=", "@", "%", "!", ":", '"', "[", "]", "\u0660", "\u212a",
         "\r\n", "\0", "ann", "<", ">", ",", ";", "\\", *"0123456789"]  # fmt: skip
ENDS = ["@fax.local", "@FAX.Local", "@fax.local.", "@14155550100.fax.local", "@1-2.fax.local",
        "@evil.example", "@fax.local", ""]  # fmt: skip
NUMBER = st.from_regex(r"\+?[0-9](?:[-.]?[0-9]){0,14}", fullmatch=True)


def number(random: Random) -> str:
    written = "".join(random.choice("0123456789") for _ in range(random.randint(1, 13)))
    cut = random.randint(0, len(written))
    sign = random.choice(["-", ".", "", "", "--"])
    return random.choice(["+", "", "", "+2B"]) + written[:cut] + sign + written[cut:]


def address(random: Random) -> str:
    """Pieces of every form in any order, more often nearly right than not."""
    pieces = [random.choice([number(random), random.choice(WORDS)])
              for _ in range(random.randint(0, 4))]  # fmt: skip
    form = random.choice(["{}", "{}", "FAX={}", "/FAX={}/", "IMCEAFAX-{}", "{}/T33S=7", "{}/ref=1"])
    return form.format("".join(pieces)) + random.choice(ENDS)


def digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


def written_in(address: str) -> str:
    """The digits that whoever wrote the address can see of a number, read without the grammar."""
    local, _, domain = address.rpartition("@")
    if domain.lower() != "fax.local":
        return digits(domain)
    if local.lower().startswith("imceafax-"):
        text = re.sub(r"\+(..)", lambda byte: chr(int(byte[1], 16)), local[9:])
        local = text.replace("_", "/").rpartition("@")[2]
    return digits(re.sub(r"/?FAX=", "", local, flags=re.IGNORECASE).partition("/")[0])


def is_whole_or_refused(address: str) -> bool:
    """Was a number taken? Then it is exactly the digits that were written."""
    found = destination(address, DOMAINS, ALIASES)
    if isinstance(found, Refusal):
        assert re.fullmatch(r"(501 5\.1\.3|55[034] 5\.[1-7]\.[0-9]) [ -~]+", found), address
        assert len(found) <= 510, address
        return False
    if found.kind == Kind.NUMBER and not found.alias:
        assert re.fullmatch(r"\+?[0-9]+", found.numbers[0]), address
        assert [digits(one) for one in found.numbers] == [written_in(address)], address
        return True
    assert found.alias in {"", "front-desk", "board"}, address
    assert found.numbers == tuple(digits_of_alias(found.alias)), address
    return False


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**64))
def test_twenty_thousand_addresses_are_whole_or_refused(seed: int) -> None:
    random = Random(seed)
    taken = [is_whole_or_refused(address(random)) for _ in range(500)]
    assert any(taken)
    assert not all(taken)


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.text(max_size=40), st.text(max_size=20).map("{}@fax.local".format)))
@example("IMCEAFAX-5+40+2B1+20+28206+29+20936-7329@fax.local")
def test_any_text_is_whole_or_refused(text: str) -> None:
    is_whole_or_refused(text)


def digits_of_alias(alias: str) -> list[str]:
    return [number.replace("-", "") for number in ALIASES.get(alias, [])]


@settings(deadline=None, max_examples=300)
@given(NUMBER, st.sampled_from(["{}", "FAX={}", "/fax={}/T33S=12/", "{}/ref=4711", "IMCEAFAX-{}"]),
       st.data())  # fmt: skip
def test_a_lost_or_added_character_never_gives_the_same_number(
    number: str, form: str, data: st.DataObject
) -> None:
    """Of the number itself: whatever a typing slip becomes, it is not passed off as the old one."""
    written = number.replace("+", "+2B") if "IMCEA" in form else number
    meant = destination(f"{form.format(written)}@fax.local", DOMAINS)
    assert isinstance(meant, Destination)
    assert digits(meant.numbers[0]) == digits(number)
    at = data.draw(st.integers(0, len(written)))
    extra = data.draw(st.sampled_from("0123456789(), ;xp#*"))
    slips = [written[:at] + extra + written[at:]]
    if at < len(written) and written[at].isdigit() and "+2B"[at : at + 1] != written[at : at + 1]:
        slips.append(written[:at] + written[at + 1 :])
    for slip in slips:
        found = destination(f"{form.format(slip)}@fax.local", DOMAINS)
        if isinstance(found, Destination) and digits(slip) != digits(written):
            assert found.numbers != meant.numbers
        elif isinstance(found, Destination):
            assert digits(found.numbers[0]) == digits(number)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**64))
def test_any_field_is_read_or_refused(seed: int) -> None:
    random = Random(seed)
    for _ in range(20):
        pieces = [random.choice([address(random), random.choice(WORDS), "<+14155550100@fax.local>"])
                  for _ in range(random.randint(0, 6))]  # fmt: skip
        value = "".join(pieces)
        for found in header_destinations(value, DOMAINS, ALIASES):
            if isinstance(found, Destination) and found.kind == Kind.NUMBER and not found.alias:
                assert any(found == destination(one, DOMAINS) for one in candidates(value)), value


def candidates(value: str) -> list[str]:
    """All that stands between two separators: an address is never put together from pieces."""
    cuts = [i for i, character in enumerate(value) if character in "<>,;"] + [len(value)]
    starts = [0, *(cut + 1 for cut in cuts)]
    return [value[a:b].strip() for a in starts for b in cuts if a <= b]


FORMS = [
    "{}@fax.local",
    "<{}@fax.local>",
    "Ann <{}@fax.local>",
    '"Smith, Ann" <{}@fax.local>',
    '"(206) 555-1234; x" <{}@fax.local>',
    "=?utf-8?q?a=2C?= <{}@fax.local> (x, y)",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("comma", [",", ";", " , ", ";\r\n "])
@pytest.mark.parametrize("numbers", [[], ["+14155550100"], ["4155550101", "1-415-555-0102", "1"]])
def test_every_address_of_a_field_is_found(numbers: list[str], comma: str, form: str) -> None:
    value = comma.join(form.format(number) for number in numbers)
    assert header_destinations(value, DOMAINS) == [to(n.replace("-", "")) for n in numbers]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "bad", ["(", '"', "@(", "(@", "\\", "<", '"\\', "()", "a@(\\(", "@", "( ", "@ ", "a" * 99, "<>"]
)
def test_no_field_makes_the_grammar_run_wild(bad: str) -> None:
    full = bad * ((LONGEST_HEADER - 10) // len(bad))
    assert not any(
        isinstance(found, Destination)
        for value in (full, f"{full}@fax.local")
        for found in header_destinations(value, ["fax.local"])
    )
