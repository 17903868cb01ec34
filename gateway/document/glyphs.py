"""Letters no font has: typst draws a box for them and says so to nobody. Here they are found."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable, Iterator

import pikepdf
from pikepdf import Array, Dictionary, Name, Object, Page, String

OURS = 0x0590  # Latin, Greek, Cyrillic, Armenian: our own font has them
NOBODYS = "\ufdd0"  # a code point that is never a letter
_ALONE = "LNSP"  # letters, numbers, signs, points; marks are judged by the letter they sit on


def unshown(text: str, typeset: Callable[[str], bytes]) -> str:
    """Those letters of the text that come out as boxes, each once.

    They are set anew, one by one, after one that surely is a box: typst tells by ActualText what
    a box stands for, but not for the first one of a font.
    """
    candidates = [one for one in dict.fromkeys(text) if ord(one) >= OURS and _stands(one)]
    if not candidates:
        return ""
    boxes = set(_boxes(typeset(" ".join([NOBODYS, *candidates]))))
    return "".join(one for one in candidates if one in boxes)


def is_letter(one: str) -> bool:
    """What a text cannot be read without; a sign (emoji, arrow) it can."""
    return unicodedata.category(one)[0] in "LN"


def _stands(one: str) -> bool:
    return unicodedata.category(one)[0] in _ALONE


def _boxes(pdf: bytes) -> Iterator[str]:
    with pikepdf.open(io.BytesIO(pdf)) as document:
        for page in document.pages:
            yield from _on_page(page)


def _on_page(page: Page) -> Iterator[str]:
    fonts = page.obj.Resources.get("/Font", Dictionary())
    font: Object = Dictionary()
    means = [""]
    for instruction in pikepdf.parse_content_stream(page):
        operands = instruction.operands
        match str(instruction.operator):
            case "Tf":
                font = fonts[str(operands[0])]
            case "BDC" if isinstance(operands[1], Dictionary):
                means.append(str(operands[1].get("/ActualText", "")))
            case "BDC" | "BMC":
                means.append("")
            case "EMC":
                means.pop()
            case "Tj" | "TJ" if font.get("/Subtype") == Name.Type0 and _is_box(operands[0]):
                yield "".join(means)


def _is_box(shown: Object) -> bool:
    """Glyph 0 is the box, in fonts of two bytes a glyph."""
    strings = list(shown) if isinstance(shown, Array) else [shown]
    glyphs = b"".join(bytes(one) for one in strings if isinstance(one, String))
    return any(glyphs[at : at + 2] == b"\0\0" for at in range(0, len(glyphs), 2))
