"""What a sender says about notices in MAIL and RCPT: RET, ENVID, NOTIFY, ORCPT (RFC 3461 §4). Pure.

Each function takes the value as written and returns it as a fax carries it, or None when it is
bad: then the answer is 501 (§5.1). That no parameter comes twice (§4.5) is the grammar's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

LONGEST_ENVID = 100  # §4.4, characters as written
LONGEST_ORCPT = 500  # §4.2
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*+")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")  # as IANA registers them
_EVENTS = ("SUCCESS", "FAILURE", "DELAY")


def ret(written: str) -> str | None:
    """FULL or HDRS: what of the message comes back. We return headers only, whichever it is."""
    value = written.upper()
    return value if value in ("FULL", "HDRS") else None


def envid(written: str) -> str | None:
    """The sender's own name for this mail, decoded."""
    return _text(written) or None if len(written) <= LONGEST_ENVID else None


def notify(written: str) -> str | None:
    """NEVER, or which of SUCCESS, FAILURE and DELAY the sender wants to hear of, in this order."""
    given = written.upper().split(",")
    if given == ["NEVER"]:
        return "NEVER"
    if len(set(given)) < len(given) or not set(given) <= set(_EVENTS):
        return None
    return ",".join(event for event in _EVENTS if event in given)


def orcpt(written: str) -> str | None:
    """`rfc822;ann@example.com`: the address that the sender first wrote, decoded."""
    kind, semicolon, address = written.partition(";")
    text = _text(address)
    if len(written) > LONGEST_ORCPT or not semicolon or not _ADDRESS_TYPE.fullmatch(kind):
        return None
    return None if text is None else f"{kind};{text}"


def _text(written: str) -> str | None:
    """Xtext (§4) → what it means: printable US-ASCII and nothing else."""
    if not _XTEXT.fullmatch(written):
        return None
    text = _HEX.sub(lambda match: chr(int(match[1], 16)), written)
    return text if text.isascii() and text.isprintable() else None


Parameter = Callable[[str], str | None]
OF_MAIL: Mapping[str, Parameter] = MappingProxyType({"RET": ret, "ENVID": envid})
OF_RCPT: Mapping[str, Parameter] = MappingProxyType({"NOTIFY": notify, "ORCPT": orcpt})
