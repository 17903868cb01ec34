"""What every test may ask for: the asyncio backend, an open store and spool, a clock of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.document import Workshop
from gateway.spool import Spool
from gateway.store import Store


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the daemon runs on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def workshop(
    anyio_backend: object, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Workshop]:
    """One for all tests of a module: it takes longer to start than they do."""
    async with Workshop(scratch=tmp_path_factory.mktemp("scratch")) as workshop:
        yield workshop


class Clock:
    """Time stands still until it is advanced."""

    def __init__(self) -> None:
        self.now = 1_770_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, anyio_backend: object) -> AsyncIterator[Store]:
    store = Store(tmp_path / "gateway.db")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def spool(tmp_path: Path, anyio_backend: object) -> AsyncIterator[Spool]:
    spool = Spool(tmp_path / "data")
    await spool.open()
    yield spool
    await spool.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests begin first: else one process works on the last of them alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
