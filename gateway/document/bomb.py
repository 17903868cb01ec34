"""How much a PDF's streams unpack to, found out with a hard stop; keys that reach outside go."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from pikepdf import Array, Dictionary, Name, Object, Stream

from gateway.document.refusal import damaged, too_large

ONE_STREAM = 64 << 20  # bytes unpacked, of one content stream, font or table
ALL_STREAMS = 192 << 20
IMAGE_PIXELS = 150_000_000  # of one image: a Letter sheet at 1,200 dpi has 135 million
IMAGE_BYTES = 256 << 20
STEP = 1 << 20
FLUSHED = b"\0\0\xff\xff"  # whole, though its writer left out the end mark
FOREIGN_KEYS = (
    *("/F", "/FFilter", "/FDecodeParms"),  # the bytes are in another file
    *("/OPI", "/Ref", "/Alternates", "/PS", "/Metadata", "/PieceInfo", "/AF"),
)


def weigh(objects: Iterable[Object], title: str) -> None:
    """Strip what reaches outside; PermanentError when it unpacks to more than a fax may need."""
    total = 0
    for thing in objects:
        if not isinstance(thing, Stream):
            continue
        for key in FOREIGN_KEYS:
            if key in thing:
                del thing[key]
        if thing.get("/Subtype") == Name.Image:
            _weigh_image(thing, title)
        else:
            total += _unpacked(thing, title)
        if total > ALL_STREAMS:
            raise too_large(title, "unpacks to too much data")


def _weigh_image(image: Object, title: str) -> None:
    across, down = int(image.get("/Width", 0)), int(image.get("/Height", 0))
    bits = int(image.get("/BitsPerComponent", 1 if image.get("/ImageMask", False) else 8))
    bands = 1 if bits == 1 else _bands(image.get("/ColorSpace"))
    if across * down > IMAGE_PIXELS or across * down * bits * bands // 8 > IMAGE_BYTES:
        raise too_large(title, f"has a picture of {across} x {down} pixels")


def _bands(space: Object | None) -> int:
    if isinstance(space, Array):
        name = space[0]
        if name == Name.ICCBased and isinstance(space[1], Dictionary | Stream):
            return int(space[1].get("/N", 3))
        return 1 if name in (Name.Indexed, Name.Separation, Name.CalGray) else 3
    return {"/DeviceGray": 1, "/G": 1, "/DeviceCMYK": 4, "/CMYK": 4}.get(str(space), 3)


def _unpacked(stream: Object, title: str) -> int:
    """Bytes after its leading Flate filters; other filters cannot unpack by the thousand."""
    size = 0
    content = stream.read_raw_bytes()
    for name in _filters(stream):
        if name not in ("/FlateDecode", "/Fl"):
            break
        content, size, whole = _inflate(content, title)
        if not whole and "/Length1" not in stream:  # of fonts the readers make the best
            raise damaged(title)  # half a page would be faxed
    return max(size, len(content))


def _filters(stream: Object) -> list[str]:
    given = stream.get("/Filter")
    return [str(name) for name in given] if isinstance(given, Array) else [str(given or "")]


def _inflate(given: bytes, title: str) -> tuple[bytes, int, bool]:
    """Unpacked beginning (a second filter needs no more to be judged), full size, is it whole."""
    unpack = zlib.decompressobj()
    size, pieces, rest = 0, [], given
    try:
        while not unpack.eof and (piece := unpack.decompress(rest, STEP)):
            rest = unpack.unconsumed_tail
            size += len(piece)
            pieces.append(piece)
            if size > ONE_STREAM:
                raise too_large(title, "unpacks to too much data")
    except zlib.error:
        return b"".join(pieces), size, False
    return b"".join(pieces), size, unpack.eof or not given or given.endswith(FLUSHED)
