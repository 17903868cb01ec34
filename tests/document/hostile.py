"""Documents made to hurt whoever opens them (A25-A28), small enough to be made at once."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pikepdf
from PIL import Image

from tests.document import files

LINE = b"72 700 m 540 700 l S\n"
TREE = (b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
PAGE = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R %s >>"


def deflated(size: int, byte: bytes = b" ") -> bytes:
    packer = zlib.compressobj(9)
    block = byte * (1 << 20)
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


def nested_flate(levels: int = 3) -> bytes:
    """Packed three times: 80 MB in a few hundred bytes."""
    content = deflated(80 << 20)
    for _ in range(levels - 1):
        content = zlib.compress(content, 9)
    return files.one_page(files.stream(content, b"/Filter [%s]" % (b"/FlateDecode " * levels)))


def run_length() -> bytes:
    return files.one_page(files.stream(b"\x81 " * (2 << 20), b"/Filter /RunLengthDecode"))


def lzw(times: int = 4000) -> bytes:
    """A stream packed by LZW behind Flate: each turns little into much."""
    return files.one_page(
        files.stream(zlib.compress(b"\x80\x0b\x60\x50\x22" * times), b"/Filter [/Fl /LZW]")
    )


def object_stream() -> bytes:
    """Objects in a packed stream of 80 MB; the table that finds them is packed as well."""
    inside = deflated(80 << 20)
    stream = files.stream(inside, b"/Type /ObjStm /N 1 /First 10 /Filter /FlateDecode")
    table = zlib.compress(
        b"".join(
            struct.pack(">BIB", *entry)
            for entry in ((0, 0, 0), (2, 3, 0), (1, 200_000_000, 0), (1, 9, 0), (2, 3, 1))
        )
    )
    body = b"%PDF-1.7\n3 0 obj\n" + stream + b"\nendobj\n"
    reference = files.stream(
        table, b"/Type /XRef /Size 5 /W [1 4 1] /Root 1 0 R /Filter /FlateDecode"
    )
    return body + b"9 0 obj\n" + reference + b"\nendobj\nstartxref\n%d\n%%%%EOF\n" % len(body)


def deep(levels: int = 100_000) -> bytes:
    """Arrays in arrays until a stack ends."""
    return files.raw_pdf(*TREE, PAGE % (b"/X " + b"[" * levels + b"]" * levels), files.stream(LINE))


def deep_tree(levels: int = 20_000) -> bytes:
    """A tree of pages that is all trunk."""
    trunk = [
        b"<< /Type /Pages /Kids [%d 0 R] /Count 1 >>" % (number + 1)
        for number in range(2, levels + 2)
    ]
    leaf = b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 612 792] >>" % (levels + 1)
    return files.raw_pdf(TREE[0], *trunk, leaf)


def contents_array(pieces: int = 60_000) -> bytes:
    """One page made of the same stream again and again."""
    page = (PAGE % b"").replace(b"4 0 R", b"[" + b"4 0 R " * pieces + b"]")
    return files.raw_pdf(*TREE, page, files.stream(b"% nothing\n"))


def table_loop() -> bytes:
    """A cross-reference table whose predecessor is itself."""
    good = files.raw_pdf(*TREE, PAGE % b"", files.stream(LINE))
    at = int(good.rsplit(b"startxref", 1)[1].split()[0])
    before, after = good.rsplit(b"/Root", 1)
    return before + b"/Prev %d /Root" % at + after


def length_loop() -> bytes:
    """A stream whose length is written in itself."""
    contents = b"<< /Length 4 0 R >>\nstream\n" + LINE + b"endstream"
    return files.raw_pdf(*TREE, PAGE % b"", contents)


def parent_loop() -> bytes:
    return files.raw_pdf(
        TREE[0],
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 /Parent 3 0 R >>",
        PAGE.replace(b"2 0 R", b"3 0 R") % b"",
        files.stream(LINE),
    )


def pattern_bomb() -> bytes:
    """A tiling of a hundredth of a point over the whole page."""
    pattern = files.stream(
        b"0 0 .005 .005 re f",
        b"/Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 .01 .01] "
        b"/XStep .01 /YStep .01 /Resources << >>",
    )
    use = b"/Resources << /Pattern << /P 5 0 R >> >>"
    drawing = files.stream(b"/Pattern cs /P scn 0 0 612 792 re f")
    return files.raw_pdf(*TREE, PAGE % use, drawing, pattern)


def picture_in_pdf(across: int, down: int) -> bytes:
    image = files.stream(
        deflated(8 << 20, b"\0"),
        b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceRGB "
        b"/BitsPerComponent 8 /Filter /FlateDecode" % (across, down),
    )
    use = b"/Resources << /XObject << /I 5 0 R >> >>"
    drawing = files.stream(b"612 0 0 792 0 0 cm /I Do")
    return files.raw_pdf(*TREE, PAGE % use, drawing, image)


def acting(**more: object) -> bytes:
    """A good page in a document that wants to do things."""
    with pikepdf.open(io.BytesIO(files.pdf(1))) as document:
        script = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS="app.launchURL('http://x')")
        launch = pikepdf.Dictionary(S=pikepdf.Name.Launch, F="%pipe%id>/tmp/owned")
        document.Root.OpenAction = launch
        document.Root.AA = pikepdf.Dictionary(WC=script)
        document.Root.Names = pikepdf.Dictionary(JavaScript=pikepdf.Dictionary(Names=["a", script]))
        document.pages[0].AA = pikepdf.Dictionary(O=script)
        document.attachments["tool.exe"] = b"MZ evil"
        document.pages[0].Annots = pikepdf.Array(
            [pikepdf.Dictionary(Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Link,
                                Rect=[0, 0, 9, 9], A=launch)]
        )  # fmt: skip
        return files.saved(document)


def polyglot() -> bytes:
    """A PDF that is a ZIP archive too."""
    out = io.BytesIO(files.pdf(1))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("tool.exe", b"MZ evil")
    return out.getvalue()


def png(across: int, down: int, rows: int = 10) -> bytes:
    """A PNG that claims to be huge."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", across, down, 8, 2, 0, 0, 0)
    rows_of = zlib.compress(bytes(1 + across * 3) * rows, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows_of) + chunk(b"IEND", b"")
    )


def png_text_bomb() -> bytes:
    """A comment of 80 MB, packed, in a good picture."""
    good = files.encoded(files.sheet((850, 1100), "L"), "PNG")
    content = b"Comment\0\0" + deflated(80 << 20)
    check = struct.pack(">I", zlib.crc32(b"zTXt" + content))
    text = struct.pack(">I", len(content)) + b"zTXt" + content + check
    return good[:33] + text + good[33:]


def jpeg(across: int = 65_500, down: int = 65_500) -> bytes:
    """A JPEG that claims to be huge."""
    good = files.encoded(files.sheet((80, 80), "L"), "JPEG")
    at = good.index(b"\xff\xc0")
    return good[: at + 5] + struct.pack(">HH", down, across) + good[at + 9 :]


def jpeg_scans(scans: int = 3000) -> bytes:
    """A progressive JPEG of thousands of scans over the same large picture."""
    good = files.encoded(Image.new("L", (6000, 6000), 200), "JPEG", progressive=True)
    last = good.rindex(b"\xff\xda")
    return good[:last] + good[last:-2] * scans + b"\xff\xd9"


def tiff_loop() -> bytes:
    """A TIFF whose last page is followed by its first."""
    good = bytearray(files.tiff(files.sheet(), files.sheet()))
    at, order = struct.unpack("<I", good[4:8])[0], []
    while at:
        order.append(at)
        entries = struct.unpack_from("<H", good, at)[0]
        following = at + 2 + 12 * entries
        at = struct.unpack_from("<I", good, following)[0]
    struct.pack_into("<I", good, following, order[0])
    return bytes(good)


def tiff_pages(count: int) -> bytes:
    return files.tiff(*[files.sheet((64, 64))] * count)


def tiff_strips(count: int = 4_000_000_000) -> bytes:
    """A TIFF that claims billions of strips."""
    good = bytearray(files.tiff())
    at = struct.unpack("<I", good[4:8])[0]
    for number in range(struct.unpack_from("<H", good, at)[0]):
        place = at + 2 + 12 * number
        if struct.unpack_from("<H", good, place)[0] in (273, 279):
            struct.pack_into("<I", good, place + 4, count)
    return bytes(good)


PDF = files.pdf(2)
TIFF, PNG = files.tiff(files.sheet(), files.sheet()), files.encoded(files.sheet(), "PNG")
JPEG = files.encoded(files.sheet((850, 1100), "L"), "JPEG")


#: name → what it is made by, and what becomes of it: pages, or the causes it may be refused for
SAMPLES: dict[str, tuple[files.Make, int | tuple[str, ...]]] = {
    "flate.pdf": (files.content_bomb, ("limit",)),
    "nested.pdf": (nested_flate, ("limit",)),
    "runs.pdf": (run_length, ("limit", "document")),
    "lzw.pdf": (lzw, ("limit", "document")),
    "objects.pdf": (object_stream, ("limit", "document", "conversion")),
    "pages.pdf": (lambda: files.many_pages(100_000), ("limit",)),
    "box.pdf": (
        lambda: files.one_page(files.stream(LINE), b"[0 0 200000 200000]"), ("limit",),
    ),
    "unit.pdf": (
        lambda: files.one_page(files.stream(LINE), more=b"/UserUnit 1e30"), ("document",),
    ),
    "nan.pdf": (
        lambda: files.one_page(files.stream(LINE), b"[0 0 1e400 792]"), 1,
    ),
    "tree.pdf": (files.page_tree_loop, ("limit", "document")),
    "trunk.pdf": (deep_tree, ("limit", "document", "conversion")),
    "deep.pdf": (deep, ("limit", "document", "conversion")),
    "array.pdf": (contents_array, 1),
    "table.pdf": (table_loop, 1),
    "length.pdf": (length_loop, 1),
    "parent.pdf": (parent_loop, ("document",)),
    "pattern.pdf": (pattern_bomb, 1),
    "picture.pdf": (lambda: picture_in_pdf(60_000, 60_000), ("limit",)),
    "acting.pdf": (acting, 1),
    "zip.pdf": (polyglot, 1),
    "exe.pdf": (lambda: b"MZ" + bytes(4000), ("media",)),
    "one.pdf": (lambda: b"%", ("media",)),
    "none.pdf": (lambda: b"", ("media",)),
    "g4.tif": (files.g4_bomb, ("limit",)),
    "loop.tif": (tiff_loop, 2),
    "500.tif": (lambda: tiff_pages(500), ("limit",)),
    "strips.tif": (tiff_strips, ("document",)),
    "half.tif": (lambda: TIFF[: len(TIFF) // 2], ("document",)),
    "huge.png": (lambda: png(60_000, 60_000), ("limit",)),
    "claims.png": (lambda: png(2**31 - 1, 2**31 - 1, 0), ("limit", "document")),
    "comment.png": (png_text_bomb, ("document", "limit")),
    "half.png": (lambda: PNG[: len(PNG) // 2], ("document",)),
    "huge.jpg": (jpeg, ("limit", "document")),
    "half.jpg": (lambda: JPEG[: len(JPEG) // 2], ("document",)),
}  # fmt: skip
