"""The block reader against a model that looks at the whole message at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise, product
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.doors.smtp.part import Part
from gateway.doors.smtp.reader import Block, Buffers, Reader

ALPHABET = b"\r\n.\0 "
ENDINGS = (  # of smtpsmug and SMTP-Smuggling-Tools; none of them may end a mail
    b"\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r",
    b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\r\n.\r",
)  # fmt: skip
SMALLEST = 6  # bytes of a buffer: an end that is begun, and room for more


def model(stream: bytes, end: bytes = b"\r\n") -> tuple[bytes, bytes] | None:
    """RFC 5321 §4.1.1.4 and §4.5.2, one byte after the other: message and rest, None = no end."""
    message, line, at = b"", b"", 0
    while at < len(stream):
        line += stream[at : at + 1]
        at += 1
        if not line.endswith(end):
            continue
        if line == b"." + end:
            return message, stream[at:]
        message += line[1:] if line.startswith(b".") else line
        line = b""
    return None


def copiers_end(stream: bytes) -> bytes:
    """The first line's end is that of all lines of a copier."""
    first = stream.find(b"\n")
    return b"\n" if first >= 0 and stream[max(first - 1, 0) : first] != b"\r" else b"\r\n"


def read(
    pieces: Iterable[bytes], size: int, *, tolerant: bool = False
) -> tuple[bytes, bytes] | None:
    """What the reader makes of a stream that comes in these pieces, in buffers of this size."""
    blocks: list[bytes] = []
    buffers = Buffers(size)
    lent = 0

    def borrow() -> bytearray:
        nonlocal lent
        lent += 1
        return buffers.borrow()

    def hand_on(block: Block) -> None:
        nonlocal lent
        blocks.append(bytes(block.content()))
        block.buffer[:] = b"\xaa" * size  # whoever looks at it later is found out
        buffers.give_back(block.buffer)
        lent -= 1

    reader = Reader(borrow, hand_on, tolerant=tolerant)
    pending = list(pieces)
    for number, piece in enumerate(pending):
        view = memoryview(piece)
        while view:
            room = reader.room()
            count = min(len(room), len(view))
            assert count, "no room"
            room[:count] = view[:count]
            view = view[count:]
            rest = reader.filled(count)
            if rest is not None:
                assert lent == 0
                return b"".join(blocks), rest + bytes(view) + b"".join(pending[number + 1 :])
    assert lent == 1  # the one that is being filled
    return None


def cut(stream: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    places = sorted({0, len(stream), *(c % (len(stream) + 1) for c in cuts)})
    return (stream[a:b] for a, b in pairwise(places))


def test_every_short_string_before_the_end() -> None:
    """All 3,905 of them, as the start of a body and behind a line, whole and split everywhere."""
    strings = [bytes(s) for length in range(1, 6) for s in product(ALPHABET, repeat=length)]
    assert len(strings) == 3905
    for string, before in product(strings, (b"", b"x\r\n")):
        stream = before + string + b"\r\n.\r\nQUIT\r\n"
        expected = model(stream)
        splits = ([place] for place in range(len(before) + 1, len(stream) - 5))
        for cuts in ([], range(len(stream)), *splits):
            assert read(cut(stream, cuts), 64) == expected, (stream, cuts)


@pytest.mark.parametrize("ending", ENDINGS)
def test_false_ends(ending: bytes) -> None:
    """What stands behind a false end is still the mail, however the bytes come in."""
    stream = b"Subject: x\r\n\r\nhello" + ending + b"MAIL FROM:<evil@example.com>\r\n.\r\nRSET\r\n"
    expected = model(stream)
    assert expected is not None
    assert b"evil" in expected[0]
    assert expected[1] == b"RSET\r\n"
    for size in (SMALLEST, 7, 8, 16, 64):
        assert read([stream], size) == expected
        assert read(cut(stream, range(len(stream))), size) == expected
        for place in range(1, len(stream)):
            assert read(cut(stream, [place]), size) == expected


NASTY = st.lists(
    st.one_of(
        st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"\r\n.", b"\r\n.\r", b"\0", b"..", b"text"]),
        st.binary(max_size=8),
    ),
    max_size=60,
).map(b"".join)
CUTS = st.lists(st.integers(0, 500), max_size=12)
SIZES = st.integers(SMALLEST, 40)


@settings(deadline=None, max_examples=150)
@given(NASTY, NASTY, CUTS, SIZES)
@example(b"", b"", [], SMALLEST)
@example(b"\r\n.", b".\r\n", [3, 4], SMALLEST)
def test_any_body_any_cuts_any_buffer(
    body: bytes, after: bytes, cuts: list[int], size: int
) -> None:
    stream = body + b"\r\n.\r\n" + after
    assert read(cut(stream, cuts), size) == model(stream)


BITS = (b"\r\n", b".", b"\r", b"\n", b"\r\n.", b"\r\n.\r", b"\n.\n", b"\0", b"..", b"text", b"\xff")


@pytest.mark.parametrize("tolerant", [False, True])
@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.integers(0, 2**32))
def test_twenty_thousand_streams(tolerant: bool, seed: int) -> None:
    """A hundred in each example, thirty of copiers: those have one dialect, and only that ends."""
    random = Random(seed)  # drawn by Hypothesis itself they take a minute
    for _ in range(30 if tolerant else 100):
        stream = b"".join(random.choices(BITS, k=random.randrange(40)))
        cuts = [random.randrange(500) for _ in range(random.randrange(8))]
        size = random.randrange(SMALLEST, 64)
        end = copiers_end(stream) if tolerant else b"\r\n"
        found = read(cut(stream, cuts), size, tolerant=tolerant)
        assert found == model(stream, end), (stream, cuts, size)


@settings(deadline=None, max_examples=150)
@given(NASTY, CUTS, SIZES)
def test_what_never_ends_is_not_ended(body: bytes, cuts: list[int], size: int) -> None:
    assert read(cut(body, cuts), size) == model(body)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.binary().filter(lambda line: b"\n" not in line and b"\r" not in line)), CUTS, SIZES
)
def test_what_a_client_stuffs_comes_out_again(
    lines: list[bytes], cuts: list[int], size: int
) -> None:
    """The sending side (RFC 5321 §4.5.2) and ours undo each other."""
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    sent = b"".join(line + b"\r\n" for line in lines)
    assert read(cut(stuffed + b".\r\n", cuts), size) == (sent, b"")


def test_blocks_of_the_real_size() -> None:
    """A line of dots across every border of the buffers that the door uses."""
    body = b"".join(b"." * (n % 7) + b"line %d\r\n" % n for n in range(120_000))
    stream = body + b".\r\nQUIT\r\n"
    assert read(cut(stream, range(0, len(stream), 65_521)), 256 * 1024) == model_of_lines(stream)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.one_of(st.integers(0, 60), st.integers(4090, 4100)), max_size=8),
    st.integers(0, 4200),
    CUTS,
)
def test_long_lines(lengths: list[int], last: int, cuts: list[int]) -> None:
    """A10: 4,096 bytes with the line end, whatever blocks the line lies in."""
    content = b"".join(b"x" * length + b"\n" for length in lengths) + b"x" * last
    part = Part(Path("never opened"), 0)
    for piece in cut(content, [place * 97 for place in cuts]):
        part._judge(Block(bytearray(b"?\n" + piece + b"\n?"), 2, len(piece) + 2, False, False))
    assert part.long_line is any(length + 1 > 4096 for length in (*lengths, last - 1))


def model_of_lines(stream: bytes) -> tuple[bytes, bytes]:
    """The model for streams that are whole lines: quick enough for megabytes."""
    body, rest = stream.split(b"\r\n.\r\n", 1)
    lines = (body + b"\r\n").split(b"\r\n")
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines), rest
