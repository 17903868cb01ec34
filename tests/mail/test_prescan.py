"""What a door sees of a mail: automatic mail, loops, too much structure; and no more work than
that needs (A20–A22, M9, M10)."""

from __future__ import annotations

import base64
import sys
from itertools import cycle
from types import FrameType
from typing import Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail.mime import leaves
from gateway.mail.prescan import MOST_HOPS, MOST_OPTIONS, OUR_MARK, Scan, scan

HEAD = b"From: ann@example.com\r\nSubject: hi\r\nMessage-ID: <1@x>\r\n"


def of(head: str) -> Scan:
    return scan(head.replace("\n", "\r\n").encode() + b"\r\n\r\nbody")


@pytest.mark.parametrize(
    ("head", "auto"),
    [
        ("Subject: hi", ""),
        ("Auto-Submitted: no", ""),
        ("Auto-Submitted: No ; x=y", ""),
        ("Auto-Submitted: no (sent by a person)", ""),
        ("Auto-Submitted:", ""),
        ("Auto-Submitted: auto-replied", "Auto-Submitted: auto-replied"),
        ("AUTO-SUBMITTED: Auto-Generated; x", "Auto-Submitted: auto-generated"),
        ("Auto-Submitted: auto-generated (failure)", "Auto-Submitted: auto-generated"),
        ("Auto-Submitted:\n yes", "Auto-Submitted: yes"),
        ("Auto-Submitted: a\u202eb\x07c", "Auto-Submitted: a b c"),
        ("Precedence: bulk", "Precedence: bulk"),
        ("Precedence: List ", "Precedence: list"),
        ("Precedence: junk", "Precedence: junk"),
        ("Precedence: first-class", ""),
        ("List-Id: <ann.example.com>", "List-Id"),
        ("List-Id:", ""),
        ("Content-Type: multipart/report; boundary=x", "multipart/report"),
        ("Content-Type: multipart/mixed; boundary=x", ""),
        ("X-Auto-Submitted: auto-replied", ""),
    ],
)
def test_automatic_mail(head: str, auto: str) -> None:
    assert of(head).auto == auto


@pytest.mark.parametrize(
    ("head", "loop"),
    [
        ("Received: by x\n" * (MOST_HOPS - 1) + "Received: by x", ""),
        ("Received: by x\n" * MOST_HOPS + "received: by x", f"{MOST_HOPS + 1} Received fields"),
        (f"{OUR_MARK}: 1", "X-Fax-Gateway"),
        ("X-Fax-Gateway:", "X-Fax-Gateway"),
        ("X-Other: X-Fax-Gateway: 1", ""),
    ],
)
def test_loops(head: str, loop: str) -> None:
    assert of(head).loop == loop


def test_marks_below_the_headers_mean_nothing() -> None:
    body = b"X-Fax-Gateway: 1\r\nPrecedence: bulk\r\n"
    assert scan(HEAD + b"\r\n" + body) == Scan(subject="hi", message_id="<1@x>")


@pytest.mark.parametrize(
    ("head", "partial"),
    [
        ('Content-Type: message/partial; id="1@x"; number=1; total=2', True),
        ('CONTENT-TYPE: Message/Partial;id="1@x";\n number=2', True),
        ("Content-Type:message/partial", True),
        ("Subject: message/partial", False),
        ("Content-Type: message/partially", False),
        ("Content-Type: text/plain; name=message/partial", False),
        ("Content-Type: text/plain\n\nContent-Type: message/partial", False),
        ("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/partial", False),
    ],
)
def test_split_mail(head: str, partial: bool) -> None:
    """The mail itself: one that is attached is for the parser to judge."""
    assert of(head).partial is partial


@pytest.mark.parametrize(
    ("value", "message_id"),
    [
        ("<1@example.com>", "<1@example.com>"),
        ("<>", ""),
        ("", ""),
        ("<<1@x>>", "<1@x>"),
        ("1@x", ""),
        ("<1@x> (added by mx)", "<1@x>"),
        ("<no at>", ""),
        ("<a b@x>", ""),
        ("<" + "a" * 300 + "@x>", ""),
        ("<a\tb@x>", ""),
        ("<ü@x>", ""),
    ],
)
def test_message_id(value: str, message_id: str) -> None:
    assert of(f"Message-ID: {value}").message_id == message_id


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        ("hi", "hi"),
        ("two\n\tlines", "two lines"),
        ("=?utf-8?q?x=0D=0ABcc=3A_evil=40x?=", "x Bcc: evil@x"),
        ("=?utf-8?q?=00=1B[31m=7F?=", "[31m"),
        ("=?utf-8?q?=E2=80=AEtxt=2Eexe?=", "txt.exe"),
        ("x" * 999, "x" * 200),
    ],
)
def test_subject(value: str, subject: str) -> None:
    assert of(f"Subject: {value}").title == subject


@pytest.mark.parametrize(
    ("head", "mdn"),
    [
        ("Disposition-Notification-To: ann@example.com", "ann@example.com"),
        ("DISPOSITION-NOTIFICATION-TO:<ann@example.com>", "ann@example.com"),
        ('Disposition-Notification-To: "Ann, \\"B\\" <x@y>" <ann@example.com>', "ann@example.com"),
        ("Disposition-Notification-To: Ann B\n <ann@example.com>", "ann@example.com"),
        ("Disposition-Notification-To: =?utf-8?q?=C3=9C?= <ann@example.com>", "ann@example.com"),
        ("Disposition-Notification-To: Ünne <ann@example.com>", "ann@example.com"),
        ("Disposition-Notification-To: <o'neil+fax@a-b.example>", "o'neil+fax@a-b.example"),
        ("Disposition-Notification-To:", ""),
        ("Disposition-Notification-To: <>", ""),
        ("Disposition-Notification-To: ann", ""),
        ("Disposition-Notification-To: ann@example.com, bob@example.com", ""),
        ("Disposition-Notification-To: <ann@example.com>, <bob@example.com>", ""),
        ("Disposition-Notification-To: bob@example.com <ann@example.com>", ""),
        ("Disposition-Notification-To: <ann@example.com> (Ann)", ""),
        ("Disposition-Notification-To: <@relay.example:ann@example.com>", ""),
        ("Disposition-Notification-To: Team: ann@example.com;", ""),
        ('Disposition-Notification-To: "ann b"@example.com', ""),
        ("Disposition-Notification-To: ann@exämple.com", ""),
        ("Disposition-Notification-To: =?utf-8?q?ann=40example.com?=", ""),
        ("Disposition-Notification-To: a@x.example\nDisposition-Notification-To: b@x.example", ""),
        ("Return-Receipt-To: ann@example.com", ""),
    ],
)
def test_who_wants_a_receipt(head: str, mdn: str) -> None:
    assert of(head).mdn == mdn


@pytest.mark.parametrize(
    ("head", "options"),
    [
        ("Subject: hi", ()),
        ("X-Fax-Cover: none", (("x-fax-cover", "none"),)),
        ("X-FAX-Ref : 4711 \nx-fax-at: 18:00", (("x-fax-ref", "4711"), ("x-fax-at", "18:00"))),
        ("X-Fax-Ref: =?utf-8?q?B=C3=BCro=0D=0A_7?=", (("x-fax-ref", "Büro 7"),)),
        ("X-Fax-Ref: a\n\tb\x07\u202ec", (("x-fax-ref", "a b c"),)),
        ("X-Fax-Ref: 1\nX-Fax-Ref: 2", (("x-fax-ref", "1"), ("x-fax-ref", "2"))),
        ("X-Fax-Ref:", (("x-fax-ref", ""),)),
        ("X-Fax-: x", (("x-fax-", "x"),)),  # unknown options are the reader's to refuse
        ("X-Fax-Ref: " + "x" * 999, (("x-fax-ref", "x" * 999),)),
        ("X-Fax-To: " + "x" * 7000, (("x-fax-to", "x" * 4001),)),  # and is refused as too long
        ("X-Fax: 1\nX-Faxe-Ref: 2", ()),
        ("X-Fax-Gateway: 1", ()),
        ("X-Fax-A: 1\n" * MOST_OPTIONS, (("x-fax-a", "1"),) * MOST_OPTIONS),
    ],
)
def test_options(head: str, options: tuple[tuple[str, str], ...]) -> None:
    facts = of(head)
    assert facts.options == options
    assert not facts.complex


def test_an_option_too_many_is_not_passed_over_in_silence() -> None:
    facts = of("X-Fax-A: 1\n" * (MOST_OPTIONS + 1))
    assert facts.complex == "it has too many X-Fax fields"
    assert len(facts.options) == MOST_OPTIONS


def test_the_tail_of_a_long_subject_is_there_or_the_mail_is_refused() -> None:
    tail = " [fax at=18:00]"
    facts = of("Subject: " + "x" * 7000 + tail)
    assert facts.subject.endswith(tail)
    assert facts.title == "x" * 200
    assert not facts.complex
    assert of("Subject: " + "x" * 8000 + tail).complex == "its Subject is too long"


# hostile mails, by the work they make


def box(content: bytes, boundary: bytes = b"b") -> bytes:
    return HEAD + b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\n\r\n" + content


def nest(depth: int) -> bytes:
    head = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"
    return HEAD + b"".join(head % (level, level) for level in range(depth))


def words(count: int) -> bytes:
    return b"\r\n ".join([b"=?utf-8?q?" + b"=41" * 20 + b"?="] * count)


PARAMETER = b'; name*0*="utf-8\'\'%41"; x="\\"' * 1600
HOSTILE = {
    "100,000 parts": (box(b"--b\r\n\r\nx\r\n" * 100_000), "it has too many parts"),
    "20,000 empty parts": (box(b"--b\r\n" * 20_000), "it has too many parts"),
    "brackets": (HEAD + b"To: " + b"(" * 3_000 + b"\r\n\r\n", ""),
    "commas": (HEAD + b"To: " + b"," * 50_000 + b"\r\n\r\n", ""),
    "semicolons": (HEAD + b"Content-Type: text/plain" + b";" * 50_000 + b"\r\n\r\n", ""),
    "parameters": (HEAD + b"Content-Type: text/plain" + PARAMETER + b"\r\n\r\n", ""),
    "open quotes": (HEAD + b"Content-Type: a/b" + b';a="\\' * 12_000 + b"\r\n\r\n", ""),
    "spaces": (HEAD + b"Content-Type: a/b; a" + b" " * 60_000 + b"\r\n\r\n", ""),
    "words": (HEAD + b"Subject: " + words(480) + b"\r\n\r\n", ""),
    "140 KB of words": (HEAD + b"Subject: " + words(2_000) + b"\r\n\r\n",
                        "its headers are too long"),
    "half words": (HEAD + b"Subject: " + b"=?a?q?" * 10_000 + b"\r\n\r\n", ""),
    "20,000 addresses": (HEAD + b"To: " + b"a@example.com,\r\n " * 20_000 + b"\r\n\r\n",
                         "its headers are too long"),
    "options": (b"X-Fax-A: 1\r\n" * 490 + b"\r\n", "it has too many X-Fax fields"),
    "long options": (b"X-Fax-A: " + b" " * 2_900 + b"\r\n" + (b"X-Fax-A: " + b"x" * 2_900 + b"\r\n")
                     * 19 + b"\r\n", ""),
    "options of words": ((b"X-Fax-A: " + words(24) + b"\r\n") * 20 + b"\r\n", ""),
    "receipt of spaces": (b"Disposition-Notification-To:a" + b" " * 60_000 + b"\r\n\r\n", ""),
    "receipt of quotes": (b'Disposition-Notification-To:"' + b'\\"' * 4_000 + b"\r\n\r\n", ""),
    "receipt of letters": (b"Disposition-Notification-To: " + b"a.@" * 2_500 + b"\r\n\r\n", ""),
    "no colon": (HEAD + b"A: 1\r\n " + b"a" * 60_000 + b"\r\n\r\n", ""),
    "one long line": (b"a" * 10_000_000, ""),
    "1,000 multiparts": (nest(1_000), "it is nested too deeply"),
    "300 messages": (HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 300,
                     "it is nested too deeply"),
    "dashes": (box(b"--x\r\n" * 300_000), "it has too many lines that look like boundaries"),
    "dashes in 20 boxes": (nest(20) + b"\r\n\r\n" + b"--b\r\n" * 300_000,
                           "it has too many lines that look like boundaries"),
    "dashes only": (box(b"\r\n" + b"-" * 5_000_000), ""),
    "line ends": (box(b"\r\n" * 2_000_000), ""),
    "same boundary": (nest(1) + b"Content-Type: multipart/x; boundary=b0\r\n\r\n",
                      "one of its boundaries is used twice"),
    "long headers of parts": (box(b"".join(b"--b\r\nA: %b\r\n\r\n" % (b"x" * 60_000)
                                           for _ in range(9))),
                              "the headers of its parts are too long"),
    "base64": (box(b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
                   base64.encodebytes(bytes(3_000_000)) + b"--b--"), ""),
}  # fmt: skip
MOST_CALLS = 120_000  # of functions, ours and C's; a mail of 200 parts makes about 20,000


class Calls:
    """Counts the functions called: the same on every machine, unlike seconds."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        self.count += event in ("call", "c_call")


@pytest.mark.parametrize(("data", "too"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_mail_is_cheap(data: bytes, too: str) -> None:
    with Calls() as calls:
        facts = scan(data)
    assert facts.complex == too
    assert calls.count < MOST_CALLS


BOX = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
PIECES = st.sampled_from(
    [b"Subject: ", b"Message-ID: ", b"Received: x\r\n", b"Auto-Submitted: ", b"Precedence: ",
     b"Content-Type: multipart/report; boundary=b", b"\r\n", b"\n", b"\r", b"--b", b"<", b">", b"@",
     b"=?utf-8?q?=0D=0A?=", b"=?utf-7?b?", b"\xe2\x80\xae", b"\0", b"\x1b[", b"; x*9a=", b"auto",
     b"X-Fax-", b"Disposition-Notification-To: "]
)  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(PIECES | st.binary(max_size=9), max_size=60).map(b"".join))
def test_any_bytes_have_facts(data: bytes) -> None:
    facts = scan(data)
    for line in (
        facts.auto,
        facts.loop,
        facts.complex,
        facts.subject,
        facts.message_id,
        facts.mdn,
        *sum(facts.options, ()),
    ):
        assert line.isprintable()
        assert len(line) <= 410


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(
        st.sampled_from([b"\n", b"-", b"--b", b"\r\n--b\r\n", b"x: y\r\n", b"text"]), max_size=40
    ),
    st.lists(st.integers(1, 9), min_size=1, max_size=9),
)
def test_blocks_without_dashes_need_no_look(pieces: list[bytes], lengths: list[int]) -> None:
    """Whoever saw the blocks go by may say which hold a dash: the parts are the same."""
    data = BOX + b"".join(pieces)
    spans, start = [], 0
    for length in cycle(lengths):
        if start >= len(data):
            break
        stop = min(start + length, len(data))
        if b"-" in data[start:stop]:
            spans.append((start, stop))
        start = stop
    assert list(leaves(data, spans)) == list(leaves(data))
