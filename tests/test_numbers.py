"""Written numbers and addresses: what is dialled, what is refused, and with which words."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import shortnumberinfo

from gateway.numbers import DialPlan, Refusal, masked

US = DialPlan("US", frozenset({"US"}))
WIDE = DialPlan("US", frozenset({"US", "GB", "DE"}))
HOMES = ("US", "GB", "DE", "IT", "BR", "AR", "MX", "AU", "RU", "HU", "SE", "BS")

BAD_NUMBER = "501 5.1.3 Bad number syntax"
COMMENT = "553 5.1.3 Brackets, comments and spaces are never dialled: write +14155550100@"
NO_NUMBER = "550 5.1.1 Not a valid fax number"
TOLL_DENIED = "550 5.7.1 Destination not permitted"


@pytest.mark.parametrize(
    ("written", "outcome"),
    [
        # as people write it
        ("+14155550100", "+14155550100"),
        ("14155550100", "+14155550100"),
        ("4155550100", "+14155550100"),
        ("1-415-555-0100", "+14155550100"),
        ("+1.415.555.0100", "+14155550100"),
        ("01114155550100", "+14155550100"),
        ("011442079460958", "+442079460958"),
        ("+442079460958", "+442079460958"),
        ("+49-30-123456", "+4930123456"),
        # A17: every digit counts; the library alone would dial some of these in part
        ("+114155550100", NO_NUMBER),
        ("114155550100", NO_NUMBER),
        ("011114155550100", NO_NUMBER),
        ("+4402079460958", NO_NUMBER),
        ("0014155550100", NO_NUMBER),
        ("5550100", NO_NUMBER),
        ("555", NO_NUMBER),
        ("0", NO_NUMBER),
        ("+0", NO_NUMBER),
        ("+1", NO_NUMBER),
        ("41555501000", NO_NUMBER),
        ("12345678901234567890", NO_NUMBER),
        ("+12345678901234567890", NO_NUMBER),
        ("9" * 64, NO_NUMBER),
        ("", BAD_NUMBER),
        ("+", BAD_NUMBER),
        ("1+4155550100", BAD_NUMBER),
        ("++14155550100", BAD_NUMBER),
        ("14155550100p22", BAD_NUMBER),
        ("14155550100;ext=22", BAD_NUMBER),
        ("1415555ABCD", BAD_NUMBER),
        ("١٤١٥٥٥٥٠١٠٠", BAD_NUMBER),
        # A18: emergency and service numbers
        ("911", TOLL_DENIED),
        ("9-1-1", TOLL_DENIED),
        ("+911", TOLL_DENIED),
        ("112", TOLL_DENIED),
        ("999", TOLL_DENIED),
        ("000", TOLL_DENIED),
        ("411", TOLL_DENIED),
        ("611", TOLL_DENIED),
        ("+4911880", TOLL_DENIED),
        ("+44118118", NO_NUMBER),
        ("+49112", TOLL_DENIED),
        # A18: home numbers that cost
        ("+19005550100", TOLL_DENIED),
        ("9005550100", TOLL_DENIED),
        ("+14159765555", TOLL_DENIED),
        ("+14115550100", TOLL_DENIED),
        ("+19115550100", TOLL_DENIED),
        # A18: +1 is not always home
        ("+12425550100", TOLL_DENIED),  # Bahamas
        ("+12465550100", TOLL_DENIED),  # Barbados
        ("+12645550100", TOLL_DENIED),  # Anguilla
        ("+14415550100", TOLL_DENIED),  # Bermuda
        ("+14735550100", TOLL_DENIED),  # Grenada
        ("+16495550100", TOLL_DENIED),  # Turks and Caicos
        ("+16645550100", TOLL_DENIED),  # Montserrat
        ("+17675550100", TOLL_DENIED),  # Dominica
        ("+18095550100", TOLL_DENIED),  # Dominican Republic
        ("+18295550100", TOLL_DENIED),
        ("+18765550100", TOLL_DENIED),  # Jamaica
        ("+18685550100", TOLL_DENIED),  # Trinidad
        ("+14165550100", TOLL_DENIED),  # Canada
        # A18: satellite and services of no country
        ("+870773111111", TOLL_DENIED),
        ("+881612345678", TOLL_DENIED),
        ("+88213300655", TOLL_DENIED),
        ("+883510012345678", TOLL_DENIED),
        ("+979123456789", TOLL_DENIED),
        ("+80012345678", TOLL_DENIED),
        # A18: Britain is allowed here, its premium and shared cost numbers are not
        ("+449012345678", TOLL_DENIED),
        ("+449812345678", TOLL_DENIED),
        ("+448712345678", TOLL_DENIED),
        ("+448431234567", TOLL_DENIED),
        ("+33142345678", TOLL_DENIED),  # not on the list
    ],
)
def test_a_number(written: str, outcome: str) -> None:
    assert WIDE.number(written) == outcome


@pytest.mark.parametrize(
    ("home", "written", "outcome"),
    [
        ("GB", "02079460958", "+442079460958"),
        ("GB", "442079460958", "+442079460958"),
        ("GB", "00442079460958", "+442079460958"),
        ("GB", "999", TOLL_DENIED),
        ("GB", "118118", TOLL_DENIED),
        ("DE", "030123456", "+4930123456"),
        ("DE", "0112", TOLL_DENIED),
        ("DE", "11833", TOLL_DENIED),
        ("DE", "4915123456789", NO_NUMBER),  # +49 151 23456789, or 04915 123456789?
        ("SE", "468123456", NO_NUMBER),  # +46 8 123456, or 0468 123456?
        ("IT", "0612345678", "+390612345678"),
        ("IT", "3912345678", "+393912345678"),
        ("BR", "1123456789", "+551123456789"),
        ("BR", "0151123456789", NO_NUMBER),  # 15 chooses a carrier
        ("BS", "3221234", NO_NUMBER),  # the library would add 242
        ("AR", "01115123456789", NO_NUMBER),
    ],
)
def test_a_number_at_home(home: str, written: str, outcome: str) -> None:
    assert DialPlan(home).number(written) == outcome


@pytest.mark.parametrize(
    ("home", "written", "outcome"),
    [
        ("BR", "0015493012345678", "+493012345678"),
        ("BR", "005551961234567", NO_NUMBER),
        ("SG", "0014930123456", "+4930123456"),  # no number is +1 493 012...
        ("SG", "0014722123456", NO_NUMBER),
        ("AU", "00116491234567", "+6491234567"),
        ("US", "011442079460958", "+442079460958"),
    ],
)
def test_the_way_abroad(home: str, written: str, outcome: str) -> None:
    """What most of the world reads as another number is not dialled."""
    countries = {"DE", "PE", "NO", "NZ", "GB", "BR", "US"}
    assert DialPlan(home, countries).number(written) == outcome


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_every_country(region: str) -> None:
    """Its ordinary numbers can be faxed from abroad; its emergency numbers from nowhere."""
    plan = DialPlan("US", frozenset({region}))
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.FIXED_LINE)
    if example and phonenumbers.region_code_for_number(example) == region:
        full = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        assert plan.number(full) == plan.number(f"011{full[1:]}") == full
    home, code = DialPlan(region), phonenumbers.country_code_for_region(region)
    urgent = [n for n in ("110", "112", "119", "911", "999")
              if shortnumberinfo.is_emergency_number(n, region)]  # fmt: skip
    for number in urgent:
        for written in (number, f"+{code}{number}", f"+{number}"):
            assert isinstance(home.number(written), Refusal), written


def digits_of(written: str) -> str:
    return written.replace("-", "").replace(".", "")


WRITTEN = st.from_regex(r"\+?[0-9](?:[-.]?[0-9]){0,20}", fullmatch=True)


@settings(deadline=None, max_examples=150)
@given(WRITTEN)
@example("+114155550100")
def test_what_is_dialled_from_america_is_what_was_written(written: str) -> None:
    dialled = DialPlan("US", frozenset(phonenumbers.SUPPORTED_REGIONS)).number(written)
    if isinstance(dialled, Refusal):
        return
    digits = digits_of(written)
    meant = {digits} if digits.startswith("+") else {f"+{digits}", f"+1{digits}"}
    if digits.startswith("011"):
        meant.add(f"+{digits[3:]}")
    assert dialled in meant


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(HOMES), WRITTEN)
def test_no_home_leaves_digits_out(home: str, written: str) -> None:
    """At most a prefix comes off in front (trunk, way abroad), and the home code in its place."""
    dialled = DialPlan(home, frozenset(phonenumbers.SUPPORTED_REGIONS)).number(written)
    if isinstance(dialled, Refusal):
        return
    digits, code = digits_of(written), str(phonenumbers.country_code_for_region(home))
    if digits.startswith("+"):
        assert dialled == digits
        return
    prefixes = [digits[: len(digits) - len(rest)] for rest in (dialled[1:], dialled[1 + len(code):])
                if digits.endswith(rest)]  # fmt: skip
    assert (
        min(map(len, prefixes)) <= 6
    )  # the longest way abroad: 14 17 00 11 in Australia is refused


ADDRESS = st.one_of(
    st.text(),
    st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.text(alphabet='0123456789+-.@()<>"%!:[]faxloc \0\r\n\t\u0660\u212a', max_size=80),
    st.tuples(st.text(alphabet="0123456789+-.", max_size=30), st.sampled_from(["@", "@x@", ""]),
              st.sampled_from(["fax.local", "FAX.LOCAL", "fax.local.", "x"])).map("".join),
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(ADDRESS)
def test_any_text_has_an_answer(text: str) -> None:
    number = US.number(text)
    if isinstance(number, Refusal):
        assert number.reply[:3] in {"501", "550"}
    else:
        digits = digits_of(text)
        assert number in {digits, f"+{digits}", f"+1{digits}", f"+{digits.removeprefix('011')}"}
    assert all(sentence.isprintable() for sentence in US.explain(text))


@pytest.mark.parametrize(
    ("written", "sentences"),
    [
        ("1-415-555-0100", [
            "Read as +14155550100; home is US.", "Its country is US; the list has DE, GB, US.",
            "Its type is fixed line or mobile.",
            "Allowed: its country is on the list and calls there cost no extra."]),
        ("+33142345678", [
            "Read as +33142345678; home is US.", "Its country is FR; the list has DE, GB, US.",
            "Its type is fixed line.", "Denied: its country is not on the list."]),
        ("+870773111111", [
            "Read as +870773111111; home is US.", "Its country is none; the list has DE, GB, US.",
            "Its type is mobile.", "Denied: its country is not on the list."]),
        ("+449201234567", [
            "Read as +449201234567; home is US.", "Its country is GB; the list has DE, GB, US.",
            "Warning: not assigned yet, as far as the number lists know.",
            "Denied: calls there cost extra."]),
        ("+499002123456", [
            "Read as +499002123456; home is US.", "Its country is DE; the list has DE, GB, US.",
            "Warning: not assigned yet, as far as the number lists know.",
            "Denied: calls there cost extra."]),
        ("+12232345678", [
            "Read as +12232345678; home is US.", "Its country is US; the list has DE, GB, US.",
            "Its type is fixed line or mobile.",
            "Allowed: its country is on the list and calls there cost no extra."]),
        ("+442512345678", [
            "Read as +442512345678; home is US.", "Its country is GB; the list has DE, GB, US.",
            "Warning: not assigned yet, as far as the number lists know.",
            "Allowed: its country is on the list and calls there cost no extra."]),
        ("911", ["Denied: an emergency or service number."]),
        ("5550100", ["Denied: digits are missing or too many."]),
        ("+0", ["Denied: no country's numbers look like this."]),
        ("+114155550100", ["Denied: digits are left over, or it can be read in two ways."]),
        ("4915123456789", ["Denied: digits are left over, or it can be read in two ways."]),
        ("(206) 555-1234", ["Denied: not written as a number such as +14155550100."]),
        ("\x1b[2J", ["Denied: not written as a number such as +14155550100."]),
    ],
)  # fmt: skip
def test_a_verdict_is_explained(written: str, sentences: list[str]) -> None:
    home = "DE" if written.startswith("4915") else "US"
    assert DialPlan(home, WIDE.allowed).explain(written) == sentences


def test_services_of_no_country_cannot_be_allowed() -> None:
    plan = DialPlan("US", frozenset({"001", ""}))
    assert plan.number("+870773111111") == plan.number("+979123456789") == TOLL_DENIED


def test_a_refusal_is_its_reply() -> None:
    refusal = Refusal.COMMENT
    assert (str(refusal), refusal.reply, refusal.event) == (COMMENT, COMMENT, "comment")
    assert type(str(refusal)) is str


@settings(deadline=None, max_examples=150)
@given(ADDRESS)
def test_a_mask_never_tells_the_number(text: str) -> None:
    shown = masked(text)
    assert shown.isprintable()
    assert sum(c.isdigit() for c in shown) <= 7


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+14155550100", "+1•••0100"), ("+442079460958", "+44•••0958"),
        ("+88161234", "+881•••1234"), ("+8816123", "•••"),
        ("+354123", "•••"), ("14155550100", "•••0100"), ("911", "•••"), ("", "•••"), ("ann", "•••"),
        ("+\u0661\u0662", "•••"), ("+1\n4155550100\x1b[2J", "+1•••1002"),
    ],
)  # fmt: skip
def test_masked(number: str, shown: str) -> None:
    assert masked(number) == shown
