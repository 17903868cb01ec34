"""Who a fax counts for: "login:bob", "device:copier-2", "network:10.1.0.0/16", "address:ann@…".

And the other way: which rule sets the ceilings of a fax that counts for one of them. Pure.
"""

from __future__ import annotations

from gateway.rules import Facts, Rules, Sender, folded


def of_sender(sender: str, login: str, rule: Sender | None = None) -> str:
    """Where any address may be written, one is as good as another: then the place counts."""
    if login:
        return f"login:{folded(login)}"
    if rule and _is_of_a_place(rule):
        return f"network:{rule.network[0]}"
    return f"address:{folded(sender)}"


def spender(rules: Rules, identity: str, sender: str) -> Facts | None:
    """The rule whose limits bind it, as the rules are now."""
    kind, _, name = identity.partition(":")
    if kind == "device":
        return next((one for one in rules.device if one.name == name), None)
    allowed = [rule for rule in rules.sender if not rule.deny]
    if kind == "network":
        places = filter(_is_of_a_place, allowed)
        return next((one for one in places if name in map(str, one.network)), None)
    login = name if kind == "login" else ""
    sender = sender or (name if kind == "address" else "")
    about = [rule for rule in allowed if rule.owns(sender) and rule.is_of(login)]
    named = (rule for rule in about if not _is_of_a_place(rule))
    return next(named, None) or next(iter(about), None)


def _is_of_a_place(rule: Sender) -> bool:
    """It names a network alone."""
    return not (rule.address or rule.domain or rule.login)
