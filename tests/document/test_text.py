"""The text of a mail on paper: every letter is there, columns stand, lines run the right way."""

from __future__ import annotations

import re

import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.document.raster import draw, has_ink
from gateway.document.text import boxes, text_pages

HEAD = [("From", "Jürgen Müller <j@example.com>"), ("Subject", "Order 7")]


def words(pdf: bytes) -> str:
    """All text of a PDF, as a reader finds it."""
    document = pypdfium2.PdfDocument(pdf)
    return "\n".join(page.get_textpage().get_text_bounded() for page in document)


def squeezed(text: str) -> str:
    return re.sub(r"[\s\u200b\ufffe\x00-\x1f]", "", text)


def column(pdf: bytes, word: str) -> set[int]:
    """Where a word begins on its lines, in points from the left."""
    page = pypdfium2.PdfDocument(pdf)[0].get_textpage()
    search, found = page.search(word, match_case=True), set()
    while place := search.get_next():
        found.add(round(page.get_charbox(place[0], loose=True)[0]))
    return found


@pytest.mark.parametrize("paper", ["letter", "a4"])
@pytest.mark.parametrize(
    "text",
    [
        "Grüße, Łódź, Ελληνικά, Кириллица, 5 €, ½",
        "A" * 3000,
        "https://example.com/" + "path/" * 100,
        "word " * 2000,
        "#panic() $x$ *b* _i_ `c` <a> @ref // /* c */ = head\n- item\n+ one\n/ term: x",
        '"quotes" \\ \\u{41} #let x = 1; -- --- ...',
    ],
)
def test_every_letter_is_on_the_page(text: str, paper: str) -> None:
    """Long words break, markup is text, nothing runs off the sheet."""
    pdf = text_pages(HEAD, text, paper)
    found = squeezed(words(pdf))
    assert squeezed(text) in re.sub(r"\d/\d(?=$|[^\d])", "", found)
    for page in pypdfium2.PdfDocument(pdf):
        width, _ = page.get_size()
        image = page.render(grayscale=True).to_pil().convert("L")
        assert not has_ink(image.crop((0, 0, 50, image.height)))
        assert not has_ink(image.crop((round(width) - 50, 0, round(width), image.height)))


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=300))
def test_any_text_becomes_pages(text: str) -> None:
    pdf = text_pages(HEAD, text, "letter")
    assert pdf == text_pages(HEAD, text, "letter")
    assert has_ink(draw(pypdfium2.PdfDocument(pdf), 0, 400))
    boxes(text)


def test_columns_stand() -> None:
    """Tables made with spaces or tabs: letters of one width, and small enough for the sheet."""
    for row in ("Item{0:<30}   Qty   {0:>9}   END", "Nut {0}\tQty\t{0:>8}   END"):
        lines = [row.format("x" * length) for length in (1, 2, 3)]
        assert len(column(text_pages(HEAD, "\n".join(lines), "letter"), "END")) == 1
    wide = "\n".join(f"ITEM {i:05}   {'x' * 60:<90}   {i:>8}   END" for i in range(50))
    pdf = text_pages(HEAD, wide, "letter")
    assert len(pypdfium2.PdfDocument(pdf)) == 1
    assert max(column(pdf, "END")) < 612 - 54


def test_prose_stays_prose() -> None:
    """One odd gap is no table, and what no fax can show in columns stays large."""
    large = text_pages(HEAD, "Hello.", "letter")
    for text in ("Hello.\nSee   you.", "\n".join(["word   " * 60] * 3)):
        assert b"DejaVu" not in text_pages(HEAD, text, "letter")
    assert b"NotoSans" in large


@pytest.mark.parametrize(
    ("line", "right"),
    [("Hello", False), ("שלום", True), ("123 مرحبا", True), ("a שלום", False), ("42", False)],
)
def test_lines_begin_on_their_side(line: str, right: bool) -> None:
    image = draw(pypdfium2.PdfDocument(text_pages([], line, "letter")), 0, 792)
    left_half = image.crop((0, 0, 306, 700))
    assert has_ink(left_half) is not right


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("plain ASCII, Grüße, Ελληνικά, Привет", ""),
        ("नमस्ते, שָׁלוֹם, مرحبا, → ✓ ½ €", ""),
        ("e\u0301 \u200b\u200d\ufe0f\u202a", ""),
        ("Dear \U00014400 and \U00014401, \U00014400", "\U00014400\U00014401"),
    ],
)
def test_letters_no_font_has(text: str, missing: str) -> None:
    """Our own fonts read these scripts on a machine without any; Anatolian they do not."""
    assert boxes(text) == missing
