"""Written number → E.164: how numbers are written, and the dial plan: what may be dialled.

Pure. One grammar and one normaliser for every door, for policy, duplicates and the log: what is
not wholly understood is refused, never dialled in part.
"""

from __future__ import annotations

from gateway.numbers.plan import DialPlan, load_all
from gateway.numbers.written import E164, Refusal, masked, plain

__all__ = ["E164", "DialPlan", "Refusal", "load_all", "masked", "plain"]
