"""Somebody connected: who is it really (PROXY), is there a place, and does it begin with TLS?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.doors import transcripts
from gateway.doors.smtp import proxy, replies
from gateway.doors.smtp.settings import Kind
from gateway.doors.smtp.upgrade import secured
from gateway.rules import within

if TYPE_CHECKING:
    from gateway.doors.smtp.connection import Connection


def arrive(connection: Connection) -> None:
    """A load balancer says first for whom it comes; nobody else is asked or believed."""
    shared = connection.shared
    if within(connection.peer, shared.settings.proxies):
        connection.proxy = b""
    else:
        _enter(connection)


def proxied(connection: Connection, data: bytes) -> bytes:
    """Read the PROXY header; returns what came behind it."""
    begun = (connection.proxy or b"") + data
    try:
        header = proxy.read(begun)
    except proxy.BadProxyError:
        connection.drop(replies.BAD_PROXY, "proxy")
        return b""
    connection.proxy = begun if header is None else None
    if header is None:
        return b""
    connection.peer = header.source or connection.peer  # "" = the balancer's own health check
    _enter(connection)
    return begun[header.length :]


def _enter(connection: Connection) -> None:
    """Now it is known who it is. Places are counted before TLS and before any login."""
    shared, now, peer = connection.shared, connection.loop.time(), connection.peer
    if connection.kind is Kind.DEVICE and not within(peer, shared.settings.devices):
        connection.record.transcript.note(transcripts.NOT_LISTED)
        connection.drop(replies.NO_DEVICE, "not_listed")
        return
    trusted = within(peer, shared.settings.trusted + shared.settings.devices)
    admission = shared.guests.admit(
        peer, now, trusted=trusted, cut=lambda: connection.cut(replies.BUSY)
    )
    if admission.evict:
        admission.evict.cut()
    if not admission.guest:
        if shared.guests.log_now(peer, now):
            connection.note(admission.reply, "conn_limit")
        connection.hang_up(admission.reply)
        return
    connection.guest = admission.guest
    if connection.kind is Kind.TLS:
        connection.wire.pause_reading()
        connection.later(_with_tls(connection), on_us=False)
    else:
        # one look at the socket before we greet: who talks first is no mail client
        connection.loop.call_soon(connection.loop.call_soon, connection.greet)


async def _with_tls(connection: Connection) -> None:
    if await secured(connection):
        connection.greet()
