"""Which parts of a mail become pages and text, in which order (M8, M9, M12)."""

from __future__ import annotations

import base64
import quopri
from pathlib import Path

import pytest

from gateway.mail.letter import sender
from tests.document.files import CRLF, mail, multipart, part, text
from tests.mail.letters import (
    JPEG,
    PDF,
    PNG,
    TIFF,
    TWO,
    b64,
    found,
    html,
    raw,
    read,
)

# documents

DOCUMENTS = {
    "pdf": (part(PDF, name="a.pdf"), "a.pdf", "pdf"),
    "tiff": (part(TIFF, "image/tiff", "a.tif"), "a.tif", "tiff"),
    "tiff, the other byte order": (part(b"MM\0*" + bytes(9), "image/tiff", "a"), "a", "tiff"),
    "big tiff": (part(b"II+\0" + bytes(9), "image/tiff", "a.tif"), "a.tif", "tiff"),
    "png": (part(PNG, "image/png", "a.png"), "a.png", "png"),
    "jpeg": (part(JPEG, "image/jpeg", "a.jpg"), "a.jpg", "jpeg"),
    "octet-stream": (part(PDF, "application/octet-stream", "SCAN.PDF"), "SCAN.PDF", "pdf"),
    "label of another kind": (part(TIFF, "application/pdf", "a.pdf"), "a.pdf", "tiff"),
    "label of a text": (part(PDF, "text/plain", "a.pdf"), "a.pdf", "pdf"),
    "label of an address card": (part(PDF, "text/vcard", "a.pdf"), "a.pdf", "pdf"),
    "no disposition, no name": (part(PDF), "", "pdf"),
    "name in the type": (part(PDF, 'application/pdf; name="x.pdf"'), "x.pdf", "pdf"),
    "inline": (part(PDF, head='Content-Disposition: inline; filename="i.pdf"'), "i.pdf", "pdf"),
    "junk first": (part(b"\0junk\r\n" * 140 + PDF, name="a.pdf"), "a.pdf", "pdf"),
    "byte order mark first": (part(b"\xef\xbb\xbf" + PDF, name="a.pdf"), "a.pdf", "pdf"),
    "BASE-64": (raw("Content-Type: application/pdf\nContent-Transfer-Encoding: BASE-64",
                    b64(PDF)), "", "pdf"),
    "base64 with a comment": (raw("Content-Type: application/pdf\n"
                                  "Content-Transfer-Encoding: base64 (MIME)", b64(PDF)), "", "pdf"),
    "base64 that nobody named": (raw("Content-Type: application/pdf", b64(PDF)), "", "pdf"),
    "base64 in one line": (raw("Content-Type: application/pdf\nContent-Transfer-Encoding: base64",
                               base64.b64encode(PDF * 40)), "", "pdf"),
    "no encoding at all": (raw("Content-Type: application/pdf", PDF), "", "pdf"),
    "quoted-printable": (raw("Content-Type: application/pdf\n"
                             "Content-Transfer-Encoding: Quoted-Printable",
                             quopri.encodestring(PDF).replace(b"\n", CRLF)), "", "pdf"),
    "uuencode": (raw('Content-Type: application/pdf; name="u.pdf"\n'
                     "Content-Transfer-Encoding: x-uuencode",
                     b"begin 644 u.pdf\r\n:)5!$1BTQ+C<*=&AE('!A9V5S\"B4E14]&\"@\r\n`\r\nend\r\n"),
                 "u.pdf", "pdf"),
    "name of RFC 2231": (part(PDF, head="Content-Disposition: attachment;\r\n"
                              " filename*0*=utf-8''M%C3%A4rz;\r\n filename*1=\" 2.pdf\""),
                         "März 2.pdf", "pdf"),
    "name of RFC 2047": (part(PDF, head="Content-Disposition: attachment;\r\n"
                              ' filename="=?utf-8?B?TcOkcno=?= =?utf-8?Q?_2.pdf?="'),
                         "März 2.pdf", "pdf"),
    "name without quotes": (part(PDF, head="Content-Disposition: attachment;"
                                 " filename=Scan from MFP 2.pdf"), "Scan from MFP 2.pdf", "pdf"),
    "name on a line of its own": (
        part(PDF, head='Content-Disposition: attachment;\r\nfilename="a.pdf"\r\nX: 1'),
        "a.pdf", "pdf"),
    "name with a path": (part(PDF, name=r"C:\\Users\\Ann\\..\\a.pdf"), "a.pdf", "pdf"),
    "name in raw utf-8": (part(PDF, name="Größe.pdf"), "Größe.pdf", "pdf"),
}  # fmt: skip


@pytest.mark.parametrize("bare", [True, False], ids=["alone", "after a text"])
@pytest.mark.parametrize(("one", "name", "kind"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_documents(tmp_path: Path, one: bytes, name: str, kind: str, bare: bool) -> None:
    content = mail(one) if bare else mail(text("see below"), one)
    assert found(read(tmp_path, content)) == ([(name, kind)], "" if bare else "see below", [])


def test_decoded_bytes(tmp_path: Path) -> None:
    for one, name, kind in DOCUMENTS.values():
        (document,) = read(tmp_path, mail(one)).parts
        assert (document.name, document.kind) == (name, kind)
        assert document.size == document.path.stat().st_size
        if kind == "pdf" and document.size == len(PDF):
            assert document.path.read_bytes() == PDF


@pytest.mark.parametrize(
    "content",
    [
        mail(*TWO),
        mail(*TWO).removesuffix(b"--=_b--\r\n"),  # cut off
        mail(*TWO).replace(b"--=_b--\r\n", b"--=_b-- \t\r\nepilogue\r\n"),
        mail(*TWO).replace(b"\r\n", b"\n"),  # bare LF
        mail(*TWO).replace(b"=_b", b"=_b" + b"x" * 60),
        mail(*TWO).replace(b'"=_b"', b"=_b"),  # not quoted, though "=" must be
        mail(*TWO).replace(b"--=_b\r\nC", b"--=_b  \r\nC"),
        mail(*TWO).replace(b"\r\n--=_b", b"\r\n--=_b--\r\n\r\n--=_b", 2),  # ends after each part
        mail(multipart(TWO[0], boundary="in"), TWO[1]),
        mail(multipart(TWO[0], boundary="in").removesuffix(b"--in--\r\n"), TWO[1]),
        mail(TWO[0], multipart(TWO[1], boundary="=_bb")),  # one boundary begins the other
        mail(TWO[0], raw("Content-Type: message/rfc822", mail(TWO[1]))),
        mail(raw("Content-Type: message/rfc822", mail(*TWO).replace(b"=_b", b"in"))),
        mail(*(multipart(one, kind="multipart/related", boundary=f"in{n}")
               for n, one in enumerate(TWO))),
        mail(multipart(*TWO, kind="multipart/alternative", boundary="in"), b"\r\n"),
        mail(multipart(raw("Content-Type: application/applefile", b"x"), TWO[0],
                       kind="multipart/appledouble", boundary="in"), TWO[1]),
        mail(*TWO, kind="multipart/digest"),
        mail(*TWO, kind="multipart/no-such-kind"),
    ],
)  # fmt: skip
def test_structures(tmp_path: Path, content: bytes) -> None:
    letter = read(tmp_path, content)
    assert found(letter).documents == [("1.pdf", "pdf"), ("2.tif", "tiff")]
    assert [one.path.read_bytes() for one in letter.parts] == [PDF, TIFF]


# texts


def alternative(*parts: bytes, boundary: str = "alt") -> bytes:
    return multipart(*parts, kind="multipart/alternative", boundary=boundary)


PAGE = html("<p>in colour</p>")
OTHER = "An attachment without a name (text/enriched): another version of the mail's text"
TOLD = ["HTML version of the text: the plain text is used"]


@pytest.mark.parametrize(
    ("content", "says", "skipped"),
    [
        (mail(text("plain")), "plain", []),
        (mail(b"\r\nno type"), "no type", []),
        (mail(raw("Content-Type: text/plain charset=utf-8", b"no semicolon")), "no semicolon", []),
        (mail(raw("Content-Type: TEXT", b"half a type")), "half a type", []),
        (mail(PAGE), "in colour", []),
        (mail(text("<!DOCTYPE html><html><p>not so plain</p></html>")), "not so plain", []),
        (mail(alternative(text("plain"), PAGE)), "plain", TOLD),
        (mail(alternative(PAGE, text("plain"))), "plain", TOLD),
        (mail(alternative(text("plain"), raw('Content-Type: text/html; name="x.html"', b"<p>x"))),
         "plain", ["x.html: the plain text is used"]),
        (mail(alternative(text(" \n\u00a0"), PAGE)), "in colour", []),
        (mail(alternative(PAGE)), "in colour", []),
        # what stands beside the HTML is not its plain version
        (mail(PAGE, text("a footer")), "in colour\n\na footer", []),
        (mail(text("for you:"), PAGE, text("bye")), "for you:\n\nin colour\n\nbye", []),
        (mail(alternative(text("plain"), PAGE), html("<i>checked</i>")), "plain\n\nchecked", TOLD),
        (mail(text("forwarded"), raw("Content-Type: message/rfc822", mail(PAGE))),
         "forwarded\n\nin colour", []),
        (mail(alternative(multipart(PAGE, text("a footer"), boundary="in"))),
         "in colour\n\na footer", []),
        (mail(alternative(text("plain"), multipart(PAGE, text("a footer"), boundary="in"))),
         "plain\n\na footer", TOLD),
        (mail(alternative(text("plain"),
                          multipart(PAGE, kind="multipart/related", boundary="in"))),
         "plain", TOLD),
        (mail(text("one"), text("two")), "one\n\ntwo", []),
        (mail(multipart(boundary="in")), "", []),  # no parts
        (raw("Content-Type: multipart/mixed; boundary=x", b"hello"), "hello", []),
        (mail(alternative(text("plain"), raw("Content-Type: text/enriched", b"<x>plain"))),
         "plain", [OTHER]),
        (mail(text("some\u202eflip\x07ped\u2028words")), "someflipped\nwords", []),
        (mail(text("They begin with %PDF- and")), "They begin with %PDF- and", []),
        (mail(text("MZ, our friend, and #! and GIF8")), "MZ, our friend, and #! and GIF8", []),
    ],
)  # fmt: skip
def test_texts(tmp_path: Path, content: bytes, says: str, skipped: list[str]) -> None:
    assert found(read(tmp_path, content)) == ([], says, skipped)


def test_attached_texts_are_pages_of_their_own(tmp_path: Path) -> None:
    one = part(b"a,b\r\n", 'text/plain; charset="latin1"', "table.csv")
    letter = read(tmp_path, mail(text("see"), one))
    assert found(letter) == ([("table.csv", "text")], "see", [])
    assert letter.parts[0].charset == "latin1"


def test_exchange_names_the_text_after_an_attachment(tmp_path: Path) -> None:
    after = part(b"bye", "text/plain", "ATT00001.txt")
    content = mail(text("hello"), part(PDF, name="a.pdf"), after)
    assert found(read(tmp_path, content)) == ([("a.pdf", "pdf")], "hello\n\nbye", [])


# headers


def test_facts(tmp_path: Path) -> None:
    head = (
        "From: =?utf-8?q?J=C3=BCrgen?= <j@example.com>\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\n"
        "Message-ID: <1@x>\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n"
    )
    letter = read(tmp_path, mail(text("hello"), head=head))
    facts = (letter.from_name, letter.from_address, letter.subject, letter.message_id, letter.date)
    date = "Mon, 1 Jan 2024 00:00:00 +0000"
    assert facts == ("Jürgen", "j@example.com", "Grüße", "<1@x>", date)


@pytest.mark.parametrize(
    ("value", "name", "address"),
    [
        ("", "", ""),
        ("ann@example.com", "", "ann@example.com"),
        ("Ann <ann@example.com>", "Ann", "ann@example.com"),
        ('"Doe, Jane" <jane@example.com>', "Doe, Jane", "jane@example.com"),
        ('"x@y.z" <jane@example.com>', "x@y.z", "jane@example.com"),
        ("Ann", "Ann", ""),
        ("<>", "<>", ""),
        ("Ann\r\n <ann@example.com>", "Ann", "ann@example.com"),
        ("((((((" * 500, "(" * 200, ""),
        ("=?utf-8?q?x=0D=0ABcc=3A_evil=40x?= <a@b.c>", "x Bcc: evil@x", "a@b.c"),
        ("a\u202ecba <a@b.c>", "a cba", "a@b.c"),
    ],
)
def test_sender(value: str, name: str, address: str) -> None:
    assert sender(value) == (name, address)
