"""RET, ENVID, NOTIFY and ORCPT: what RFC 3461 §4 allows is kept, all else is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.doors.smtp import dsn

ASCII = "".join(map(chr, range(33, 127)))


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("FULL", "FULL"),
        ("HDRS", "HDRS"),
        ("full", "FULL"),
        ("hDrS", "HDRS"),
        ("", None),
        ("BODY", None),
        ("FULL,HDRS", None),
        (" FULL", None),
    ],
)
def test_ret(written: str, kept: str | None) -> None:
    assert dsn.ret(written) == kept


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("QQ314159", "QQ314159"),  # RFC 3461 §10.1
        ("AbC", "AbC"),  # case is the sender's
        ("a+2Bb+3Dc", "a+b=c"),
        ("two+20words", "two words"),
        ("+5B+2Bx+5D", "[+x]"),
        ("x" * 100, "x" * 100),
        ("+2B" * 33, "+" * 33),
        ("x" * 101, None),
        ("+2B" * 34, None),
        ("", None),  # an empty one has no value (RFC 5321 §4.1.2)
        ("a+", None),
        ("a+2", None),
        ("a+2b", None),  # §4: two upper case hexadecimal digits
        ("a+ZZ", None),
        ("a=b", None),
        ("a b", None),
        ("a+0D+0ABcc:x", None),  # §4.4: printable only
        ("a+00", None),
        ("a+09b", None),
        ("a+7F", None),
        ("a+E4", None),
        ("ü", None),
    ],
)
def test_envid(written: str, kept: str | None) -> None:
    assert dsn.envid(written) == kept


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("NEVER", "NEVER"),
        ("never", "NEVER"),
        ("SUCCESS", "SUCCESS"),
        ("FAILURE", "FAILURE"),
        ("DELAY", "DELAY"),
        ("SUCCESS,FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"),
        ("delay,Failure", "FAILURE,DELAY"),
        ("NEVER,SUCCESS", None),  # §4.1: by itself
        ("FAILURE,NEVER", None),
        ("NEVER,NEVER", None),
        ("SUCCESS,SUCCESS", None),
        ("", None),
        (",", None),
        ("SUCCESS,", None),
        (",SUCCESS", None),
        ("SUCCESS;FAILURE", None),
        ("SUCCESS, FAILURE", None),
        ("ALWAYS", None),
    ],
)
def test_notify(written: str, kept: str | None) -> None:
    assert dsn.notify(written) == kept


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("rfc822;Carol@Ivory.EDU", "rfc822;Carol@Ivory.EDU"),  # RFC 3461 §10.1
        ("RFC822;Carol@Ivory.EDU", "RFC822;Carol@Ivory.EDU"),
        ("rfc822;+2B14155550100@fax.local", "rfc822;+14155550100@fax.local"),
        ("rfc822;George+40Tax-ME.GOV", "rfc822;George@Tax-ME.GOV"),
        ("rfc822;FAX+3D+2B1415/T33S+3D7@fax.local", "rfc822;FAX=+1415/T33S=7@fax.local"),
        ("x400;/C=US/", None),
        ("x400;/C+3DUS/A+3D+20/", "x400;/C=US/A= /"),
        (r"utf-8;b\x{FC}ro@fax.local", r"utf-8;b\x{FC}ro@fax.local"),  # RFC 6533 §3
        ("rfc822;", "rfc822;"),  # xtext may be empty
        ("rfc822;a;b", "rfc822;a;b"),
        ("rfc822;(206)5551234@fax.local", "rfc822;(206)5551234@fax.local"),
        ("rfc822;" + "x" * 493, "rfc822;" + "x" * 493),
        ("rfc822;" + "x" * 494, None),
        ("", None),
        (";a@b", None),
        ("rfc822", None),
        ("rfc 822;a", None),
        ("rfc+38;a", None),
        ("-;a", None),
        ("rfc822;a+0Ab", None),
        ("rfc822;+1415@fax.local", None),  # +14 is a control: the sender forgot to encode
        ("rfc822;ü@x", None),
    ],
)
def test_orcpt(written: str, kept: str | None) -> None:
    assert dsn.orcpt(written) == kept


def encoded(text: str) -> str:
    """The way back, from the RFC's words: what cannot stand for itself is + and two digits."""
    return re.sub(r"[^!-*,-<>-~]", lambda one: f"+{ord(one[0]):02X}", text)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.text(st.sampled_from(ASCII + " "), min_size=1, max_size=33))
def test_what_was_encoded_comes_back(text: str) -> None:
    assert dsn.envid(encoded(text)) == text
    assert dsn.orcpt(f"rfc822;{encoded(text)}") == f"rfc822;{text}"


@settings(max_examples=5_000, derandomize=True, deadline=None)
@given(st.text(st.sampled_from("+=;,2BF0aD\r\n ~!üNEVER"), max_size=12))
@example("+2" * 5000)
def test_anything_else_is_one_clean_line_or_nothing(written: str) -> None:
    for of in (*dsn.OF_MAIL.values(), *dsn.OF_RCPT.values()):
        kept = of(written)
        assert kept is None or (kept.isascii() and kept.isprintable() and len(kept) <= 500)


@pytest.mark.parametrize("value", ["ü", "\u0130", "\uff26ULL"])
def test_capitals_of_other_scripts_are_no_keywords(value: str) -> None:
    assert dsn.ret(value) is dsn.notify(value) is None
