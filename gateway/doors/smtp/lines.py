"""The bytes of a client → command lines, however they are cut. Pure.

A line ends with LF. One that is longer than any command is thrown away as it comes, and told once.
"""

from __future__ import annotations

TOO_LONG = b""  # stands for a line that was too long; a real one has at least its line end


class Lines:
    """What the client sent and nobody looked at yet."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._unread, self._at = b"", 0
        self._overlong = False
        self.thrown = 0  # bytes of a line that is too long and goes on

    def __len__(self) -> int:
        return len(self._unread) - self._at

    def feed(self, data: bytes) -> None:
        self._unread, self._at = (self._unread[self._at :] + data if self._unread else data), 0

    def next(self) -> bytes | None:
        """The next line with its end, `TOO_LONG`, or None: it has not come yet."""
        end = self._unread.find(b"\n", self._at) + 1
        if not end:
            self._overlong = self._overlong or len(self) > self._longest
            if self._overlong:
                self.thrown += len(self.take())
            return None
        line, self._at = self._unread[self._at : end], end
        if end == len(self._unread):
            self._unread, self._at = b"", 0
        if self._overlong or len(line) > self._longest:
            self._overlong, self.thrown = False, 0
            return TOO_LONG
        return line

    def take(self) -> bytes:
        """All of it, as it came: these are no lines."""
        unread = self._unread[self._at :]
        self._unread, self._at = b"", 0
        return unread
