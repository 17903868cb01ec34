"""The demo's mailbox as a web page: what came in, newest first, and one mail as people see it."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
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

    def find(request: Request) -> Got | None:
        number = int(request.path_params["number"])
        return mailbox.mails[number] if 0 <= number < len(mailbox.mails) else None

    async def index(_: Request) -> Response:
        rows = "".join(
            f"<tr><td>{escape(', '.join(got.recipients))}</td><td><a href='/{number}'>"
            f"{escape(str(got.mail['Subject']))}</a></td><td>{len(got.files) or ''}</td></tr>"
            for number, got in reversed(list(enumerate(mailbox.mails)))
        )
        table = f"<table><tr><th>To</th><th>Subject</th><th>Files</th></tr>{rows}</table>"
        return _html("Mailbox of the demo", table if rows else "<p>No mail yet.</p>")

    async def mail(request: Request) -> Response:
        got = find(request)
        if got is None:
            return PlainTextResponse("no such mail\n", 404)
        number = request.path_params["number"]
        shown = ("From", "To", "Subject", "Date", "In-Reply-To")
        rows = "".join(
            f"<tr><th>{name}</th><td>{escape(str(got.mail[name]))}</td></tr>"
            for name in shown
            if got.mail[name]
        )
        files = ", ".join(
            f"<a href='/{number}/files/{i}'>{escape(file.name)}</a>"
            for i, file in enumerate(got.files)
        )
        body = (
            f"<iframe sandbox src='/{number}/html'></iframe>"
            if got.text("html")
            else f"<pre>{escape(got.text())}</pre>"
        )
        return _html(
            str(got.mail["Subject"]),
            f"<p><a href='/'>All mails</a></p><table>{rows}</table><p>{files}</p>{body}",
        )

    async def html(request: Request) -> Response:
        got = find(request)
        if got is None:
            return PlainTextResponse("no such mail\n", 404)
        text = got.text("html")
        for i, file in enumerate(got.files):
            if file.content_id:
                link = f"/{request.path_params['number']}/files/{i}"
                text = text.replace(f"cid:{file.content_id}", link)
        return HTMLResponse(text, headers=_HEADERS)

    async def attachment(request: Request) -> Response:
        got = find(request)
        number = int(request.path_params["file"])
        if got is None or number >= len(got.files):
            return PlainTextResponse("no such file\n", 404)
        file = got.files[number]
        name = f"inline; filename*=utf-8''{quote(file.name)}"
        headers = _HEADERS | {"Content-Disposition": name, "Content-Security-Policy": "sandbox"}
        return Response(file.content, media_type=file.kind, headers=headers)

    return [
        Route("/", index),
        Route("/{number:int}", mail),
        Route("/{number:int}/html", html),
        Route("/{number:int}/files/{file:int}", attachment),
    ]


def _html(title: str, body: str) -> Response:
    return HTMLResponse(_PAGE.format(title=escape(title), body=body), headers=_HEADERS)
