"""Who really wrote a mail (A33): RFC 8601, what real servers write, and every way to forge it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail import headers
from gateway.mail.authentication import (
    Results,
    UnverifiedError,
    Verdict,
    author,
    results,
    verified_sender,
)

MX = "mx.example.net"
PASS = "dmarc=pass header.from=example.com"


def fields(head: str) -> list[tuple[str, str]]:
    return headers.fields(head.replace("\n", "\r\n").encode())


def sender(head: str, server: str = MX) -> str:
    """The verified sender, or the reason why there is none."""
    try:
        return verified_sender(fields(head), server)
    except UnverifiedError as error:
        return f"no: {error}"


def said(verdict: str, origin: str = "ann@example.com") -> str:
    return sender(f"Authentication-Results: {MX}; {verdict}\nFrom: {origin}\n\n")


ANN = "ann@example.com"
NOBODY = f"no: {MX} does not vouch for example.com: neither dmarc nor aligned dkim"


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (PASS, ANN),
        ("dmarc=pass (p=none dis=none) header.from=example.com", ANN),
        ("DMARC = Pass header . from = EXAMPLE.COM", ANN),
        ("dmarc/1=pass header.from=example.com.", ANN),
        ("spf=fail smtp.mailfrom=x@evil.example; dmarc=pass header.from=example.com", ANN),
        ("dkim=pass header.d=example.com", ANN),
        ('dkim=pass reason="good; signature" header.d="example.com" header.b=Ab/Cd+1==', ANN),
        ("dkim=fail header.d=example.com; dkim=pass header.d=example.com", ANN),
        ("dkim=pass header.i=@example.com header.s=s1", ANN),
        ("dkim=pass header.i=ann@example.com", ANN),
        ("dkim=pass (2048-bit key; a \\) b (nested) c) header.d=example.com;", ANN),
        ("none", NOBODY),
        ("", NOBODY),
        ("spf=pass smtp.mailfrom=ann@example.com", NOBODY),
        ("spf=pass smtp.mailfrom=ann@example.com; dkim=none", NOBODY),
        ("dkim=pass header.d=evil.example", NOBODY),
        ("dkim=pass header.d=badexample.com", NOBODY),
        ("dkim=pass header.d=com", NOBODY),
        ("dkim=pass header.d=com.", NOBODY),
        ("dkim=pass header.d=mail.example.com", NOBODY),  # it may belong to somebody else
        ("dkim=pass header.d=example.com.evil.example", NOBODY),
        ("dkim=pass header.d=evil.example header.i=@example.com", NOBODY),
        ("dkim=pass header.d=example.com header.d=evil.example", NOBODY),
        ("dkim=pass", NOBODY),
        ("dkim=neutral header.d=example.com", NOBODY),
        ("dkim=pass1 header.d=example.com", NOBODY),
        ("x-dkim=pass header.d=example.com", NOBODY),
        ("dkim=pass policy.d=example.com", NOBODY),
        ("dmarc=pass", NOBODY),
        ("dmarc=pass header.from=evil.example", NOBODY),
        ("dmarc=pass header.from=ann@example.com", NOBODY),
        ("dmarc=pass smtp.from=example.com", NOBODY),
        (f"dmarc=fail header.from=example.com; {PASS}", f"no: {MX} says dmarc=fail"),
        (f"{PASS}; dmarc=bestguesspass", f"no: {MX} says dmarc=bestguesspass"),
        ("dmarc=none; dkim=pass header.d=example.com", f"no: {MX} says dmarc=none"),
    ],
)
def test_what_is_enough(verdict: str, expected: str) -> None:
    assert said(verdict) == expected


@pytest.mark.parametrize(
    "verdict",
    [
        f"{PASS}; dkim",
        f"{PASS}; =pass",
        f"{PASS}; none",
        f"{PASS} (open",
        f"{PASS} shut)",
        f'{PASS}; dkim=pass reason="open',
        f"{PASS}; dkim=pass header.b=" + "b" * 8000,
    ],
)
def test_what_cannot_be_understood_is_no_proof(verdict: str) -> None:
    assert said(verdict).startswith("no: Authentication-Results that cannot be read")


def test_a_sub_domain_is_vouched_for_by_its_parent() -> None:
    origin = "ann@mail.example.com"
    assert said("dkim=pass header.d=example.com", origin) == origin
    assert said(PASS, origin) == origin
    assert said("dkim=pass header.d=com", origin).startswith("no:")


def test_strangers_words_in_a_property_are_no_verdict() -> None:
    """A server may repeat the sender's own MAIL FROM, HELO or d=."""
    quoted = f'spf=pass smtp.mailfrom="x; {PASS}"@evil.example; dkim=none'
    assert said(quoted) == NOBODY
    assert said(f"spf=pass (helo={PASS}) smtp.helo=x") == NOBODY
    assert said(f'spf=pass reason="\\"; {PASS}"') == NOBODY


AR = f"Authentication-Results: {MX}; {PASS}\n"
FAIL = f"Authentication-Results: {MX}; dmarc=fail header.from=example.com\n"
FROM = f"From: {ANN}\n"
OURS = f"Received: from evil.example by {MX} (Postfix) with ESMTPS id 1\n"
THEIRS = "Received: from laptop by relay.evil.example with ESMTP id 2\n"
NONE = f"no: no Authentication-Results of {MX}"
PLACES = [
    (AR + OURS + THEIRS + FROM, ANN),  # milters put it on top
    (OURS + AR + THEIRS + FROM, ANN),  # Gmail has it below its own hop
    ("Received: by 2002:a05:7208:1 with SMTP id 3\n" + OURS + AR + THEIRS + FROM, ANN),
    ("Delivered-To: fax@example.net\nReturn-Path: <x@example.com>\n" + OURS + AR + FROM, ANN),
    ("Received: from mx by store.example.net (by mx.example.net)\n" + AR + OURS + FROM, ANN),
    (f"Received: from a\n by in1.{MX}\n id 1\n" + AR + FROM, ANN),
    (AR + "DKIM-Signature: v=1; d=example.com\n" + FROM, ANN),
    (AR + FAIL + FROM, ANN),  # the lower one came with the mail
    (FAIL + AR + FROM, f"no: {MX} says dmarc=fail"),
    (OURS + FAIL + AR + FROM, f"no: {MX} says dmarc=fail"),
    (FROM + AR, NONE),
    ("Subject: hi\n" + AR + FROM, NONE),
    ("Message-ID: <1@x>\n" + AR + FROM, NONE),
    (OURS + THEIRS + AR + FROM, NONE),
    (OURS + OURS + AR + FROM, NONE),
    (FROM, NONE),
    (f"X-Authentication-Results: {MX}; {PASS}\n" + FROM, NONE),
    (f"ARC-Authentication-Results: i=1; {MX}; {PASS}\n" + FROM, NONE),
    (f"Authentication-Results: evil.example; {PASS}\n" + FROM, NONE),
    (f"Authentication-Results: x.{MX}; {PASS}\n" + FROM, NONE),
    (f"Authentication-Results: spf=pass smtp.mailfrom={MX}; {PASS}\n" + FROM,
     "no: Authentication-Results that cannot be read"),
    (f"Authentication-Results: evil.example ({MX}); {PASS}\n" + FROM, NONE),
    (f"Authentication-Results: {MX.upper()} 1; {PASS}\n" + FROM, ANN),
    (f"Authentication-Results: (comment) {MX};\n\t{PASS}\n" + FROM, ANN),
    (f'Authentication-Results: "{MX}"; {PASS}\n' + FROM, ANN),
    (f"Authentication-Results: other.example; dmarc=fail\n{AR}" + FROM, ANN),
    (AR + FROM + FROM, "no: it has 2 From fields"),
    (AR + FROM + "From : x@evil.example\n", "no: it has 2 From fields"),
    (AR + "Sender: ann@example.com\n", "no: it has 0 From fields"),
]  # fmt: skip


@pytest.mark.parametrize(("head", "expected"), PLACES)
def test_where_it_stands(head: str, expected: str) -> None:
    assert sender(head + "\n").startswith(expected)


def test_fields_below_the_headers_mean_nothing() -> None:
    assert sender(f"Subject: x\n{FROM}\n\n{AR}") == NONE


GMAIL = """Delivered-To: fax@example.net
Received: by 2002:a05:7208:1 with SMTP id rb1; Mon, 23 Nov 2026 01:02:03 -0800 (PST)
X-Received: by 2002:a05:1 with SMTP id q1; Mon, 23 Nov 2026 01:02:03 -0800 (PST)
ARC-Authentication-Results: i=1; mx.google.com; dkim=fail header.i=@example.com
Return-Path: <ann@example.com>
Received: from mail.example.com (mail.example.com. [192.0.2.1])
        by mx.google.com with ESMTPS id 5 for <fax@example.net>
Received-SPF: pass (google.com: domain of ann@example.com designates 192.0.2.1) client-ip=192.0.2.1;
Authentication-Results: mx.google.com;
       dkim=pass header.i=@example.com header.s=20230601 header.b="k3/xQ+Z=";
       spf=pass (google.com: domain of ann@example.com designates 192.0.2.1 as permitted sender)
         smtp.mailfrom=ann@example.com;
       dmarc=pass (p=QUARANTINE sp=QUARANTINE dis=NONE) header.from=example.com;
       dara=pass header.i=@example.net
DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=20230601; b=k3/xQ+Z=
Received: by mail.example.com; Mon, 23 Nov 2026 01:02:00 -0800
From: "Ann (Sales)" <ann@example.com>

"""
RSPAMD = """Return-Path: <ann@example.com>
Authentication-Results: mx.example.net;
\tdkim=pass header.d=example.com header.s=s1 header.b=xYz;
\tspf=pass (mx.example.net: domain of ann@example.com designates 192.0.2.1) smtp.mailfrom=ann@x;
\tdmarc=pass (policy=reject) header.from=example.com
Received: from mail.example.com by mx.example.net with ESMTPS
From: ann@example.com

"""


@pytest.mark.parametrize(("head", "server"), [(GMAIL, "mx.google.com"), (RSPAMD, "mx.example.net")])
def test_real_servers(head: str, server: str) -> None:
    assert sender(head, server) == ANN
    assert sender(head.replace("=pass", "=fail"), server) == f"no: {server} says dmarc=fail"


def test_a_server_without_a_name_vouches_for_nothing() -> None:
    """Microsoft 365 writes none (its field begins with a result)."""
    field = "spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=example.com; " + PASS
    assert sender(f"Authentication-Results: {field}\n{FROM}\n") == NONE


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("ann@example.com", ANN),
        ("Ann <ann@example.com>", ANN),
        ("Ann Lee < ann@Example.COM >", ANN),
        ("Ann@example.com", "Ann@example.com"),  # whether case counts is the domain's to say
        ('"Lee, Ann" <ann@example.com>', ANN),
        ('"x@evil.example" <ann@example.com>', ANN),
        ("=?utf-8?q?Ann_=3Cx=40y.z=3E?= <ann@example.com>", ANN),
        ("Änn <ann@example.com> (at work)", ANN),
        ("(a (b) c) ann@example.com", ANN),
        ("ann@example.com <ann@example.com>", ANN),
        ("Ann O\\'Neil <ann+fax@example.com>", "ann+fax@example.com"),
        ("", ""),
        ("Ann", ""),
        ("<>", ""),
        ("ann@localhost", ""),
        ("ann@example.com, bob@example.com", ""),
        ("<ann@example.com> <bob@example.com>", ""),
        ("Ann <ann@example.com> bob", ""),
        ("team: ann@example.com;", ""),
        ("a@b@example.com", ""),
        ('"ann"@example.com', ""),
        ("ann@exämple.com", ""),
        ("ann@example.com\\", ""),
        ("ann@example.com (open", ""),
        ('"open <ann@example.com>', ""),
        ("ann @example.com", ""),
        ("ann@[192.0.2.1]", ""),
        ("@evil.example:ann@example.com", ""),
    ],
)
def test_one_author(value: str, address: str) -> None:
    try:
        assert author([("from", value)]) == address
    except UnverifiedError:
        assert not address


def test_the_grammar_of_rfc_8601() -> None:
    """Its appendix B, field by field."""
    assert results("example.org 1; none") == Results("example.org", ())
    many = results(
        "example.com; auth=pass (cram-md5) smtp.auth=sender@example.net; spf=fail "
        "smtp.mailfrom=example.net; dkim=pass (good signature) header.d=example.com"
    )
    assert many == Results(
        "example.com",
        (
            Verdict("auth", "pass", {"smtp.auth": "sender@example.net"}),
            Verdict("spf", "fail", {"smtp.mailfrom": "example.net"}),
            Verdict("dkim", "pass", {"header.d": "example.com"}),
        ),
    )
    odd = results(
        "foo.example.net (foobar) 1 (baz); dkim (Because I like it) / 1 (One yay) = (wait for it) "
        "fail policy (A dot can go here) . (like that) expired (this surprised me) = "
        "(as I wasn't expecting it) 1362471462"
    )
    assert odd == Results(
        "foo.example.net", (Verdict("dkim", "fail", {"policy.expired": "1362471462"}),)
    )


PIECES = st.sampled_from(
    ["(", ")", '"', "\\", ";", "=", ".", " ", "dmarc", "dkim", "pass", "fail", "header.from",
     "header.d", "example.com", MX, "/1", "1", "none", "\u00e9", "reason", "@", "<", ">", ","]
)  # fmt: skip
WORDS = st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(WORDS)
def test_any_text_has_an_answer(value: str) -> None:
    """Never an error of another kind, and no text without dmarc or dkim and pass is proof."""
    found = [("authentication-results", f"{MX}; {value}"), ("from", ANN)]
    try:
        assert verified_sender(found, MX) == ANN
    except UnverifiedError:
        return
    low = value.lower()
    assert "pass" in low
    assert "dmarc" in low or "dkim" in low
    assert "example.com" in low


@settings(max_examples=400, deadline=None, derandomize=True)
@given(WORDS)
def test_any_from_has_at_most_one_author(value: str) -> None:
    try:
        address = author([("from", value)])
    except UnverifiedError:
        return
    assert address.count("@") == 1
    assert address.lower() in value.lower()


def test_long_values_are_cheap() -> None:
    """A field is at most 8,000 characters; no pattern may go back over them again and again."""
    for odd in ("(", ")", '"', "\\", "a=", " ", ";", "a.", '"\\', "(\\", "dkim=pass a"):
        long = (odd * 8000)[:7900]
        assert not any(one.facts for one in getattr(results(f"{MX}; {long}"), "verdicts", ()))
        with pytest.raises(UnverifiedError):
            author([("from", long)])
