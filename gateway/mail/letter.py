"""Message → Letter: what a mail says and which of its parts become pages. Runs in the child.

Structure comes from `mime`, fields from `headers`, the fate of each part from `attachment`; all of
them bounded, none of them the standard library's parser, which hostile mail can stop for minutes.
"""

from __future__ import annotations

import contextlib
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from gateway.errors import Cause, PermanentError
from gateway.mail import headers, mime, plain
from gateway.mail.attachment import Fate, Raw, fate
from gateway.mail.prescan import scan
from gateway.mail.sniff import Kind
from gateway.mail.transfer import write_decoded

LONGEST_TEXT = 600_000  # characters: more than 200 pages
LARGEST_BODY = 16 << 20  # bytes of one text part, markup and pictures in it included
_CITED = re.compile(rb"""(?i)\bcid:([^"'\s<>)]{1,300})""")
_NOT_FOR_READERS = (
    (
        re.compile(r"(?m)^-----BEGIN PGP MESSAGE-----$"),
        "The mail is encrypted. Please send it as an ordinary mail.",
    ),
    (
        re.compile(r"(?m)^begin [0-7]{3,4} .{1,200}\nM[ -`]{56,60}$"),
        "The mail holds a file inside its text (uuencode); please attach the file instead.",
    ),
)
_EXCHANGE_TEXT = re.compile(r"ATT\d{5}\.(txt|html?)")  # text after an attachment, as it names it
_ADDRESS = re.compile(r"<?([^\s<>\"(),:;]{1,100}@[^\s<>\"(),:;]{1,200})>?")


@dataclass(frozen=True, slots=True)
class Part:
    """A document of the mail: `path` holds its decoded bytes."""

    index: int
    name: str  # clean; "" when it has none
    declared: str
    kind: Kind
    size: int
    path: Path
    charset: str = ""  # of a text

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or f"the attached {self.kind.upper()}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as read. All lines are clean; `text` has many."""

    subject: str = ""
    from_name: str = ""
    from_address: str = ""
    message_id: str = ""
    date: str = ""
    text: str = ""
    parts: tuple[Part, ...] = ()
    skipped: tuple[str, ...] = ()  # "name: why"


@dataclass(slots=True)
class _Pile:
    """The parts of a mail, sorted."""

    documents: list[Part] = field(default_factory=list)
    texts: list[tuple[Fate, Raw]] = field(default_factory=list)  # plain or HTML
    skipped: list[str] = field(default_factory=list)


def read_letter(message: Path, work: Path) -> Letter:
    """Decode the parts into `work`. PermanentError: why this mail is not faxed."""
    with _mapped(message) as data:
        facts = scan(data)
        if facts.complex:
            raise PermanentError(f"The mail is too complex: {facts.complex}.", Cause.LIMIT)
        top = headers.fields(data[: mime.head_end(data)[0]])
        pile = _sort(list(_raw_parts(data, work)))
    name, address = sender(headers.first(top, "from"))
    text = _text(pile)
    return Letter(
        subject=facts.title,
        from_name=name,
        from_address=address,
        message_id=facts.message_id,
        date=headers.clean(headers.first(top, "date"), 80),
        text=text,
        parts=tuple(pile.documents),
        skipped=tuple(pile.skipped),
    )


@contextlib.contextmanager
def _mapped(message: Path) -> Iterator[mime.Data]:
    with message.open("rb") as file:
        if not message.stat().st_size:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def sender(value: str) -> tuple[str, str]:
    """Name and address of a From field; "" for what is not there."""
    found = list(_ADDRESS.finditer(value))
    if not found:
        return headers.clean(headers.words(value)), ""
    last = next((one for one in reversed(found) if one[0].startswith("<")), found[0])
    name = headers.words(value[: last.start()]).strip(" \t\"',")
    return headers.clean(name), headers.clean(last[1], 300)


def _raw_parts(data: mime.Data, work: Path) -> Iterator[Raw]:
    for index, leaf in enumerate(mime.leaves(data), start=1):
        found = leaf.fields(data)
        declared, given = headers.parameters(headers.first(found, "content-type"))
        disposition, named = headers.parameters(headers.first(found, "content-disposition"))
        name = headers.file_name(named.get("filename", "") or given.get("name", ""))
        encoding = headers.first(found, "content-transfer-encoding")
        path = work / f"part-{index}"
        head = write_decoded(data, leaf.body, leaf.end, encoding, path)
        yield Raw(
            index=index,
            name=name,
            declared=headers.clean(declared, 100) or "text/plain",
            parameters=given,
            is_attachment=_is_attachment(name, disposition, leaf.containers),
            content_id=headers.first(found, "content-id").strip("<> "),
            containers=leaf.containers,
            path=path,
            head=head,
            size=path.stat().st_size,
        )


def _is_attachment(name: str, disposition: str, containers: tuple[mime.Container, ...]) -> bool:
    """It says so, or has a name where the versions of the mail's text have none."""
    if _EXCHANGE_TEXT.fullmatch(name):
        return False
    is_version = bool(containers) and containers[-1].type == "multipart/alternative"
    return disposition == "attachment" or (bool(name) and not is_version)


def _sort(parts: list[Raw]) -> _Pile:
    cited = _cited(parts)
    pile = _Pile()
    for raw in parts:
        what, kind, why = fate(raw, cited)
        match what:
            case Fate.DOCUMENT:
                charset = raw.parameters.get("charset", "")
                pile.documents.append(
                    Part(raw.index, raw.name, raw.declared, kind, raw.size, raw.path, charset)
                )
            case Fate.BODY | Fate.HTML:
                pile.texts.append((what, raw))
            case Fate.LEFT_OUT:
                pile.skipped.append(f"{raw.title}: {why}")
    return pile


def _cited(parts: list[Raw]) -> frozenset[str]:
    """Content ids that HTML parts show inside their text (RFC 2392)."""
    cited: set[str] = set()
    for raw in parts:
        if raw.declared == "text/html" and raw.size <= LARGEST_BODY:
            found = _CITED.findall(raw.path.read_bytes())
            cited.update(unquote(one.decode("latin-1")) for one in found)
    return frozenset(cited)


def _text(pile: _Pile) -> str:
    """All texts in the order of the mail, without the HTML that only says the same again."""
    plain_texts = {
        raw.index: plain.text_of(_content(raw), raw.parameters).strip()
        for what, raw in pile.texts
        if what is Fate.BODY
    }
    told = {at for _, raw in pile.texts if plain_texts.get(raw.index) for at in _branches(raw)}
    said = []
    for what, raw in pile.texts:
        if what is Fate.BODY:
            said.append(plain_texts[raw.index])
        elif _is_told(raw, told):
            pile.skipped.append(f"{raw.name or 'HTML version of the text'}: the plain text is used")
        else:
            said.append(plain.text_of_html(_content(raw), raw.parameters))
    text = "\n\n".join(one for one in said if one)
    if len(text) > LONGEST_TEXT:
        raise PermanentError("The text of the mail is too long for a fax.", Cause.LIMIT)
    for trace, why in _NOT_FOR_READERS:
        if trace.search(text):
            raise PermanentError(why, Cause.MEDIA)
    return text


def _branches(raw: Raw) -> Iterator[tuple[int, int]]:
    """The alternatives (RFC 2046 §5.1.4) that it is in, and which of their branches it is on."""
    steps = [*(container.start for container in raw.containers[1:]), -raw.index]
    for container, branch in zip(raw.containers, steps, strict=False):
        if container.type == "multipart/alternative":
            yield container.start, branch


def _is_told(page: Raw, told: set[tuple[int, int]]) -> bool:
    """Another branch of its alternatives says it as plain text."""
    mine = dict(_branches(page))
    return any(mine.get(start, branch) != branch for start, branch in told)


def _content(raw: Raw) -> bytes:
    if raw.size > LARGEST_BODY:
        raise PermanentError("The text of the mail is too long for a fax.", Cause.LIMIT)
    return raw.path.read_bytes()
