"""The demo's mailbox as a web page: what came in, newest first, and one mail as people see it."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.demo.mailbox import File, Got, Mailbox
from gateway.demo.pictures import MOST_PAGES, Pictures

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>{more}
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 sans-serif;margin:0;background:#f2f3f5;color:#222}}
main{{max-width:56em;margin:2em auto;padding:1em 2em 2em;background:#fff;border-radius:8px}}
h1{{font-size:1.3em;margin:.6em 0}}table{{border-collapse:collapse;width:100%}}
td,th{{text-align:left;padding:.5em 1em .5em 0;border-top:1px solid #e3e3e3;vertical-align:top}}
th{{font-weight:normal;color:#666;white-space:nowrap}}table.head{{font-size:.9em}}
table.head th{{width:7em}}.head td,.head th{{border:0;padding:.1em 1em .1em 0}}
a{{color:#0645ad;text-decoration:none}}
a:hover{{text-decoration:underline}}iframe{{width:100%;height:31em;border:0;margin-top:1em;
border-top:1px solid #e3e3e3}}pre{{font:15px/1.5 monospace;white-space:pre-wrap;margin:1.5em 0}}
.pages a{{display:inline-block;margin:.6em .8em .2em 0}}
.pages img{{width:150px;border:1px solid #bbb}}.quiet{{color:#666}}</style>
<main><h1>{title}</h1>{body}</main></html>"""
_REFRESH = '<meta http-equiv="refresh" content="3">'  # without a script
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' "
    "data:; frame-src 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}


def viewer(mailbox: Mailbox, pictures: Pictures) -> list[BaseRoute]:
    """The routes of the page."""
    pages = _Pages(mailbox, pictures)
    return [
        Route("/", pages.index),
        Route("/{number:int}", pages.mail),
        Route("/{number:int}/html", pages.html),
        Route("/{number:int}/files/{file:int}", pages.attachment),
        Route("/{number:int}/files/{file:int}/{page:int}.png", pages.picture),
    ]


class _Pages:
    def __init__(self, mailbox: Mailbox, pictures: Pictures) -> None:
        self._mailbox = mailbox
        self._pictures = pictures

    async def index(self, _: Request) -> Response:
        rows = "".join(
            f"<tr><td class='quiet'>{datetime.fromtimestamp(got.at, UTC):%H:%M:%S}</td>"
            f"<td>{escape(', '.join(got.recipients))}</td><td><a href='/{number}'>"
            f"{escape(_subject(got))}</a></td><td>{escape(_attached(got))}</td></tr>"
            for number, got in reversed(list(enumerate(self._mailbox.mails)))
        )
        head = "<tr><th>UTC</th><th>To</th><th>Subject</th><th>Attached</th></tr>"
        body = f"<table>{head}{rows}</table>" if rows else "<p class='quiet'>No mail yet.</p>"
        return _html("Mailbox of the demo", body, _REFRESH)

    async def mail(self, request: Request) -> Response:
        number, got = self._find(request)
        rows = "".join(
            f"<tr><th>{name}</th><td>{escape(str(got.mail[name]))}</td></tr>"
            for name in ("From", "To", "Date", "Message-ID", "In-Reply-To", "Auto-Submitted")
            if got.mail[name]
        )
        body = f"<pre>{escape(got.text())}</pre>"
        if got.text("html"):
            body = f"<iframe sandbox src='/{number}/html' title='the mail'></iframe>"
        files = "".join(
            _file(f"/{number}/files/{i}", file)
            for i, file in enumerate(got.files)
            if not file.content_id
        )
        top = f"<p><a href='/'>← All mails</a></p><table class='head'>{rows}</table>"
        return _html(_subject(got), top + body + files)

    async def html(self, request: Request) -> Response:
        number, got = self._find(request)
        text = got.text("html")
        for i, file in enumerate(got.files):
            if file.content_id:
                text = text.replace(f"cid:{file.content_id}", f"/{number}/files/{i}")
        return HTMLResponse(text, headers=_HEADERS)

    async def attachment(self, request: Request) -> Response:
        """A PDF opens in the browser's own viewer, which a sandbox would lock out."""
        file = self._file(request)
        policy = "frame-ancestors 'self'" if file.pages else "sandbox"
        name = f"inline; filename*=utf-8''{quote(file.name, safe='')}"
        headers = _HEADERS | {"Content-Disposition": name, "Content-Security-Policy": policy}
        return Response(file.content, media_type=file.kind, headers=headers)

    async def picture(self, request: Request) -> Response:
        file, page = self._file(request), int(request.path_params["page"])
        if page >= min(file.pages, MOST_PAGES):
            raise HTTPException(404, "no such page")
        content = await self._pictures.page(file.content, page)
        return Response(content, media_type="image/png", headers=_HEADERS)

    def _find(self, request: Request) -> tuple[int, Got]:
        number = int(request.path_params["number"])
        if number >= len(self._mailbox.mails):
            raise HTTPException(404, "no such mail")
        return number, self._mailbox.mails[number]

    def _file(self, request: Request) -> File:
        _, got = self._find(request)
        number = int(request.path_params["file"])
        if number >= len(got.files):
            raise HTTPException(404, "no such file")
        return got.files[number]


def _file(link: str, file: File) -> str:
    """An attachment: its name, and its pages in small."""
    count = f"{file.pages} page{'s' * (file.pages != 1)}" if file.pages else file.kind
    shown = "".join(
        f"<a href='{link}'><img src='{link}/{page}.png' alt='page {page + 1}'></a>"
        for page in range(min(file.pages, MOST_PAGES))
    )
    name = f"<a href='{link}'>{escape(file.name)}</a> <span class='quiet'>({count})</span>"
    return f"<p>{name}</p><div class='pages'>{shown}</div>"


def _attached(got: Got) -> str:
    return ", ".join(file.name for file in got.files if not file.content_id)


def _subject(got: Got) -> str:
    return str(got.mail["Subject"] or "(no subject)")


def _html(title: str, body: str, more: str = "") -> Response:
    page = _PAGE.format(title=escape(title), body=body, more=more)
    return HTMLResponse(page, headers=_HEADERS)
