"""From a composed mail to the smarthost's 250: written to a part file, sent, removed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.errors import PermanentError
from gateway.mail.compose import Mail, address, write
from gateway.mail.smarthost import Refused, Smarthost


@dataclass(frozen=True, slots=True)
class Post:
    """Sends mails. `part` gives a fresh file name on the spool's disk."""

    smarthost: Smarthost
    part: Callable[[], Path]
    # (Message-ID, who) → "" or why never, of rounds that are not complete yet
    _heard: dict[tuple[str, str], str] = field(default_factory=dict, init=False, repr=False)

    async def send(
        self, mail: Mail, recipients: tuple[str, ...], sender: str = ""
    ) -> list[Refused]:
        """Hand over one mail, from the null sender unless given. Raises as `Smarthost.send`."""
        return await self.hand_over(lambda part: write(mail, part), recipients, sender)

    async def hand_over(
        self, write_to: Callable[[Path], None], recipients: tuple[str, ...], sender: str = ""
    ) -> list[Refused]:
        """The same for whatever `write_to` writes, in a thread, to a file of ours."""
        part = self.part()
        try:
            await asyncio.to_thread(write_to, part)
            return await self.smarthost.send(sender, recipients, part)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)

    async def tell(self, mails: Sequence[Mail]) -> list[Refused]:
        """Each mail to each that it is for, and none waits for another.

        Returns those who will never be reached. Raises what may pass, after all had their turn:
        called again with the same mails, it leaves out who has heard.
        """
        letters = [(mail, to) for mail in mails for to in mail.to]
        trouble: Exception | None = None
        for mail, to in letters:
            if (mail.message_id, to) not in self._heard:
                try:
                    self._heard[mail.message_id, to] = await self._try(mail, to)
                except Exception as error:  # noqa: BLE001 - raised below
                    trouble = trouble or error
        if trouble:
            raise trouble
        heard = [(to, self._heard.pop((mail.message_id, to), "")) for mail, to in letters]
        return [Refused(to, said) for to, said in heard if said]

    async def _try(self, mail: Mail, to: str) -> str:
        """Why it can never be sent; "" = it was."""
        try:
            await self.send(mail, (address(to),))
        except (PermanentError, ValueError) as error:
            return str(error)
        return ""
