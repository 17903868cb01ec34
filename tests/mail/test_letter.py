"""Which parts of a mail become pages, text, are left out by name, or refuse it (M8–M10, M12)."""

from __future__ import annotations

import base64
import binascii
import quopri
import struct
from collections.abc import Sequence
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import Cause, PermanentError
from gateway.mail.letter import Letter, read_letter, sender
from tests.document.files import CRLF, mail, multipart, part, text

PDF = b"%PDF-1.7\nthe pages\n%%EOF\n"
TIFF = b"II*\0\x08\0\0\0" + bytes(40)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xc0\0\x11\x08\x08\x00\x08\x00" + bytes(
    20
)
ZIP = b"PK\x03\x04\x14\0\6\0" + bytes(30)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40)


def png(across: int = 1200, down: int = 800) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + struct.pack(">II", across, down) + bytes(20)


def gif(across: int, down: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", across, down) + bytes(20)


PNG = png()


def read(work: Path, content: bytes) -> Letter:
    message = work / "message.eml"
    message.write_bytes(content)
    return read_letter(message, work)


class Found(NamedTuple):
    """What a letter came to, in short."""

    documents: list[tuple[str, str]]
    text: str = ""
    skipped: Sequence[str] = ()


def found(letter: Letter) -> Found:
    documents = [(one.name, str(one.kind)) for one in letter.parts]
    return Found(documents, letter.text, list(letter.skipped))


def raw(head: str, body: bytes) -> bytes:
    """A part whose header lines are written out."""
    return head.replace("\n", "\r\n").encode() + CRLF * 2 + body


def b64(content: bytes) -> bytes:
    return base64.encodebytes(content).replace(b"\n", CRLF)


def html(words: str, head: str = "") -> bytes:
    return text(words, "html", head)


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


TWO = part(PDF, name="1.pdf"), part(TIFF, "image/tiff", "2.tif")


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


# left out

SIGNATURE = part(b"0\x82\1\1", "application/pkcs7-signature", "smime.p7s")


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (part(b"BEGIN:VCARD", "text/x-vcard", "ann.vcf"), "ann.vcf: an address card"),
        (part(b"BEGIN:VCARD", "application/octet-stream", "a.VCF"), "a.VCF: an address card"),
        (part(b"BEGIN:VCALENDAR", "text/calendar", "invite.ics"), "invite.ics: a calendar entry"),
        (SIGNATURE, "smime.p7s: a signature"),
        (part(b"0\x82\1\1", "application/octet-stream", "smime.p7s"), "smime.p7s: a signature"),
        (part(b"-----BEGIN PGP SIGNATURE-----", "application/pgp-signature", "s.asc"),
         "s.asc: a signature"),
        (part(png(99, 99), "image/png", "dot.png"), "dot.png: a tiny picture (99 x 99 pixels)"),
        (part(gif(1, 1), "image/gif", "dot.gif"), "dot.gif: a tiny picture (1 x 1 pixels)"),
        (part(b"", "application/octet-stream"),
         "An attachment without a name (application/octet-stream): it is empty"),
        (raw("Content-Type: text/plain\nContent-Disposition: attachment", b""),
         "An attachment without a name (text/plain): it is empty"),
    ],
)  # fmt: skip
def test_left_out_and_listed(tmp_path: Path, one: bytes, why: str) -> None:
    assert found(read(tmp_path, mail(text("hello"), one))) == ([], "hello", [why])


@pytest.mark.parametrize("cid", ["logo@x", "logo%40x"])
@pytest.mark.parametrize("picture", [PNG, JPEG, gif(600, 90)], ids=["png", "jpeg", "gif"])
def test_pictures_inside_the_text(tmp_path: Path, cid: str, picture: bytes) -> None:
    logo = part(picture, "image/png", "logo.png", "Content-ID: <logo@x>")
    page = html(f"<p>hi <img src='cid:{cid}'></p>")
    content = mail(multipart(page, logo, kind="multipart/related", boundary="r"), part(PDF))
    why = "logo.png: a picture inside the mail's text"
    assert found(read(tmp_path, content)) == ([("", "pdf")], "hi", [why])


def test_a_picture_that_the_text_does_not_show_is_a_document(tmp_path: Path) -> None:
    scan = part(PNG, "image/png", "scan.png", "Content-ID: <scan@x>")
    content = mail(html("<img src='cid:other@x'>"), scan)
    assert found(read(tmp_path, content)).documents == [("scan.png", "png")]


def test_pictures_that_are_large_one_way_are_documents(tmp_path: Path) -> None:
    strip = part(png(99, 100), "image/png", "strip.png")
    assert found(read(tmp_path, mail(strip))).documents == [("strip.png", "png")]


def test_signed_mail(tmp_path: Path) -> None:
    """The signature is left out; what was signed is faxed."""
    inner = multipart(text("hello"), part(PDF, name="a.pdf"), boundary="in")
    content = mail(inner, SIGNATURE, kind="multipart/signed")
    skipped = ["smime.p7s: a signature"]
    assert found(read(tmp_path, content)) == ([("a.pdf", "pdf")], "hello", skipped)


def test_a_report_is_its_first_part(tmp_path: Path) -> None:
    returned = raw("Content-Type: message/rfc822", mail(part(PDF, name="a.pdf")))
    status = raw("Content-Type: message/delivery-status", b"Action: failed")
    content = mail(text("not delivered"), status, returned, kind="multipart/report")
    letter = found(read(tmp_path, content))
    assert (letter.documents, letter.text, len(letter.skipped)) == ([], "not delivered", 2)


# refused

NAMELESS = "An attachment without a name "
SEND = "; please send the document itself as PDF."
UNFIT = ", and cannot be faxed; please send it as PDF."
PACKAGE = (
    "winmail.dat is an Outlook package (winmail.dat): it hides the attachments. Please switch "
    "Outlook from Rich Text to HTML or plain text for this mail and send it again."
)
ENCRYPTED = "The mail is encrypted. Please send it as an ordinary mail."
DAMAGED = "The mail is damaged: nobody can tell where its parts begin. Please send it again."
SPLIT = (
    "This mail is only one piece of a split message. Please switch off splitting "
    "(message/partial) in the sending device and send it again."
)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (part(b"MZ" + bytes(99), "application/pdf", "tool.pdf"),
         "tool.pdf is called a PDF but is a Windows program" + SEND),
        (part(b"\x7fELF" + bytes(9), "image/tiff", "scan"),
         "scan is called a TIFF but is a program" + SEND),
        (part(b"<html>log in</html>", "application/pdf", "a.pdf"),
         "a.pdf is called a PDF but is a web page (HTML)" + SEND),
        (part(b"hello", "application/octet-stream", "a.tif"),
         "a.tif is called a TIFF but is of an unknown kind" + SEND),
        (part(ZIP, "application/zip", "all.zip"),
         "all.zip is a ZIP archive" + UNFIT),
        (part(ZIP + b"word/document.xml", "application/octet-stream", "a.docx"),
         "a.docx is a Word file" + UNFIT),
        (part(OLE, "application/msword", "a.doc"),
         "a.doc is a Word file" + UNFIT),
        (part(gif(600, 90), "image/gif", "a.gif"),
         "a.gif is a GIF picture" + UNFIT),
        (part(b"\x78\x9f\x3e\x22" + bytes(40), "application/ms-tnef", "winmail.dat"),
         PACKAGE),
        (multipart(text("see"), part(ZIP, "application/zip", "a.zip"),
                   kind="multipart/alternative", boundary="in"), "a.zip is a ZIP archive" + UNFIT),
        (part(b"", name="a.pdf"), "a.pdf is empty; please send the file again."),
        (part(b"", "text/plain", "a.txt"), "a.txt is empty; please send the file again."),
        (part(b"", "image/jpeg", "a.jpg"), "a.jpg is empty; please send the file again."),
        (part(ZIP, "text/plain", "a.txt"),
         "a.txt is a ZIP archive" + UNFIT),
        (part(ZIP, "text/plain"), NAMELESS + "(text/plain) is a ZIP archive" + UNFIT),
        (part(b"{\\rtf1 hello}", "text/plain", "a.txt"),
         "a.txt is an RTF text" + UNFIT),
        (part(b"<html>hello", "text/html", "a.html"),
         "a.html is a web page (HTML)" + UNFIT),
        (part(b"a;b", "text/csv", "a.csv"),
         "a.csv is a file of the type text/csv" + UNFIT),
        (part(b" !broken*base64= =" * 9, name="a.pdf"),
         "a.pdf is called a PDF but is of an unknown kind" + SEND),
        (raw("Content-Type: application/pdf\nContent-Transfer-Encoding: quoted-printable",
             b"=ZZ=\r\n=4"),
         NAMELESS + "(application/pdf) is called a PDF but is of an unknown kind" + SEND),
        (raw("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64", b64(mail(TWO[0]))),
         "An attachment without a name (message/rfc822) is a mail that is packed" + UNFIT),
        (raw('Content-Type: message/external-body; name="a.pdf"', b""),
         "a.pdf is only a reference to a file elsewhere; please attach the file itself."),
        (raw('Content-Type: message/partial; id="1@x"; number=1; total=2', mail(TWO[0])), SPLIT),
        (raw('Content-Type: message/partial; id="1@x"; number=2; total=2', b64(PDF)), SPLIT),
        (part(b"0\x82", 'application/pkcs7-mime; smime-type="enveloped-data"', "smime.p7m"),
         ENCRYPTED),
        (part(b"0\x82", "application/octet-stream", "smime.p7m"), ENCRYPTED),
        (part(b"0\x82", "application/pkcs7-mime; smime-type=signed-data", "smime.p7m"),
         "The mail is signed in a way that hides its content. Please send it as an ordinary mail."),
        (multipart(raw("Content-Type: application/pgp-encrypted", b"Version: 1"),
                   part(b"x", "application/octet-stream", "encrypted.asc"),
                   kind="multipart/encrypted", boundary="in"), ENCRYPTED),
        (text("-----BEGIN PGP MESSAGE-----\n\nhQEM\n-----END PGP MESSAGE-----"), ENCRYPTED),
        (text("begin 644 a.pdf\nM" + "A" * 60 + "\n`\nend"),
         "The mail holds a file inside its text (uuencode); please attach the file instead."),
        (multipart(TWO[0]).replace(b'"=_b"', b'"=_other"'), DAMAGED),
        (multipart(TWO[0]).replace(b'; boundary="=_b"', b""), DAMAGED),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, one: bytes, words: str) -> None:
    """Alone or beside a good document: nothing is faxed in part, and the file is named."""
    inner = one.replace(b"=_b", b"=_c")
    for content in (mail(one), mail(text("see"), inner, TWO[0])):
        with pytest.raises(PermanentError) as refused:
            read(tmp_path, content)
        assert (str(refused.value), refused.value.cause) == (words, Cause.MEDIA)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            mail(html("<b>x</b>" * 20_000 + "y" * 1_980_001)),
            "The text of the mail is too long for a fax.",
        ),
        (mail(part(b"x" * 2_400_001, "text/plain", "a.txt")), "a.txt is too long for a fax."),
        (mail(text("x" * 600_001)), "The text of the mail is too long for a fax."),
        (mail(text("x" * (16 << 20) + "x")), "The text of the mail is too long for a fax."),
        (mail(*[text("x")] * 201), "The mail is too complex: it has too many parts."),
        (b"Subject: x\r\n" * 501, "The mail is too complex: its headers are too long."),
    ],
    ids=["page", "attached text", "text", "body", "parts", "headers"],
)
def test_too_much(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(PermanentError) as refused:
        read(tmp_path, content)
    assert (str(refused.value), refused.value.cause) == (words, Cause.LIMIT)


@pytest.mark.parametrize("content", [b"", b"\r\n", b"\r\n\r\n", b"\n", b"Subject: x", b"From "])
def test_empty(tmp_path: Path, content: bytes) -> None:
    assert found(read(tmp_path, content)) == ([], "", [])


def test_line_ends_of_old_macintoshes_are_no_mail(tmp_path: Path) -> None:
    """CR alone ends no line (RFC 5322 §2.1): it is one header, and nothing to fax."""
    assert found(read(tmp_path, mail(text("hello")).replace(b"\r\n", b"\r"))) == ([], "", [])


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


# properties

PIECES = [
    b"Content-Type: ", b"multipart/mixed; boundary=b", b"multipart/alternative; boundary=c", b"--b",
    b"--c", b"--", b"text/html", b"text/plain", b"message/rfc822", b"message/partial", b"\r\n",
    b"\n", b"\r", b"\r\n\r\n", b"Content-Transfer-Encoding: ", b"base64", b"quoted-printable",
    b"x-uuencode", b"begin 644 x\r\n", b"=", b"Content-Disposition: attachment; filename", b"*",
    b"*0*=", b"*9x=", b"=?utf-7?q?+AGE?=", b"=?idna?b?eA==?=", b"; charset=", b"hz", b"utf-16",
    b"iso-2022-jp", b"utf-7", b"<p style='display:none'>", b"<ol><li>", b"<", b">", b"&#99999999;",
    b"%PDF-1.7", b"JVBERi0", PNG, JPEG, gif(9, 9), b"\0", b"\xff\xfe", b"\xf0\x9f", b"\x1b$B",
    b"From: ", b"Subject: ", b"Message-ID: <>", b"x@y", b"\xe2\x80\xae", b"name=", b'"', b";",
]  # fmt: skip
BYTES = st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=40).map(b"".join)
QUICK = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@QUICK
@given(BYTES)
def test_any_bytes_are_a_letter_or_a_refusal(tmp_path: Path, content: bytes) -> None:
    try:
        letter = read(tmp_path, content)
    except PermanentError as refused:
        lines = [str(refused)]
    else:
        lines = [letter.subject, letter.from_name, letter.from_address, letter.message_id]
        lines += [letter.date, *letter.skipped, *(one.name for one in letter.parts)]
        lines += [one.declared for one in letter.parts]
        assert not set(letter.text) & set("\x00\x07\x1b\r\x7f\x85\u202d\u202e\ud800\ufeff")
    assert all(one.isprintable() and len(one) <= 700 for one in lines)


NAMES = st.from_regex(r"[a-z](['A-Zäöß€日 _()+;%=-]{0,20}[0-9])?\.(pdf|txt|tif)", fullmatch=True)


class Leaf(NamedTuple):
    """A document to attach, or a text to write between documents."""

    content: bytes
    name: str
    encoding: str


LEAVES = st.builds(
    Leaf,
    st.builds(bytes.__add__, st.sampled_from([b"%PDF-1.4\n", TIFF, PNG]), st.binary(max_size=200)),
    NAMES,
    st.sampled_from(["base64", "quoted-printable", "x-uuencode", "x-uue"]),
)
TREES = st.recursive(
    LEAVES | st.text("abc xyz", min_size=1, max_size=9),
    lambda inner: st.lists(inner, min_size=1, max_size=4),
    max_leaves=12,
)


def quoted(content: bytes) -> bytes:
    """Every byte of it, in short lines."""
    return b"".join(b"=%02X" % byte + b"=\n" * (at % 20 == 19) for at, byte in enumerate(content))


def uuencoded(content: bytes) -> bytes:
    lines = [binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45)]
    return b"begin 644 x\n" + b"".join(lines) + b"`\nend\n"


ENCODERS = {
    "base64": base64.encodebytes,
    "quoted-printable": quoted,
    "x-uuencode": uuencoded,
    "x-uue": uuencoded,
}


def composed(tree: object) -> MIMEBase:
    """The same as a stdlib message."""
    if isinstance(tree, list):
        box = MIMEMultipart("mixed")
        for one in tree:
            box.attach(composed(one))
        return box
    if isinstance(tree, str):
        return MIMEText(tree, "plain", "utf-8")
    assert isinstance(tree, Leaf)
    part = MIMEBase("application", "octet-stream")
    part["Content-Transfer-Encoding"] = tree.encoding
    part.set_payload(ENCODERS[tree.encoding](tree.content).decode())
    part.add_header("Content-Disposition", "attachment", filename=("utf-8", "", tree.name))
    return part


def flat(tree: object) -> list[Leaf]:
    if isinstance(tree, list):
        return [leaf for one in tree for leaf in flat(one)]
    return [tree] if isinstance(tree, Leaf) else []


@settings(QUICK, max_examples=80)
@given(TREES, st.sampled_from(["\r\n", "\n"]))
def test_what_was_attached_is_found(tmp_path: Path, tree: object, line_end: str) -> None:
    message = composed(tree)
    message["Subject"] = "x"
    content = message.as_bytes(policy=message.policy.clone(linesep=line_end))
    letter = read(tmp_path, content)
    assert [(one.name, one.path.read_bytes()) for one in letter.parts] == [
        (leaf.name, leaf.content) for leaf in flat(tree)
    ]
