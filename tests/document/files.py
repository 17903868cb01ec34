"""Mails and documents, ordinary and hostile, each made in one line by the tests themselves."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable
from typing import Any

import pikepdf
from PIL import Image, ImageDraw

Make = Callable[[], bytes]
CRLF = b"\r\n"
BASE64 = "Content-Transfer-Encoding: base64"


def mail(*parts: bytes, head: str = "", kind: str = "multipart/mixed") -> bytes:
    """A mail of these parts (see `part`); one alone is the mail itself."""
    top = "From: Jane Doe <jane@example.com>\r\nSubject: Order 7\r\nMessage-ID: <1@example.com>\r\n"
    top = (head or top).replace("\n", "\r\n").replace("\r\r", "\r")
    if len(parts) == 1:
        return top.encode() + parts[0]
    return top.encode() + multipart(*parts, kind=kind)


def multipart(*parts: bytes, kind: str = "multipart/mixed", boundary: str = "=_b") -> bytes:
    dash = b"--" + boundary.encode()
    body = b"".join(dash + CRLF + one + CRLF for one in parts)
    return (
        f'Content-Type: {kind}; boundary="{boundary}"'.encode() + CRLF * 2 + body + dash + b"--\r\n"
    )


def part(content: bytes, label: str = "application/pdf", name: str = "", head: str = "") -> bytes:
    """One part in base64; `head` holds more of its fields, a line each."""
    lines = [f"Content-Type: {label}", BASE64]
    if name:
        lines.append(f'Content-Disposition: attachment; filename="{name}"')
    lines += [head] if head else []
    return "\r\n".join(lines).encode() + CRLF * 2 + base64.encodebytes(content).replace(b"\n", CRLF)


def text(words: str = "Hello", kind: str = "plain", head: str = "") -> bytes:
    top = f"Content-Type: text/{kind}; charset=utf-8\r\n{head}\r\n"
    return top.encode() + words.replace("\n", "\r\n").encode()


# PDF


def pdf(pages: int = 1, content: bytes = b"2 w 72 700 m 540 700 l S", **page: Any) -> bytes:
    """Pages with the same content stream and these entries in their dictionaries."""
    document = pikepdf.new()
    for _ in range(pages):
        document.add_blank_page(page_size=(612, 792))
        sheet = document.pages[-1]
        sheet.Contents = document.make_stream(content)
        for name, value in page.items():
            sheet[f"/{name}"] = value
    return saved(document)


def saved(document: pikepdf.Pdf, **options: Any) -> bytes:
    out = io.BytesIO()
    document.save(out, **options)
    return out.getvalue()


def raw_pdf(*objects: bytes) -> bytes:
    """A PDF file of these objects as they are (1 is the catalogue), with a right table."""
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    return bytes(out) + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\n"
        b"startxref\n%d\n%%%%EOF\n" % (count, table, count, len(out))
    )


def stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), entries, content)


def one_page(contents: bytes, box: bytes = b"[0 0 612 792]", more: bytes = b"") -> bytes:
    """A raw PDF of one page that shows object 4."""
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox %s /Contents 4 0 R %s >>" % (box, more)
    return raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        page,
        contents,
    )


def content_bomb(megabytes: int = 80) -> bytes:
    """One content stream, small as sent, large as read."""
    packer = zlib.compressobj(9)
    line = b"0 0 m 1 1 l S\n" * 75_000
    packed = b"".join(packer.compress(line) for _ in range(megabytes)) + packer.flush()
    return one_page(stream(packed, b"/Filter /FlateDecode"))


def form_bomb(levels: int = 12) -> bytes:
    """Forms that draw forms, ten each: a billion strokes in two kilobytes."""
    bodies = [stream(b"0 0 m 9 9 l S", b"/Type /XObject /Subtype /Form /BBox [0 0 600 700]")]
    for level in range(levels):
        entries = (
            b"/Type /XObject /Subtype /Form /BBox [0 0 600 700] "
            b"/Resources << /XObject << /F %d 0 R >> >>" % (5 + level)
        )
        bodies.append(stream(b"/F Do 1 0 0 1 1 1 cm\n" * 10, entries))
    resources = b"/Resources << /XObject << /F %d 0 R >> >>" % (4 + len(bodies))
    return raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R %s >>" % resources,
        stream(b"/F Do"),
        *bodies,
    )


def page_tree_loop() -> bytes:
    return raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R 2 0 R] /Count 99 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200000 200000] >>",
    )


def many_pages(count: int = 100_000) -> bytes:
    """Page objects that share all they have."""
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>"
    kids = b" ".join(b"%d 0 R" % number for number in range(3, count + 3))
    return raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, count),
        *([page] * count),
    )


# pictures


def sheet(size: tuple[int, int] = (1728, 2200), mode: str = "1") -> Image.Image:
    """White, with a black mark in the upper left corner and a line across the foot."""
    image = Image.new(mode, size, "white")
    pen = ImageDraw.Draw(image)
    ink = 0 if mode in ("1", "L") else "black"
    pen.rectangle((size[0] // 20, size[1] // 20, size[0] // 4, size[1] // 8), fill=ink)
    pen.rectangle((0, size[1] * 9 // 10, size[0], size[1] * 9 // 10 + size[1] // 100), fill=ink)
    return image


def tiff(*images: Image.Image, dpi: tuple[float, float] = (204, 196), **options: Any) -> bytes:
    """A TIFF of these sheets, G4 unless said otherwise, one strip a page."""
    out = io.BytesIO()
    first, *rest = images or (sheet(),)
    tags = {278: first.height} | options.pop("tags", {})
    options = {"compression": "group4", "tiffinfo": tags} | options
    first.save(out, "TIFF", save_all=True, append_images=rest, dpi=dpi, **options)
    return out.getvalue()


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def g4_bomb(across: int = 60_000, down: int = 60_000) -> bytes:
    """An empty bilevel page of 3.6 billion pixels: every line is one code (V0) of one bit."""
    strip = b"\xff" * (down // 8)
    entries = (
        (256, 4, across), (257, 4, down), (258, 3, 1), (259, 3, 4), (262, 3, 0),
        (273, 4, 8), (277, 3, 1), (278, 4, down), (279, 4, len(strip)),
    )  # fmt: skip
    table = b"".join(
        tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + (1).to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for tag, kind, value in entries
    )  # fmt: skip
    head = b"II*\0" + (8 + len(strip)).to_bytes(4, "little")
    return head + strip + len(entries).to_bytes(2, "little") + table + bytes(4)
