"""TLS on a connection that began in plain text: after STARTTLS, or at once (port 465)."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, cast

from gateway.doors import transcripts
from gateway.doors.smtp import replies
from gateway.doors.smtp.settings import Kind
from gateway.doors.smtp.tls import Certificates

if TYPE_CHECKING:
    from gateway.doors.smtp.connection import Connection


async def secured(connection: Connection) -> bool:
    """Shake hands; False = that failed and the connection is over.

    What the connection has heard and not looked at yet is TLS: behind a PROXY header, or because
    uvloop reads on when `connection_made` has asked it to pause.
    """
    certificates = connection.shared.services.certificates
    assert certificates  # noqa: S101 - nobody was offered TLS without
    if connection.wire.is_closing():  # asyncio would wait for a handshake all the same
        return _failed(connection)
    shaking = asyncio.ensure_future(
        connection.loop.start_tls(
            connection.wire, connection, _context(certificates, connection),
            server_side=True, ssl_handshake_timeout=connection.shared.settings.handshake,
        )
    )  # fmt: skip
    try:
        await _feed(connection)
        transport = await shaking
    except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
        connection.record.transcript.note(transcripts.TLS_FAILED.format(_reason(error)))
        connection.note(replies.TLS_FAILED, "tls")
        return _failed(connection)
    talk = transport.get_extra_info("ssl_object") if transport else None
    if not (transport and talk):  # the client left meanwhile, or its place is another's
        return _failed(connection)
    connection.record.transcript.note(transcripts.TLS_ON.format(talk.version()))
    connection.over(transport)
    return True


def _failed(connection: Connection) -> bool:
    """Its place is free again, also when asyncio tells nobody that the client is gone."""
    connection.wire.abort()
    connection.connection_lost(None)
    return False


def _context(certificates: Certificates, connection: Connection) -> ssl.SSLContext:
    """TLS 1.0 only for the one copier that the rules say needs it."""
    device = None
    if connection.kind is Kind.DEVICE:
        device = connection.shared.services.policy.device(connection.peer)
    return certificates.tolerant if device and "tls1.0" in device.compat else certificates.strict


async def _feed(connection: Connection) -> None:
    """Bytes that came before the handshake had the socket: as if they had been read now."""
    for _ in range(2):  # until it has
        await asyncio.sleep(0)
    begun = connection.early()
    protocol = cast("asyncio.BufferedProtocol", connection.wire.get_protocol())
    while begun:
        room = memoryview(protocol.get_buffer(len(begun)))
        count = min(len(room), len(begun))
        room[:count], begun = begun[:count], begun[count:]
        protocol.buffer_updated(count)


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error) or type(error).__name__
