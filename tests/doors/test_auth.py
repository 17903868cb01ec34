"""AUTH word for word: what is asked, what is understood, what is refused with which reply."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doors.smtp.auth import Challenge, Credentials, Exchange
from gateway.doors.smtp.grammar import Refused

CANCELLED = "501 5.7.0 Authentication cancelled"
SYNTAX = "501 5.5.4 Syntax: AUTH mechanism [initial-response]"
NOT_BASE64 = "501 5.5.2 The response is not base64 of what the mechanism wants"
UNKNOWN = "504 5.5.4 Unknown mechanism: PLAIN and LOGIN are known"
TOO_LONG = "500 5.5.6 Authentication exchange line is too long"
OTHER = "535 5.7.8 Nobody may act for another user: leave the authorization identity empty"

PLAIN, NAME, PASSWORD = "334 ", "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"
ANN = Credentials("ann", b"secret")


def b64(text: bytes | str) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def talk(argument: str, *lines: str) -> list[str | Credentials]:
    """Every reply, and the credentials at the end."""
    said: list[str | Credentials] = []
    try:
        exchange = Exchange(argument)
        answer = exchange.begin()
        for line in lines:
            assert isinstance(answer, Challenge), "it asks for nothing more"
            said.append(answer.reply)
            answer = exchange.step(line)
    except Refused as refused:
        return [*said, refused.reply]
    return [*said, answer.reply if isinstance(answer, Challenge) else answer]


@pytest.mark.parametrize(
    ("argument", "lines", "said"),
    [
        # the dialogs of RFC 4954 and RFC 4616, and of copiers
        ("PLAIN", (b64("\0ann\0secret"),), [PLAIN, ANN]),
        ("PLAIN " + b64("\0ann\0secret"), (), [ANN]),
        ("plain " + b64("\0ann\0secret"), (), [ANN]),
        ("Plain  " + b64("\0ann\0secret") + " ", (), [ANN]),
        ("PLAIN " + b64("ann\0ann\0secret"), (), [ANN]),
        ("LOGIN", (b64("ann"), b64("secret")), [NAME, PASSWORD, ANN]),
        ("login", (b64("ann"), b64("secret")), [NAME, PASSWORD, ANN]),
        ("LOGIN " + b64("ann"), (b64("secret"),), [PASSWORD, ANN]),
        ("PLAIN " + b64("\0jörg\0geheim \xa3"), (), [Credentials("jörg", "geheim \xa3".encode())]),
        # a password is bytes: old devices send Latin-1
        ("PLAIN " + b64(b"\0ann\0\xa3"), (), [Credentials("ann", b"\xa3")]),
        ("LOGIN " + b64("ann"), (b64(b"\0\xff"),), [PASSWORD, Credentials("ann", b"\0\xff")]),
        # nothing is a response too: nobody has that name or that password
        ("LOGIN =", ("",), [PASSWORD, Credentials("", b"")]),
        ("LOGIN", ("", ""), [NAME, PASSWORD, Credentials("", b"")]),
        ("PLAIN " + b64("\0\0"), (), [Credentials("", b"")]),
        ("PLAIN =", (), [NOT_BASE64]),
        ("PLAIN", ("",), [PLAIN, NOT_BASE64]),
        # the client changes its mind
        ("PLAIN", ("*",), [PLAIN, CANCELLED]),
        ("PLAIN *", (), [CANCELLED]),
        ("LOGIN", ("*",), [NAME, CANCELLED]),
        ("LOGIN", (b64("ann"), "*"), [NAME, PASSWORD, CANCELLED]),
        # not base64, or not what the mechanism wants
        ("PLAIN ====", (), [NOT_BASE64]),
        ("PLAIN", ("=",), [PLAIN, NOT_BASE64]),
        ("PLAIN", ("AGFubgBzZWNyZXQ",), [PLAIN, NOT_BASE64]),
        ("PLAIN", ("AGFubgBzZWNyZXQ= ",), [PLAIN, NOT_BASE64]),
        ("PLAIN", ("AGFubgBz!WNyZXQ=",), [PLAIN, NOT_BASE64]),
        ("PLAIN", ("AGFubgBzZWNyZXQü",), [PLAIN, NOT_BASE64]),
        ("PLAIN", ("AGFubgBzZWNyZXQ=AAAA",), [PLAIN, NOT_BASE64]),
        ("PLAIN " + b64("ann\0secret"), (), [NOT_BASE64]),
        ("PLAIN " + b64("\0ann\0secret\0"), (), [NOT_BASE64]),
        ("PLAIN " + b64(b"\0\xff\0secret"), (), [NOT_BASE64]),
        ("LOGIN", (b64(b"\xff"),), [NAME, NOT_BASE64]),
        ("LOGIN", (b64("ann"), "?"), [NAME, PASSWORD, NOT_BASE64]),
        # nobody acts for another
        ("PLAIN " + b64("bob\0ann\0secret"), (), [OTHER]),
        ("PLAIN " + b64("Ann\0ann\0secret"), (), [OTHER]),
        # no such thing
        ("", (), [SYNTAX]),
        ("PLAIN a b", (), [SYNTAX]),
        ("CRAM-MD5", (), [UNKNOWN]),
        ("XOAUTH2 " + b64("x"), (), [UNKNOWN]),
        ("ſLOGIN", (), [UNKNOWN]),
    ],
)
def test_dialog(argument: str, lines: tuple[str, ...], said: list[str | Credentials]) -> None:
    assert talk(argument, *lines) == said


@pytest.mark.parametrize(("length", "reply"), [(1022, NOT_BASE64), (1023, TOO_LONG)])
def test_a_line_has_an_end(length: int, reply: str) -> None:
    assert talk("PLAIN", "A" * (length - 1) + "!") == [PLAIN, reply]
    assert talk("PLAIN " + "A" * (length - 1) + "!") == [reply]


def test_no_secret_is_ever_shown() -> None:
    assert repr(ANN) == "Credentials()"


NO_NUL = st.characters(exclude_characters="\0", codec="utf-8")


@given(st.text(NO_NUL, max_size=60), st.binary(max_size=60))
def test_every_name_and_password_comes_through(name: str, password: bytes) -> None:
    wanted = [Credentials(name, password)]
    assert talk("LOGIN", b64(name), b64(password))[2:] == wanted
    if b"\0" not in password:
        assert talk("PLAIN", b64(b"\0" + name.encode() + b"\0" + password))[1:] == wanted


MECHANISM = st.sampled_from(("", "PLAIN", "LOGIN", "PLAIN ", "login ", "NTLM"))
RESPONSE = st.text(max_size=40) | st.binary(max_size=40).map(b64)


@given(MECHANISM, RESPONSE, st.lists(RESPONSE, min_size=2, max_size=2))
def test_whatever_is_said_ends_with_the_third_line(
    mechanism: str, initial: str, lines: list[str]
) -> None:
    try:
        exchange = Exchange(mechanism + initial)
        answer = exchange.begin()
        for line in lines:
            if isinstance(answer, Credentials):
                return
            assert answer.reply in (PLAIN, NAME, PASSWORD)
            answer = exchange.step(line)
        assert isinstance(answer, Credentials)
    except Refused as refused:
        assert refused.reply in (SYNTAX, NOT_BASE64, UNKNOWN, CANCELLED, OTHER)
