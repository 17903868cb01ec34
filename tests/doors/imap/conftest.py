"""A scripted IMAP server over TLS, for the tests of this directory that need no Dovecot."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import pytest

from tests.doors.imap.dovecot import certificate
from tests.doors.imap.script import Server, scripted

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """The server's and the client's."""
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
async def server(contexts: Contexts, anyio_backend: str) -> AsyncIterator[Server]:
    async with scripted(contexts[0]) as server:
        yield server
