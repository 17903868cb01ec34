"""`rules.toml` → who may send, what copiers need, aliases, limits, and who gets which fax.

The only reader of that file. It is taken whole or not at all; every mistake in it is told at once,
with its place.
"""

from __future__ import annotations

from gateway.rules.reading import RulesError, load
from gateway.rules.tables import (
    Alias,
    Device,
    Facts,
    Limits,
    Route,
    Rules,
    Sender,
    Spending,
    within,
)
from gateway.rules.values import COMPAT, Network, folded

__all__ = [
    "COMPAT", "Alias", "Device", "Facts", "Limits", "Network", "Route", "Rules", "RulesError",
    "Sender", "Spending", "folded", "load", "within",
]  # fmt: skip
