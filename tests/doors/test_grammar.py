"""Command lines: what is understood, word for word, and what is refused with which reply."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.doors.smtp import grammar
from gateway.doors.smtp.grammar import Mail, Refused

BAD_LINE = "500 5.5.2 Bad command syntax"
MAIL_SYNTAX = "501 5.5.4 Syntax: MAIL FROM:<address>"
RCPT_SYNTAX = "501 5.5.4 Syntax: RCPT TO:<number@domain>"
BAD_PARAMETER = "501 5.5.4 Bad parameter"
UNKNOWN_PARAMETER = "555 5.5.4 Parameter not supported"
BAD_SENDER = "501 5.1.7 Bad sender address syntax"
COMMENT = "553 5.1.3 Brackets, comments and spaces are never dialled: write +14155550100@"


@pytest.mark.parametrize(
    ("line", "verb", "argument"),
    [
        (b"QUIT", "QUIT", ""),
        (b"quit", "QUIT", ""),
        (b"NOOP   ", "NOOP", ""),
        (b"MAIL FROM:<a@b>  ", "MAIL", "FROM:<a@b>"),
        (b"  QUIT", "", " QUIT"),
        (b"", "", ""),
        ("mail FROM:<ü@b> SMTPUTF8".encode(), "MAIL", "FROM:<ü@b> SMTPUTF8"),
    ],
)
def test_a_line(line: bytes, verb: str, argument: str) -> None:
    assert grammar.command(line) == (verb, argument)


@pytest.mark.parametrize(
    "line",
    [
        b"NOOP \0", b"NOOP \r", b"NOOP a\nb", b"NOOP \t", b"NOOP \x1b[2J", b"NOOP \x7f",
        b"NOOP \xff", b"\xc3", "NOOP ü".encode(), "EHLO ü.example".encode(), "ſEND x".encode(),
        "RſET".encode(),
        # controls of the upper half, line ends of Unicode, text that runs backwards
        "MAIL FROM:<a\x9b2J@b> SMTPUTF8".encode(), "MAIL FROM:<a\u2028b@c> SMTPUTF8".encode(),
        "MAIL FROM:<a\u202eb@c> SMTPUTF8".encode(), "RCPT TO:<1\u00a02@fax.local>".encode(),
        "MAIL FROM:<a\ufeff@c> SMTPUTF8".encode(),
    ],
)  # fmt: skip
def test_no_line(line: bytes) -> None:
    with pytest.raises(Refused, match=BAD_LINE):
        grammar.command(line)


@pytest.mark.parametrize(
    ("argument", "mail"),
    [
        ("FROM:<ann@example.com>", Mail("ann@example.com")),
        ("from:<ann@example.com>", Mail("ann@example.com")),
        ("FROM: <ann@example.com>", Mail("ann@example.com")),
        ("FROM:<>", Mail("")),
        ("FROM:<copier>", Mail("copier")),
        ("FROM:<a+b=c/d@x-1.example>", Mail("a+b=c/d@x-1.example")),
        ('FROM:<"a b\\"c"@example.com>', Mail('"a b\\"c"@example.com')),
        ("FROM:<a@[127.0.0.1]>", Mail("a@[127.0.0.1]")),
        ("FROM:<a@[IPv6:::1]>", Mail("a@[IPv6:::1]")),
        ("FROM:<a@b> SIZE=35000000", Mail("a@b", 35_000_000)),
        ("FROM:<a@b> size=7 body=8bitmime", Mail("a@b", 7)),
        ("FROM:<a@b> BODY=7BIT AUTH=<>", Mail("a@b")),
        ("FROM:<a@b>  AUTH=x@y", Mail("a@b")),
        ("FROM:<ü@bücher.example> SMTPUTF8", Mail("ü@bücher.example", utf8=True)),
        (f"FROM:<{'a' * 252}@b>", Mail("a" * 252 + "@b")),
    ],
)
def test_a_sender(argument: str, mail: Mail) -> None:
    assert grammar.mail(argument) == mail


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", MAIL_SYNTAX),
        ("FROM:", MAIL_SYNTAX),
        ("FROM:ann@example.com", MAIL_SYNTAX),
        ("FROM :<a@b>", MAIL_SYNTAX),
        ("FROM:  <a@b>", MAIL_SYNTAX),
        ("FROM:<a@b", MAIL_SYNTAX),
        ("FROM:<a@b>SIZE=1", MAIL_SYNTAX),
        ("FROM:<<a@b>>", MAIL_SYNTAX),
        ("TO:<a@b>", MAIL_SYNTAX),
        ("FROM:<a@b>> SIZE=1", MAIL_SYNTAX),
        ("FROM:<a@b@c>", BAD_SENDER),
        ("FROM:<@relay:a@b>", BAD_SENDER),
        ("FROM:<a b@c>", BAD_SENDER),
        ("FROM:<a@b(c)>", BAD_SENDER),
        ("FROM:<a@b.>", BAD_SENDER),
        ("FROM:<.a@b>", BAD_SENDER),
        ("FROM:<a..b@c>", BAD_SENDER),
        ("FROM:<@b>", BAD_SENDER),
        ("FROM:<a@-b>", BAD_SENDER),
        ('FROM:<"a@b>', BAD_SENDER),
        (f"FROM:<{'a' * 253}@b>", BAD_SENDER),
        ("FROM:<ü@b>", BAD_LINE),
        ("FROM:<a@b> SIZE", BAD_PARAMETER),
        ("FROM:<a@b> SIZE=", BAD_PARAMETER),
        ("FROM:<a@b> SIZE=-1", BAD_PARAMETER),
        ("FROM:<a@b> SIZE=1e9", BAD_PARAMETER),
        ("FROM:<a@b> SIZE=" + "9" * 21, BAD_PARAMETER),
        ("FROM:<a@b> SIZE=1 size=2", BAD_PARAMETER),
        ("FROM:<a@b> BODY=BINARYMIME", BAD_PARAMETER),
        ("FROM:<a@b> BODY", BAD_PARAMETER),
        ("FROM:<a@b> SMTPUTF8=1", BAD_PARAMETER),
        ("FROM:<a@b> AUTH", BAD_PARAMETER),
        ("FROM:<a@b> =x", BAD_PARAMETER),
        ("FROM:<a@b> (x)", BAD_PARAMETER),
        ("FROM:<a@b> RET=HDRS", UNKNOWN_PARAMETER),
        ("FROM:<a@b> XFORWARD=1", UNKNOWN_PARAMETER),
    ],
)
def test_no_sender(argument: str, reply: str) -> None:
    with pytest.raises(Refused) as refused:
        grammar.mail(argument)
    assert refused.value.reply == reply


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        ("TO:<1@fax.local>", "1@fax.local"),
        ("to: <1@fax.local>", "1@fax.local"),
        ("TO:<(206) 555@fax.local>", "(206) 555@fax.local"),  # raw: numbers.recipient refuses it
        ("TO:<@r:1@fax.local>", "@r:1@fax.local"),
        ("TO:<>", ""),
    ],
)
def test_a_recipient(argument: str, path: str) -> None:
    assert grammar.rcpt(argument) == path


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", RCPT_SYNTAX),
        ("TO:1@fax.local", RCPT_SYNTAX),
        ("TO:<1@fax.local", RCPT_SYNTAX),
        ("TO:<1<2@fax.local>", RCPT_SYNTAX),
        ("FROM:<1@fax.local>", RCPT_SYNTAX),
        ("TO:(206) 555-1234@fax.local", COMMENT),
        ("TO:(x)<1@fax.local>", COMMENT),
        ("TO:<1@fax.local>(x)", COMMENT),
        ("TO:<1@fax.local> (x)", BAD_PARAMETER),
        ("TO:<1@fax.local> NOTIFY=NEVER", UNKNOWN_PARAMETER),
        ("TO:<1@fax.local> ORCPT=rfc822;2@fax.local", UNKNOWN_PARAMETER),
    ],
)
def test_no_recipient(argument: str, reply: str) -> None:
    with pytest.raises(Refused) as refused:
        grammar.rcpt(argument)
    assert refused.value.reply == reply


@pytest.mark.parametrize(
    ("line", "foreign"),
    [
        (b"GET / HTTP/1.1", True), (b"post /", True), (b"CONNECT x:25", True),
        (b"PRI * HTTP/2", True), (b"\x16\x03\x01\x02", True), (b"Subject: x", True),
        (b"X-Y: z", True), (b"Host:", True), (b"EHLO x", False), (b"MAIL FROM:<a@b>", False),
        (b"RCPT TO:<1@b>", False), (b"GETX", False), (b"", False), (b"\x16", False),
    ],
)  # fmt: skip
def test_other_protocols(line: bytes, foreign: bool) -> None:
    assert grammar.is_foreign(line) is foreign


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            ["FROM:", "TO:", "<", ">", "@", " ", "SIZE=", "BODY=8BITMIME", "AUTH=<>", "SMTPUTF8",
             '"', "\\", "[", "]", "(", "a", "1", ".", "\u202e", "\x9b", "\0", "ü", "=" ]
        ),
        st.text(max_size=5),
    ),
    max_size=20,
).map("".join)  # fmt: skip
LINES = st.one_of(
    st.binary(),
    st.tuples(st.sampled_from([b"MAIL ", b"RCPT ", b"NOOP "]), st.binary()).map(b"".join),
    st.tuples(st.sampled_from(["MAIL ", "RCPT ", ""]), PIECES).map(
        lambda words: "".join(words).encode("utf-8", "surrogatepass")
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=500)
@given(LINES)
def test_any_bytes_have_an_answer(line: bytes) -> None:
    """Understood or refused, with a complete reply that repeats nothing of what was said."""
    try:
        verb, argument = grammar.command(line)
        if verb == "MAIL":
            sender = grammar.mail(argument).sender
            assert sender.isprintable()
            assert sender in argument
        elif verb == "RCPT":
            assert grammar.rcpt(argument) in argument
    except Refused as refused:
        assert re.fullmatch(r"5[05][0135] 5\.\d\.\d [ -~]+", refused.reply)
