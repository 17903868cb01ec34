"""Who may write to the postmaster now: anybody, but nobody floods the administrator. Pure."""

from __future__ import annotations

from collections import Counter

from gateway.doors.smtp.guests import home_of

HOUR = 3600.0
MOST_OF_ONE = 20  # mails of one network in an hour
MOST_BYTES = 1_000_000  # of a stranger's: a letter, not a scan
MOST_OF_STRANGERS = 100  # of all together who are no senders of ours: they come from everywhere


class Postbox:
    """Counts what was let in. The time is an argument (monotonic seconds)."""

    def __init__(self) -> None:
        self._since = float("-inf")  # when this hour began: with its first mail
        self._mails: Counter[str] = Counter()
        self._strange = 0

    def takes(self, peer: str, now: float, *, strange: bool) -> bool:
        """One more mail; False = not in this hour."""
        if now - self._since >= HOUR:
            self._since, self._strange = now, 0
            self._mails.clear()
        home = home_of(peer)
        if self._mails[home] >= MOST_OF_ONE or (strange and self._strange >= MOST_OF_STRANGERS):
            return False
        self._mails[home] += 1
        self._strange += strange
        return True
