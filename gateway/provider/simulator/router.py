"""From a request to its operation: path, method, token, account; refusals in the family's words."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from gateway.provider.simulator.connection import BrokenError, DroppedError
from gateway.provider.simulator.exchange import Exchange, Operation
from gateway.provider.simulator.replies import RefusedError, Reply, bare_error, enveloped_error

BARE = ("/v2/fax/", "/_sim/")
log = structlog.get_logger()


async def operate(exchange: Exchange, operations: Sequence[Operation]) -> Reply:
    """The operation's answer; whatever goes wrong in it is an answer, too."""
    try:
        operation = _find(exchange, operations)
        if operation.needs_token:
            _admit(exchange)
        return await operation.run(exchange)
    except RefusedError as refused:
        return refusal(exchange, refused)
    except (BrokenError, DroppedError):
        raise
    except Exception as error:
        log.exception("request_failed", path=exchange.request.path, error=repr(error))
        return refusal(exchange, RefusedError(500, "the simulator failed"))


def refusal(exchange: Exchange, refused: RefusedError) -> Reply:
    if exchange.request.path.startswith(BARE):
        return bare_error(refused)
    return enveloped_error(refused, exchange.request_id)


def _find(exchange: Exchange, operations: Sequence[Operation]) -> Operation:
    """The first operation of that path and method."""
    allowed = []
    for operation in operations:
        args = operation.match(exchange.request.path)
        if args is None:
            continue
        if operation.method == exchange.request.method:
            exchange.args = args
            return operation
        allowed.append(operation.method)
    if not allowed:
        raise RefusedError(404, "there is nothing at that path")
    methods = ", ".join(dict.fromkeys(allowed))
    raise RefusedError(405, f"only {methods} there", headers=(("allow", methods),))


def _admit(exchange: Exchange) -> None:
    """X-Auth-Token, or a Bearer token as in the second document's examples."""
    headers = exchange.request.headers
    token = headers.get("x-auth-token", "")
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if not token and scheme.lower() == "bearer":
        token = bearer.strip()
    if not exchange.account.knows(token):
        raise RefusedError(401, "invalid credentials")
    exchange.token = token
    mine = exchange.account.settings.account_id
    if exchange.args.get("account", mine) != mine:
        raise RefusedError(403, "that is another account")
