"""Texts as a person reads them: charsets, flowed lines, HTML reduced to what it says (M12)."""

from __future__ import annotations

import html
import re
import sys
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail.plain import text_of, text_of_html


@pytest.mark.parametrize(
    ("content", "parameters", "text"),
    [
        (b"", {}, ""),
        (b"a\r\nb\rc\nd", {}, "a\nb\nc\nd"),
        (b"a\x0bb\x0cc", {}, "a\nb\nc"),
        ("a\u2028b\u2029c\x85d".encode(), {}, "a\nb\nc\nd"),
        (b"\xef\xbb\xbfa\x00b\x1b[1mc\x7f", {}, "ab[1mc"),
        ("a\u202eb\u202dc\ufeffd".encode(), {}, "abcd"),
        ("\u200fשלום\u200f".encode(), {}, "\u200fשלום\u200f"),
        (b"5\xa0\x80", {"charset": "iso-8859-1"}, "5 €"),
        ("Z" + "\u0351" * 50 + "!", {}, "Z" + "\u0351" * 4 + "!"),
        (b"a\tb", {}, "a\tb"),
        (b"one \r\ntwo\r\nthree", {"format": "flowed"}, "one two\nthree"),
        (b"one \r\ntwo", {"format": "Flowed", "delsp": "yes"}, "onetwo"),
        (b"text\r\n-- \r\nAnn", {"format": "flowed"}, "text\n-- \nAnn"),
        (b"> one \r\n> two", {"format": "flowed"}, "> one two"),
        (b"> quoted \r\nnot quoted", {"format": "flowed"}, "> quoted \nnot quoted"),
        (b">> deep \r\n>>deeper \r\n> up", {"format": "flowed"}, ">> deep deeper \n> up"),
        (b"open \r\n-- \r\nAnn", {"format": "flowed"}, "open \n-- \nAnn"),
        (b"\r\n\r\nx", {"format": "flowed"}, "\n\nx"),
        (b" stuffed", {"format": "flowed"}, "stuffed"),
        (b"last ", {"format": "flowed"}, "last "),
        (b"one \r\ntwo", {"format": "fixed"}, "one \ntwo"),
    ],
)
def test_plain(content: bytes | str, parameters: dict[str, str], text: str) -> None:
    content = content.encode() if isinstance(content, str) else content
    assert text_of(content, parameters) == text


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", ""),
        ("hello", "hello"),
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("<P>a<p>b", "a\n\nb"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<div>a<br></div><div><br></div><div>b</div>", "a\n\nb"),  # how Outlook and Gmail write
        ("  a \n\t b  ", "a b"),
        ("<b>a</b>b <i>c</i>", "ab c"),
        ("<h1>a</h1>b", "a\n\nb"),
        ("<pre>a\n  b</pre>c", "a\nb\n\nc"),
        ("<ul><li>a<li>b</ul>", "• a\n• b"),
        ("<ol><li>a</li><li>b</li></ol><ol><li>c</ol>", "1. a\n2. b\n\n1. c"),
        ("<ol><li>a<ul><li>x</ul><li>b</ol>", "1. a\n\n• x\n\n2. b"),
        ("<li>a", "• a"),
        ("</ol><ol><li>a", "1. a"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><th>c<th>d</table>", "a\tb\nc\td"),
        ("<a href='https://example.com/long'>here</a>", "here"),
        ("a <img src='http://x/y.gif' alt='b'> c", "a c"),
        # letters
        ("&lt;b&gt; &amp; &euro; &#8364; &#x20ac; &nbsp;x", "<b> & € € €  x"),
        ("&xyz; & &#xffffffffff; &#0; &#27;", "&xyz; & \ufffd"),
        ("a&shy;b&#8203;c &zwnj; &zwnj; &#847;d", "abc   d"),
        ("می&zwnj;خواهم", "می\u200cخواهم"),
        # what nobody sees
        ("<head><title>t</title><style>s{}</style></head>a", "a"),
        ("<head><title>t</title><body>a", "a"),
        ("a<script>x('<b>y</b>')</script>b", "ab"),
        ("a<STYLE type=x>p > q {}</style >b", "ab"),
        ("a<svg><text>x</text></svg>b", "ab"),
        ("a<svg/>b", "ab"),
        ("a<title/>b", "ab"),
        ("a<!-- b <p>c --> d", "a d"),
        ("a<!--[if mso]>b<![endif]-->c<![if !mso]>d<![endif]>", "acd"),
        ('<div style="display:none">preheader</div>a', "a"),
        ("<div style='color:red;DISPLAY : none !important'><div>x</div>y</div>a", "a"),
        ("<span style='display:none'>x<span>y</span>z</span>a", "a"),
        ("<div style='display:none'><br><img>x</div>a", "a"),
        ("<div style='mydisplay:none'>x</div>a", "x\na"),
        ("<div data-style='display:none'>x</div>a", "x\na"),
        ("<p style='display:none'>x", "x"),  # may end without a mark of its own
        # what never ends hides nothing
        ("a<style>b", "ab"),
        ("a<script>b<p>c", "ab\n\nc"),
        ("<div style='display:none'>x<div>y</div>", "x\ny"),
        ("a<!-- b", "a<!-- b"),
        ("a<style>x</style><svg>b", "ab"),
        # what is no tag
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a <3 b>c", "a <3 b>c"),
        ("a <", "a <"),
        ("a <b", "a <b"),
        ("<>a</>b<!>c<?php x?>d", "<>abcd"),
        ("a<o:p></o:p>b", "ab"),
        # what turns the writing around
        ("a&#8238;b&#8237;c", "abc"),
    ],
)
def test_html(page: str, text: str) -> None:
    assert text_of_html(page.encode(), {"charset": "utf-8"}) == text


@pytest.mark.parametrize(
    ("content", "parameters", "text"),
    [
        (b'<meta charset="windows-1251">\xcf\xf0', {}, "Пр"),
        (b'<META http-equiv=x content="text/html; charset=koi8-r">\xf0', {}, "П"),
        (b'<meta charset="koi8-r">\xfc', {"charset": "iso-8859-1"}, "ü"),
        (b'<meta charset="no-such">\xfc', {}, "ü"),
        ("ü".encode(), {}, "ü"),
    ],
)
def test_charset_of_html(content: bytes, parameters: dict[str, str], text: str) -> None:
    assert text_of_html(content, parameters) == text


MSO = """<html xmlns:o="urn:schemas-microsoft-com:office:office"><head>
<meta http-equiv=Content-Type content="text/html; charset=utf-8"><style><!--
p.MsoNormal {margin:0cm;}
--></style><!--[if gte mso 9]><xml><o:shapedefaults v:ext="edit"/></xml><![endif]--></head>
<body lang=DE link="#0563C1"><div class=WordSection1><p class=MsoNormal>Dear Sirs,<o:p></o:p></p>
<p class=MsoNormal><o:p>&nbsp;</o:p></p><p class=MsoNormal>please send 3&nbsp;boxes.<o:p></o:p></p>
<p class=MsoListParagraph style='text-indent:-18.0pt'><![if !supportLists]><span>1.<span>&nbsp;
</span></span><![endif]>blue<o:p></o:p></p>
<table class=MsoTableGrid border=1><tr><td valign=top><p class=MsoNormal>Item<o:p></o:p></p></td>
<td><p class=MsoNormal>42,00&nbsp;&euro;<o:p></o:p></p></td></tr></table>
<p class=MsoNormal>Regards<br>Ann</p></div></body></html>"""


def test_a_letter_of_outlook() -> None:
    said = text_of_html(MSO.encode(), {})
    assert [line for line in said.split("\n") if line] == [
        *("Dear Sirs,", "please send 3 boxes.", "1.  blue", "Item", "42,00 €", "Regards", "Ann"),
    ]


# hostile pages


def calls(page: bytes) -> int:
    """Functions called while it is read: the same on every machine, unlike seconds."""
    count = 0

    def called(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        text_of_html(page, {})
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "piece",
    [b"<div>", b"<table><tr><td>", b"<", b"</", b"<!--", b"<svg>", b"<ol><li>", b"<script>",
     b"<p style='display:none'>", b"<span style='display:none'>", b"&#1234567890", b"&am",
     b"<a b='", b"<title><style><script><svg><math><object><template><div style='display:none'>"],
)  # fmt: skip
def test_work_grows_with_the_page_alone(piece: bytes) -> None:
    once, twice = calls(piece * 500), calls(piece * 1000)
    assert twice < 2.2 * once + 100


PIECES = st.sampled_from(
    [*"<>/&;!-'\"= \n\t", "<div ", "style='display:none'", "<!--", "-->", "<script>", "</script>",
     "<svg", "/>", "<ol>", "<li>", "</ol>", "<pre>", "&#", "99999999", "&#x1f600;", "&nbsp;", "\0",
     "\x1b", "\u202e", "\ud800", "<br>", "<td>", "</"]
)  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(PIECES | st.text(max_size=4), max_size=60).map("".join))
def test_any_page_is_text(page: str) -> None:
    content = page.encode("utf-8", "surrogatepass")
    for text in (text_of_html(content, {}), text_of(content, {"format": "flowed"})):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e\ud800-\udfff\ufeff]", text)
    assert text_of_html(content, {}) == text_of_html(content, {}).strip("\n")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text("ab<>&'\"é€", max_size=40))
def test_escaped_text_comes_back(words: str) -> None:
    page = f"<p>{html.escape(words)}</p>".encode()
    assert text_of_html(page, {"charset": "utf-8"}) == words
