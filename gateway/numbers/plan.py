"""The dial plan: what written digits mean at home, and what may be dialled."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache

import phonenumbers
from phonenumbers import (
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberType,
    ValidationResult,
)
from phonenumbers.shortnumberinfo import is_emergency_number, is_valid_short_number_for_region

from gateway.numbers.written import E164, Refusal, plain

_TOLL_RANGES = re.compile(  # whole ranges of the plans, assigned or not
    r"\+(?:1(?:900|.11|...(?:976|.11|5551212))|"  # NANP: premium; police and services; enquiries
    r"44(?:9|8[47]|70)|"  # Ofcom: premium, service charge, personal
    r"49(?:1(?:[0-39]|80)|[79]00)|"  # BNetzA: carriers, enquiries, votes, service, premium
    r"338[1-9]|34905)"  # Arcep: added value; CNMC: votes
)
_TOLL = {  # a personal number is forwarded anywhere at the caller's cost
    PhoneNumberType.PREMIUM_RATE: "premium_rate",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.PERSONAL_NUMBER: "personal_number",
}
_SHORTEST = 7  # digits of a number that is no service number
_EMERGENCY = frozenset({"112", "911", "999", "000"})  # denied in every country


@dataclass(frozen=True, slots=True)
class Reading:
    """How a dial plan understands a written number. `because` is a sentence for people."""

    outcome: E164 | Refusal
    because: str
    number: str = ""  # "" = nothing whole was read
    country: str = ""
    kind: str = ""
    assigned: bool = False


@dataclass(frozen=True)
class DialPlan:
    """What a written number means at home, and where calls may go.

    Only countries of `allowed` are dialled; satellite and other international services belong to
    no country. A number must be possible, it need not be assigned: the lists lag behind.
    """

    home: str = "US"
    allowed: Collection[str] = field(default_factory=frozenset)

    def number(self, written: str) -> E164 | Refusal:
        """The number that these digits mean when they are dialled at home."""
        return _read(written, self.home, frozenset(self.allowed or {self.home})).outcome

    def explain(self, written: str) -> list[str]:
        """Plain sentences: what was read, and why it may be dialled or not."""
        allowed = self.allowed or {self.home}
        reading = _read(written, self.home, frozenset(allowed))
        last = (
            f"{'Denied' if isinstance(reading.outcome, Refusal) else 'Allowed'}: {reading.because}."
        )
        if not reading.number:
            return [last]
        unknown = "Warning: not assigned yet, as far as the number lists know."
        return [
            f"Read as {reading.number}; home is {self.home}.",
            f"Its country is {reading.country}; the list has {', '.join(sorted(allowed))}.",
            f"Its type is {reading.kind}." if reading.assigned else unknown,
            last,
        ]


@lru_cache(maxsize=4096)  # people fax the same few numbers again and again
def _read(written: str, home: str, allowed: frozenset[str]) -> Reading:
    digits = plain(written)
    if not digits:
        return Reading(Refusal.BAD_NUMBER, "not written as a number such as +14155550100")
    if _is_short(digits, home):
        return Reading(Refusal.TOLL_DENIED, "an emergency or service number")
    try:
        number = phonenumbers.parse(digits, home)
    except NumberParseException:
        return Reading(Refusal.NO_NUMBER, "no country's numbers look like this")
    # "possible" alone would also take a number without its area code
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return Reading(Refusal.NO_NUMBER, "digits are missing or too many")
    if not _is_whole(digits, number, home):
        return Reading(Refusal.NO_NUMBER, "digits are left over, or it can be read in two ways")
    return _judged(number, allowed)


def _judged(number: PhoneNumber, allowed: frozenset[str]) -> Reading:
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    region, kind = country(number), phonenumbers.number_type(number)
    because = ""
    if region not in allowed or not region.isalpha():  # "001" is no country
        because = "its country is not on the list"
    elif _is_short(phonenumbers.national_significant_number(number), region):
        because = "an emergency or service number"
    elif kind in _TOLL or _TOLL_RANGES.match(written):
        because = "calls there cost extra"
    elif kind == PhoneNumberType.UNKNOWN and _is_near_toll(number, region):
        because = "not assigned, and calls to its neighbours cost extra"
    return Reading(
        outcome=Refusal.TOLL_DENIED if because else E164(written), number=written,
        because=because or "its country is on the list and calls there cost no extra",
        country=region if region.isalpha() else "none", assigned=kind != PhoneNumberType.UNKNOWN,
        kind=PhoneNumberType.to_string(kind).replace("_", " ").lower(),
    )  # fmt: skip


def _is_near_toll(number: PhoneNumber, region: str) -> bool:
    """Does any number with the same first three digits cost extra?"""
    metadata = PhoneMetadata.metadata_for_region(region)
    national = phonenumbers.national_significant_number(number)
    return any(
        re.fullmatch(kind.national_number_pattern or "", (national[:3] + digit * 14)[:length])
        for kind in filter(None, (getattr(metadata, name) for name in _TOLL.values()))
        for length in kind.possible_length
        for digit in "0123456789"
    )


def _is_whole(digits: str, number: PhoneNumber, home: str) -> bool:
    """Can the digits mean only this number, each of them dialled as it was written?

    The library also drops, moves and puts in some: it reads +1 1 415 555 0100 and +44 020 7946
    0958, and adds a home area code.
    """
    national = phonenumbers.national_significant_number(number)
    full = f"{number.country_code}{national}"
    if national.startswith("0") and not phonenumbers.is_valid_number(number):
        return False  # few countries' numbers begin with 0 (Italy's do)
    if digits.startswith("+"):
        return digits[1:] == full
    if digits == national:  # at home in Germany 49151... is a mobile, not an area code 04915
        return not (digits.startswith(str(number.country_code)) and _is_valid(f"+{digits}"))
    trunk = phonenumbers.ndd_prefix_for_region(home, strip_non_digits=True) or ""
    if digits in (full, trunk + national):
        return True
    metadata = PhoneMetadata.metadata_for_region(home)
    abroad = (metadata and metadata.international_prefix) or ""
    before = digits.removesuffix(full)
    return re.fullmatch(abroad, before) is not None and not (before != "00" and _is_00(digits))


def _is_00(digits: str) -> bool:
    """Is it a good number behind the usual 00 as well?

    0055 51 961234567 is a Brazilian's for most of the world, and a Peruvian's by carrier 55.
    """
    try:
        number = phonenumbers.parse(f"+{digits[2:]}" if digits.startswith("00") else "")
    except NumberParseException:
        return False
    full = f"{number.country_code}{phonenumbers.national_significant_number(number)}"
    return full == digits[2:] and bool(phonenumbers.is_valid_number(number))


def _is_valid(written: str) -> bool:
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(written)))
    except NumberParseException:
        return False


def _is_short(digits: str, region: str) -> bool:
    """Emergency and service numbers: nobody answers those with a fax machine."""
    bare = digits.removeprefix("+")
    if bare in _EMERGENCY or is_emergency_number(bare, region):
        return True
    number = PhoneNumber(phonenumbers.country_code_for_region(region), int(bare))
    return len(bare) < _SHORTEST and bool(is_valid_short_number_for_region(number, region))


def country(number: PhoneNumber) -> str:
    """The region a number belongs to, "" = nobody can say.

    An unassigned number under a shared code belongs where its nearest neighbours do: Caribbean
    +1 numbers, and those of the islands under +44, cost more than a home call.
    """
    if known := phonenumbers.region_code_for_number(number):
        return str(known)
    code, national = number.country_code or 0, phonenumbers.national_significant_number(number)
    shared = len(phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ())) > 1
    for kept in range(5 if shared else 0, 2 if code == 1 else 0, -1):
        near = ((national[:kept] + digit * 14)[: len(national)] for digit in "2357")
        numbers = (PhoneNumber(code, int(n), None, number.italian_leading_zero) for n in near)
        if regions := set(filter(None, map(phonenumbers.region_code_for_number, numbers))):
            return str(regions.pop()) if len(regions) == 1 else ""
    return "" if code == 1 else str(phonenumbers.region_code_for_country_code(code))


def load_all() -> None:
    """All that is known of numbers, now: later it is read from files, number by number.

    When a file cannot be opened then, phonenumbers keeps its lock and the next look-up never ends.
    """
    PhoneMetadata.load_all()
    for region in list(PhoneMetadata._short_region_available):  # noqa: SLF001 - load_all leaves them out
        PhoneMetadata.short_metadata_for_region(region)
