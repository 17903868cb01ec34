"""How UIDs and names are written in a command, and what is not told of its answer."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence

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


def without(password: str, words: str) -> str:
    """Some servers repeat the command that they do not like."""
    return words.replace(quoted(password), "[secret]").replace(password, "[secret]")
