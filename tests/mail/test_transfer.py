"""Bodies are decoded as far as anyone can, in slices, never in whole (A30)."""

from __future__ import annotations

import base64
import binascii
import quopri
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.mail.transfer import HEAD, SLICE, write_decoded

QUICK = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SPACED = st.lists(st.sampled_from([b"", b"\r\n", b" ", b"!", b"\xff", b"-"]), min_size=1)


def decoded(work: Path, body: bytes, encoding: str) -> bytes:
    path = work / "part"
    head = write_decoded(b"before" + body + b"after", 6, 6 + len(body), encoding, path)
    content = path.read_bytes()
    assert head == content[:HEAD]
    return content


def uu(content: bytes) -> bytes:
    lines = [binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45)]
    return b"begin 644 a.pdf\n" + b"".join(lines) + b"`\nend\n"


@pytest.mark.parametrize(
    ("encoding", "body", "content"),
    [
        ("", b"as it is\r\n", b"as it is\r\n"),
        ("7bit", b"aGk=", b"aGk="),
        ("8bit", b"\xff\0", b"\xff\0"),
        ("no-such", b"x", b"x"),
        ("base64", b"aGk=", b"hi"),
        ("BASE64", b"aGk=", b"hi"),
        (" Base-64 ", b"aGk=", b"hi"),
        ("base64; x", b"aGk=", b"hi"),
        ("base64", b"", b""),
        ("base64", b"aGk", b"hi"),
        ("base64", b"aGkaA", b"hi\x1a"),
        ("base64", b"a!G\0k\xff=\r\n", b"hi"),
        ("base64", b"aGk=\r\naG8=\r\n", b"hiho"),
        ("base64", b"====", b""),
        ("", b"\r\nJVBERi0xLjc=\r\n", b"%PDF-1.7"),
        ("8bit", b"/9j/4A==", b"\xff\xd8\xff\xe0"),
        ("quoted-printable", b"JVBERi0=3D", b"JVBERi0="),
        ("quoted-printable", b"a=3Db=\r\nc=E4\r\n", b"a=bc\xe4\r\n"),
        ("quoted-printable", b"=ZZ = =", b"=ZZ = "),
        ("QuotedPrintable", b"=41", b"A"),
        ("x-uuencode", uu(b"%PDF-1.7"), b"%PDF-1.7"),
        ("uuencode", b"text first\r\n" + uu(b"hi").replace(b"\n", b"\r\n") + b"more", b"hi"),
        ("x-uue", b"no begin", b""),
        ("x-uue", b"begin 644 a\n#86)C\n\nend", b"abc"),
        ("x-uue", b"begin 644 a\n#86)C trailing\n", b"abc"),
        ("x-uue", b"begin 644 a\n#86", b"a`\0"),
        ("x-uue", b"begin 644 a\n#\xff\x80~~\n", bytes(3)),
    ],
)
def test_encodings(tmp_path: Path, encoding: str, body: bytes, content: bytes) -> None:
    assert decoded(tmp_path, body, encoding) == content


@pytest.mark.parametrize("broken_at", [75, 76, 77, 78])
def test_slices_meet_anywhere(tmp_path: Path, broken_at: int) -> None:
    content = random.Random(1).randbytes(2 * SLICE)
    written = base64.b64encode(content)
    step = range(0, len(written), broken_at)
    lines = b"\r\n".join(written[at : at + broken_at] for at in step)
    assert decoded(tmp_path, lines, "base64") == content


@QUICK
@given(st.binary(max_size=400), SPACED)
def test_base64_with_dirt(tmp_path: Path, content: bytes, dirt: list[bytes]) -> None:
    written = base64.b64encode(content)
    body = b"".join(written[at : at + 1] + dirt[at % len(dirt)] for at in range(len(written)))
    assert decoded(tmp_path, body, "base64") == content


@QUICK
@given(st.binary(max_size=400))
def test_round_trips(tmp_path: Path, content: bytes) -> None:
    assert decoded(tmp_path, uu(content), "x-uuencode") == content
    written = quopri.encodestring(content.replace(b"\n", b"x").replace(b"\r", b"y"))
    expected = content.replace(b"\n", b"x").replace(b"\r", b"y")
    assert decoded(tmp_path, written, "quoted-printable") == expected


@QUICK
@given(
    st.binary(max_size=200),
    st.sampled_from(["base64", "quoted-printable", "x-uuencode", "", "7bit"]),
    st.sampled_from([b"", b"begin 644 x\n", b"=", b"JVBERi0", b"/9j/"]),
)
def test_any_bytes(tmp_path: Path, body: bytes, encoding: str, first: bytes) -> None:
    most = 63 if "uu" in encoding else 1  # a line of one letter may stand for 63 zeros
    assert len(decoded(tmp_path, first + body, encoding)) <= most * len(first + body)
