"""One received fax: listed, then downloadable; received → processed → archived, never back."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.provider.simulator.documents import Document
from gateway.provider.simulator.replies import RefusedError

RECEIVED, PROCESSED, ARCHIVED = WORDS = ("received", "processed", "archived")
BAUD_RATE = 14400
SECONDS_A_PAGE = 30


@dataclass(slots=True)
class InboundFax:
    id: str
    serial: int
    from_number: str
    from_name: str
    to_number: str
    document: Document
    pages: int
    at: float
    listed_at: float
    ready_at: float  # when its document can be downloaded
    status: str = RECEIVED
    processed: bool = False

    @property
    def format(self) -> str:
        return self.document.format or "pdf"

    @property
    def duration(self) -> int:
        return 15 + SECONDS_A_PAGE * self.pages

    def mark(self, word: str) -> bool:
        """Set the status; False = it was that already.

        Raises:
            RefusedError: not a status to set, or a way back.
        """
        if word not in (RECEIVED, PROCESSED):
            raise RefusedError(400, "status can be set to processed", "status")
        if word == self.status:
            return False
        if self.status != RECEIVED:
            raise RefusedError(409, f"a fax that is {self.status} cannot become {word}")
        self.status, self.processed = PROCESSED, True
        return True

    def archive(self, twice: int) -> None:
        """Move to the archive; `twice` is the answer when it is there already."""
        if self.status == ARCHIVED and twice != 200:
            raise RefusedError(twice, "the fax is archived already")
        self.status = ARCHIVED
