"""The PROXY header, version 1 and 2, of a load balancer that is on our list; never of another peer.

Pure. The specification is HAProxy's `proxy-protocol.txt`; what it leaves to us is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

LONGEST = 536  # bytes: what fits the smallest segment must do, the extras of version 2 too
_LONGEST_V1 = 107

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_PORT = re.compile(r"0|[1-9]\d{0,4}", re.ASCII)
_FAMILIES = {"TCP4": IPv4Address, "TCP6": IPv6Address}
_LOCAL, _PROXY = 0x20, 0x21  # version 2 and the command
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_BEFORE_ADDRESSES = 16
_TWO_OF_V4, _TWO_OF_V6 = 12, 36  # addresses with their ports


class BadProxyError(ValueError):
    """Not a PROXY header: hang up without a word."""


@dataclass(frozen=True, slots=True)
class Proxied:
    source: str  # who connected to the balancer, "" = the balancer itself (a health check)
    length: int  # bytes that belong to the header; the rest is the client's


def read(data: bytes) -> Proxied | None:
    """What a connection began with; None = more is needed. Raises BadProxyError."""
    if data.startswith(_V2):
        return _version_2(data)
    if data.startswith(_V1):
        return _version_1(data)
    if _V1.startswith(data) or _V2.startswith(data):
        return None
    raise BadProxyError("no PROXY header")


def _version_1(data: bytes) -> Proxied | None:
    end = data.find(b"\r\n", 0, _LONGEST_V1)
    if end < 0:
        if len(data) >= _LONGEST_V1:
            raise BadProxyError("a line of PROXY without an end")
        return None
    match data[:end].decode("ascii", "replace").split(" "):
        case ["PROXY", "UNKNOWN", *_]:
            return Proxied("", end + 2)
        case ["PROXY", "TCP4" | "TCP6" as family, source, there, port, other]:
            _check_port(port)
            _check_port(other)
            _address(family, there)
            return Proxied(_address(family, source), end + 2)
    raise BadProxyError("a line of PROXY that is none")


def _check_port(text: str) -> None:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise BadProxyError("no such port")


def _address(family: str, given: str | bytes) -> str:
    if isinstance(given, str) and "%" in given:
        raise BadProxyError("an address with a scope")
    try:
        address = _FAMILIES[family](given)
    except ValueError as error:
        raise BadProxyError(str(error)) from None
    return str(getattr(address, "ipv4_mapped", None) or address)


def _version_2(data: bytes) -> Proxied | None:
    if len(data) < _BEFORE_ADDRESSES:
        return None
    command, family = data[12], data[13]
    length = _BEFORE_ADDRESSES + int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY) or length > LONGEST:
        raise BadProxyError("a header of PROXY version 2 that is none, or too long")
    if len(data) < length:
        return None
    addresses = data[_BEFORE_ADDRESSES:length]
    if command == _LOCAL or family == _UNSPECIFIED:
        return Proxied("", length)
    if family == _TCP4 and len(addresses) >= _TWO_OF_V4:
        return Proxied(_address("TCP4", addresses[:4]), length)
    if family == _TCP6 and len(addresses) >= _TWO_OF_V6:
        return Proxied(_address("TCP6", addresses[:16]), length)
    raise BadProxyError("neither TCP over IPv4 nor over IPv6")
