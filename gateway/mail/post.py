"""From a composed mail to the smarthost's 250: written to a part file, sent, removed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.mail.compose import Mail, write
from gateway.mail.smarthost import Refused, Smarthost


@dataclass(frozen=True, slots=True)
class Post:
    """Sends mails. `part` gives a fresh file name on the spool's disk."""

    smarthost: Smarthost
    part: Callable[[], Path]

    async def send(
        self, mail: Mail, recipients: tuple[str, ...], sender: str = ""
    ) -> list[Refused]:
        """Hand over one mail, from the null sender unless given. Raises as `Smarthost.send`."""
        part = self.part()
        try:
            await asyncio.to_thread(write, mail, part)
            return await self.smarthost.send(sender, recipients, part)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
