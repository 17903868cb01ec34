"""One mail of the mailbox: what is known of it before anybody decides."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from gateway.mail import headers, mime
from gateway.mail.prescan import Scan, scan
from gateway.spool import CREATE, write_all
from gateway.store import SMALL

_AUTHORS = ("message-id", "date", "from", "to", "cc", "subject")


@dataclass(frozen=True, slots=True)
class Letter:
    """In memory until the spool wants it; a `Message` for the intake."""

    path: Path
    content: bytes
    fields: list[tuple[str, str]]
    scan: Scan
    digest: str  # of what its author wrote: the same when it is delivered twice

    @property
    def small(self) -> bytes:
        return self.content if len(self.content) <= SMALL else b""

    @property
    def subject(self) -> str:
        return self.scan.title

    @property
    def message_id(self) -> str:
        return self.scan.message_id

    @property
    def has_nul(self) -> bool:
        return b"\0" in self.content

    def all(self, *names: str) -> list[str]:
        """The values of all fields of these names, in the order of the names."""
        return [value for name in names for given, value in self.fields if given == name]

    def finish(self) -> int | None:
        """In the spool's thread: a large one to disk."""
        if self.small:
            return None
        descriptor = os.open(self.path, CREATE, 0o600)
        try:
            write_all(descriptor, self.content)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def discard(self) -> None:
        """In a thread: the spool did not take it."""
        with contextlib.suppress(OSError):  # the sweep at the next start finds it
            self.path.unlink()


def read(path: Path, content: bytes) -> Letter:
    """In a thread: look a mail over, or the headers of one that is too big."""
    try:
        end, body = mime.head_end(content)
    except mime.TooComplexError:
        end = body = min(len(content), mime.HEADER_BYTES)
    fields = headers.fields(content[:end])
    facts = scan(content)
    start, words = (body, _written(fields)) if facts.message_id else (0, b"")
    digest = hashlib.sha256(words)
    digest.update(memoryview(content)[start:])
    return Letter(path, content, fields, facts, digest.hexdigest())


def _written(fields: list[tuple[str, str]]) -> bytes:
    """What the author wrote above the text, without the marks of the mail's ways.

    A relay that sends twice, or a mail to two of our addresses, brings two copies that differ only
    in those. Without a Message-ID nobody can tell a copy from the same words on another day.
    """
    said = [
        f"{name}:{' '.join(value.split())}\n"
        for name, value in fields
        if name in _AUTHORS or name.startswith("x-fax-")
    ]
    return "".join(sorted(said)).encode("utf-8", "surrogateescape") + b"\n"
