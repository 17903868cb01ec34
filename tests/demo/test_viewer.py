"""The demo's mailbox page: mails as people see them, and nothing that a mail says can act."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from gateway.demo.mailbox import Got, Mailbox
from gateway.demo.pictures import Pictures
from gateway.demo.viewer import viewer
from gateway.document import Workshop
from gateway.spool import Spool
from gateway.web import WebServer
from tests.make import pdf

pytestmark = pytest.mark.anyio

EVIL = "<script>alert(1)</script>"


def hostile() -> Got:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.com", "b@example.com", EVIL
    mail.set_content(f"plain {EVIL}")
    mail.add_alternative(f"<p>rich {EVIL}</p><img src='cid:p1'>", subtype="html")
    mail.add_attachment(EVIL.encode(), maintype="text", subtype="html", filename=f'"{EVIL}.html')
    mail.add_attachment(pdf(3), maintype="application", subtype="pdf", filename="fax.pdf")
    mail.add_attachment(b"%PDF broken", maintype="application", subtype="pdf", filename="x.pdf")
    mail.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="p.png", cid="<p1>")
    return Got("", ("b@example.com",), mail.as_bytes(), 1_770_000_000.0)


class Page:
    """Asks the page as a browser would."""

    def __init__(self, mailbox: Mailbox, port: int) -> None:
        self.mailbox = mailbox
        self._base = f"http://127.0.0.1:{port}"

    async def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        try:
            with urllib.request.urlopen(self._base + path, timeout=30) as reply:
                return reply.status, dict(reply.headers), reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()


@pytest.fixture
async def page(tmp_path: Path, spool: Spool) -> AsyncIterator[Page]:
    mailbox = Mailbox()
    workshop = Workshop(scratch=spool.incoming)
    await workshop.start()
    web = WebServer("127.0.0.1", 0, viewer(mailbox, Pictures(workshop, spool)))
    await web.start()
    yield Page(mailbox, web.address[1])
    await web.stop()
    await workshop.stop()


async def test_empty_then_a_mail(page: Page) -> None:
    assert b"No mail yet." in (await page.get("/"))[2]
    page.mailbox.mails.append(hostile())
    shown = (await page.get("/"))[2].decode()
    assert "&lt;script&gt;" in shown
    assert "fax.pdf" in shown


async def test_what_a_mail_says_never_acts(page: Page) -> None:
    page.mailbox.mails.append(hostile())
    for path in ("/", "/0", "/0/html", "/0/files/0", "/0/files/1", "/0/files/1/0.png"):
        code, headers, content = await page.get(path)
        assert (code, headers["x-content-type-options"]) == (200, "nosniff"), path
        policy = headers["content-security-policy"]
        if path.endswith("/files/1"):  # a PDF, for the browser's own viewer
            assert headers["content-type"] == "application/pdf"
        else:
            assert policy == "sandbox" or policy.startswith("default-src 'none';"), path
            assert "script-src" not in policy
        if path in ("/", "/0"):
            assert EVIL.encode() not in content
    assert b"<iframe sandbox src='/0/html'" in (await page.get("/0"))[2]
    assert b"src='/0/files/3'" in (await page.get("/0/html"))[2], "the picture inside the mail"


async def test_the_pages_of_a_pdf_are_shown(page: Page) -> None:
    page.mailbox.mails.append(hostile())
    assert "(3 pages)" in (await page.get("/0"))[2].decode()
    pictures = [(await page.get(f"/0/files/1/{at}.png"))[2] for at in range(3)]
    assert all(one.startswith(b"\x89PNG") for one in pictures)
    assert len(set(pictures)) == 3


@pytest.mark.parametrize(
    "path", ["/1", "/0/files/9", "/0/files/1/3.png", "/0/files/2/0.png", "/0/files/-1", "/x"]
)
async def test_what_is_not_there(path: str, page: Page) -> None:
    page.mailbox.mails.append(hostile())
    assert (await page.get(path))[0] == 404
