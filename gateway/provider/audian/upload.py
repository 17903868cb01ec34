"""The upload of one fax: its multipart form, streamed, and what each answer to it proves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.errors import Cause, PermanentError, TransientError, UncertainError
from gateway.provider.audian import read

BLOCK = 256 << 10  # bytes read from the spool at a time
REFUSED = frozenset({400, 413, 415, 422})
_ACCOUNT = frozenset({401, 402, 403})
_WRONG_PATH = frozenset({404, 405, 406})


@dataclass(frozen=True, slots=True)
class Upload:
    """One multipart/form-data body, streamed from a file."""

    fields: Mapping[str, str]
    document: Path
    name: str  # of the file, as the provider sees it


class Form:
    """The multipart/form-data body of an upload (RFC 7578), its length known beforehand."""

    def __init__(self, upload: Upload) -> None:
        boundary = os.urandom(16).hex()
        self._document = upload.document
        self._head = _head(upload, boundary)
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.size = len(self._head) + upload.document.stat().st_size + len(self._tail)
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(self.size),
        }

    async def blocks(self) -> AsyncIterator[bytes]:
        yield self._head
        with self._document.open("rb") as file:
            while block := await asyncio.to_thread(file.read, BLOCK):
                yield block
        yield self._tail


def _head(upload: Upload, boundary: str) -> bytes:
    """Everything of the form before the document's bytes."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in upload.fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="document"; '
        f'filename="{upload.name}"\r\nContent-Type: application/pdf\r\n\r\n'
    )
    return "".join(parts).encode()


def judge(code: int, content: bytes, pause: float = 0.0) -> Any:  # noqa: ANN401
    """What one answer to an upload proves (README, "Proof of sending").

    Returns the body of a 2xx. Transient = provably not accepted, Permanent = refused for good,
    Uncertain = no proof either way.
    """
    if 200 <= code < 300 and code != 204:
        try:
            return read.parsed(content)
        except TransientError as error:
            raise UncertainError(f"accepted ({code}), but the answer is unreadable") from error
    said = read.message(content)
    if code in REFUSED:
        raise PermanentError(f"The fax provider refused the fax: {said or code}", Cause.REJECTED)
    if code in _ACCOUNT | _WRONG_PATH or code == 429:
        raise TransientError(f"the provider answered {code}{hint(code)}", after=pause)
    raise UncertainError(f"the provider answered {code}, which proves nothing")


def hint(code: int) -> str:
    """What the sysadmin can do about an answer that is about our account or settings."""
    return {
        401: ": check AUDIAN_AUTH_TOKEN",
        402: ": the account has no credit",
        403: ": check AUDIAN_ACCOUNT_ID and the account's rights",
        404: ": check AUDIAN_URL and AUDIAN_PROFILE",
        405: ": check AUDIAN_URL and AUDIAN_PROFILE",
    }.get(code, "")
