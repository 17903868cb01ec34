"""Options: one grammar in three places; what is not understood is refused by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.options import (
    OptionError,
    Options,
    Where,
    from_headers,
    from_pairs,
    from_subject,
    merge,
    without_tail,
)

ZONE = timezone(timedelta(hours=-5))
NOW = datetime(2026, 11, 25, 12, 0, 30, tzinfo=ZONE).timestamp()
IN_ADDRESS = "at=, body=, cover=, dup=, notify=, prio=, ref="
EVERYWHERE = f"{IN_ADDRESS}, to="
BAD_TAIL = "550 5.5.4 Option [fax ...]: write it once, at the end, as [fax name=value]"
TIMES = "HH:MM or YYYY-MM-DDTHH:MM (in an address HH.MM)"


def on(day: int, hour: int, minute: int, month: int = 11) -> float:
    return datetime(2026, month, day, hour, minute, tzinfo=ZONE).timestamp()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("body", "cover", Options(body="cover")),
        ("BODY", "Page", Options(body="page")),
        ("body", "ignore", Options(body="ignore")),
        ("cover", "none", Options(body="ignore")),
        ("ref", "4711", Options(ref="4711")),
        ("ref", 'A/b; <c> "d"', Options(ref='A/b; <c> "d"')),
        ("ref", " x ", Options(ref="x")),
        ("ref", "x" * 40, Options(ref="x" * 40)),
        ("prio", "high", Options(prio="high")),
        ("prio", "LOW", Options(prio="low")),
        ("prio", "normal", Options(prio="normal")),
        ("dup", "ok", Options(dup="ok")),
        ("notify", "all", Options(notify="all")),
        ("notify", "ok", Options(notify="ok")),
        ("notify", "fail", Options(notify="fail")),
        ("notify", "none", Options(notify="none")),
        ("to", "+12065550100", Options(to=("+12065550100",))),
        ("to", "1-206-555-0100, +14155550100,+14155550100",
         Options(to=("12065550100", "+14155550100"))),
        # a clock time is the next one: today or tomorrow
        ("at", "18:00", Options(at=on(25, 18, 0))),
        ("at", "18.00", Options(at=on(25, 18, 0))),
        ("at", "12:01", Options(at=on(25, 12, 1))),
        ("at", "12:00", Options(at=on(26, 12, 0))),
        ("at", "00:00", Options(at=on(26, 0, 0))),
        ("at", "2026-11-25T18:00", Options(at=on(25, 18, 0))),
        ("at", "2026-11-30t09.30", Options(at=on(30, 9, 30))),
        ("at", "2026-12-02T12:00", Options(at=on(2, 12, 0, month=12))),
    ],
)  # fmt: skip
def test_an_option(name: str, value: str, said: Options) -> None:
    assert from_pairs([(name, value)], NOW, Where.SUBJECT, ZONE) == said


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("colour", "red", "not known"),
        ("", "x", "not known"),
        ("4711", "x", "not known"),
        ("body", "", "allowed: cover, page, ignore"),
        ("body", "none", "allowed: cover, page, ignore"),
        ("cover", "letter", "allowed: none"),
        ("prio", "urgent", "allowed: high, normal, low"),
        ("dup", "no", "allowed: ok"),
        ("notify", "never", "allowed: all, ok, fail, none"),
        ("ref", "", "1 to 40 printable ASCII characters"),
        ("ref", " ", "1 to 40 printable ASCII characters"),
        ("ref", "x" * 41, "1 to 40 printable ASCII characters"),
        ("ref", "a\r\nBcc: x", "1 to 40 printable ASCII characters"),
        ("ref", "a\x00", "1 to 40 printable ASCII characters"),
        ("ref", "\u00e9", "1 to 40 printable ASCII characters"),
        ("at", "", TIMES),
        ("at", "8:00", TIMES),
        ("at", "24:00", TIMES),
        ("at", "18:60", TIMES),
        ("at", "1800", TIMES),
        ("at", "18:00:00", TIMES),
        ("at", "tomorrow", TIMES),
        ("at", "2026-11-26", TIMES),
        ("at", "2026-11-26T", TIMES),
        ("at", "2026-11-26 18:00", TIMES),
        ("at", "٢٠:٠٠", TIMES),
        ("at", "2026-11-31T18:00", "there is no such time"),
        ("at", "2026-13-01T18:00", "there is no such time"),
        ("at", "0000-01-01T18:00", "there is no such time"),
        ("at", "0001-01-01T00:00", "not past and within 7 days"),
        ("at", "9999-12-31T23:59", "not past and within 7 days"),
        ("at", "2026-11-25T12:00", "not past and within 7 days"),
        ("at", "2026-12-02T12:01", "not past and within 7 days"),
        ("to", "", "numbers such as +14155550100, commas between"),
        ("to", "+12065550100,", "numbers such as +14155550100, commas between"),
        ("to", "(206) 555-1234", "numbers such as +14155550100, commas between"),
        ("to", "206 555-1234", "numbers such as +14155550100, commas between"),
        ("to", "+12065550100;+14155550100", "numbers such as +14155550100, commas between"),
        ("to", "+12065550100/22", "numbers such as +14155550100, commas between"),
        ("to", "front-desk", "numbers such as +14155550100, commas between"),
        ("to", ",".join(["911"] * 101), "numbers such as +14155550100, commas between"),
    ],
)
def test_a_bad_option(name: str, value: str, why: str) -> None:
    with pytest.raises(OptionError) as refused:
        from_pairs([(name, value)], NOW, Where.HEADER, ZONE)
    reply = f"550 5.5.4 Option {name or '?'}: {why}; known here: {EVERYWHERE}"
    assert refused.value.reply == str(refused.value) == reply


def test_a_hundred_numbers_are_taken() -> None:
    numbers = tuple(f"+1206555{one:04}" for one in range(100))
    assert from_pairs([("to", ",".join(numbers))], NOW, Where.SUBJECT).to == numbers


def test_an_address_has_no_second_number() -> None:
    with pytest.raises(OptionError) as refused:
        from_pairs([("to", "+12065550100")], NOW, Where.ADDRESS, ZONE)
    assert refused.value.reply == f"550 5.5.4 Option to: not known; known here: {IN_ADDRESS}"


@pytest.mark.parametrize(
    "pairs",
    [
        [("ref", "1"), ("REF", "1")],
        [("cover", "none"), ("body", "ignore")],
        [("body", "page"), ("prio", "low"), ("cover", "none")],
    ],
)
def test_twice_is_an_error(pairs: list[tuple[str, str]]) -> None:
    name = pairs[-1][0]
    with pytest.raises(OptionError, match=f"Option {name}: given twice"):
        from_pairs(pairs, NOW, Where.ADDRESS, ZONE)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\r\nb", "a??b"),
        ("\u202ex", "?x"),
        ("<b>", "?b?"),
        ("x" * 999, "x" * 20),
        ("%s{}", "?s??"),
    ],
)
def test_a_reply_never_repeats_what_could_harm(name: str, shown: str) -> None:
    with pytest.raises(OptionError) as refused:
        from_pairs([(name, "x")], NOW, Where.SUBJECT)
    assert refused.value.reply.startswith(f"550 5.5.4 Option {shown}: not known;")


# The machine's zone


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
        time.tzset()
        yield
    time.tzset()


def utc(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]


@pytest.mark.usefixtures("new_york")
@pytest.mark.parametrize(
    ("now", "at", "when"),
    [
        (utc(2026, 11, 25, 12, 0), "07:01", utc(2026, 11, 25, 12, 1)),
        (utc(2026, 11, 25, 12, 0), "07:00", utc(2026, 11, 26, 12, 0)),
        (utc(2026, 11, 26, 3, 0), "22:30", utc(2026, 11, 26, 3, 30)),  # still the 25th there
        (utc(2026, 11, 26, 3, 0), "09:00", utc(2026, 11, 26, 14, 0)),
        (utc(2026, 10, 31, 16, 0), "09:00", utc(2026, 11, 1, 14, 0)),  # the clocks go back
        (utc(2026, 3, 7, 17, 0), "09:00", utc(2026, 3, 8, 13, 0)),  # and forward
        (utc(2026, 3, 8, 5, 0), "02:30", utc(2026, 3, 8, 7, 30)),  # there is none: 03:30
        (utc(2026, 12, 31, 17, 0), "09:00", utc(2027, 1, 1, 14, 0)),
        (utc(2026, 10, 30, 16, 0), "2026-11-02T09:00", utc(2026, 11, 2, 14, 0)),
    ],
)
def test_a_time_is_local(now: float, at: str, when: float) -> None:
    assert from_pairs([("at", at)], now, Where.SUBJECT).at == when


@settings(deadline=None, max_examples=300)
@given(
    st.floats(min_value=1.7e9, max_value=2.5e9),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(-14, 14),
)
def test_a_clock_time_comes_within_a_day(now: float, hour: int, minute: int, east: int) -> None:
    zone = timezone(timedelta(hours=east))
    at = from_pairs([("at", f"{hour:02}:{minute:02}")], now, Where.SUBJECT, zone).at
    assert 0 < at - now <= 24 * 3600
    then = datetime.fromtimestamp(at, zone)
    assert (then.hour, then.minute, then.second) == (hour, minute, 0)


# Subject


@pytest.mark.parametrize(
    ("subject", "said", "rest"),
    [
        ("Invoice [fax cover=none]", Options(body="ignore"), "Invoice"),
        ("Invoice[FAX Cover=None]  ", Options(body="ignore"), "Invoice"),
        ("[fax to=+12065550100]", Options(to=("+12065550100",)), ""),
        ('A [fax cover=none at=18:00 prio=high ref="a b"]',
         Options(body="ignore", at=on(25, 18, 0), prio="high", ref="a b"), "A"),
        ('A [fax  ref="a ] [b] "\tto="+12065550100, +14155550100" ]',
         Options(ref="a ] [b]", to=("+12065550100", "+14155550100")), "A"),
        ("A [fax ref=[1]", None, ""),
        ("Über 日本 [fax ref=1]", Options(ref="1"), "Über 日本"),
        # no tail, no options: never a bare digit run, never bare words
        ("", Options(), ""),
        ("Invoice 12065550100", Options(), "Invoice 12065550100"),
        ("Invoice 12065550100 body cover=none", Options(), "Invoice 12065550100 body cover=none"),
        ("Invoice [fax]", Options(), "Invoice [fax]"),
        ("Invoice [faxes to=1]", Options(), "Invoice [faxes to=1]"),
        ("[fax machine] is broken", Options(), "[fax machine] is broken"),
        ("[fax 12065550100] is my number", Options(), "[fax 12065550100] is my number"),
        ("[fax machine] A [fax ref=1]", Options(ref="1"), "[fax machine] A"),
        ("cover=none]", Options(), "cover=none]"),
        # begun and not finished, or not at the end: an error, never printed, never passed over
        ("Invoice [fax cover=none", None, ""),
        ("Invoice [fax cover=none] urgent", None, ""),
        ("Invoice [fax cover = none]", None, ""),
        ("Invoice [fax cover]", None, ""),
        ("Invoice [fax 12065550100]", None, ""),
        ("Invoice [fax ]", None, ""),
        ("Invoice [fax", Options(), "Invoice [fax"),
        ("Invoice [fax ", None, ""),
        ("Invoice [fax ref=a b]", None, ""),
        ('Invoice [fax ref="a]', None, ""),
        ("Invoice [fax ref=\u201ca b\u201d]", None, ""),
        ("Invoice [fax cover=none,prio=high x]", None, ""),
        ("[fax to=+12065550100] [fax cover=none]", None, ""),
        ("Re: [fax to=+12065550100] done", None, ""),
        ('A [fax ref="[fax ref=1]"]', None, ""),
    ],
)  # fmt: skip
def test_a_subject(subject: str, said: Options | None, rest: str) -> None:
    if said:
        assert from_subject(subject, NOW, ZONE) == (said, rest)
        assert without_tail(subject) == rest
        return
    with pytest.raises(OptionError) as refused:
        from_subject(subject, NOW, ZONE)
    assert refused.value.reply == f"{BAD_TAIL}; known here: {EVERYWHERE}"


@pytest.mark.parametrize(
    ("subject", "reply"),
    [
        ("A [fax colour=red]", f"550 5.5.4 Option colour: not known; known here: {EVERYWHERE}"),
        ("A [fax ref=1 ref=2]", f"550 5.5.4 Option ref: given twice; known here: {EVERYWHERE}"),
        ('A [fax ref=""]',
         f"550 5.5.4 Option ref: 1 to 40 printable ASCII characters; known here: {EVERYWHERE}"),
        ("A [fax cover=none,prio=high]",
         f"550 5.5.4 Option cover: allowed: none; known here: {EVERYWHERE}"),
    ],
)  # fmt: skip
def test_a_tail_that_says_something_wrong(subject: str, reply: str) -> None:
    with pytest.raises(OptionError) as refused:
        from_subject(subject, NOW, ZONE)
    assert refused.value.reply == reply


SUBJECT = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(["[fax ", "[FAX", "]", " ", "cover=none", "to=+12065550100", 'ref="a b"',
                         "ref=", '"', "=", "x", "12065550100", "[", "at=18:00"]),
        max_size=9,
    ).map("".join),
)  # fmt: skip


@settings(deadline=None, max_examples=2000)
@given(SUBJECT)
@example("[fax ref=1] [fax ref=2]")
def test_any_subject_is_read_or_refused(subject: str) -> None:
    """Options come only out of a tail, and then nothing that looks like one is left to print."""
    try:
        said, rest = from_subject(subject, NOW, ZONE)
    except OptionError as error:
        assert error.reply.isascii()
        assert error.reply.isprintable()
        assert len(error.reply) <= 510
        assert "[fax" in subject.lower()
        return
    assert subject.startswith(rest)
    if said == Options():
        assert rest == subject
    else:
        assert subject.rstrip().endswith("]")
        assert "[fax" in subject[len(rest) :].lower()


def test_a_tail_goes_whatever_it_says() -> None:
    """Pages and notices are written when its time is long past."""
    assert without_tail("A [fax at=2020-01-01T00:00 colour=red] ") == "A"
    assert without_tail("A [fax machine]") == "A [fax machine]"


# Header fields


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([], Options()),
        ([("subject", "x"), ("x-faxes", "x"), ("x-fax", "x")], Options()),
        ([("x-fax-cover", " none ")], Options(body="ignore")),
        ([("X-Fax-To", "+12065550100, 1-415-555-0100")],
         Options(to=("+12065550100", "14155550100"))),
        ([("x-fax-ref", '"a b"'), ("x-fax-prio", "high")], Options(ref="a b", prio="high")),
        ([("x-fax-ref", "a b")], Options(ref="a b")),
        ([("x-fax-gateway", "01abc"), ("x-fax-dup", "ok")], Options(dup="ok")),
    ],
)  # fmt: skip
def test_header_fields(fields: list[tuple[str, str]], said: Options) -> None:
    assert from_headers(fields, NOW, ZONE) == said


@pytest.mark.parametrize(
    ("fields", "option"),
    [
        ([("x-fax-dialstring", "911")], "dialstring: not known"),
        ([("x-fax-to", "+12065550100"), ("X-Fax-To", "+12065550100")], "to: given twice"),
        ([("x-fax-to", "(206) 555-1234")], "to: numbers such as"),
        ([("x-fax-ref", "a\r\n b")], "ref: 1 to 40"),
        ([("x-fax-", "x")], "?: not known"),
        ([("x-fax-to", ",".join(["+493012345678"] * 300))], "to: too long"),
    ],
)
def test_bad_header_fields(fields: list[tuple[str, str]], option: str) -> None:
    with pytest.raises(OptionError) as refused:
        from_headers(fields, NOW, ZONE)
    assert refused.value.reply.startswith(f"550 5.5.4 Option {option}")


def test_the_first_that_says_something_wins() -> None:
    header = Options(ref="header")
    subject = Options(ref="subject", at=1.0, to=("+1",))
    address = Options(body="page", prio="low", at=2.0)
    default = Options(body="ignore", prio="high", notify="fail", dup="ok", to=("+2",))
    assert merge(header, subject, address, default) == Options(
        body="page", ref="header", at=1.0, prio="low", dup="ok", notify="fail", to=("+1",)
    )
    assert merge() == Options()
