"""How UIDs and names are written in a command, and what is read in its answer. Pure."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from imaplib import Internaldate2tuple

from gateway.doors.imap.protocol import RefusedError

Lines = list[bytes | bytearray]  # of an answer; a literal is a bytearray

_UID = re.compile(rb"\bUID (\d{1,10})\b")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d{1,12})\b")
_OTHER = re.compile(r"[^\x20-\x7e]+|&")


def uid_set(uids: Sequence[int]) -> str:
    return ",".join(map(str, uids))


def mailbox(name: str) -> str:
    """A mailbox name on the wire: modified UTF-7 (RFC 3501 §5.1.3), quoted."""

    def encoded(match: re.Match[str]) -> str:
        if match[0] == "&":
            return "&-"
        base64 = b64encode(match[0].encode("utf-16-be")).decode()
        return f"&{base64.rstrip('=').replace('/', ',')}-"

    return quoted(_OTHER.sub(encoded, name))


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class Found:
    """What the server says of a mail before it is fetched; 0 = nothing."""

    size: int = 0
    arrived: float = 0.0


def found_in(lines: Lines) -> dict[int, Found]:
    found = ((_UID.search(line), _SIZE.search(line), line) for line in lines)
    return {
        int(uid[1]): Found(int(size[1]), _arrived(line))
        for uid, size, line in found
        if uid and size
    }


def _arrived(line: bytes | bytearray) -> float:
    """INTERNALDATE (RFC 3501 §2.3.3), in seconds since the epoch."""
    try:
        when = Internaldate2tuple(bytes(line))
        return time.mktime(when) if when else 0.0
    except (ValueError, OverflowError, OSError):
        return 0.0


def mail_in(lines: Lines, uid: int) -> bytes | None:
    """The one literal; None = there is no such mail any more."""
    literals = [line for line in lines if isinstance(line, bytearray)]
    words = b" ".join(line for line in lines if not isinstance(line, bytearray))
    if not (literals or b"BODY[" in words):
        return None
    if len(literals) != 1 or str(uid).encode() not in _UID.findall(words):
        raise RefusedError("the server did not send this mail as a literal")
    return bytes(literals[0])


def without(password: str, words: str) -> str:
    """Some servers repeat the command that they do not like."""
    return words.replace(quoted(password), "[secret]").replace(password, "[secret]")
