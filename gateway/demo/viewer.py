"""The demo's mailbox as a web page: what came in, newest first, and one mail as people see it."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.demo.mailbox import Got, Mailbox

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222}}
h1{{font-size:1.3em}}table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;
padding:.4em .8em .4em 0;border-bottom:1px solid #ddd;vertical-align:top}}a{{color:#0645ad}}
iframe{{width:100%;height:42em;border:1px solid #ddd}}</style><h1>{title}</h1>{body}</html>"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' "
    "data:; frame-src 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}


def viewer(mailbox: Mailbox) -> list[BaseRoute]:
    """The routes of the page."""
    pages = _Pages(mailbox)
    return [
        Route("/", pages.index),
        Route("/{number:int}", pages.mail),
        Route("/{number:int}/html", pages.html),
        Route("/{number:int}/files/{file:int}", pages.attachment),
    ]


class _Pages:
    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def index(self, _: Request) -> Response:
        rows = "".join(
            f"<tr><td>{escape(', '.join(got.recipients))}</td><td><a href='/{number}'>"
            f"{escape(str(got.mail['Subject']))}</a></td><td>{len(got.files) or ''}</td></tr>"
            for number, got in reversed(list(enumerate(self._mailbox.mails)))
        )
        table = f"<table><tr><th>To</th><th>Subject</th><th>Files</th></tr>{rows}</table>"
        return _html("Mailbox of the demo", table if rows else "<p>No mail yet.</p>")

    async def mail(self, request: Request) -> Response:
        number, got = self._find(request)
        rows = "".join(
            f"<tr><th>{name}</th><td>{escape(str(got.mail[name]))}</td></tr>"
            for name in ("From", "To", "Subject", "Date", "In-Reply-To")
            if got.mail[name]
        )
        files = ", ".join(
            f"<a href='/{number}/files/{i}'>{escape(file.name)}</a>"
            for i, file in enumerate(got.files)
        )
        body = f"<pre>{escape(got.text())}</pre>"
        if got.text("html"):
            body = f"<iframe sandbox src='/{number}/html'></iframe>"
        top = f"<p><a href='/'>All mails</a></p><table>{rows}</table><p>{files}</p>"
        return _html(str(got.mail["Subject"]), top + body)

    async def html(self, request: Request) -> Response:
        number, got = self._find(request)
        text = got.text("html")
        for i, file in enumerate(got.files):
            if file.content_id:
                text = text.replace(f"cid:{file.content_id}", f"/{number}/files/{i}")
        return HTMLResponse(text, headers=_HEADERS)

    async def attachment(self, request: Request) -> Response:
        _, got = self._find(request)
        number = int(request.path_params["file"])
        if number >= len(got.files):
            raise HTTPException(404, "no such file")
        file = got.files[number]
        name = f"inline; filename*=utf-8''{quote(file.name)}"
        headers = _HEADERS | {"Content-Disposition": name, "Content-Security-Policy": "sandbox"}
        return Response(file.content, media_type=file.kind, headers=headers)

    def _find(self, request: Request) -> tuple[int, Got]:
        number = int(request.path_params["number"])
        if number >= len(self._mailbox.mails):
            raise HTTPException(404, "no such mail")
        return number, self._mailbox.mails[number]


def _html(title: str, body: str) -> Response:
    return HTMLResponse(_PAGE.format(title=escape(title), body=body), headers=_HEADERS)
