"""Any bytes are a letter or a refusal; what a mail program attached is found, byte for byte."""

from __future__ import annotations

import base64
import binascii
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import PermanentError
from tests.mail.letters import (
    JPEG,
    PNG,
    TIFF,
    gif,
    read,
)

PIECES = [
    b"Content-Type: ", b"multipart/mixed; boundary=b", b"multipart/alternative; boundary=c", b"--b",
    b"--c", b"--", b"text/html", b"text/plain", b"message/rfc822", b"message/partial", b"\r\n",
    b"\n", b"\r", b"\r\n\r\n", b"Content-Transfer-Encoding: ", b"base64", b"quoted-printable",
    b"x-uuencode", b"begin 644 x\r\n", b"=", b"Content-Disposition: attachment; filename", b"*",
    b"*0*=", b"*9x=", b"=?utf-7?q?+AGE?=", b"=?idna?b?eA==?=", b"; charset=", b"hz", b"utf-16",
    b"iso-2022-jp", b"utf-7", b"<p style='display:none'>", b"<ol><li>", b"<", b">", b"&#99999999;",
    b"%PDF-1.7", b"JVBERi0", PNG, JPEG, gif(9, 9), b"\0", b"\xff\xfe", b"\xf0\x9f", b"\x1b$B",
    b"From: ", b"Subject: ", b"Message-ID: <>", b"x@y", b"\xe2\x80\xae", b"name=", b'"', b";",
]  # fmt: skip
BYTES = st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=40).map(b"".join)
QUICK = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@QUICK
@given(BYTES)
def test_any_bytes_are_a_letter_or_a_refusal(tmp_path: Path, content: bytes) -> None:
    try:
        letter = read(tmp_path, content)
    except PermanentError as refused:
        lines = [str(refused)]
    else:
        lines = [letter.subject, letter.from_name, letter.from_address, letter.message_id]
        lines += [letter.date, *letter.skipped, *(one.name for one in letter.parts)]
        lines += [one.declared for one in letter.parts]
        assert not set(letter.text) & set("\x00\x07\x1b\r\x7f\x85\u202d\u202e\ud800\ufeff")
    assert all(one.isprintable() and len(one) <= 700 for one in lines)


NAMES = st.from_regex(r"[a-z](['A-Zäöß€日 _()+;%=-]{0,20}[0-9])?\.(pdf|txt|tif)", fullmatch=True)


class Leaf(NamedTuple):
    """A document to attach, or a text to write between documents."""

    content: bytes
    name: str
    encoding: str


LEAVES = st.builds(
    Leaf,
    st.builds(bytes.__add__, st.sampled_from([b"%PDF-1.4\n", TIFF, PNG]), st.binary(max_size=200)),
    NAMES,
    st.sampled_from(["base64", "quoted-printable", "x-uuencode", "x-uue"]),
)
TREES = st.recursive(
    LEAVES | st.text("abc xyz", min_size=1, max_size=9),
    lambda inner: st.lists(inner, min_size=1, max_size=4),
    max_leaves=12,
)


def quoted(content: bytes) -> bytes:
    """Every byte of it, in short lines."""
    return b"".join(b"=%02X" % byte + b"=\n" * (at % 20 == 19) for at, byte in enumerate(content))


def uuencoded(content: bytes) -> bytes:
    lines = [binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45)]
    return b"begin 644 x\n" + b"".join(lines) + b"`\nend\n"


ENCODERS = {
    "base64": base64.encodebytes,
    "quoted-printable": quoted,
    "x-uuencode": uuencoded,
    "x-uue": uuencoded,
}


def composed(tree: object) -> MIMEBase:
    """The same as a stdlib message."""
    if isinstance(tree, list):
        box = MIMEMultipart("mixed")
        for one in tree:
            box.attach(composed(one))
        return box
    if isinstance(tree, str):
        return MIMEText(tree, "plain", "utf-8")
    assert isinstance(tree, Leaf)
    part = MIMEBase("application", "octet-stream")
    part["Content-Transfer-Encoding"] = tree.encoding
    part.set_payload(ENCODERS[tree.encoding](tree.content).decode())
    part.add_header("Content-Disposition", "attachment", filename=("utf-8", "", tree.name))
    return part


def flat(tree: object) -> list[Leaf]:
    if isinstance(tree, list):
        return [leaf for one in tree for leaf in flat(one)]
    return [tree] if isinstance(tree, Leaf) else []


@settings(QUICK, max_examples=80)
@given(TREES, st.sampled_from(["\r\n", "\n"]))
def test_what_was_attached_is_found(tmp_path: Path, tree: object, line_end: str) -> None:
    message = composed(tree)
    message["Subject"] = "x"
    content = message.as_bytes(policy=message.policy.clone(linesep=line_end))
    letter = read(tmp_path, content)
    assert [(one.name, one.path.read_bytes()) for one in letter.parts] == [
        (leaf.name, leaf.content) for leaf in flat(tree)
    ]
