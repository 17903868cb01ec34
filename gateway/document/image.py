"""TIFF, PNG and JPEG become pages: G4 strips as they are, all else as clean bilevel or grey.

A picture is always decoded, so a broken one is found here and not at the far end; what is not
bilevel is written anew in grey, which is all a fax can show and leaves no foreign metadata behind.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from gateway.document.refusal import damaged, reading, too_large, too_many_pages
from gateway.errors import Cause, PermanentError
from gateway.mail.sniff import Kind

MOST_PIXELS = 40_000_000  # of one page when decoded
FINEST = 300  # dpi that a grey page keeps
LOSSLESS = 600_000  # bytes: what packs smaller without loss stays without loss
QUALITY = 80
UNKNOWN_DPI = 100.0
MOST_PADDING = 64  # bytes
FAX_WIDTHS = (1728, 2048, 2432)  # T.4: A4, B4, A3 at 204 dpi
_FORMATS = {Kind.TIFF: "TIFF", Kind.PNG: "PNG", Kind.JPEG: "JPEG"}
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _ORIENTATION, _ROWS = 259, 262, 266, 274, 278
_STRIPS, _STRIP_SIZES, _SUBFILE = 273, 279, 254
Image.MAX_IMAGE_PIXELS = None  # we count ourselves, before anything is decoded


@dataclass(frozen=True, slots=True)
class Picture:
    """One page's pixels, packed for a PDF. `width` and `height` are its natural size in points."""

    across: int
    down: int
    width: float
    height: float
    packing: str  # "g4", "flate" or "jpeg"
    content: bytes
    black_is_1: bool = False  # of g4


def pictures(path: Path, kind: Kind, title: str, most: int) -> Iterator[Picture]:
    """The pages of a picture file; PermanentError when one cannot be decoded or is too big."""
    with reading(title), _opened(path, kind, title) as image:
        found = 0
        for _ in _frames(image, kind, title):
            found += 1
            if found > most:
                raise too_many_pages(title, most)
            yield _picture(image, kind, title)
        if not found:
            raise damaged(title)


def _opened(path: Path, kind: Kind, title: str) -> ImageFile.ImageFile:
    try:
        return Image.open(path, formats=[_FORMATS[kind]])
    except UnidentifiedImageError as error:
        raise PermanentError(
            f"{title} is damaged or a {_FORMATS[kind]} of a rare kind, and cannot be opened. "
            "Please make a PDF of it and send that.",
            Cause.DOCUMENT,
        ) from error


def _frames(image: ImageFile.ImageFile, kind: Kind, title: str) -> Iterator[None]:
    """Each page in turn; only a TIFF has more than one (an animation is its first picture)."""
    if kind is not Kind.TIFF:
        yield
        return
    number = 0
    while True:
        try:
            image.seek(number)
        except EOFError:
            return
        if not _tags(image).get(_SUBFILE, 0) & 1:  # a reduced copy of another page
            yield
        number += 1
        if number > 10_000:
            raise damaged(title)


def _picture(image: ImageFile.ImageFile, kind: Kind, title: str) -> Picture:
    if kind is Kind.JPEG:
        _draft(image)
    if image.width * image.height > MOST_PIXELS:
        raise too_large(title, f"has a picture of {image.width} x {image.height} pixels")
    across_dpi, down_dpi = _dpi(image, kind)
    width, height = image.width * 72 / across_dpi, image.height * 72 / down_dpi
    strip = _g4_strip(image, title) if kind is Kind.TIFF else b""
    image.load()
    if strip:
        black_is_1 = _tags(image)[_PHOTOMETRIC] == 1
        return Picture(image.width, image.height, width, height, "g4", strip, black_is_1)
    upright = ImageOps.exif_transpose(image)
    if _turns(image):
        width, height = height, width
    return pack(upright, width, height)


def pack(image: Image.Image, width: float, height: float) -> Picture:
    """Pixels as they go into a PDF: bilevel as G4, the rest in grey."""
    if image.mode == "1" and "transparency" not in image.info:
        return Picture(*image.size, width, height, "g4", g4(image), black_is_1=True)
    grey = _no_finer(_grey(image), width, height)
    if set(_used(grey)) <= {0, 255}:
        bilevel = grey.convert("1", dither=Image.Dither.NONE)
        return Picture(*grey.size, width, height, "g4", g4(bilevel), black_is_1=True)
    packed = zlib.compress(grey.tobytes(), 6)
    if len(packed) <= LOSSLESS:
        return Picture(*grey.size, width, height, "flate", packed)
    return Picture(*grey.size, width, height, "jpeg", jpeg(grey, QUALITY))


def g4(image: Image.Image) -> bytes:
    """A bilevel image as one strip of T.6 code, in which 1 is white."""
    buffer = io.BytesIO()
    rows = TiffImagePlugin.ImageFileDirectory_v2()
    rows[_ROWS] = image.height
    image.save(buffer, "TIFF", compression="group4", tiffinfo=rows)
    with Image.open(buffer, formats=["TIFF"]) as written:
        tags = _tags(written)
        (start,), (size,) = tags[_STRIPS], tags[_STRIP_SIZES]
    return buffer.getvalue()[start : start + size]


def jpeg(grey: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    grey.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def _tags(image: Image.Image) -> Any:  # noqa: ANN401 - Pillow's tag directory is untyped
    return getattr(image, "tag_v2", {})


def _turns(image: Image.Image) -> bool:
    """Whether its orientation swaps width and height (EXIF and TIFF count alike)."""
    return image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)


def _draft(image: ImageFile.ImageFile) -> None:
    """Let the JPEG decoder leave out what no fax can show."""
    longest = max(image.size)
    if longest > 2 * 3400:  # a Letter sheet at 300 dpi is 3,300 pixels long
        image.draft(None, (image.width * 3400 // longest, image.height * 3400 // longest))


def _dpi(image: Image.Image, kind: Kind) -> tuple[float, float]:
    given = image.info.get("dpi", (0, 0))
    across, down = float(given[0]), float(given[1])
    if 20 <= across <= 2400 and 20 <= down <= 2400 and 0.2 < across / down < 5:
        return across, down
    if kind is Kind.TIFF and image.width in FAX_WIDTHS:
        return 204.0, 98.0 if image.height < image.width * 0.85 else 196.0
    return UNKNOWN_DPI, UNKNOWN_DPI


def _g4_strip(image: ImageFile.ImageFile, title: str) -> bytes:
    """The page's one strip of T.6 code; empty when it has another form and must be packed anew."""
    tags = _tags(image)
    if tags.get(_COMPRESSION) != 4 or image.fp is None:
        return b""
    strips = []
    for start, size in zip(tags.get(_STRIPS, ()), tags.get(_STRIP_SIZES, ()), strict=False):
        image.fp.seek(start)
        strips.append(image.fp.read(size))
        if _is_torn(strips[-1]):
            raise damaged(title)
    plain = tags.get(_ORIENTATION, 1) == 1 and image.mode == "1"
    if not plain or len(strips) != 1 or tags.get(_PHOTOMETRIC) not in (0, 1):
        return b""
    return strips[0].translate(_REVERSED) if tags.get(_FILL_ORDER, 1) == 2 else strips[0]


def _is_torn(strip: bytes) -> bool:
    """A hole of zeros, as half copied files have: decoders take it for the end, silently.

    No code of T.6 has so many zeros in a row; a little padding at the end is usual.
    """
    code = strip.rstrip(b"\0")
    return b"\0\0\0" in code or len(strip) - len(code) > MOST_PADDING


def _grey(image: Image.Image) -> Image.Image:
    """Eight bits of grey, what is transparent on white."""
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    if image.mode in ("I", "F"):
        return _scaled(image)
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBa", "RGBA"):
        straight = image.convert(image.mode.upper()) if image.mode in ("La", "RGBa") else image
        clear = straight.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(white, clear).convert("L")
    if image.mode == "LAB":
        return image.getchannel(0)
    return image.convert("RGB").convert("L") if image.mode in ("CMYK", "P") else image.convert("L")


def _scaled(image: Image.Image) -> Image.Image:
    """More than 8 bits of grey: the range it has, or the range it uses, becomes 0 to 255.

    Which bits count is not written in every file: 12 of 16 are seen by no value above 4095.
    """
    low, high = image.getextrema()
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise TypeError("one band has one range")
    if image.mode == "I" and low >= 0:
        low, high = 0, (1 << max(8, int(high).bit_length())) - 1
    span = (high - low) or 1
    return image.point(lambda value: value * (255 / span) - low * 255 / span).convert("L")


def _no_finer(grey: Image.Image, width: float, height: float) -> Image.Image:
    """No more pixels than FINEST on the biggest sheet we place it on (11 x 17 inches at most)."""
    across = round(min(width, 1224) / 72 * FINEST)
    down = round(min(height, 1224) / 72 * FINEST)
    scale = min(across / grey.width, down / grey.height)
    if scale >= 0.9:
        return grey
    size = max(1, round(grey.width * scale)), max(1, round(grey.height * scale))
    return grey.resize(size, Image.Resampling.BOX)


def _used(grey: Image.Image) -> list[int]:
    return [level for level, count in enumerate(grey.histogram()) if count]
