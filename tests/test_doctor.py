"""The copiers' doctor: recorded dialogues of real devices, and what is said about each."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from gateway.doctor import (
    SIGNS,
    Finding,
    Known,
    at_the_copier,
    device_block,
    examine,
    settings,
    story,
)
from gateway.doors.smtp import auth, guests, replies
from gateway.doors.transcripts import (
    LEFT,
    LEFT_IN_DATA,
    NOT_LISTED,
    SPLIT,
    TIMED_OUT,
    TLS_FAILED,
    TLS_ON,
    Transcript,
)
from gateway.numbers import Refusal
from gateway.options import OptionError, Where
from gateway.outbound import permit
from gateway.rules import COMPAT, load

PEER = "192.0.2.17"
OFFERS = "250-fax.local\r\n250-PIPELINING\r\n250-SIZE 35000000\r\n250-AUTH PLAIN LOGIN\r\n250 DSN"
WITH_TLS = OFFERS.replace("250 DSN", "250 STARTTLS")
BARE = OFFERS.replace("250-AUTH PLAIN LOGIN\r\n", "")
GREETING = "S 220 fax.local ESMTP"
HELLO = f"{GREETING}|C EHLO MFP-3|S {OFFERS}"
MAIL = f"{HELLO}|C MAIL FROM:<scan@example.com>|S 250 2.1.0 Sender ok"
RCPT = f"{MAIL}|C RCPT TO:<+14155550100@fax.local>|S 250 2.1.5 Recipient ok"
DATA = f"{RCPT}|C DATA|S 354 End data with <CR><LF>.<CR><LF>"
BODY = f"{DATA}|D CRLF 76"
ACCEPTED = f"{BODY}|S 250 2.0.0 accepted as k7m2p9x4h3qd|C QUIT|S 221 2.0.0 Bye"
NO_OPTION = OptionError("x", "is no option", Where.ADDRESS)
LOGIN_FIRST = "530 5.7.0 Authentication required"
HELO = f"{GREETING}|C HELO x|S 250 fax.local"
LOGIN = "C AUTH LOGIN|S 334 VXNlcm5hbWU6|C c2Nhbm5lcg==|S 334 UGFzc3dvcmQ6|C c2VjcmV0"


def dialogue(script: str) -> str:
    """`S` we say, `C` it says, `L` it says with a bare LF, `N` a note, `D` a body."""
    transcript = Transcript()
    for part in script.split("|"):
        who, _, what = part.partition(" ")
        match who:
            case "S":
                transcript.said(what)
            case "C":
                transcript.heard(f"{what}\r\n".encode("latin-1"))
            case "L":
                transcript.heard(f"{what}\n".encode())
            case "N":
                transcript.note(what)
            case "D":
                ends, longest = what.split(" ")
                transcript.data(31_000_000, ends, int(longest))
    return transcript.text()


def examined(*texts: str, door: str = "smtp") -> list[Finding]:
    return examine([(door, text) for text in texts])


def tls(error: str) -> str:
    return "N " + TLS_FAILED.format(error)


DIALOGUES = {
    # quirks.md, table of SMTP quirks: prompt, lower case, username, HELO, no TLS
    "left-at-login": f"{HELLO}|C AUTH LOGIN|S 334 VXNlcm5hbWU6|N {LEFT}",
    "login-method": f"{HELLO}|C auth cram-md5|S 504 5.5.4 Mechanism not supported|C QUIT",
    "login-after-helo": f"{GREETING}|C HELO MINOLTA|S 250 fax.local"
    "|C AUTH LOGIN c2Nhbm5lcg==|S 503 5.5.1 EHLO first|C QUIT",
    "login-without-tls": f"{HELLO}|C AUTH PLAIN AHNjYW4Ac2VjcmV0|S 538 5.7.11 Encryption required",
    "login-not-offered": f"{GREETING}|C EHLO x|S {BARE}|C AUTH LOGIN|S {replies.NOT_OFFERED}",
    "login-broken": f"{HELLO}|C AUTH LOGIN|S 334 x|C é|S 501 5.5.2 Cannot decode",
    "login-busy": f"{HELLO}|{LOGIN}|S 454 4.7.0 Temporary authentication failure",
    "wrong-password": f"{HELLO}|{LOGIN}|S 535 5.7.8 Wrong|C QUIT",
    "locked-out": f"{HELLO}|{LOGIN}|S 535 5.7.8 Authentication failed|{LOGIN}|S 421 4.7.0 Too many",
    "nobody-we-know": f"{HELLO}|C MAIL FROM:<scan@example.com>|S {LOGIN_FIRST}",
    # no TLS, TLS 1.0 and 1.1 only
    "old-tls": f"{GREETING}|C EHLO HP|S {WITH_TLS}|C STARTTLS|S 220 2.0.0 Ready|"
    + tls("[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol (_ssl.c:992)"),
    "certificate": tls("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca"),
    "plain-at-tls-port": tls("[SSL: WRONG_VERSION_NUMBER] wrong version number"),
    "no-tls": f"{HELLO}|C STARTTLS|S 454 4.7.0 TLS is not available",
    "no-proxy-line": f"S {replies.BAD_PROXY}",
    "tls-failed": f"{GREETING}|C EHLO HP|S {WITH_TLS}|C STARTTLS|S 220 2.0.0 Ready|N {LEFT}",
    "not-smtp": f"{GREETING}|C \x16\x03\x01|S {replies.NOT_SMTP}",
    "wants-tls": f"{GREETING}|C EHLO x|S {OFFERS}|C QUIT|S {replies.GOODBYE}",
    "wants-login": f"{GREETING}|C EHLO x|S {BARE.replace('DSN', 'STARTTLS')}|N {LEFT}",
    "left-at-hello": f"{GREETING}|C EHLO x|S {WITH_TLS.replace('DSN', 'AUTH LOGIN')}|N {LEFT}",
    "left-midway": f"{RCPT}|N {LEFT}",
    "left-at-greeting": f"{GREETING}|N {LEFT}",
    "not-listed": f"N {NOT_LISTED}",
    # bare LF, long lines, odd commands
    "bare-lf": f"{GREETING}|L EHLO old|S {replies.BAD_LINE}",
    "long-lines": f"{DATA}|D CRLF 3000000|S {replies.LONG_LINE}",
    "syntax": f"{HELLO}|C MAIL FROM :<scan@example.com>|S {replies.MAIL_SYNTAX}",
    "odd-letters": f"{MAIL}|C RCPT TO:<Büro@fax.local>|S {replies.BAD_LINE}",
    "no-hostname": f"{GREETING}|C EHLO|S {replies.NEED_HOSTNAME}",
    "early-talk": f"{RCPT}|C DATA|S {replies.EARLY_TALK}",
    "too-many-errors": f"{HELLO}|C NOOP|S 250 2.0.0 Ok|S {replies.TOO_MANY_COMMANDS}",
    "too-many-connections": "S 421 4.7.0 Too many connections",
    # the sender
    "no-sender": f"{HELLO}|C MAIL FROM:<>|S {replies.AUTOMATIC}",
    "fax-as-sender": f"{HELLO}|C MAIL FROM:<14155550100@fax.local>|S {replies.FAX_SENDER}",
    "sender-without-domain": f"{HELLO}|C MAIL FROM:<scanner> SIZE=100|S {replies.SENDER_OK}",
    "bad-sender": f"{HELLO}|C MAIL FROM:<the copier>|S {replies.BAD_SENDER}",
    "sender-not-owned": f"{HELLO}|C MAIL FROM:<scan@example.com>|S 553 5.7.1 Sender not owned",
    "sender-not-listed": f"{HELLO}|C MAIL FROM:<scan@example.com>|S 550 5.7.1 Sender not listed",
    "automatic-mail": f"{BODY}|S {replies.AUTOMATIC}",
    # the number
    "brackets": f"{MAIL}|C RCPT TO:<(206) 555-1234@fax.local>|S {Refusal.COMMENT}",
    "bad-number": f"{MAIL}|C RCPT TO:<+1x@fax.local>|S {Refusal.BAD_NUMBER}",
    "foreign-domain": f"{MAIL}|C RCPT TO:<bob@example.com>|S {Refusal.RELAY_TRY}",
    "no-number-in-subject": f"{BODY}|S {replies.NO_SUBJECT_NUMBER}",
    "option": f"{MAIL}|C RCPT TO:<1/x=y@fax.local>|S {NO_OPTION.reply}",
    "not-permitted": f"{MAIL}|C RCPT TO:<911@fax.local>|S {Refusal.TOLL_DENIED}",
    "quota": f"{MAIL}|C RCPT TO:<1@fax.local>|S 451 4.7.1 Quota, retry after 14:30",
    "too-many-recipients": f"{RCPT}|C RCPT TO:<1@fax.local>|S {replies.TOO_MANY_RECIPIENTS}",
    # the mail
    "too-big": f"{HELLO}|C MAIL FROM:<scan@example.com> SIZE=61000000|S {replies.TOO_BIG}",
    "nul": f"{BODY}|S {replies.NUL}",
    "split": f"{BODY}|N {SPLIT}|S {replies.SPLIT}",
    "nothing-to-fax": f"{BODY}|S 554 5.6.1 No faxable content",
    "loop": f"{BODY}|S {replies.LOOP}",
    "left-in-data": f"{DATA}|D CRLF 76|N {LEFT_IN_DATA}",
    "our-fault": f"{HELLO}|C MAIL FROM:<scan@example.com>|S {replies.QUEUE_DOWN}",
    "timed-out": f"{RCPT}|N {TIMED_OUT}|S {replies.TIMEOUT}",
    "unknown": f"{BODY}|S {replies.COMPLEX}",
}  # fmt: skip


ALSO = {"locked-out": {"wrong-password"}}
SENDER = 'sender = "copier@example.com"  # a mailbox that somebody reads: it hears of its faxes'


def test_every_sign_has_its_dialogue() -> None:
    assert set(DIALOGUES) == {sign.name for sign in SIGNS} | {"unknown"}
    assert len({sign.name for sign in SIGNS}) == len(SIGNS)


@pytest.mark.parametrize("name", DIALOGUES)
def test_what_is_wrong(name: str) -> None:
    text = dialogue(DIALOGUES[name])
    found = examined(text)
    names = [one.sign.name for one in found]
    assert sorted(names) == sorted({name} | ALSO.get(name, set())), text
    mine = next(one for one in found if one.sign.name == name)
    assert mine.quote in text
    assert 1 <= len(mine.quote.split("\n")) <= 3
    assert (mine.sessions, mine.newest) == (1, True)


@pytest.mark.parametrize(
    ("script", "names"),
    [
        (ACCEPTED, []),
        (f"{HELLO}|C auth login|S 334 x|C x|S 334 x|C x|S 235 2.7.0 Ok|{MAIL}|C QUIT",
         ["left-midway"]),
        (f"{HELLO}|C AUTH PLAIN|S 334 |C x|S 235 2.7.0 Ok|C RSET|S 250 2.0.0 Ok", []),
        # forgiven: the device sends bare LF, and is understood
        (ACCEPTED.replace("C RCPT", "L RCPT").replace("D CRLF", "D LF"), []),
        (f"{DATA}|D LF 76|N {TIMED_OUT}|S {replies.TIMEOUT}", ["bare-lf"]),
        (f"{DATA}|D LF 76|S {replies.TOO_BIG}", ["too-big"]),
        (f"{HELO}|C MAIL FROM:<a@b.c> SIZE=1|S {replies.UNKNOWN_PARAMETER}", ["syntax"]),
        (f"{HELO}|C EHLO x|S {OFFERS}|C AUTH LOGIN|S 502 5.5.1 no", ["login-not-offered"]),
        (f"{HELO}|C AUTH LOGIN|S {replies.NOT_OFFERED}", ["login-not-offered"]),
        (f"{BODY}|S {replies.SPLIT}", ["split"]),
        (f"N {TLS_ON.format('TLSv1.3')}|{HELLO}|C QUIT|S 221 2.0.0 Bye", ["left-at-hello"]),
        (f"{HELLO}|C MAIL FROM:<scanner>|S {LOGIN_FIRST}",
         ["nobody-we-know", "sender-without-domain"]),
        (f"{HELLO}|C XYZ|S {replies.UNKNOWN}|C MAIL FROM:<>|S {replies.AUTOMATIC}",
         ["no-sender", "unknown"]),
        (f"{MAIL}|C RCPT TO:<1(2)@fax.local>|S {Refusal.COMMENT}|N {LEFT}", ["brackets"]),
        (tls("[SSL: NO_SHARED_CIPHER] no shared cipher"), ["old-tls"]),
        (tls("unexpected eof while reading"), ["tls-failed"]),
        ("", []),
        ((f"{HELLO}|C MAIL FROM:<>|S 250 2.1.0 Sender ok|C RCPT TO:<1@fax.local>"
         f"|S {replies.AUTOMATIC}"), ["no-sender"]),
        # as it is when nobody writes down that the client left
        (GREETING, ["left-at-greeting"]),
        (f"{HELO}", ["wants-login"]),
        (f"{DATA}", ["left-in-data"]),
        (f"{HELLO}|C AUTH LOGIN|S 334 VXNlcm5hbWU6", ["left-at-login"]),
        (f"{GREETING}|C EHLO x|S 250-a|S 250 STARTTLS|N {LEFT}", ["wants-login"]),
        (f"{GREETING}|C EHLO x|S 250-AUTH PLAIN|S 250 DSN|N {LEFT}", ["wants-tls"]),
        (f"{GREETING}|C EHLO x|S 250 STARTTLS|C STARTTLS|S 220 x|C EHLO x|S {OFFERS}|C QUIT",
         ["left-at-hello"]),
        (f"S {replies.NO_DEVICE}|N {NOT_LISTED}", ["not-listed"]),
        ("S 554 x|N not_listed", ["not-listed", "unknown"]),
        (f"{HELLO}|C AUTH LOGIN|S {replies.LOGGED_IN_ALREADY}", ["unknown"]),
        (f"{HELLO}|{LOGIN}|S {replies.TOO_MANY_FAILURES}", ["locked-out"]),
        (f"{HELLO}|{LOGIN}|S {replies.LOGIN_BUSY}", ["login-busy"]),
        (f"{HELLO}|{LOGIN}|S {replies.BAD_LOGIN}", ["wrong-password"]),
        (f"{HELLO}|C AUTH LOGIN|S {replies.NO_PLAIN_LOGIN}", ["login-without-tls"]),
        (f"{HELLO}|C AUTH CRAM-MD5|S {auth.UNKNOWN_MECHANISM}", ["login-method"]),
        (f"{HELLO}|C AUTH LOGIN|S 334 x|C *|S {auth.CANCELLED}", ["login-broken"]),
        (f"{HELLO}|C AUTH LOGIN|S 334 x|C é|S {auth.NOT_BASE64}", ["login-broken"]),
        (f"{HELLO}|C AUTH|S {auth.SYNTAX}", ["unknown"]),
        (f"{HELLO}|C MAIL FROM:<a@b.c>|S {permit.LOGIN_FIRST}", ["nobody-we-know"]),
        (f"{HELLO}|C MAIL FROM:<a@b.c>|S {permit.NOT_LISTED}", ["sender-not-listed"]),
        (f"{HELLO}|C MAIL FROM:<a@b.c>|S {permit.NOT_OWNED}", ["sender-not-owned"]),
        (f"S {guests.TOO_MANY}", ["too-many-connections"]),
        (f"S {guests.BUSY}", ["too-many-connections"]),
    ],
)  # fmt: skip
def test_more_dialogues(script: str, names: list[str]) -> None:
    assert sorted(one.sign.name for one in examined(dialogue(script))) == names, dialogue(script)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ("[SSL: VERSION_TOO_LOW] version too low", "old-tls"),
        # the bare reasons of the ssl module
        ("UNSUPPORTED_PROTOCOL", "old-tls"),
        ("NO_SHARED_CIPHER", "old-tls"),
        ("WRONG_VERSION_NUMBER", "plain-at-tls-port"),
        ("HTTP_REQUEST", "plain-at-tls-port"),
        ("TLSV1_ALERT_UNKNOWN_CA", "certificate"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "certificate"),
        ("UNEXPECTED_EOF_WHILE_READING", "tls-failed"),
        ("ConnectionResetError", "tls-failed"),
        ("[SSL: NO_SUITABLE_SIGNATURE_ALGORITHM] no suitable signature algorithm", "old-tls"),
        ("[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version", "old-tls"),
        ("[SSL: SSLV3_ALERT_CERTIFICATE_UNKNOWN] certificate unknown", "certificate"),
        ("[SSL: SSLV3_ALERT_BAD_CERTIFICATE] bad certificate", "certificate"),
        ("[SSL: HTTP_REQUEST] http request", "plain-at-tls-port"),
        ("SSL handshake is taking longer than 10.0 seconds", "tls-failed"),
    ],
)
def test_how_tls_fails(error: str, name: str) -> None:
    text = dialogue(tls(error))
    assert [one.sign.name for one in examined(text)] == [name]


def test_sessions_are_counted_and_the_newest_leads() -> None:
    texts = [dialogue(DIALOGUES[name]) for name in ("brackets", "nul", "brackets", "too-big")]
    found = examined(*texts)
    assert [(one.sign.name, one.sessions, one.newest) for one in found] == [
        ("brackets", 2, True),
        ("nul", 1, False),
        ("too-big", 1, False),
    ]
    assert examine([]) == []


def test_every_word_that_forgives_is_known() -> None:
    assert {sign.compat for sign in SIGNS} - {""} == set(COMPAT)


@pytest.mark.parametrize("name", [s.name for s in SIGNS if s.compat or s.mend])
@pytest.mark.parametrize("peer", [PEER, "2001:db8::17"])
def test_what_is_to_be_written_can_be_read(name: str, peer: str, tmp_path: Path) -> None:
    """The block that the doctor prints is a rules.toml that the gateway takes."""
    found = examined(dialogue(DIALOGUES[name]))
    block = device_block(peer, found, Known())
    sign = next(one.sign for one in found if one.sign.name == name)
    assert bool(block) == bool(sign.compat or sign.mend in ("device", "sender"))
    needed = sign.compat or sign.mend in ("listener", "device", "network")
    lines = settings(peer, found, [], Known())
    assert (f"SMTP_DEVICE_NETWORKS={peer}" in lines) == bool(needed)
    file = tmp_path / "rules.toml"
    file.write_text(f'{block}\n[[route]]\nmail = "office@example.com"\n')
    devices = load(file, ["fax.local"]).device
    assert [device.compat for device in devices] == [{sign.compat} - {""}] * bool(block)
    assert [str(network) for d in devices for network in d.network][:1] in (
        [],
        [f"{peer}/32"],
        [f"{peer}/128"],
    )


@pytest.mark.parametrize(
    ("names", "known", "block", "lines"),
    [
        (["brackets"], Known(), "", []),
        (["not-listed"], Known(), "",
         ["SMTP_DEVICE_LISTEN=0.0.0.0:2526", f"SMTP_DEVICE_NETWORKS={PEER}"]),
        (["not-listed"], Known(networks=("10.0.0.0/8",), listener="0.0.0.0:25"), "",
         [f"SMTP_DEVICE_NETWORKS=10.0.0.0/8,{PEER}"]),
        (["bare-lf", "long-lines"], Known(), "",
         ["SMTP_DEVICE_LISTEN=0.0.0.0:2526", f"SMTP_DEVICE_NETWORKS={PEER}"]),
        (["bare-lf", "long-lines"], Known(listed=True, listener="0.0.0.0:25"), "", []),
        (["old-tls"], Known(listed=True, listener="0.0.0.0:25"),
         (f'[[device]]\nnetwork = "192.0.2.17"\nname = "copier-17"\n{SENDER}\n'
         'compat = ["tls1.0"]'), []),
        (["old-tls", "bare-lf"], Known(listed=True, listener="x", device="big one"),
         '# in your [[device]] named "big one"\ncompat = ["tls1.0"]', []),
        (["old-tls"],
         Known(listed=True, listener="x", device="big one", compat=frozenset(["tls1.0"])), "", []),
        (["no-sender"], Known(listed=True, listener="x", device="a"),
         f'# in your [[device]] named "a"\n{SENDER}', []),
        (["too-big"], Known(), "", ["SMTP_MAX_MESSAGE=70MB"]),
    ],
)  # fmt: skip
def test_what_is_to_be_written(
    names: list[str], known: Known, block: str, lines: list[str]
) -> None:
    texts = [dialogue(DIALOGUES[name]) for name in names]
    found = examined(*texts)
    assert device_block(PEER, found, known) == block
    assert settings(PEER, found, texts, known) == lines


FORGIVEN = [sign.name for sign in SIGNS if sign.mend == "listener"]


@pytest.mark.parametrize("name", FORGIVEN)
def test_what_the_copiers_listener_forgives_explains_nothing_there(name: str) -> None:
    text = dialogue(DIALOGUES[name])
    there = [one.sign.name for one in examined(text, door="device")]
    assert name not in there
    assert there, "what was refused for another reason is still told"


@pytest.mark.parametrize(
    ("name", "door", "listener", "told"),
    [
        ("bare-lf", "smtp", "", "Let the copier send to SMTP_DEVICE_LISTEN (0.0.0.0:2526)."),
        ("bare-lf", "", "10.1.1.1:25", "Let the copier send to SMTP_DEVICE_LISTEN (10.1.1.1:25)."),
        ("bare-lf", "device", "10.1.1.1:25", ""),  # only older sessions show it
        ("old-tls", "smtps", "[::1]:25", "Let the copier send to SMTP_DEVICE_LISTEN ([::1]:25)."),
        ("old-tls", "device", "", ""),
        ("not-listed", "", "", ""),
        ("brackets", "smtp", "", ""),
    ],
)
def test_where_it_must_send_to(name: str, door: str, listener: str, told: str) -> None:
    found = examined(dialogue(DIALOGUES[name]))
    assert at_the_copier(door, found, Known(listener=listener)) == told


def test_no_two_devices_get_one_name() -> None:
    found = examined(dialogue(DIALOGUES["no-sender"]))
    block = device_block(PEER, found, Known(names=frozenset(["copier-17", "copier-17-2"])))
    assert 'name = "copier-17-3"' in block


def test_no_limit_is_raised_beyond_what_may_be() -> None:
    text = dialogue(DIALOGUES["too-big"]).replace("SIZE=61000000", "SIZE=610000000")
    assert settings(PEER, examined(text), [text], Known()) == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("", "it connected"),
        (GREETING, "it connected"),
        (ACCEPTED,
         ("it said EHLO MFP-3; gave the sender <s•••@example.com>; named the recipient"
         " <+•••••••0100@fax.local>; sent 31,000,000 bytes, lines end with CRLF, longest 76;"
         " we took the mail; said goodbye")),
        (DIALOGUES["wrong-password"],
         'it said EHLO MFP-3; wanted to log in (LOGIN); we said "535 5.7.8 Wrong"; said goodbye'),
        (DIALOGUES["tls-failed"], "it said EHLO HP; asked for TLS; client left"),
        ("|".join(f"C RCPT TO:<{n}>" for n in range(20)),
         "; ".join([*(f"named the recipient <{n}>" for n in range(7)), "(6 steps more)",
                    *(f"named the recipient <{n}>" for n in range(13, 20))])),
    ],
)  # fmt: skip
def test_stories(script: str, told: str) -> None:
    assert story(dialogue(script)) == told


@effort(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from("CSN"), st.text(max_size=80)), max_size=99))
def test_whatever_a_client_says_is_read_quickly_and_nothing_breaks(
    lines: list[tuple[str, str]],
) -> None:
    transcript = Transcript()
    for who, what in lines:
        {"C": transcript.heard, "S": transcript.said, "N": transcript.note}[who](what)
    text = transcript.text()
    found = examined(text)
    refused = re.search(r"^S: [45]\d\d[ -]", text, re.MULTILINE)
    assert found or not refused, "a refusal is never passed over in silence"
    assert story(text)
    block = device_block(PEER, found, Known())
    tomllib.loads(block)
