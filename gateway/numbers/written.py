"""A number as people write it, as we keep it and as logs show it; and why one is refused."""

from __future__ import annotations

import re
from typing import ClassVar, NewType, Self

import phonenumbers

E164 = NewType("E164", str)
"""A number in international form, `+` and digits. Only `DialPlan.number` makes one."""


class Refusal(str):
    """Why a recipient is not faxed: the SMTP reply itself; `event` names it in the log."""

    __slots__ = ("event",)
    event: str

    BAD_NUMBER: ClassVar[Refusal]
    COMMENT: ClassVar[Refusal]
    NO_NUMBER: ClassVar[Refusal]
    TOLL_DENIED: ClassVar[Refusal]
    RELAY_TRY: ClassVar[Refusal]

    def __new__(cls, reply: str, event: str) -> Self:
        refusal = super().__new__(cls, reply)
        refusal.event = event
        return refusal

    @property
    def reply(self) -> str:
        return str(self)


Refusal.BAD_NUMBER = Refusal("501 5.1.3 Bad number syntax", "bad_number")
Refusal.COMMENT = Refusal(
    "553 5.1.3 Brackets, comments and spaces are never dialled: write +14155550100@", "comment"
)
Refusal.NO_NUMBER = Refusal("550 5.1.1 Not a valid fax number", "no_number")
Refusal.TOLL_DENIED = Refusal("550 5.7.1 Destination not permitted", "toll_denied")
Refusal.RELAY_TRY = Refusal("554 5.7.1 Relay access denied", "relay_try")

LONGEST_WRITTEN = 64  # characters; a number has 15 digits and a few separators
_WRITTEN = re.compile(r"\+?[0-9](?:[-.]?[0-9])*")  # 1-206-555-1234, +1.206.555.1234


def plain(written: str) -> str:
    """A written number without its separators `-` and `.`; "" = it is none.

    The only reader of numbers: addresses, options, aliases and the dial plan all ask here.
    """
    whole = len(written) <= LONGEST_WRITTEN and _WRITTEN.fullmatch(written)
    return re.sub(r"[-.]", "", written) if whole else ""


def masked(number: str) -> str:
    """For logs: country code and the last four digits, `+1•••1234`."""
    digits = re.sub(r"[^0-9]", "", number)
    if len(digits) < 8:
        return "•••"
    if not number.startswith("+"):
        return f"•••{digits[-4:]}"
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    code = next((digits[:n] for n in (1, 2, 3) if int(digits[:n]) in codes), "")
    return f"+{code}•••{digits[-4:]}"
