"""Text bodies as plain lines: charsets, format=flowed, HTML reduced to what it says."""

from __future__ import annotations

import html
import re

from gateway.errors import Cause, PermanentError
from gateway.mail.headers import decode

MOST_SAID = 2_000_000  # characters of a page; there may be much white space among them
_SPACES = re.compile(r"[ \t\r\n\f]+")
_TAG = re.compile(r"(/?)([A-Za-z][A-Za-z0-9]*)|[/!?]")
_HUGE_NUMBER = re.compile(r"&#(\d{8,}|[xX][0-9a-fA-F]{8,});?")  # int() refuses thousands of digits
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7"
    "\u0610-\u061a\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"
)
_NO_TEXT = re.compile(  # controls, overrides of the writing direction, halves, no characters
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u202d\u202e\ud800-\udfff\ufeff\ufffe\uffff]"
)
_PILED = re.compile(f"([{_MARKS}]{{4}})[{_MARKS}]+")  # no writing piles up more on one letter
_INVISIBLE = re.compile(r"[\xad\u034f\u200b\u2060\ufeff]|(?<!\S)[\u200c\u200d]+(?!\S)")
_SILENT = frozenset({"script", "style", "title", "template", "svg", "math", "object"})
_UNSEEN = re.compile(r"""(?i)\sstyle\s*=\s*["'][^"']*\bdisplay\s*:\s*none""")
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
    text = _INVISIBLE.sub("", _tidy(_read(_without_comments(decode(content, charset)))))
    lines = [line.strip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _tidy(text: str) -> str:
    text = re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text)
    text = _PILED.sub(r"\1", text.replace("\xa0", " "))
    return _NO_TEXT.sub("", text)


def _unflowed(text: str, *, delete_space: bool) -> str:
    """RFC 3676: a line that ends in a space goes on in the next of the same quote depth."""
    flowed: list[list[str]] = []
    open_at = -1  # depth of the line that goes on
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")  # §4.4
        goes_on = content.endswith(" ") and content != "-- "
        if depth != open_at or content == "-- ":
            flowed.append([">" * depth + " " * bool(depth)])
        flowed[-1].append(content[:-1] if goes_on and delete_space else content)
        open_at = depth if goes_on else -1
    return "\n".join("".join(pieces) for pieces in flowed)


def _meta_charset(content: bytes) -> str:
    found = _META.search(content[:4096])
    return found[1].decode() if found else ""


def _without_comments(text: str) -> str:
    pieces, position = [], 0
    while (start := text.find("<!--", position)) >= 0:
        end = text.find("-->", start)
        if end < 0:
            break
        pieces.append(text[position:start])
        position = end + 3
    return "".join([*pieces, text[position:]])


def _read(page: str) -> str:
    """What never ends, such as a script without its end, does not hide the rest of the page."""
    shown: set[str] = set()
    while True:
        reader = _Reader(frozenset(shown))
        text = reader.read(page)
        if not reader.silent:
            return text
        shown.add(reader.silent)


class _Reader:
    """Collects what a reader of the page would see, block by block, in one pass.

    A tag is what stands between "<" and the next ">": that is all of HTML a fax needs, and it
    takes linear time, which `html.parser` does not on hostile pages (CVE-2025-6069).
    """

    def __init__(self, shown: frozenset[str]) -> None:
        self.silent = ""  # the element whose content nobody sees
        self._shown = shown  # elements that hide nothing
        self._deep = 0  # elements of the same name inside it
        self._pieces: list[str] = []
        self._lists: list[int] = []  # their last numbers; below 0: no numbers
        self._said = 0
        self._pre = 0
        self._at_start = True

    def read(self, page: str) -> str:
        self._say(page.partition("<")[0])
        for piece in re.finditer("<([^<]*)", page):
            tag, closed, data = piece[1].partition(">")
            found = _TAG.match(tag) if closed else None
            if found:
                if found[2]:
                    self._tag(found[2].lower(), tag, closing=bool(found[1]))
                self._say(data)
            else:
                self._say(piece[0])
        return "".join(self._pieces)

    def _tag(self, name: str, tag: str, *, closing: bool) -> None:
        if self.silent:
            self._listen(name, tag, closing=closing)
        elif self._hides(name, tag) and not closing:
            self.silent, self._deep = name, 0
        elif name == "br":
            self._break("\n")
        elif _BLOCK.fullmatch(name):
            self._block(name)
            self._mark(name, closing=closing)
        elif name in ("td", "th") and not closing and not self._at_start:
            self._pieces.append("\t")

    def _hides(self, name: str, tag: str) -> bool:
        if name in self._shown or tag.endswith("/"):
            return False
        return name in _SILENT or (name in ("div", "span") and bool(_UNSEEN.search(tag)))

    def _listen(self, name: str, tag: str, *, closing: bool) -> None:
        if name != self.silent or tag.endswith("/"):
            return
        if not closing:
            self._deep += name not in ("script", "style", "title")  # these hold no elements
        elif self._deep:
            self._deep -= 1
        else:
            self.silent = ""

    def _mark(self, name: str, *, closing: bool) -> None:
        if name == "pre":
            self._pre = max(0, self._pre + (-1 if closing else 1))
        elif name in ("ol", "ul") and not closing:
            self._lists.append(0 if name == "ol" else -1)
        elif name in ("ol", "ul"):
            del self._lists[-1:]
        elif name == "li" and not closing:
            self._pieces.append(self._bullet())

    def _bullet(self) -> str:
        if not self._lists or self._lists[-1] < 0:
            return "• "
        self._lists[-1] += 1
        return f"{self._lists[-1]}. "

    def _say(self, data: str) -> None:
        if self.silent:
            return
        self._said += len(data)
        if self._said > MOST_SAID:
            raise PermanentError("The text of the mail is too long for a fax.", Cause.LIMIT)
        text = html.unescape(_HUGE_NUMBER.sub("", data)) if "&" in data else data
        if not self._pre:
            text = _SPACES.sub(" ", text)
            is_apart = self._at_start or self._pieces[-1].endswith(" ")
            text = text.lstrip(" ") if is_apart else text
        if text:
            self._pieces.append(text)
            self._at_start = text.endswith("\n")

    def _block(self, name: str) -> None:
        if not self._at_start:
            self._break("\n\n" if _APART.fullmatch(name) else "\n")
        elif _APART.fullmatch(name) and self._pieces and not self._pieces[-1].endswith("\n\n"):
            self._pieces.append("\n")

    def _break(self, lines: str) -> None:
        self._pieces.append(lines)
        self._at_start = True
