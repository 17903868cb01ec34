"""What is asked of the child and what it answers; each field of an untrusted answer is checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MAX_PAGES = 200
MAX_BYTES = 8_000_000  # of a document: what the provider takes with room to spare
LONGEST_TEXT = 1000  # of one text field in an answer
MOST_SKIPPED = 400


@dataclass(frozen=True, slots=True)
class PrepareTask:
    """Make one fax-ready PDF of a mail.

    `body` is the policy for the mail's text: `cover` (faxed when the mail has no document),
    `page` (always faxed, before the documents) or `ignore` (never faxed).
    """

    message: Path
    document: Path  # to write
    thumbnail: Path  # to write
    number: str = ""
    max_pages: int = MAX_PAGES
    paper: str = "letter"  # or "a4"
    body: str = "cover"
    max_bytes: int = MAX_BYTES


@dataclass(frozen=True, slots=True)
class InspectTask:
    """Check what the provider says is a received fax, and make it a PDF."""

    source: Path
    document: Path  # to write
    thumbnail: Path  # to write
    max_pages: int = MAX_PAGES


@dataclass(frozen=True, slots=True)
class Prepared:
    pages: int
    digest: str  # SHA-256 of the document, hex
    size: int
    subject: str = ""
    from_address: str = ""
    message_id: str = ""
    skipped: tuple[str, ...] = ()  # "name: why it is not on the fax"


@dataclass(frozen=True, slots=True)
class Inspected:
    pages: int
    digest: str  # SHA-256 of the document, hex
    size: int
    kind: str  # of the source: "pdf" or "tiff"


def task_line(task: PrepareTask | InspectTask) -> dict[str, Any]:
    """The task as plain values; `task_of` is the way back."""
    return {"task": type(task).__name__} | {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(task).items()
    }


def task_of(line: Mapping[str, Any]) -> PrepareTask | InspectTask:
    """A task as the daemon wrote it: trusted."""
    facts = {name: value for name, value in line.items() if name != "task"}
    for name in ("message", "source", "document", "thumbnail"):
        if name in facts:
            facts[name] = Path(facts[name])
    return PrepareTask(**facts) if line["task"] == "PrepareTask" else InspectTask(**facts)


def prepared_of(answer: Mapping[str, Any]) -> Prepared:
    """ValueError: the child answered something that no answer may be."""
    return Prepared(
        pages=_count(answer, "pages"),
        digest=_digest(answer),
        size=_count(answer, "size"),
        subject=_text(answer.get("subject", "")),
        from_address=_text(answer.get("from_address", "")),
        message_id=_text(answer.get("message_id", "")),
        skipped=_texts(answer.get("skipped", [])),
    )


def inspected_of(answer: Mapping[str, Any]) -> Inspected:
    """ValueError: the child answered something that no answer may be."""
    kind = answer.get("kind")
    if kind not in ("pdf", "tiff"):
        raise ValueError(f"no kind of document: {kind!r:.40}")
    return Inspected(_count(answer, "pages"), _digest(answer), _count(answer, "size"), str(kind))


def answers_of(output: str) -> list[dict[str, Any]]:
    """The child's lines; those that are not a JSON object do not count."""
    lines = []
    for line in output.split("\n"):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines


def _count(answer: Mapping[str, Any], name: str) -> int:
    value = answer.get(name)
    if type(value) is not int or not 0 < value < 2**40:
        raise ValueError(f"{name} is not a count: {value!r:.40}")
    return value


def _digest(answer: Mapping[str, Any]) -> str:
    value = answer.get("digest")
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError(f"no digest: {value!r:.80}")
    return value


def _text(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"not a text of one line: {value!r:.80}")
    return value


def _texts(values: Any) -> tuple[str, ...]:  # noqa: ANN401
    if not isinstance(values, list) or len(values) > MOST_SKIPPED:
        raise ValueError("not a list of texts")
    return tuple(_text(value) for value in values)
