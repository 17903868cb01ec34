"""Who really wrote a mail: the From address, where a server that we trust vouches for its domain.

Reads Authentication-Results (RFC 8601) and fails closed. A mail is its author's when the trusted
server says `dmarc=pass` for the domain of its one From address, or `dkim=pass` for that domain or a
parent of it. `spf=pass` is not enough: it says nothing of the From line (RFC 7208 §11.2).

Which field is believed: the first that bears the trusted server's name, for a server adds its own
on top. It must also stand above the author's own fields and, where a Received field names the
trusted server, above the next Received below that: what stands further down came with the mail.
The server must remove or outrank forged fields of its name (RFC 8601 §5); all servers of note do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.mail.headers import LONGEST_VALUE

Fields = Sequence[tuple[str, str]]  # of `headers.fields`

_AUTHORS = ("from", "to", "cc", "subject", "date", "message-id", "mime-version", "content-type")
_OUTSIDE = re.compile(r'"(?:[^"\\]|\\.)*"|\(|[^"()]+|.', re.DOTALL)
_INSIDE = re.compile(r"\\.|[()]|[^\\()]+|.", re.DOTALL)
_PART = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^";])*)(?:;|\Z)')
_SERVER = re.compile(r'\s*"?([\w.-]+)"?(?:\s+\d+)?\s*')
_METHOD = re.compile(r"\s*([a-z][\w-]*)\s*(?:/\s*\d+\s*)?=\s*([a-z][\w-]*)(?=\s|\Z)", re.IGNORECASE)
_PROPERTY = re.compile(
    r'\s*([a-z][\w-]*(?:\s*\.\s*[a-z][\w-]*)?)\s*=\s*("(?:[^"\\]|\\.)*"[^\s"]*|[^\s"]+)',
    re.IGNORECASE,
)
_DOMAIN = re.compile(r"[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+")
_ADDRESS = re.compile(
    r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.IGNORECASE | re.ASCII
)
_BY = re.compile(r"\bby\s+([\w.-]+)", re.IGNORECASE)


class UnverifiedError(Exception):
    """Nobody that we trust vouches for the sender; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a server found with one method: `dkim`, `pass`, {"header.d": "example.com"}."""

    method: str
    result: str
    facts: dict[str, str]  # a name that was given twice is left out


@dataclass(frozen=True, slots=True)
class Results:
    """One Authentication-Results field."""

    server: str
    verdicts: tuple[Verdict, ...]


def verified_sender(found: Fields, server: str) -> str:
    """The address of a mail's author, domain in lower case. UnverifiedError: it may be a lie."""
    address = author(found)
    domain = address.partition("@")[2]
    verdicts = _trusted(found, server.lower()).verdicts
    dmarc = [one for one in verdicts if one.method == "dmarc"]
    if any(one.result != "pass" for one in dmarc):  # a domain may want more than we do
        raise UnverifiedError(f"{server} says dmarc={next(_failed(dmarc))}")
    if any(aligned(one.facts.get("header.from", ""), domain) for one in dmarc):
        return address
    dkim = (one for one in verdicts if (one.method, one.result) == ("dkim", "pass"))
    if any(aligned(_signer(one), domain) for one in dkim):
        return address
    raise UnverifiedError(f"{server} does not vouch for {domain}: neither dmarc nor aligned dkim")


def author(found: Fields) -> str:
    """The one address of the one From field. UnverifiedError: there are others, or none."""
    given = [value for name, value in found if name == "from"]
    if len(given) != 1:
        raise UnverifiedError(f"it has {len(given)} From fields")
    address = _mailbox(_bare(given[0]) or "")
    if not address:
        raise UnverifiedError("its From field is not one mail address")
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}"


def results(value: str) -> Results | None:
    """Parse a field (RFC 8601 §2.2); None = it cannot be wholly understood."""
    bare = _bare(value) if len(value) < LONGEST_VALUE else None  # a longer one was cut
    if bare is None:
        return None
    first, *parts = [match[1] for match in _PART.finditer(bare)]
    server = _SERVER.fullmatch(first)
    said = [part for part in parts if part.strip()]
    if not server:
        return None
    if [part.strip().lower() for part in said] == ["none"]:
        said = []
    verdicts = [_verdict(part) for part in said]
    known = tuple(one for one in verdicts if one)
    return Results(server[1].lower(), known) if len(known) == len(verdicts) else None


def aligned(domain: str, author_domain: str) -> bool:
    """Is it the author's domain or a parent of it? Top-level domains are nobody's parent."""
    domain = domain.lower().rstrip(".")
    if not _DOMAIN.fullmatch(domain):
        return False
    return author_domain == domain or author_domain.endswith("." + domain)


def _trusted(found: Fields, server: str) -> Results:
    """The field to believe, if it stands where only the trusted server can have put it."""
    foreign = _foreign(found, server)
    for place, (name, value) in enumerate(found):
        if name != "authentication-results":
            continue
        parsed = results(value)
        if parsed is None and server in value.lower():
            raise UnverifiedError(f"Authentication-Results that cannot be read: {value[:100]}")
        if parsed and parsed.server == server:
            if place > foreign:
                break
            return parsed
    raise UnverifiedError(f"no Authentication-Results of {server}")


def _foreign(found: Fields, server: str) -> int:
    """Where the mail itself begins, below what the trusted server has put on top of it."""
    ours = False
    for place, (name, value) in enumerate(found):
        if name in _AUTHORS:
            return place
        if name == "received":
            if ours:
                return place
            by = _BY.search(_bare(value) or "")
            ours = by is not None and f".{by[1].lower()}".endswith(f".{server}")
    return len(found)


def _signer(dkim: Verdict) -> str:
    """The signing domain; some tell only whom it signed for, which is the same or below it."""
    return dkim.facts.get("header.d") or dkim.facts.get("header.i", "").rpartition("@")[2]


def _failed(verdicts: Sequence[Verdict]) -> Iterator[str]:
    return (one.result for one in verdicts if one.result != "pass")


def _verdict(part: str) -> Verdict | None:
    method = _METHOD.match(part)
    if not method:
        return None
    facts: dict[str, str] = {}
    twice = set()
    position = method.end()
    while given := _PROPERTY.match(part, position):
        name = re.sub(r"\s", "", given[1]).lower()
        if name in facts:
            twice.add(name)
        facts[name] = given[2].strip('"')
        position = given.end()
    facts = {name: value for name, value in facts.items() if name not in twice}
    return Verdict(method[1].lower(), method[2].lower(), facts)


def _bare(value: str) -> str | None:
    """The value without its comments, which may nest; None = brackets or quotes do not match."""
    bare, depth, position = [], 0, 0
    while position < len(value):
        token = (_INSIDE if depth else _OUTSIDE).match(value, position)
        text = token[0] if token else ""
        position += len(text)
        if text == "(":
            depth += 1
        elif text == ")" and depth:
            depth -= 1
            bare.append(" ")
        elif depth:
            continue
        elif not token or text in {'"', ")"}:
            return None
        else:
            bare.append(text)
    return None if depth else "".join(bare)


def _mailbox(bare: str) -> str:
    """`Ann <ann@example.com>` or `ann@example.com`: the address, "" for anything else."""
    phrase = re.sub(r'"(?:[^"\\]|\\.)*"', " ", bare)
    angle = re.fullmatch(r"[^<>,;:]*<\s*([^<>\s]+)\s*>\s*", phrase)
    address = angle[1] if angle else phrase.strip()
    return address if _ADDRESS.fullmatch(address) else ""
