"""What is remembered of a session when it is over, for `rejects` and `device doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.doors import transcripts
from gateway.doors.smtp.settings import Kind
from gateway.doors.transcripts import Transcript

if TYPE_CHECKING:
    from gateway.doors.smtp.shared import Shared

MAIL, NO_MAIL = "mail", "no mail"


class Record:
    """`outcome` is the last refusal, or what came of the session."""

    def __init__(self, shared: Shared, kind: Kind) -> None:
        self.transcript = Transcript()
        self.outcome = NO_MAIL
        self._shared = shared
        self._kind = kind
        self._parted = False  # with a goodbye of ours
        self._farewell = ""

    def refused(self, peer: str, reply: str, because: str) -> None:
        self.outcome = reply
        self._shared.refused(self._kind, peer, reply, because=because)

    def parted(self) -> None:
        """We said goodbye, or it did."""
        self._parted = True

    def left(self, *, in_data: bool) -> None:
        """The connection is gone; what becomes of its mail need not be known yet."""
        if not self._parted:
            self._farewell = transcripts.LEFT_IN_DATA if in_data else transcripts.LEFT

    def keep(self, peer: str) -> None:
        """Copiers' sessions, and those that ended without a mail."""
        if self._farewell:
            self.transcript.note(self._farewell)
        if self._kind is Kind.DEVICE or self.outcome != MAIL:
            kept = self._shared.services.transcripts
            kept.keep(peer, self._kind, self.transcript, self.outcome)
