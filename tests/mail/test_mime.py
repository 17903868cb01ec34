"""The structure of a message: exact limits, and parts where the boundaries say (A22)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail import mime
from gateway.mail.mime import DASHED_LINES, DEPTH, HEADER_BYTES, HEADER_LINES, PARTS

BOX = b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n"


def bodies(data: bytes) -> list[bytes]:
    return [data[leaf.body : leaf.end] for leaf in mime.leaves(data)]


def kinds(data: bytes) -> list[list[str]]:
    return [[one.type for one in leaf.containers] for leaf in mime.leaves(data)]


def parts(*content: bytes, boundary: bytes = b"b") -> bytes:
    lines = b"".join(b"--" + boundary + b"\r\n" + one + b"\r\n" for one in content)
    return BOX % boundary + lines + b"--" + boundary + b"--\r\n"


def nested(depth: int) -> bytes:
    """So many multiparts inside each other, a text in the innermost."""
    one = b"\r\nx"
    for level in range(depth):
        one = parts(one, boundary=b"b%d" % level)
    return one


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", [b""]),
        (b"A: 1\r\n\r\nbody\r\n", [b"body\r\n"]),
        (b"body without headers", [b"body without headers"]),
        (b"A: 1\r\nno field\r\n", [b"no field\r\n"]),
        (b"A: 1\nB: 2\n\nbody", [b"body"]),
        (b"From ann Mon\nA: 1\n\nbody", [b"body"]),
        (parts(b"\r\none", b"\r\ntwo"), [b"one", b"two"]),
        (parts(b"\r\none", b"\r\ntwo").replace(b"\r", b""), [b"one", b"two"]),
        (parts(b"A: 1\r\n\r\none"), [b"one"]),
        (parts(b"A: 1"), [b""]),  # headers, and no empty line
        (parts(b""), [b""]),
        (parts(), []),
        (parts(b"\r\n"), [b""]),
        (parts(b"\r\n\r\n"), [b"\r\n"]),
        (parts(b"\r\n--bb\r\n--b-\r\n -- b"), [b"--bb\r\n--b-\r\n -- b"]),
        (BOX % b"b" + b"preamble\r\n--b\r\n\r\none\r\n--b--\r\nepilogue", [b"one"]),
        (BOX % b"b" + b"--b\r\n\r\none", [b"one"]),
        (BOX % b"b" + b"--b\r\n\r\none\r\n--b--\r\n--b\r\n\r\ntwo\r\n--b--", [b"one", b"two"]),
        (BOX % b"b" + b"no boundary ever", [b"no boundary ever"]),
        (BOX % b'""' + b"--\r\nx", [b"--\r\nx"]),
        (b"Content-Type: multipart/mixed\r\n\r\nx", [b"x"]),
        (parts(parts(b"\r\none", boundary=b"in"), b"\r\ntwo"), [b"one", b"two"]),
        (parts(BOX % b"in" + b"--in\r\n\r\none", b"\r\ntwo"), [b"one", b"two"]),
        (parts(BOX % b"in" + b"lost", b"\r\ntwo"), [b"lost", b"two"]),
        (parts(b"Content-Type: message/rfc822\r\n\r\nA: 1\r\n\r\none", b"\r\ntwo"),
         [b"one", b"two"]),
        (b"Content-Type: message/rfc822\r\n\r\n" + parts(b"\r\none"), [b"one"]),
        (b"Content-Type: message/rfc822\r\n\r\n" + BOX % b"in" + b"lost", [b"lost"]),
        (b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==",
         [b"QQ=="]),
        (BOX.replace(b"mixed", b"digest") % b"b" + b"--b\r\n\r\nA: 1\r\n\r\none\r\n--b--",
         [b"one"]),
        (parts(b"\r\none", boundary=b'"a b?"').replace(b'--"a b?"', b"--a b?"), [b"one"]),
        (parts(b"\r\none", boundary=b"x" * 200), [b"one"]),
    ],
)  # fmt: skip
def test_bodies(data: bytes, found: list[bytes]) -> None:
    assert bodies(data) == found


def test_containers() -> None:
    inner = b"Content-Type: message/rfc822\r\n\r\n" + parts(b"\r\none", boundary=b"in")
    assert kinds(parts(inner, b"\r\ntwo")) == [
        ["multipart/mixed", "message/rfc822", "multipart/mixed"],
        ["multipart/mixed"],
    ]


HEADS = (b"A: " + b"x" * 1000 + b"\r\n") * 8


@pytest.mark.parametrize(
    ("data", "too"),
    [
        (parts(*[b"\r\nx"] * PARTS), ""),
        (parts(*[b"\r\nx"] * (PARTS + 1)), "it has too many parts"),
        (parts(parts(*[b"\r\nx"] * (PARTS - 1), boundary=b"in")), ""),
        (parts(parts(*[b"\r\nx"] * PARTS, boundary=b"in")), "it has too many parts"),
        (nested(DEPTH), ""),
        (nested(DEPTH + 1), "it is nested too deeply"),
        (b"Content-Type: message/rfc822\r\n\r\n" * DEPTH, ""),
        (b"Content-Type: message/rfc822\r\n\r\n" * (DEPTH + 1), "it is nested too deeply"),
        (b"A: 1\r\n" * HEADER_LINES + b"\r\n", ""),
        (b"A: 1\r\n" * (HEADER_LINES + 1), "its headers are too long"),
        (b"A: 1\r\n" + b" 2\r\n" * HEADER_LINES, "its headers are too long"),
        (b"A: " + b"x" * (HEADER_BYTES - 5) + b"\r\n\r\n", ""),
        (b"A: " + b"x" * (HEADER_BYTES - 4) + b"\r\n\r\n", "its headers are too long"),
        (parts(*[HEADS] * 33), "the headers of its parts are too long"),
        (parts(*[HEADS] * 32), ""),
        (parts(b"\r\n" + b"--x\r\n" * (DASHED_LINES - 2)), ""),
        (parts(b"\r\n" + b"--x\r\n" * (DASHED_LINES - 1)),
         "it has too many lines that look like boundaries"),
        (parts(parts(b"\r\nx")), "one of its boundaries is used twice"),
        (parts(parts(b"\r\nx", boundary=b"in"), parts(b"\r\nx", boundary=b"in")), ""),
    ],
)  # fmt: skip
def test_limits(data: bytes, too: str) -> None:
    try:
        assert sum(1 for _ in mime.leaves(data)) <= PARTS
        found = ""
    except mime.TooComplexError as error:
        found = str(error)
    assert found == too


PIECES = st.sampled_from(
    [b"--b", b"--c", b"--", b"\n", b"\r\n", b"\r", b": ", b" ", b"A: 1\r\n", b"\r\n\r\n",
     b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"Content-Type: message/rfc822\r\n\r\n",
     b"Content-Type: multipart/digest; boundary=c\r\n\r\n", b"boundary*0=b", b"boundary*7x=", b'"',
     b"Content-Type: multipart/x;", b"From ", b"Content-Transfer-Encoding: base64\r\n"]
)  # fmt: skip
BYTES = st.lists(PIECES | st.binary(max_size=9), max_size=80).map(b"".join)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(BYTES)
def test_any_bytes_have_parts_in_order(data: bytes) -> None:
    """Each byte is in one part at most, and within the message."""
    end = 0
    try:
        for leaf in mime.leaves(data):
            assert end <= leaf.start <= leaf.body <= leaf.end <= len(data)
            assert len(leaf.containers) <= DEPTH
            leaf.fields(data)
            end = leaf.end
    except mime.TooComplexError as error:
        assert str(error)
