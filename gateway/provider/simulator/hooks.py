"""The webhook sender: the documented body to every hook, five tries over 24 hours, all logged."""

from __future__ import annotations

import asyncio
import html
import json
import re
from typing import Any

from gateway.provider.simulator.account import Account, Hook
from gateway.provider.simulator.clock import Clock, iso
from gateway.provider.simulator.faults import Phase, Rule
from gateway.provider.simulator.inbound import InboundFax
from gateway.provider.simulator.ledger import HookTry
from gateway.provider.simulator.outside import Outside

AT_ONCE = 50
DROPPED = "dropped by a fault"
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class HookSender:
    def __init__(self, clock: Clock, outside: Outside) -> None:
        self._clock = clock
        self.outside = outside
        self._free = asyncio.Semaphore(AT_ONCE)

    def received(self, account: Account, fax: InboundFax, base: str) -> None:
        """Tell of it in its time."""
        account.spawn(self.announce(account, "fax_received", fax, base))

    async def announce(self, account: Account, event: str, fax: InboundFax, base: str) -> None:
        """Tell every hook that asked for this event."""
        if event == "fax_received":
            await self._clock.until(fax.at + self._clock.scaled(account.settings.timing.t_hook))
        told = payload(event, fax, base)
        async with asyncio.TaskGroup() as tasks:
            for hook in account.hooks:
                if hook.enabled and event in hook.events:
                    tasks.create_task(self._deliver(account, hook, told))

    async def _deliver(self, account: Account, hook: Hook, told: dict[str, Any]) -> None:
        rule = account.faults.pick(Phase.HOOK, "POST", hook.url)
        if rule is None:
            return await self._persist(account, hook, told)
        if rule.param("drop"):
            lost = HookTry(self._clock.now(), hook.url, told["event"], told["id"], 0, 0, DROPPED)
            return account.ledger.hook_tries.append(lost)
        await self._clock.pause(rule.param("delay"))
        return await self._repeat(account, hook, told, rule)

    async def _repeat(self, account: Account, hook: Hook, told: dict[str, Any], rule: Rule) -> None:
        """`duplicate`: so many more, one after another. `burst`: so many at the same time."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(max(rule.param("burst"), 1)):
                tasks.create_task(self._persist(account, hook, told))
        for _ in range(rule.param("duplicate")):
            await self._persist(account, hook, told)

    async def _persist(self, account: Account, hook: Hook, told: dict[str, Any]) -> None:
        first = self._clock.now()
        for number, offset in enumerate(account.settings.timing.hook_tries, 1):
            await self._clock.until(first + self._clock.scaled(offset))
            if 200 <= await self._try(account, hook, told, number) < 300:
                return

    async def _try(self, account: Account, hook: Hook, told: dict[str, Any], number: int) -> int:
        media_type, body = written(hook.format, told)
        async with self._free:
            at = self._clock.now()
            status, error = await self.outside.post(hook.url, body, media_type)
        tried = HookTry(at, hook.url, told["event"], told["id"], number, status, error)
        account.ledger.hook_tries.append(tried)
        return status


def payload(event: str, fax: InboundFax, base: str) -> dict[str, Any]:
    """The body of document B, in its order."""
    return {
        "event": event,
        "id": fax.id,
        "from_number": fax.from_number,
        "from_name": fax.from_name,
        "to_number": fax.to_number,
        "pages": fax.pages,
        "received_at": iso(fax.at),
        "file_size": fax.document.size,
        "format": fax.format,
        "document_url": f"{base}/v2/fax/received/{fax.id}/download",
    }


def written(form: str, told: dict[str, Any]) -> tuple[str, bytes]:
    """Media type and bytes. The documents show no XML: one flat element, the same names."""
    if form != "xml":
        return "application/json", json.dumps(told).encode()
    fields = (
        f"<{name}>{html.escape(NOT_XML.sub('', str(text)), quote=False)}</{name}>"
        for name, text in told.items()
    )
    whole = f'<?xml version="1.0" encoding="UTF-8"?>\n<webhook>{"".join(fields)}</webhook>'
    return "application/xml", whole.encode()
