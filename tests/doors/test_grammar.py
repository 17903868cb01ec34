"""Command lines: what is understood, word for word, and what is refused with which reply."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.doors.smtp import grammar
from gateway.doors.smtp.grammar import Mail, Rcpt, Refused
from gateway.doors.smtp.lines import TOO_LONG, Lines

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
        ("FROM:<scan@MFP_2nd_floor.local>", Mail("scan@MFP_2nd_floor.local")),
        ("FROM:<a@[127.0.0.1]>", Mail("a@[127.0.0.1]")),
        ("FROM:<a@[IPv6:::1]>", Mail("a@[IPv6:::1]")),
        ("FROM:<a@b> SIZE=35000000", Mail("a@b", 35_000_000)),
        ("FROM:<a@b> size=7 body=8bitmime", Mail("a@b", 7)),
        ("FROM:<a@b> BODY=7BIT AUTH=<>", Mail("a@b")),
        ("FROM:<a@b>  AUTH=x@y", Mail("a@b")),
        ("FROM:<ü@bücher.example> SMTPUTF8", Mail("ü@bücher.example", utf8=True)),
        ("FROM:<a@b> RET=hdrs ENVID=x+2By", Mail("a@b", ret="HDRS", envid="x+y")),
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
        ("FROM:<a@b> RET=SOME", BAD_PARAMETER),
        ("FROM:<a@b> ENVID=a+0A", BAD_PARAMETER),
        ("FROM:<a@b> NOTIFY=NEVER", UNKNOWN_PARAMETER),
        ("FROM:<a@b> XFORWARD=1", UNKNOWN_PARAMETER),
    ],
)
def test_no_sender(argument: str, reply: str) -> None:
    with pytest.raises(Refused) as refused:
        grammar.mail(argument)
    assert refused.value.reply == reply


@pytest.mark.parametrize(
    ("argument", "rcpt"),
    [
        ("TO:<1@fax.local>", Rcpt("1@fax.local")),
        ("to: <1@fax.local>", Rcpt("1@fax.local")),
        ("TO:<(206) 555@fax.local>", Rcpt("(206) 555@fax.local")),  # raw: `address` refuses it
        ("TO:<@r:1@fax.local>", Rcpt("@r:1@fax.local")),
        ("TO:<>", Rcpt("")),
        ("TO:<1@fax.local> notify=failure,success", Rcpt("1@fax.local", "SUCCESS,FAILURE")),
        ("TO:<1@fax.local> ORCPT=rfc822;a+2Bb@c NOTIFY=NEVER",
         Rcpt("1@fax.local", "NEVER", "rfc822;a+b@c")),
    ],
)  # fmt: skip
def test_a_recipient(argument: str, rcpt: Rcpt) -> None:
    assert grammar.rcpt(argument) == rcpt


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        ("TO:<1@fax.local>", "1@fax.local"),
        ("TO : <1@fax.local>", "1@fax.local"),
        ("TO  :   1@fax.local", "1@fax.local"),
        ("TO:1@fax.local NOTIFY=NEVER", "1@fax.local"),
        ("to:fax=1@fax.local", "fax=1@fax.local"),
        ("TO:<(206) 555@fax.local>", "(206) 555@fax.local"),
    ],
)
def test_a_recipient_of_a_copier(argument: str, path: str) -> None:
    assert grammar.rcpt(argument, tolerant=True).address == path


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("TO:", RCPT_SYNTAX),
        ("TO:<1@fax.local", RCPT_SYNTAX),
        ("TO:1@fax.local>", RCPT_SYNTAX),
        ("TO <1@fax.local>", RCPT_SYNTAX),
        ("TO:1@fax.local <2@fax.local>", BAD_PARAMETER),
        ("TO:1@fax.local 2@fax.local", BAD_PARAMETER),
        ("TO:(206) 555-1234@fax.local", COMMENT),
        ("TO:206(5)@fax.local", COMMENT),
        ("TO:<1@fax.local>(x)", COMMENT),
    ],
)
def test_no_recipient_of_a_copier(argument: str, reply: str) -> None:
    with pytest.raises(Refused) as refused:
        grammar.rcpt(argument, tolerant=True)
    assert refused.value.reply == reply


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
        ("TO:<1@fax.local> NOTIFY=NEVER,DELAY", BAD_PARAMETER),
        ("TO:<1@fax.local> ORCPT=2@fax.local", BAD_PARAMETER),
        ("TO:<1@fax.local> RET=HDRS", UNKNOWN_PARAMETER),
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
        (b"X-Y: z", True), (b"Host:", True),
        (b"PROXY TCP4 192.0.2.1", True), (b"\r\n\r\n\0\r\nQUIT\n", True), (b"\r\n\r\n", False),
        (b"EHLO x", False), (b"MAIL FROM:<a@b>", False),
        (b"RCPT TO:<1@b>", False), (b"GETX", False), (b"", False), (b"\x16", False),
    ],
)  # fmt: skip
def test_other_protocols(line: bytes, foreign: bool) -> None:
    assert grammar.is_foreign(line) is foreign


# Each example is fifty inputs: drawing them one by one takes a hundred times as long as reading.
THOROUGH = settings(deadline=None, max_examples=400, derandomize=True, database=None)
SIZE, INPUTS = 16, 50  # 400 * 50 = 20,000
CHAOS = st.binary(min_size=SIZE * INPUTS, max_size=SIZE * INPUTS)
VERBS = (
    "MAIL ",
    "RCPT ",
    "mail FROM:<a@b> ",
    "RCPT TO:<1@b> ",
    "NOOP",
    "MAIL FROM:<",
    "RCPT TO:<",
    "",
)
WORDS = (
    "FROM:", "TO:", " ", " ", " : ", "<", ">", "> ", "@", "a", "1", ".", "copier", "fax.local", "x",
    "SIZE=1", " BODY=8BITMIME", " AUTH=<>", " SMTPUTF8", " RET=HDRS", " ENVID=", " NOTIFY=",
    "NEVER", " ORCPT=", "rfc822;", "+2B", ",", '"', "\\", "[", "]", "(", ")", "=", "ü", "-",
    "FROM:<a@b> ", "TO:<1@b> ",
)  # fmt: skip
NASTY = ("\u202e", "\x9b", "\0", "\r", "\n", "\t", "\x1b[2J", "\u2028", "\ud800")
_NASTY_FROM = 250  # of 256: one word in forty
REPLY = re.compile(r"5[05][0135] 5\.\d\.\d [ -~]+")


def inputs(chaos: bytes) -> Iterator[bytes]:
    return (chaos[at : at + SIZE] for at in range(0, len(chaos), SIZE))


def argument_of(chaos: bytes) -> str:
    words = (NASTY if byte >= _NASTY_FROM else WORDS for byte in chaos)
    chosen = (said[byte % len(said)] for said, byte in zip(words, chaos, strict=True))
    return "".join(islice(chosen, 1, 1 + chaos[0] % SIZE))


def understood(line: bytes, *, tolerant: bool) -> str:
    """All that may reach a log, a notice or a reply."""
    try:
        verb, argument = grammar.command(line)
        if verb == "MAIL":
            sender = grammar.mail(argument, tolerant=tolerant)
            assert sender.sender in argument
            return f"{sender.sender}{sender.envid}{sender.ret}"
        if verb == "RCPT":
            rcpt = grammar.rcpt(argument, tolerant=tolerant)
            assert rcpt.address in argument
            return f"{rcpt.address}{rcpt.notify}{rcpt.orcpt}"
    except Refused as refused:
        assert REPLY.fullmatch(refused.reply)
        return refused.reply
    return f"{verb}{argument}"


@THOROUGH
@given(CHAOS, st.booleans())
def test_any_bytes_have_an_answer(chaos: bytes, tolerant: bool) -> None:
    """Understood or refused, with a complete reply that repeats nothing of what was said."""
    for one in inputs(chaos):
        verb = VERBS[one[0] // SIZE % len(VERBS)]
        line = f"{verb}{argument_of(one)}".encode("utf-8", "surrogatepass")
        for said in (line, one, verb.encode() + one):
            assert understood(said, tolerant=tolerant).isprintable()


@THOROUGH
@given(CHAOS)
def test_tolerance_only_adds(chaos: bytes) -> None:
    """What a strict listener understands a copier's understands alike."""
    for one in inputs(chaos):
        argument = f"{VERBS[one[0] // SIZE % len(VERBS)][5:]}{argument_of(one)}"
        for read in (grammar.mail, grammar.rcpt):
            try:
                strict = read(argument)
            except Refused:
                continue
            assert read(argument, tolerant=True) == strict


LONGEST = 20
PIECES = (b"\n", b"\r\n", b"a", b"NOOP", b"x" * 19, b"x" * 20, b"x" * 50, b"\0", b"\n\n", b"\r")


@THOROUGH
@given(CHAOS)
def test_lines_are_the_same_however_they_are_cut(chaos: bytes) -> None:
    """Each of the stream in order, one that is too long as such, and none of it is kept."""
    for one in inputs(chaos):
        lines, found = Lines(LONGEST), list[bytes]()
        pieces = [PIECES[byte % len(PIECES)] for byte in one[1 : 1 + one[0] % SIZE]]
        for piece in pieces:
            lines.feed(piece)
            while (line := lines.next()) is not None:
                found.append(line)
            assert len(lines) <= LONGEST
        whole = [line + b"\n" for line in b"".join(pieces).split(b"\n")[:-1]]
        assert found == [line if len(line) <= LONGEST else TOO_LONG for line in whole]
