"""Text bodies as plain lines: charsets, format=flowed, HTML reduced to what it says."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from gateway.mail.headers import decode

_SILENT = frozenset({"script", "style", "head", "title", "template", "svg", "math", "object"})
_BLOCK = re.compile(
    "address|article|aside|blockquote|body|center|d[dlt]|div|fieldset|figure|footer|form|h[1-6]|"
    "header|hr|li|main|nav|ol|p|pre|section|table|tbody|tfoot|thead|tr|ul"
)
_APART = re.compile("h[1-6]|p|blockquote|table|ul|ol|pre|dl")
_META = re.compile(rb"""(?i)<meta[^>]{0,200}charset\s*=\s*["']?([\w-]{1,40})""")


def text_of(content: bytes, parameters: dict[str, str]) -> str:
    """A text/plain body with its line ends as LF and nothing that is not text."""
    text = _tidy(decode(content, parameters.get("charset", "")))
    if parameters.get("format", "").lower() == "flowed":
        text = _unflowed(text, delete_space=parameters.get("delsp", "").lower() == "yes")
    return text


def text_of_html(content: bytes, parameters: dict[str, str]) -> str:
    """What a text/html body says. Nothing is fetched, nothing runs."""
    charset = parameters.get("charset") or _meta_charset(content)
    reader = _Reader()
    reader.feed(decode(content, charset))
    reader.close()
    lines = [line.strip(" \t") for line in _tidy("".join(reader.pieces)).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _tidy(text: str) -> str:
    text = re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text).replace("\ufeff", "")
    return re.sub(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "", text)


def _unflowed(text: str, *, delete_space: bool) -> str:
    """RFC 3676: a line that ends in a space goes on in the next."""
    flowed, joined = [], ""
    for line in text.split("\n"):
        line_text = line.removeprefix(" ") if not joined else line.removeprefix(" ").lstrip(">")
        if line_text.endswith(" ") and line_text != "-- ":
            joined += line_text[:-1] if delete_space else line_text
        else:
            flowed.append(joined + line_text)
            joined = ""
    return "\n".join([*flowed, joined] if joined else flowed)


def _meta_charset(content: bytes) -> str:
    found = _META.search(content[:4096])
    return found[1].decode() if found else ""


class _Reader(HTMLParser):
    """Collects what a reader of the page would see, block by block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent: list[str] = []
        self._pre = 0
        self._at_start = True

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in _SILENT:
            self._silent.append(tag)
        elif tag == "br":
            self._break("\n")
        elif _BLOCK.fullmatch(tag):
            self._block(tag)
        elif tag in ("td", "th") and not self._at_start:
            self.pieces.append("\t")
        if tag == "li":
            self.pieces.append("• ")
        self._pre += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        if _BLOCK.fullmatch(tag):
            self._block(tag)
        self._pre = max(0, self._pre - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        text = data if self._pre else re.sub(r"[ \t\r\n\f]+", " ", data)
        if self._at_start and not self._pre:
            text = text.lstrip(" ")
        if text:
            self.pieces.append(text)
            self._at_start = text.endswith("\n")

    def _block(self, tag: str) -> None:
        if not self._at_start:
            self._break("\n\n" if _APART.fullmatch(tag) else "\n")
        elif _APART.fullmatch(tag) and self.pieces and not self.pieces[-1].endswith("\n\n"):
            self.pieces.append("\n")

    def _break(self, lines: str) -> None:
        self.pieces.append(lines)
        self._at_start = True
