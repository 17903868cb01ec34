"""Every mail that leaves: exactly the headers that were meant, whatever strangers wrote in them."""

from __future__ import annotations

import email
import tempfile
import tracemalloc
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail import compose
from gateway.mail.compose import (
    Attachment,
    HeaderError,
    Mail,
    address,
    check,
    field_of,
    header_lines,
    mailbox,
    write,
)
from gateway.mail.headers import clean

FROM = "Fax Gateway <fax@fax.local>"
NAMES = ["From", "To", "Subject", "Date", "Message-ID"]


def mail(**facts: object) -> Mail:
    common: dict[str, object] = {
        "sender": FROM, "to": ("a@example.com",), "subject": "Hello", "text": "Text\nof it",
        "message_id": "<1@fax.local>", "date": 1_770_201_000.0,
    }  # fmt: skip
    return Mail(**common | facts)  # type: ignore[arg-type]


def parsed(one: Mail, tmp_path: Path) -> EmailMessage:
    path = tmp_path / "mail.eml"
    path.unlink(missing_ok=True)
    write(one, path)
    content = path.read_bytes()
    assert b"\n" not in content.replace(b"\r\n", b""), "only CRLF ends a line"
    assert max(map(len, content.split(b"\r\n"))) <= 998
    content.decode("ascii")
    message = email.message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_plain(tmp_path: Path) -> None:
    message = parsed(mail(), tmp_path)
    assert [*message.keys()][:6] == [*NAMES, "MIME-Version"]
    assert message["Date"] == "Wed, 04 Feb 2026 10:30:00 +0000"
    assert message.get_content().splitlines() == ["Text", "of it"]


def test_alternative_picture_and_attachment(tmp_path: Path) -> None:
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(b"%PDF" + bytes(range(256)) * 999)
    message = parsed(
        mail(
            html="<p>Grüße</p><img src='cid:p1'>",
            attachments=(
                Attachment("Bericht für Ann.pdf", "application/pdf", scan),
                Attachment("p.png", "image/png", b"\x89PNG", "p1"),
            ),
        ),
        tmp_path,
    )
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == [
        "multipart/mixed", "multipart/alternative", "text/plain", "multipart/related",
        "text/html", "image/png", "application/pdf",
    ]  # fmt: skip
    html = message.get_body(("html",))
    assert html
    assert "Grüße" in html.get_content()
    (attachment,) = message.iter_attachments()
    assert isinstance(attachment, EmailMessage)
    assert attachment.get_filename() == "Bericht für Ann.pdf"
    assert attachment.get_content() == scan.read_bytes()


HOSTILE = [
    "=?utf-8?q?x=0D=0ABcc=3A_evil=40x?=", "a\r\nBcc: x@example.com", "a\nBcc: x@example.com",
    "a\rBcc: x", "a\0b", "\u2028Bcc: x", "\x85Bcc: x", "\u202egnp.exe", "x" * 9000, "ü" * 900,
    "=?", "=?utf-8?b?", "\ud800", "", " ", "a" * 59 + "ü",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_gets_out_of_a_header(text: str, tmp_path: Path) -> None:
    one = mail(subject=text, headers={"X-Fax-Gateway": text}, html="<p>", attachments=(
        Attachment(text, "application/pdf", b"x"),
    ))  # fmt: skip
    names = [*parsed(one, tmp_path).keys()]
    wanted = [*NAMES, *(["X-Fax-Gateway"] if text.strip() or text else []), "MIME-Version"]
    assert [n for n in names if not n.startswith("Content-")] in (wanted, [*NAMES, "MIME-Version"])


@settings(max_examples=300)
@given(st.text(max_size=300), st.text(max_size=80))
def test_any_text_survives(subject: str, name: str) -> None:
    one = mail(subject=subject, sender=f'"{name}" <fax@fax.local>', headers={"X-T": name})
    try:
        lines = header_lines(one)
    except ValueError:  # a name that makes the address unreadable is refused, never mended
        return
    block = "".join(f"{header}: {value}\r\n" for header, value in lines) + "\r\n"
    check(block.encode("ascii"), lines)
    message = email.message_from_string(block, policy=policy.default)
    shown = " ".join(subject.split())
    if subject.isprintable() and len(shown) <= 150:
        assert " ".join(str(message["Subject"]).split()) == shown


def test_a_header_that_is_not_what_was_meant_stops_the_mail() -> None:
    with pytest.raises(HeaderError):
        check(b"Subject: a\r\nBcc: b\r\n\r\n", [("Subject", "a")])


@pytest.mark.parametrize(
    "written",
    [
        "",
        "a",
        "a@",
        "a b@c",
        "<a@b>x",
        "a@b\r\nBcc: c@d",
        "a@b, c@d",
        "ü@",
        "ü\u2028@b",
        "\u202eü@b",
        "ü @b",
        "<ü>@b",
    ],
)
def test_no_address(written: str) -> None:
    for read in (mailbox, address):
        with pytest.raises(ValueError, match="is no mail address"):
            read(written)


@pytest.mark.parametrize("wrong", ["", "1@x", "<a b@x>", "<1@x>\r\nBcc: y", "<=?utf-8?q?x?=>"])
def test_no_message_id(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no message id"):
        header_lines(mail(message_id=wrong))


@pytest.mark.parametrize("wrong", ["", "a b", "X:", "Bcc\r\nX", "Content-Type", "ü"])
def test_no_header_name(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no header of ours"):
        header_lines(mail(headers={wrong: "x"}))


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("<1@x.example>", "<1@x.example>"),
        ("<1@x.example>\r\n\t<2@x.example>", "<1@x.example>\r\n <2@x.example>"),
        ("<no at sign> <2@x.example>", "<2@x.example>"),
        ("<" + "a" * 60 + "@mail.example.com>", "<" + "a" * 60 + "@mail.example.com>"),
        ("<=?utf-8?q?x?=@x>", ""),
        ("<1@x>\r\nBcc: a@example.com", "<1@x>"),
        ("", ""),
    ],
)
def test_message_ids_thread_or_are_left_out(written: str, kept: str) -> None:
    lines = dict(header_lines(mail(headers={"References": written})))
    assert lines.get("References", "") == kept


@settings(max_examples=150)
@given(st.text(min_size=1, max_size=100))
def test_a_file_keeps_its_name(name: str) -> None:
    wanted = clean(name, 100) or "document"
    one = mail(attachments=(Attachment(name, "application/pdf", b"x"),))
    with tempfile.TemporaryDirectory() as place:
        message = parsed(one, Path(place))
    (attachment,) = message.iter_attachments()
    assert attachment.get_filename() == wanted


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ("failed", "", "X-Name: failed\r\n"),
        ("busy", "x-fax", "X-Name: x-fax; busy\r\n"),
        ("a\r\nBcc: b", "x-fax", "X-Name: x-fax; a Bcc: b\r\n"),
        ("belegt für", "", "X-Name: =?utf-8?b?YmVsZWd0IGbDvHI=?=\r\n"),
        ("word " * 14, "dns", f"X-Name: dns; {'word ' * 13}".rstrip() + "\r\n word\r\n"),
        ("word " * 14, "longer", f"X-Name: longer;\r\n {'word ' * 13}".rstrip() + "\r\n word\r\n"),
        ("", "x-fax", ""),
        (" \r\n", "", ""),
    ],
)
def test_a_field_of_a_report(text: str, kind: str, line: str) -> None:
    assert field_of("X-Name", text, kind) == line


@pytest.mark.parametrize(
    "written", ["a@b.example", "A <a@b.example>", '"A, B" <a@b.example>', "Ü <a@b.example>"]
)
def test_an_address_alone(written: str) -> None:
    assert address(written) == "a@b.example"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("jürgen@bücher.example", "jürgen@bücher.example"),
        ("J <用户@例え.example>", "用户@例え.example"),
    ],
)
def test_an_address_in_another_script(written: str, shown: str, tmp_path: Path) -> None:
    """Our headers stay ASCII: it is shown as the name of a group that nobody can answer to."""
    message = parsed(mail(to=(written, "a@b.example")), tmp_path)
    assert not message.defects
    assert not message["To"].defects
    assert message["To"] == f'"{shown}":;, a@b.example'
    assert address(written) == shown


def test_self_test_of_the_start() -> None:
    assert compose.self_test() == []


def test_memory_does_not_grow_with_the_document(tmp_path: Path) -> None:
    big = tmp_path / "big.pdf"
    big.write_bytes(b"x" * 20_000_000)
    tracemalloc.start()
    write(mail(attachments=(Attachment("a.pdf", "application/pdf", big),)), tmp_path / "m.eml")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "m.eml").stat().st_size > 26_000_000
    assert peak < 3_000_000
