"""Header fields of strangers' mail, read by hand: bounded, never raising, one clean line each.

The standard library's structured parsers raise, recurse or need minutes on hostile headers; these
few functions do less (RFC 5322 unfolding, RFC 2045 parameters, RFC 2047 words, RFC 2231).
"""

from __future__ import annotations

import binascii
import contextlib
import re
from functools import lru_cache
from itertools import islice
from urllib.parse import unquote_to_bytes

LONGEST_VALUE = 8000  # characters of one field that are looked at
MOST_WORDS = 200  # encoded words in it
MOST_PARAMETERS = 50
FILE_NAME = 200
_ASCII = re.compile(r"[\x00-\x7f]+")
GOES_ON = rb"[ \t]|(?i:(?:file)?name|boundary|charset)="  # some forget the space before
_FIELD = re.compile(
    rb"(?m)^([!-9;-~]{1,200})[ \t]*:((?:[^\r\n]++|\r?\n(?=" + GOES_ON + rb")|\r(?!\n))*+)"
)
_FOLD = re.compile(rb"\r?\n|\r")
_WORD = re.compile(r"=\?([\w.:+-]{1,40})(?:\*[\w-]{0,20})?\?([bBqQ])\?([^?]*)\?=(\s+(?==\?))?")
_PARAMETER = re.compile(r""";\s*([^\s=;"]{1,100})\s*=\s*("(?:[^"\\]++|\\.)*+"|[^;]*)""", re.DOTALL)
_KIND_ENDS = re.compile(r"[;\s]")
_CHARSETS = re.compile(  # real ones of mail; not idna, unicode_escape and other traps
    r"utf-?(7|8|8-sig|16|16-?[bl]e|32)|(iso-?8859|latin)-?\d{1,2}|(windows|cp|ibm)-?\d{3,4}|"
    r"koi8-?[rut]|gb18030|big5(-?hkscs)?|euc-?(jp|cn)|iso-2022-(jp|kr)(-\d)?|mac-?roman|macintosh"
)
_MEANT = {  # what mail programs write when they are told to write that (WHATWG Encoding)
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "latin-1"), "cp1252"),
    **dict.fromkeys(("iso-8859-8-i", "iso-8859-8-e"), "iso-8859-8"),
    **dict.fromkeys(("iso-8859-11", "tis-620"), "cp874"),
    **dict.fromkeys(("shift-jis", "shiftjis", "sjis", "windows-31j"), "cp932"),
    **dict.fromkeys(("ks-c-5601-1987", "ks-c-5601", "euc-kr", "euckr"), "cp949"),
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
    "iso-8859-9": "cp1254",
    "hz-gb-2312": "hz",
}


def fields(head: bytes) -> list[tuple[str, str]]:
    """All fields of a header block in order: name in lower case, unfolded raw value."""
    found = []
    for match in _FIELD.finditer(head):
        name, value = match.groups()
        if b"\n" in value or b"\r" in value:
            value = _FOLD.sub(b" ", value)
        value = value.strip()[:LONGEST_VALUE]
        text = value.decode("ascii") if value.isascii() else _as(value, "utf-8")
        found.append((name.decode("ascii").lower(), text))
    return found


def first(found: list[tuple[str, str]], name: str) -> str:
    for given, value in found:  # every mail asks a dozen times
        if given == name:
            return value
    return ""


def clean(text: str, most: int = 200) -> str:
    """One printable line: no controls, no line ends, no marks that turn the writing around."""
    printable = "".join(c if c.isprintable() else " " for c in text[: 20 * most])
    return " ".join(printable.split())[:most].rstrip()


def decode(content: bytes, charset: str) -> str:
    """Text in a charset that strangers named; never fails."""
    return _as(content, _codec(charset))


@lru_cache(maxsize=256)  # every header of every mail asks
def _codec(charset: str) -> str:
    name = charset.strip(" \t\"'").lower().replace("_", "-").removeprefix("x-")
    return _MEANT.get(name) or (name if _CHARSETS.fullmatch(name) else "utf-8")


def _as(content: bytes, codec: str) -> str:
    for name in (codec, "utf-8"):
        try:
            return content.decode(name)
        except (UnicodeError, LookupError):
            continue
    return _nearly(content, codec)


def _nearly(content: bytes, name: str) -> str:
    """A few bytes are wrong; when most are, it is not the charset that it is called."""
    with contextlib.suppress(UnicodeError, LookupError):
        text = content.decode(name, errors="replace")
        if text.count("\ufffd") * 2 <= len(_ASCII.sub("", text)):
            return text
    return content.decode("cp1252", errors="replace")


def words(text: str) -> str:
    """Encoded words (RFC 2047) as what they mean; neighbours of one charset are one word."""
    text = text[:LONGEST_VALUE]
    decoded, position = "", 0
    run, run_charset = b"", ""
    for match in islice(_WORD.finditer(text), MOST_WORDS):
        between, charset = text[position : match.start()], match[1].lower()
        if between or charset != run_charset:
            decoded, run = decoded + _run(run, run_charset) + between, b""
        run, run_charset = run + _bytes(match[2], match[3]), charset
        position = match.end()
    return decoded + _run(run, run_charset) + text[position:]


def kind(value: str) -> str:
    """`text/plain; charset=x` → the first word in lower case."""
    return _KIND_ENDS.split(value.strip()[:LONGEST_VALUE], maxsplit=1)[0].lower()


def parameters(value: str) -> tuple[str, dict[str, str]]:
    """`text/plain; charset=x` → the first word in lower case, and the parameters (RFC 2231)."""
    value = value.strip()[:LONGEST_VALUE]
    given = [
        (match[1].lower(), _unquoted(match[2].strip()))
        for match in islice(_PARAMETER.finditer(value), MOST_PARAMETERS)
    ]
    plain = {name: text for name, text in reversed(given) if "*" not in name}
    pieces = [(name, text) for name, text in given if "*" in name]
    for base in {name.partition("*")[0] for name, _ in pieces}:
        plain[base] = _pieced(sorted(_piece(n, t) for n, t in pieces if n.startswith(base + "*")))
    return kind(value), plain


def file_name(text: str) -> str:
    """The last step of a path that a stranger wrote, clean; "" when there is none."""
    name = clean(re.split(r"[/\\]", words(text))[-1], most=10_000).strip(" .\"'")
    if len(name) <= FILE_NAME:
        return name
    stem, dot, ending = name.rpartition(".")
    ending = (dot + ending)[:10] if dot else ""
    return (stem or name)[: FILE_NAME - len(ending)] + ending


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        inside = text[1:-1]
        return re.sub(r'\\(["\\])', r"\1", inside) if "\\" in inside else inside
    return text.strip('"')


def _piece(name: str, text: str) -> tuple[int, bool, str]:
    """`file*2*` → second piece, percent-encoded."""
    steps = name.split("*")
    number = int(steps[1]) if steps[1].isascii() and steps[1].isdigit() else 0
    return number, name.endswith("*"), text


def _pieced(pieces: list[tuple[int, bool, str]]) -> str:
    charset = ""
    content = b""
    for _, encoded, text in pieces:
        raw = text
        if encoded and not content and raw.count("'") >= 2:
            charset, _, raw = raw.split("'", 2)
        raw_bytes = raw.encode("utf-8", "replace")
        content += unquote_to_bytes(raw_bytes) if encoded else raw_bytes
    return decode(content, charset or "utf-8")


def _run(content: bytes, charset: str) -> str:
    return decode(content, charset) if content else ""


def _bytes(encoding: str, text: str) -> bytes:
    raw = text.encode("ascii", "ignore")
    if encoding in "qQ":
        return binascii.a2b_qp(raw, header=True)
    return from_base64(raw)


def from_base64(content: bytes) -> bytes:
    """Whatever base64 can be found: foreign bytes are dropped, padding in the middle is endured."""
    decoded = b""
    for run in re.split(rb"=+", re.sub(rb"[^A-Za-z0-9+/=]", b"", content)):
        usable = run if len(run) % 4 != 1 else run[:-1]
        decoded += binascii.a2b_base64(usable + b"=" * (-len(usable) % 4))
    return decoded
