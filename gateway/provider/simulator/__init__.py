"""The provider simulator: a sandbox for users, the provider of the tests.

Both documents of the provider over HTTP on loopback, with its waiting times (scaled), its
failures (by called number) and its faults (by rule), and a ledger that tells what really
happened. `server` listens, `router` finds the operation (`family_a`, `family_b`, `control`),
`misbehave` spoils it, `outbound` and `inbound` are the life of a fax, `hooks` calls back.
"""

from gateway.provider.simulator.faults import Rule, rule
from gateway.provider.simulator.ledger import HookTry, Ledger, Seen, Stored
from gateway.provider.simulator.profile import PROFILES, Profile, Settings, Timing, profile
from gateway.provider.simulator.serve import announce, run_simulator, serve
from gateway.provider.simulator.server import Simulator

__all__ = [
    "PROFILES",
    "HookTry",
    "Ledger",
    "Profile",
    "Rule",
    "Seen",
    "Settings",
    "Simulator",
    "Stored",
    "Timing",
    "announce",
    "profile",
    "rule",
    "run_simulator",
    "serve",
]
