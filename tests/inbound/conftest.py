"""The road, ready to be walked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.demo.mailbox import Mailbox
from gateway.document import Workshop
from gateway.provider.audian import Access, Audian
from gateway.provider.simulator import Settings, Simulator
from gateway.provider.simulator.profile import Timing
from gateway.spool import Spool
from tests.conftest import Clock
from tests.inbound.road import Road

AT_ONCE = Settings(timing=Timing(t_list=0.0, t_attach=0.0, t_hook=0.0))


@pytest.fixture
async def road(spool: Spool, clock: Clock, workshop: Workshop) -> AsyncIterator[Road]:
    mailbox = Mailbox()
    await mailbox.start()
    async with Simulator(AT_ONCE) as simulator:
        settings = simulator.settings
        access = Access(
            simulator.url, settings.account_id, settings.token, requests_per_second=1000
        )
        provider = Audian(access)
        yield Road(simulator, provider, workshop, mailbox, spool, clock)
        await provider.close()
    await mailbox.stop()
