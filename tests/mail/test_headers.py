"""Header fields of strangers: what they mean, in clean lines, whatever they are (A23)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail.headers import (
    FILE_NAME,
    clean,
    decode,
    fields,
    file_name,
    first,
    from_base64,
    parameters,
    words,
)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"", []),
        (b"Subject: hi\r\n", [("subject", "hi")]),
        (b"SUBJECT:hi", [("subject", "hi")]),
        (b"Subject : hi\n", [("subject", "hi")]),
        (b"To: a,\r\n\tb,\n c\r\nCc: d\r\n", [("to", "a, \tb,  c"), ("cc", "d")]),
        (b"A: 1\r\nA: 2\r\n", [("a", "1"), ("a", "2")]),
        (b"From ann Mon Jan 1\nA: 1\n", [("a", "1")]),
        (b" leftover: x\r\nA: 1\r\n", [("a", "1")]),
        (b"no field\r\nA: 1\r\n", [("a", "1")]),
        (b"A: 1\rB: 2\r\n", [("a", "1 B: 2")]),
        (b"A: \xc3\xbc \xe2\x82\xac\r\n", [("a", "ü €")]),
        (b"A: \xfc \x80\r\n", [("a", "ü €")]),
        (b"A: " + b"x" * 9000, [("a", "x" * 8000)]),
        (b'A: x;\r\nFileName="a: b"\r\nB: 1', [("a", 'x; FileName="a: b"'), ("b", "1")]),
        (b"Empty:\r\nA: 1", [("empty", ""), ("a", "1")]),
    ],
)
def test_fields(head: bytes, found: list[tuple[str, str]]) -> None:
    assert fields(head) == found


def test_first() -> None:
    assert first([("a", "1"), ("a", "2")], "a") == "1"
    assert first([], "a") == ""


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe_an?= alle", "Grüße an alle"),
        ("=?utf-8?Q?two_words in one?=", "two words in one"),
        ("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("=?utf-8?B?R3LDvMOfZQ?=", "Grüße"),  # padding forgotten
        ("=?utf-8?b?R3LD?= =?utf-8?b?vMOfZQ==?=", "Grüße"),  # one letter in two words
        ("=?utf-8*de?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?iso-8859-1?q?a?=  =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?= b", "a b"),
        ("=?gb2312?b?xOO6ww==?=", "你好"),
        ("=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
        ("=?no-such?q?a=FCb?=", "aüb"),
        ("=?idna?q?xn--a?=", "xn--a"),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?q?a", "=?utf-8?q?a"),
        ("=?utf-8?q?x=0D=0ABcc=3A?=", "x\r\nBcc:"),  # `clean` comes after
    ],
)
def test_words(text: str, meant: str) -> None:
    assert words(text) == meant


@pytest.mark.parametrize(
    ("value", "kind", "given_"),
    [
        ("", "", {}),
        ("Text/Plain", "text/plain", {}),
        (" text/plain (as ever) ;a=b", "text/plain", {"a": "b"}),
        ("text/plain; charset=utf-8", "text/plain", {"charset": "utf-8"}),
        ('a/b; Name="x; y"; c = d ', "a/b", {"name": "x; y", "c": "d"}),
        (r'a/b; name="say \"hi\" \\ C:\x"', "a/b", {"name": r'say "hi" \ C:\x'}),
        ('a/b; name="open', "a/b", {"name": "open"}),
        ("a/b; name=two words.pdf; x=1", "a/b", {"name": "two words.pdf", "x": "1"}),
        ("a/b; name=a; name=b", "a/b", {"name": "a"}),
        ("a/b; name*=utf-8''M%C3%A4rz", "a/b", {"name": "März"}),
        ("a/b; name*=utf-8'de'M%C3%A4rz; name=Marz", "a/b", {"name": "März"}),
        ("a/b; name*=M%C3%A4rz", "a/b", {"name": "März"}),
        ("a/b; name*1=b; name*0=a; name*10=k; name*2=c", "a/b", {"name": "abck"}),
        ("a/b; name*0*=utf-8''%e2%82; name*1*=%ac; name*2=%20", "a/b", {"name": "€%20"}),
        ("a/b; name*0*=iso-8859-1''%FC", "a/b", {"name": "ü"}),
        ("a/b; name*1234x=v; name*=w; name*-1=u", "a/b", {"name": "uvw"}),
        ("a/b; name*" + "9" * 80 + "=b; name*1=a", "a/b", {"name": "ab"}),
        ("a/b" + ";" * 9000, "a/b", {}),
        ("a/b" + "".join(f";{n}=x" for n in range(99)), "a/b", {str(n): "x" for n in range(50)}),
    ],
)
def test_parameters(value: str, kind: str, given_: dict[str, str]) -> None:
    assert parameters(value) == (kind, given_)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", ""),
        ("a.pdf", "a.pdf"),
        ("../../etc/passwd", "passwd"),
        (r"C:\Users\ann\a.pdf", "a.pdf"),
        ("..", ""),
        (".hidden", "hidden"),
        ('"a.pdf"', "a.pdf"),
        ("a\r\nBcc: x.pdf", "a Bcc: x.pdf"),
        ("a\0b.pdf", "a b.pdf"),
        ("cod\u202efdp.exe", "cod fdp.exe"),
        ("=?utf-8?q?=2E=2E=2Fa=2Epdf?=", "a.pdf"),
        ("x" * 300 + ".pdf", "x" * (FILE_NAME - 4) + ".pdf"),
        ("x" * 300, "x" * FILE_NAME),
        ("x." + "y" * 300, "x." + "y" * 9),
    ],
)
def test_file_name(text: str, name: str) -> None:
    assert file_name(text) == name


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        ("ü€".encode(), "", "ü€"),
        ("ü€".encode(), "us-ascii", "ü€"),
        ("ü€".encode(), '"UTF-8"', "ü€"),
        (b"\xfc", "utf-8", "ü"),  # a lie
        (b"\xfc", "unknown-8bit", "ü"),
        (b"100 \x80", "iso-8859-1", "100 €"),  # what Windows means by it
        (b"100 \x80", "Latin1", "100 €"),
        (b"\xa4", "ISO_8859-15", "€"),
        (b"\xb3\xf3d\xbc", "iso8859_2", "łódź"),
        (b"\xcf\xf0\xe8", "windows_1251", "При"),
        (b"\xcf\xf0\xe8", "x-cp1251", "При"),
        (b"\xf0\xd2\xc9", "KOI8-R", "При"),
        (b"\xf9\xec\xe5\xed", "iso-8859-8-i", "שלום"),
        (b"\x93\xfa\x96\x7b\x87\x40", "Shift_JIS", "日本①"),
        (b"\x93\xfa\x96\x7b", "windows-31j", "日本"),
        (b"\xc6\xfc\xcb\xdc", "x-euc-jp", "日本"),
        (b"\x1b$BF|K\\\x1b(B", "iso-2022-jp", "日本"),
        (b"\xc7\xd1\xb1\xdb\x8c\x63", "ks_c_5601-1987", "한글똠"),
        (b"\xc4\xe3\xba\xc3", "GB2312", "你好"),
        (b"~{Ky2;~}", "hz-gb-2312", "所不"),
        (b"Hi +AOQ-", "utf-7", "Hi ä"),
        ("hi".encode("utf-16"), "utf-16", "hi"),
        ("你好吗".encode()[:-1], "utf-8", "你好\ufffd"),  # cut in the middle of a letter
        ("Grüße aus Köln, Österreich".encode() + b"\xfc", "utf-8",
         "Grüße aus Köln, Österreich\ufffd"),
        (b"rot13", "rot13", "rot13"),
        (b"\\u0041", "unicode_escape", "\\u0041"),
        (b"eA==", "base64", "eA=="),
    ],
)  # fmt: skip
def test_decode(content: bytes, charset: str, text: str) -> None:
    assert decode(content, charset) == text


@pytest.mark.parametrize(
    ("content", "decoded"),
    [
        (b"", b""),
        (b"aGk=", b"hi"),
        (b"aGk", b"hi"),
        (b"a G\r\nk =", b"hi"),
        (b"aGk=aGk=", b"hihi"),
        (b"aGkaA", b"hi\x1a"),
        (b"====", b""),
        (b"!", b""),
    ],
)
def test_from_base64(content: bytes, decoded: bytes) -> None:
    assert from_base64(content) == decoded


CHARSETS = [
    *("utf-7", "utf-8", "utf-8-sig", "utf-16", "utf-16le", "utf-32", "iso-8859-1", "iso-8859-99"),
    *("iso-8859-8-e", "windows-1252", "cp932", "cp9999", "koi8-t", "gb18030", "big5-hkscs", "hz"),
    *("euc-jp", "euc-cn", "iso-2022-jp", "iso-2022-jp-3", "iso-2022-kr", "mac-roman", "x-sjis"),
    *("euc-kr", "tis-620", "idna", "punycode", "zlib", "", "x", "unicode_escape", "undefined"),
]
ODD = st.sampled_from(
    [*"=?;*'\"\\ \t\r\n\0<>@,()", "=?", "?=", "?b?", "?q?", "utf-8", "*0*=", "*1=", "; name", "=E2",
     "\u202e", "\x1b$B", "~{", "+AGE", "\ud800", "=?utf-7?q?", "filename*", "%ff", "''", "999"]
)  # fmt: skip
TEXT = st.lists(ODD | st.text(max_size=5), max_size=60).map("".join)
QUICK = settings(max_examples=300, deadline=None, derandomize=True)


@QUICK
@given(TEXT)
def test_any_text_is_read(text: str) -> None:
    assert isinstance(words(text), str)
    kind, given_ = parameters(text)
    assert kind == kind.strip().lower()
    assert all(isinstance(value, str) for value in given_.values())
    for name in (file_name(text), clean(words(text)), clean(text, 9)):
        assert name.isprintable()
        assert name == name.strip()
    assert len(file_name(text)) <= FILE_NAME
    assert not set(file_name(text)) & set("/\\")


@QUICK
@given(st.binary(max_size=300), st.sampled_from(CHARSETS))
def test_any_bytes_are_text(content: bytes, charset: str) -> None:
    assert isinstance(decode(content, charset), str)
    assert isinstance(from_base64(content), bytes)
    for name, value in fields(content):
        assert name.isascii()
        assert not set(value) & set("\r\n")


@QUICK
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_utf_8_is_what_it_says(text: str) -> None:
    assert decode(text.encode(), "utf-8") == text
