"""PROXY headers byte for byte, whole and cut at every place, and what is none."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doors.smtp.proxy import LONGEST, BadProxyError, Proxied, read

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = bytes((192, 0, 2, 1, 198, 51, 100, 2)) + struct.pack("!HH", 56324, 25)
V6 = bytes.fromhex("20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "02") + b"\0\1\0\2"


def v2(command: int, family: int, body: bytes, length: int | None = None) -> bytes:
    said = len(body) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, said) + body


HEADERS = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n", "192.0.2.1"),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n", "255.255.255.255"),
    (b"PROXY TCP6 2001:db8::1 2001:DB8::2 56324 25\r\n", "2001:db8::1"),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1"),
    (b"PROXY UNKNOWN\r\n", ""),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", ""),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", ""),
    (v2(0x21, 0x11, V4), "192.0.2.1"),
    (v2(0x21, 0x21, V6), "2001:db8::1"),
    (v2(0x21, 0x21, b"\0" * 10 + b"\xff\xff" + V4[:4] + V6[16:]), "192.0.2.1"),
    (v2(0x21, 0x11, V4 + b"\x04\x00\x03abc"), "192.0.2.1"),
    (v2(0x21, 0x11, V4 + b"x" * (LONGEST - 28)), "192.0.2.1"),
    (v2(0x21, 0x00, b""), ""),
    (v2(0x20, 0x00, b""), ""),
    (v2(0x20, 0x11, V4), ""),
    (v2(0x20, 0x11, b"odd"), ""),
]


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_a_header(header: bytes, source: str) -> None:
    """What follows is the client's, and every part of a header asks for the rest."""
    assert read(header) == Proxied(source, len(header))
    assert read(header + b"EHLO x\r\n") == Proxied(source, len(header))
    assert [read(header[:end]) for end in range(len(header))] == [None] * len(header)


@pytest.mark.parametrize(
    "data",
    [
        b"EHLO x\r\n",
        b"PROXY\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
        b" PROXY UNKNOWN\r\n",
        b"PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP4 192.0.2.١ 198.51.100.2 1 2\r\n".encode(),
        b"PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8:::2 1 2\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY UNKNOWNx\r\n",
        b"PROXY UNKNOWN\n\r\n",
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        b"PROXY UNKNOWN " + b"x" * 93,
        b"\r\n\r\n\x00\r\nQUIT\r",
        v2(0x11, 0x11, V4),
        v2(0x22, 0x11, V4),
        v2(0x21, 0x11, V4[:-1]),
        v2(0x21, 0x21, V6[:-1]),
        v2(0x21, 0x21, V4),
        v2(0x21, 0x12, V4),
        v2(0x21, 0x31, b"x" * 216),
        v2(0x21, 0x11, b"", LONGEST - 15),
        v2(0x20, 0x00, b"", 65535),
    ],
)
def test_no_header(data: bytes) -> None:
    with pytest.raises(BadProxyError):
        read(data)


@given(st.sampled_from(HEADERS), st.data())
def test_a_header_with_a_wrong_byte_is_never_longer_than_allowed(
    header: tuple[bytes, str], data: st.DataObject
) -> None:
    whole = bytearray(header[0] + b"EHLO x\r\n" * 100)
    at = data.draw(st.integers(0, len(header[0]) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(whole))
    except BadProxyError:
        return
    assert found, "it waits for more than the longest header"
    assert found.length <= LONGEST
