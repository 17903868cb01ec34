"""Our line (DID) and the caller → mailboxes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Fax
from gateway.rules import Route, Rules


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a fax goes, and one line of why for each route that was looked at."""

    mail: tuple[str, ...]
    why: tuple[str, ...]


def route(rules: Rules, fax: Fax) -> Decision:
    """First match decides, unless it says continue; each mailbox once, in the rules' order."""
    mail: dict[str, None] = {}
    why = []
    for number, candidate in enumerate(rules.route, 1):
        reason = _mismatch(candidate, fax)
        why.append(f"route {number}: {reason or 'matches: ' + ', '.join(candidate.mail)}")
        if reason:
            continue
        mail |= dict.fromkeys(candidate.mail)
        if not candidate.go_on:
            break
    return Decision(tuple(mail), tuple(why))


def _mismatch(candidate: Route, fax: Fax) -> str:
    """Why a route is not meant; "" = it is."""
    if candidate.to and not _any(candidate.to, fax.line):
        return f"the fax was for {fax.line or 'an unknown line'}"
    if candidate.sender and not _any(candidate.sender, fax.number):
        return f"the fax came from {fax.number or 'an unknown number'}"
    return ""


def _any(patterns: tuple[str, ...], number: str) -> bool:
    return any(
        number.startswith(pattern[:-1]) if pattern.endswith("*") else number == pattern
        for pattern in patterns
    )
