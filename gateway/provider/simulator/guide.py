"""The page at / and /_sim/ that tells a person how to play."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gateway.provider.simulator.exchange import Exchange, Operation
from gateway.provider.simulator.faults import ACTIONS, CHOICES, MATCH
from gateway.provider.simulator.outbound import ENDINGS, REFUSED
from gateway.provider.simulator.replies import Reply, bare

PAGE = """\
The provider's sandbox. Nothing here reaches a telephone.

Its clock runs at {scale} of the real waiting times; account {account}.

Operations
{operations}

The provider's need the token that `simulate` printed, as X-Auth-Token:
  curl -X PUT -H "X-Auth-Token: $AUDIAN_AUTH_TOKEN" -F to_number=+14155550123 \\
    -F from_number=+14155550100 -F document=@fax.pdf {base}/v2/accounts/{account}/faxes

A fax comes in (without -F document=... a sample page is used; JSON with base64 works too):
  curl -F from_number=+14155550123 -F to_number=+14155550100 -F document=@fax.pdf \\
    {base}/_sim/inject
  curl -d '{{"from_number": "+14155550123", "from_name": "Ada"}}' {base}/_sim/inject

Ten minutes pass:
  curl -d '{{"seconds": 600}}' {base}/_sim/advance

The next submission is stored, then the connection breaks:
  curl -d '{{"action": "drop_after_accept", "match": {{"method": "PUT"}}, "times": 1}}' \\
    {base}/_sim/faults

A fault rule is {{"action", "params", "match", "times"}}; the first that matches strikes. Actions
and their parameters, unless given:
{actions}
match may have: {match}
(path_regex: of a webhook, its address; nth: only that one; every: each k-th; from_t, to_t: between
these seconds since the start, "elapsed" in /_sim/state; after_accept: the fax is stored first).
times: at most so often, 0 = always. Seconds are the sandbox's, not scaled; `advance` ends a wait.

How a fax ends depends on the last four digits of to_number; any other number succeeds:
{endings}
"""

TOLD = {
    "0000": "sent, like any other",
    "0001": "busy the first time, then sent",
    "0006": "pending for ever",
    "0007": "sending for six hours",
    "0008": "an unknown status word, then sent",
    "0009": "vanishes",
    "0013": "accepted, but never stored",
    "0014": "fails without a reason",
    "0015": "sent, but with a page less",
}


def guide(exchange: Exchange, operations: Sequence[Operation]) -> Reply:
    if "application/json" in exchange.request.headers.get("accept", ""):
        rows = [{"method": o.method, "path": o.path, "summary": o.summary} for o in operations]
        return bare({"operations": rows, "endings": endings()})
    page = PAGE.format(
        scale=exchange.clock.scale,
        account=exchange.account.settings.account_id,
        base=exchange.base,
        operations="\n".join(f"  {o.method:6} {o.path:46} {o.summary}" for o in operations),
        actions="\n".join(f"  {name:18} {_defaults(name)}" for name in ACTIONS),
        match=", ".join(MATCH),
        endings="\n".join(f"  {tail}  {how}" for tail, how in endings().items()),
    )
    return Reply(200, page.encode(), "text/plain; charset=utf-8")


def _defaults(action: str) -> str:
    """Its parameters, those of a few words with all of them."""
    return ", ".join(
        f"{name} {'|'.join(CHOICES.get((action, name), [json.dumps(default)]))}"
        for name, default in ACTIONS[action][1].items()
    )


def endings() -> dict[str, str]:
    failed = {
        tail: f"fails: {end.error.format(from_number='...')}"
        for tail, end in ENDINGS.items()
        if end.error
    }
    refused = {tail: f"refused with {code}: {why}" for tail, (code, why) in REFUSED.items()}
    return dict(sorted((failed | refused | TOLD).items()))
