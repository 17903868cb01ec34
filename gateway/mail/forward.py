"""Mail to the postmaster (RFC 5321 §4.5.1): handed on to the person who runs the gateway."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from email.utils import formatdate
from ipaddress import ip_address
from pathlib import Path

from gateway.mail.post import Post


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
            shutil.copyfileobj(source, target)


def _literal(peer: str) -> str:
    address = ip_address(peer)
    return f"[{'IPv6:' if address.version == 6 else ''}{address}]"
