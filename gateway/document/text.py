"""Text becomes pages: typst sets what a mail says, as JSON data, so nothing in it is code."""

from __future__ import annotations

import functools
import json
import re
from importlib import resources

import typst

from gateway.document.sheet import PAPERS

LONGEST_WORD = 30  # letters; longer ones may be cut at the end of a line
LONGEST_LINE = 4000  # letters a paragraph; longer ones are several
TYPST_PAPERS = {"letter": "us-letter", "a4": "a4"}


@functools.cache
def fonts() -> typst.Fonts:
    """Our own font first, then whatever the machine has for the other scripts."""
    own = str(resources.files("fontpkg_noto_sans").joinpath("files"))
    return typst.Fonts(include_system_fonts=True, include_embedded_fonts=False, font_paths=[own])


@functools.cache
def _template() -> bytes:
    return resources.files(__package__).joinpath("text.typ").read_bytes()


def text_pages(head: list[tuple[str, str]], text: str, paper: str) -> bytes:
    """A PDF of a table of facts and the text below; no dates in it, the same for the same."""
    data = {
        "paper": TYPST_PAPERS[paper],
        "head": [[name, _breakable(value)] for name, value in head if value],
        "lines": [piece for line in text.expandtabs(8).split("\n") for piece in _pieces(line)],
    }
    made = typst.compile(
        _template(), font_paths=fonts(), sys_inputs={"data": json.dumps(data)}, pdf_tags=False
    )
    if not isinstance(made, bytes):
        raise TypeError("typst made no PDF")
    return made


def _pieces(line: str) -> list[str]:
    line = line.rstrip()
    if len(line) <= LONGEST_LINE:
        return [_breakable(line)]
    return [_breakable(line[at : at + LONGEST_LINE]) for at in range(0, len(line), LONGEST_LINE)]


def _breakable(text: str) -> str:
    """Long words may break at any letter: a zero-width space stands where they may."""
    return re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda word: "\u200b".join(word[0]), text)


assert TYPST_PAPERS.keys() == PAPERS.keys()  # noqa: S101 - one list of papers
