"""Carrying out faults: answers instead of the operation, or after it was done."""

from __future__ import annotations

import gzip
from dataclasses import replace

from gateway.provider.simulator.connection import DroppedError
from gateway.provider.simulator.exchange import Exchange
from gateway.provider.simulator.faults import Rule
from gateway.provider.simulator.replies import (
    ERROR_PAGE,
    HTML,
    Pace,
    RefusedError,
    Reply,
    bare_error,
    enveloped_error,
)

LOGIN_PAGE = b"<html><head><title>Login</title></head><body><form>...</form></body></html>\n"


async def instead(rule: Rule, exchange: Exchange) -> Reply:
    """The fault strikes before the operation, which never runs."""
    if rule.action == "drop_before":
        raise DroppedError(reset=rule.param("reset"))
    await exchange.connection.drain()
    if rule.action == "hang_before":
        await exchange.connection.wait(exchange.clock, rule.param("seconds"))
        raise DroppedError
    return spoilt(rule, Reply(200), exchange)


async def afterwards(rule: Rule, reply: Reply, exchange: Exchange) -> Reply:
    """The operation was done; its answer suffers."""
    if rule.action == "drop_after_accept":
        await exchange.connection.drain()
        raise DroppedError(reset=rule.param("reset"))
    if rule.action == "hang_after_accept":
        await exchange.connection.drain()
        await exchange.connection.wait(exchange.clock, rule.param("seconds"))
        return reply
    return spoilt(rule, reply, exchange)


def spoilt(rule: Rule, reply: Reply, exchange: Exchange) -> Reply:
    match rule.action:
        case "status":
            return _status(rule, exchange)
        case "garbage":
            return _garbage(rule.param("kind"))
        case "wrong_type":
            return _wrong_type(rule, reply)
        case "truncate":
            return _truncated(rule, reply)
        case _:
            names = ("rate", "stall_after", "stall")
            return replace(reply, pace=Pace(**{name: rule.param(name) for name in names}))


def _status(rule: Rule, exchange: Exchange) -> Reply:
    code = rule.param("code")
    headers = tuple((str(name), str(text)) for name, text in rule.param("headers").items())
    refused = RefusedError(code, "a fault of the sandbox", headers=headers)
    match rule.param("body"):
        case "bare":
            return bare_error(refused)
        case "html":
            return Reply(code, ERROR_PAGE, HTML, headers)
        case "empty":
            return Reply(code, b"", "", headers)
        case _:
            return enveloped_error(refused, exchange.request_id)


def _garbage(kind: str) -> Reply:
    match kind:
        case "json":
            return Reply(200, b'{"data": [')
        case "empty":
            return Reply(200)
        case _:
            return Reply(200, LOGIN_PAGE, HTML)


def _truncated(rule: Rule, reply: Reply) -> Reply:
    """`short`: the length told is that of the rest, so only the document itself looks cut."""
    most, length = rule.param("bytes"), rule.param("length")
    cut = int(len(reply.body) * rule.param("percent") / 100) if most < 0 else most
    if length == "short":
        return replace(reply, body=reply.body[:cut])
    return replace(reply, pace=Pace(cut=cut, chunked=length == "chunked"))


def _wrong_type(rule: Rule, reply: Reply) -> Reply:
    label = rule.param("label") or reply.media_type
    match rule.param("content"):
        case "html":
            return replace(reply, body=ERROR_PAGE, media_type=label)
        case "json":
            return replace(reply, body=b'{"error": "not found"}', media_type=label)
        case "empty":
            return replace(reply, body=b"", media_type=label)
        case "gzip":
            packed = gzip.compress(reply.body[:], mtime=0)
            encoding = ("content-encoding", "gzip")
            headers = (*reply.headers, encoding)
            return replace(reply, body=packed, media_type=label, headers=headers)
        case _:
            return replace(reply, media_type=label)
