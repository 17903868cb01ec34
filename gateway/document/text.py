"""Text becomes pages: typst sets what a mail says, as JSON data, so nothing in it is code."""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from importlib import resources

import typst

from gateway.document.glyphs import unshown
from gateway.document.sheet import PAPERS

LONGEST_WORD = 30  # letters; longer ones may be cut at the end of a line
LONGEST_LINE = 4000  # letters a paragraph; longer ones are several
TYPST_PAPERS = {"letter": "us-letter", "a4": "a4"}
FONT, SIZE = "Noto Sans", 11.0
EVEN_FONT, EVEN_SIZES = "DejaVu Sans Mono", (6.4, 10.0)  # points; typst brings this font along
EVEN_WIDTH = 0.602  # of its size, for each letter
MARGINS = 108.0  # points, both together, as in text.typ
_COLUMN = re.compile(r"\S(?:\t| {3,}) *\S")


@functools.cache
def fonts() -> typst.Fonts:
    """Our own fonts first, then whatever the machine has for the other scripts."""
    own = str(resources.files("fontpkg_noto_sans").joinpath("files"))
    return typst.Fonts(include_system_fonts=True, include_embedded_fonts=True, font_paths=[own])


@functools.cache
def _template() -> bytes:
    return resources.files(__package__).joinpath("text.typ").read_bytes()


def text_pages(head: list[tuple[str, str]], text: str, paper: str) -> bytes:
    """A PDF of a table of facts and the text below; no dates in it, the same for the same."""
    font, size = _letters(text.split("\n"), paper)
    lines = [piece for line in text.expandtabs(8).split("\n") for piece in _pieces(line)]
    data = {
        "paper": TYPST_PAPERS[paper],
        "head": [[name, _breakable(value)] for name, value in head if value],
        "lines": [(line, _rightwards(line)) for line in lines],
        "font": font,
        "size": size,
    }
    made = typst.compile(
        _template(), font_paths=fonts(), sys_inputs={"data": json.dumps(data)}, pdf_tags=False
    )
    if not isinstance(made, bytes):
        raise TypeError("typst made no PDF")
    return made


def boxes(text: str) -> str:
    """The letters and signs of the text that no font here has."""
    return unshown(text, lambda letters: text_pages([], letters, "letter"))


def _letters(lines: list[str], paper: str) -> tuple[str, float]:
    """Font and size. Columns made with spaces need letters of one width, small enough to fit."""
    columns = [len(line.expandtabs(8).rstrip()) for line in lines if _COLUMN.search(line)]
    if len(columns) < 2:
        return FONT, SIZE
    smallest, largest = EVEN_SIZES
    fits = (PAPERS[paper][0] - MARGINS) / (EVEN_WIDTH * max(columns))
    return (EVEN_FONT, min(fits, largest)) if fits >= smallest else (FONT, SIZE)


def _rightwards(line: str) -> bool:
    """False: its first letter is Hebrew or Arabic (Unicode Annex 9, P2)."""
    strong = (unicodedata.bidirectional(letter) for letter in line)
    return next((kind for kind in strong if kind in ("L", "R", "AL")), "L") == "L"


def _pieces(line: str) -> list[str]:
    line = line.rstrip()
    if len(line) <= LONGEST_LINE:
        return [_breakable(line)]
    return [_breakable(line[at : at + LONGEST_LINE]) for at in range(0, len(line), LONGEST_LINE)]


def _breakable(text: str) -> str:
    """Long words may break at any letter: a zero-width space stands where they may."""
    return re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda word: "\u200b".join(word[0]), text)


assert TYPST_PAPERS.keys() == PAPERS.keys()  # noqa: S101 - one list of papers
