"""Four thousand numbers and what public numbering plans say of them: none is dialled by mistake.

The verdicts come from the plans quoted at each range, never from the library that the gateway
asks: NANPA (area codes, N11, 555, 976), ITU-T E.164 country codes, Ofcom's National Telephone
Numbering Plan, the Nummernplan of the Bundesnetzagentur, Arcep's plan national de numérotation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gateway.numbers import DialPlan, Refusal

US = DialPlan("US", frozenset({"US", "GB", "DE", "FR"}))
GB = DialPlan("GB", frozenset({"GB", "US"}))
DE = DialPlan("DE")
FR = DialPlan("FR", frozenset({"FR", "DE"}))
EU = DialPlan("US", frozenset({"AT", "CH", "ES", "IT", "NL", "BE", "AU", "JP", "PL", "SE"}))
HOMES = {"US": US, "GB": GB, "DE": DE, "FR": FR}
ABROAD = {"US": "011", "GB": "00", "DE": "00", "FR": "00"}
TRUNK = {"US": "1", "GB": "0", "DE": "0", "FR": "0"}
CODE = {"US": "1", "GB": "44", "DE": "49", "FR": "33"}


@dataclass(frozen=True)
class Range:
    """Numbers that begin alike. `beginnings` and `rests` are combined; spaces are for reading."""

    what: str
    code: str  # of the country, or of the service
    beginnings: str
    rests: str

    def numbers(self) -> Iterator[str]:
        for beginning in self.beginnings.split():
            for rest in self.rests.split():
                yield f"{beginning}{rest}"


def spellings(home: str, code: str, national: str) -> Iterator[str]:
    """Every way in which somebody at home may write it."""
    full, way = f"{code}{national}", ABROAD[home]
    yield from (f"+{full}", f"{way}{full}", f"{way}-{code}-{national}",
                f"+{code}.{national[:3]}.{national[3:]}")  # fmt: skip
    if code == CODE[home]:
        yield from (f"{TRUNK[home]}{national}", f"{TRUNK[home]}{national[:3]}-{national[3:]}")
        if home == "US":
            yield from (national, f"{national[:3]}-{national[3:6]}-{national[6:]}")


TEN = "0 1 2 3 4 5 6 7 8 9"
HUNDRED = " ".join(f"{n:02}" for n in range(100))

DENIED = [
    # NANPA: area codes of +1 outside the United States and Canada, each its own tariff
    Range("Caribbean and Atlantic", "1",
          "242 246 264 268 284 345 441 473 649 658 664 721 758 767 784 809 829 849 868 869 876",
          "2345678 5550100"),
    Range("Pacific and Caribbean territories", "1", "340 670 671 684 787 939", "2345678 6331234"),
    Range("Canada", "1",
          "204 226 236 249 250 289 306 343 365 367 403 416 418 431 437 438 450 506 514 519 548 579"
          " 581 587 604 613 639 647 672 705 709 778 780 782 807 819 825 867 873 902 905",
          "2345678"),
    Range("Canada, non-geographic", "1", "600 622", "2345678"),
    Range("premium", "1", "900", "2345678 5550100 9765555 4567890 2000000 0000000 1234567"),
    Range("premium exchanges 976", "1",
          "201 202 212 213 305 310 312 404 415 503 602 617 702 713 808 818 907 917 972",
          "9760000 9765555"),
    Range("directory assistance 555-1212", "1", "206 212 310 312 415 512 617 713 907", "5551212"),
    Range("N11 is no area code", "1", "211 311 411 511 611 711 811 911", "2345678 5550100"),
    Range("N11 is no exchange", "1", "206 212 415", "2110100 4110100 6110100 9110100 9111234"),
    Range("carrier and government services", "1", "456 700 710", "2345678 5554141"),
    Range("personal numbers", "1", "500 521 522 533 544 566 577 588", "2345678"),
    # ITU-T E.164, list of assigned country codes: services of no country
    Range("Inmarsat", "870", "773 776 782 763", "111111 654321 123456"),
    Range("universal personal", "878", "10 88", "1234567890 0000000000"),
    Range("Iridium, Globalstar, Thuraya", "881", "6 7 8 9 0 1 2 3", "12345678 31234567 99999999"),
    Range("international networks", "882", "13 16 22 32 34 35 36 39 42 46 98 99",
          "300655 12345678 1234567"),
    Range("international networks", "883", "100 110 120 130 140 150 210 5100", "01234567 12345678"),
    Range("disaster relief", "888", "123 999", "12345678"),
    Range("international premium rate", "979", "0 1 2 3 5 9", "23456789 12345678"),
    Range("international freephone", "800", "1 2 9", "2345678"),
    Range("international shared cost", "808", "1 2 9", "2345678"),
    Range("trial", "991", "001", "1234567"),
    # countries that are on nobody's list here, some of them known for fraud
    Range("Cuba, Somalia, Sierra Leone, Latvia, Tuvalu and others", "",
          "53 252 232 371 688 675 216 220 224 245 257 261 263 269 291 355 370 375 381 387 678 677",
          "2345678 21234567 712345678"),
    Range("Guernsey, Jersey, Man under +44", "44", "1481 1534 1624",
          " ".join(f"{n}12345" for n in TEN.split())),
    Range("their mobiles", "44", "7781 7797 7624 7839", "100123 412345"),
    # Ofcom: 09 premium; 084 and 087 service charge; 070 personal; 118 directory enquiries
    Range("premium", "44", "9", " ".join(f"{n}1234567" for n in HUNDRED.split())),
    Range("premium", "44", "90 91 98", "01234567 79999999 20000000 55500000"),
    Range("service charge", "44", "84 87", " ".join(f"{n}1234567" for n in TEN.split())),
    Range("service charge", "44", "84 87", " ".join(f"{n}6000000" for n in TEN.split())),
    Range("Childline's old short 0845", "44", "845464", "1 7"),
    Range("personal", "44", "70", "01234567 12345678 71234567 99999999"),
    Range("directory enquiries", "44", "118", "118 500 000 247 888 999"),
    # Bundesnetzagentur: 0900 premium (0190 until 2005), 0180 service, 0137 mass calls, 0138,
    # 012 trial services, 0700 personal, 118 directory enquiries
    Range("premium", "49", "900", " ".join(f"{n}123456" for n in TEN.split())),
    Range("premium", "49", "900", " ".join(f"{n}555000" for n in TEN.split())),
    Range("premium, old", "49", "190", " ".join(f"{n}12345" for n in TEN.split())),
    Range("service", "49", "180", " ".join(f"{n}123456" for n in TEN.split())),
    Range("service", "49", "180", " ".join(f"{n}12345" for n in TEN.split())),
    Range("service", "49", "180", " ".join(f"{n}1234" for n in TEN.split())),
    Range("mass calls", "49", "137", " ".join(f"{n}123456" for n in TEN.split())),
    Range("mass calls", "49", "137", " ".join(f"{n}12345" for n in TEN.split())),
    Range("virtual networks and votes", "49", "138", "1234 12345 123456"),
    Range("trial services", "49", "12", "0123456 1234567 9123456"),
    Range("personal", "49", "700", "12345678 87654321 00000000"),
    Range("directory enquiries", "49", "118", "80 33 11 99 000 000000"),
    # Arcep: numéros à valeur ajoutée 081 to 089, 3BPQ, 118XYZ
    Range("added value", "33", "81 82 83 84 89", " ".join(f"{n}123456" for n in TEN.split())),
    Range("added value", "33", "81 82 83 84 89", " ".join(f"{n}000099" for n in TEN.split())),
    Range("directory enquiries", "33", "118", "218 712 000 700"),
    Range("short added value", "33", "3", "615 639 000 949 250"),
]  # fmt: skip

ELSEWHERE = [  # premium and shared-cost ranges of other plans, for a gateway that may call there
    Range("RTR: service numbers", "43", "810 820 821 828 900 901 930 931",
          "123456 300000 999999 012345"),
    Range("BAKOM: shared cost and premium", "41", "840 842 844 848 900 901 906",
          "123456 000000 555555 999999"),
    Range("CNMC: shared cost, premium, votes", "34", "803 806 807 901 902 905",
          "123456 000000 555555 999999"),
    Range("AGCOM: premium", "39", "899 892 895", "123456 000000 555555 999999"),
    Range("ACM: paid information", "31", "900 906 909", "1234567 0123 1234 5555555"),
    Range("BIPT: premium", "32", "902 903 904 905 906 907 909", "12345 00000 55555 99999"),
    Range("ACMA: premium", "61", "190", "2123456 0000000 1555555 6999999"),
    Range("MIC: premium", "81", "990", "123456 000000 555555 999999"),
    Range("UKE: premium", "48", "700 701 703 704 708", "123456 000000 555555 999999"),
    Range("PTS: premium", "46", "900 939 944", "1234567 0000000 12345 55555"),
]  # fmt: skip

ALLOWED = [
    # NANPA: area codes in service in the United States
    Range("geographic", "1",
          "201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 224 240 301 302 303 304"
          " 305 307 308 310 312 314 315 317 401 402 404 405 406 408 412 414 415 502 503 505 512 513"
          " 601 602 603 605 606 612 614 615 617 701 702 703 704 713 801 802 803 805 901 907 916",
          "2345678 5550100"),
    Range("toll-free", "1", "800 833 844 855 866 877 888", "2345678 9876543"),
    # Ofcom: 01 and 02 geographic, 03 at their rate, 080 free; 020 7946 0xxx is kept for drama
    Range("geographic", "44", "20", "79460958 79460000 31234567 80001234"),
    Range("geographic", "44", "121 131 141 151 161 113 117 118", "4960123 4960999 2345678"),
    Range("geographic", "44", "1223 1273 1865", "234567 456789"),
    Range("at geographic rate", "44", "300 330 345 370", "1234567"),
    Range("free", "44", "808", "1570123"),
    # Bundesnetzagentur: the area codes, Ortsnetzkennzahlen
    Range("geographic", "49", "30 40 69 89", "123456 1234567 12345678"),
    Range("geographic", "49", "221 211 711 341", "123456 1234567"),
    # Arcep: 01 to 05 geographic, 09 not geographic, 080 free
    Range("geographic", "33", "142 155 240 320 491 556", "345678 272727"),
    Range("not geographic", "33", "97", "0123456 2345678"),
]  # fmt: skip

WRITTEN: dict[str, str] = {
    # what is dialled in an emergency or for a service, at home and from abroad
    "US": "911 9-1-1 9.1.1 +911 1911 +1911 1-911 01111911 011911 9911 112 +112 1-1-2 999 000 08"
          " 110 119 211 311 411 511 611 711 811 +1411 1411 988 0 00 01 10 011 411.1 611-611"
          " 950 9501234 1010288 101028814155550100 310 3101234 +13101234 13101234 +1911911"
          " 0112 00112 00911 01144999 +44999 +44112 +49112 +49110 +3318 +3317 +3315 +33112"
          " 5551212 15551212 +15551212 411411 911911 9114155550100 14155550100911",
    "GB": "999 112 911 +44999 00999 0044999 +44112 101 111 105 116123 119 118118 118500 0118118"
          " 1471 123 100 155 195 1571 0800 118-118 +44101 +44111 1818 18000 00112",
    "DE": "110 112 0110 0112 911 999 +49110 +49112 0049112 115 116117 116116 11833 11880 118000"
          " 0118 019 01033 010330301234567 +49115 +49116117 1100 00110 032 0180 0900",
    "FR": "15 17 18 112 114 115 119 191 196 197 911 999 3615 3639 3900 118218 118712 1013 1023"
          " +3315 +3317 +33112 0033112 +33115 +33119 +333615 00112 116000 116117 08 0836",
}  # fmt: skip

WRONG = [  # digits too many, too few or in the wrong place: no reading is taken for them
    "+114155550100", "114155550100", "011114155550100", "0014155550100", "0114155550100",
    "+0114155550100", "+0014155550100", "+4402079460958", "01104402079460958", "+44442079460958",
    "+490301234567", "+330142345678", "+33330142345678", "5550100", "4155550",
    "415555010", "41555501000", "+1415555010", "+141555501000", "1415555010", "141555501000",
    "+4420794609588", "+3314234567", "+331423456789", "+1", "+44", "+0", "+00",
    "+12345678901234567890", "12345678901234567890", "9" * 64, "914155550100", "814155550100",
    "+1 4155550100", "(415)5550100", "+1-(415)-5550100", "1415555O100", "+1415555010a",
    "14155550100#", "*6714155550100", "14155550100,9", "14155550100;ext=9", "14155550100x9",
    "tel:+14155550100", "sip:14155550100", "+14155550100+", "++14155550100", "1+4155550100",
    "-14155550100", "14155550100-", "1--4155550100", "+.14155550100", "+-14155550100", "", "+",
    "1415555010\u0660", "\uff0b14155550100", "\uff11415550100", "14155550100\n", " 14155550100",
]  # fmt: skip


def table() -> Iterator[tuple[str, str, str | None]]:
    """(home, as written, the number or None = denied)."""
    for home, plan in HOMES.items():
        codes = {CODE[country] for country in plan.allowed or {home}}
        for kind in DENIED:
            if home == "US" or kind.code in codes:
                yield from ((home, written, None) for national in kind.numbers()
                            for written in spellings(home, kind.code, national))  # fmt: skip
        for kind in ALLOWED:
            for national in kind.numbers():
                number = f"+{kind.code}{national}" if kind.code in codes else None
                yield from ((home, written, number)
                            for written in spellings(home, kind.code, national))  # fmt: skip
        yield from ((home, written, None) for written in WRITTEN[home].split())
    yield from (("US", written, None) for written in WRONG)


ABROAD_TABLE = [
    written
    for kind in ELSEWHERE
    for national in kind.numbers()
    for written in spellings("US", kind.code, national)
]


TABLE = list(table())


def test_the_table_is_large_and_says_nothing_twice_differently() -> None:
    verdicts = {(home, written): verdict for home, written, verdict in TABLE}
    assert len(verdicts) >= 4000
    assert all(verdicts[home, written] == verdict for home, written, verdict in TABLE)
    assert sum(verdict is None for verdict in verdicts.values()) >= 2500


@pytest.mark.parametrize("home", HOMES)
def test_nothing_denied_is_dialled(home: str) -> None:
    wrong = [
        (written, outcome) for at, written, verdict in TABLE if at == home and verdict is None
        if not isinstance(outcome := HOMES[home].number(written), Refusal)
    ]  # fmt: skip
    assert wrong == []


def test_the_ranges_of_other_plans_are_denied_where_their_country_is_allowed() -> None:
    assert [w for w in ABROAD_TABLE if not isinstance(EU.number(w), Refusal)] == []


@pytest.mark.parametrize("home", HOMES)
def test_what_is_allowed_is_dialled_as_written(home: str) -> None:
    wrong = [
        (written, verdict, outcome) for at, written, verdict in TABLE if at == home and verdict
        if (outcome := HOMES[home].number(written)) != verdict
    ]  # fmt: skip
    assert wrong == []
