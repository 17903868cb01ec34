"""What the demo plays with: a letter of some pages, and a mail program that sends it."""

from __future__ import annotations

import mimetypes
import secrets
import smtplib
from email.message import EmailMessage
from pathlib import Path

import pikepdf


def send(server: tuple[str, int], sender: str, recipient: str, document: Path) -> str:
    """What a mail program does; returns the server's answer."""
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, recipient
    mail["Subject"] = "Signed contract"
    mail["Message-ID"] = f"<{secrets.token_hex(8)}@example.com>"
    mail.set_content("Please find the contract attached.")
    kind = mimetypes.guess_type(document.name)[0] or "application/octet-stream"
    maintype, _, subtype = kind.partition("/")
    mail.add_attachment(
        document.read_bytes(), maintype=maintype, subtype=subtype, filename=document.name
    )
    with smtplib.SMTP(*server, timeout=30) as client:
        client.ehlo("laptop.example.com")
        client.mail(sender)
        code, said = client.rcpt(recipient)
        if code == 250:
            code, said = client.data(mail.as_bytes())
    return f"{code} {said.decode()}"


def letter(path: Path, title: str, pages: int) -> Path:
    """A PDF with a readable title on each page."""
    document = pikepdf.new()
    font = pikepdf.Dictionary(
        Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica
    )
    for number in range(1, pages + 1):
        document.add_blank_page(page_size=(612, 792))
        page = document.pages[-1]
        page.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
        lines = "".join(
            f"72 {640 - 22 * i} m {540 - 40 * (i % 3)} {640 - 22 * i} l S " for i in range(24)
        )
        ink = f"BT /F1 28 Tf 72 690 Td ({title}, page {number} of {pages}) Tj ET 1 w {lines}"
        page.Contents = document.make_stream(ink.encode())
    document.save(path)
    return path
