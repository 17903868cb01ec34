"""Mail to the postmaster (RFC 5321 §4.5.1): handed on to the person who runs the gateway."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import formatdate
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO

from gateway.mail.post import Post

_BLOCK = 1 << 18
_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Forward:
    post: Post
    admin: str
    hostname: str

    async def __call__(self, message: Path, peer: str) -> None:
        """From the null sender: what cannot be delivered comes back to nobody, and never loops.

        Raises as `Smarthost.send`.
        """
        await self.post.hand_over(lambda part: self._copy(message, part, peer), (self.admin,))

    def _copy(self, message: Path, part: Path, peer: str) -> None:
        by = f"by {self.hostname} with ESMTP; {formatdate()}"
        trace = f"Received: from {_literal(peer)}\r\n\t{by}\r\n"
        with message.open("rb") as source, part.open("xb") as target:
            target.write(trace.encode("ascii"))  # RFC 5321 §4.4
            _copy_lines(source, target)


def _copy_lines(source: BinaryIO, target: BinaryIO) -> None:
    """Every line ends in CR LF, whatever its writer thought: a smarthost takes no others."""
    copied = b""
    while block := source.read(_BLOCK):
        while block.endswith(b"\r") and (following := source.read(1)):  # is it half of one?
            block += following
        copied = _LINE_END.sub(b"\r\n", block)
        target.write(copied)
    if not copied.endswith(b"\n"):
        target.write(b"\r\n")


def _literal(peer: str) -> str:
    address = ip_address(peer)
    return f"[{'IPv6:' if address.version == 6 else ''}{address}]"
