"""What is left out of a fax by name, and what refuses the mail (M9, M10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import Cause, PermanentError
from tests.document.files import mail, multipart, part, text
from tests.mail.letters import (
    JPEG,
    OLE,
    PDF,
    PNG,
    TWO,
    ZIP,
    b64,
    found,
    gif,
    html,
    png,
    raw,
    read,
)

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
