"""What was said in a session, for `device doctor`: bounded, without secrets, content or names.

A line begins with `C:` (the client), `S:` (we) or `--` (a note of ours). Kept of a client's line:
the verbs of SMTP with their arguments masked, with `<LF>` when it ended so and `<8bit>` when it
was not ASCII; of other protocols the verb; of anything else, and after AUTH, only that it was
said. Notes that the doctor understands are the constants below.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable

import structlog

from gateway.doors.refusals import (
    clean,
    flush_until,
    masked_reply,
    masked_text,
    peer_name,
)
from gateway.store import Store, StoreError
from gateway.store.doors import DEVICE, SESSIONS_OF_ONE, Session

log = structlog.get_logger()

FIRST, LAST = 60, 39  # lines that are kept of a session, with one that counts what is between
MOST_WAITING = 100  # sessions in memory until they are committed
_LONGEST = 200

# notes
TLS_ON = "tls on: {}"  # the version
TLS_FAILED = "tls failed: {}"  # the text of the ssl module
NOT_LISTED = "peer not in SMTP_DEVICE_NETWORKS"
LEFT = "client left"  # without QUIT
LEFT_IN_DATA = "client left before the end of data"
TIMED_OUT = "timed out"
SPLIT = "message/partial"  # the mail was one piece of a split one

_VERB = re.compile(
    rb"\s*(?:EHLO|HELO|MAIL|RCPT|DATA|RSET|NOOP|VRFY|EXPN|HELP|QUIT|STARTTLS|BDAT|ETRN)(?![\w-])",
    re.IGNORECASE,
)
_AUTH = re.compile(rb"\s*AUTH\b[ =]*", re.IGNORECASE)
_MECHANISM = re.compile(
    rb"(PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|NTLM|GSSAPI|XOAUTH2?|OAUTHBEARER|SCRAM-[A-Z0-9-]+)"
    rb"(?![\w+/=-])",
    re.IGNORECASE,
)
_OTHER = re.compile(  # of other protocols, or of extensions that we do not have
    rb"(?:GET|POST|PUT|HEAD|CONNECT|OPTIONS|USER|PASS|LHLO|HELLO|PROXY|XCLIENT|XFORWARD|SEND|SAML"
    rb"|SOML|TURN|VERB|ONEX|LOGIN)(?![^ \r\n])",
    re.IGNORECASE,
)
_HIDDEN = b"***"


class Transcript:
    """One session. The methods are cheap: nothing is formatted until somebody reads it."""

    __slots__ = ("_asked", "_first", "_last", "_login", "_seen")

    def __init__(self) -> None:
        self._first: list[tuple[str, bytes | str]] = []
        self._last: deque[tuple[str, bytes | str]] = deque(maxlen=LAST)
        self._seen = 0
        self._asked = self._login = False  # secrets may come: for one line, from now on

    def heard(self, line: bytes | str) -> None:
        """A command, or an answer to a 334, with its line end if it had one."""
        raw = line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")
        self._add("C", self._public(raw))

    def said(self, reply: str) -> None:
        """A reply, without the last line end."""
        self._asked = reply.startswith("334")
        self._add("S", reply[: 2 * _LONGEST])

    def note(self, text: str) -> None:
        self._add("--", text[: 2 * _LONGEST])

    def data(self, size: int, ends: str, longest: int) -> None:
        """The body of a mail in numbers. `ends`: how its lines end, "CRLF", "LF" or "both"."""
        self._add("C", f"<{size:,} bytes, lines end with {ends}, longest {longest:,}>")

    def text(self) -> str:
        kept = [*self._first, *self._last]
        lines = [_line(who, what) for who, what in kept]
        if left_out := self._seen - len(kept):
            lines.insert(FIRST, f"-- {left_out:,} lines left out")
        return "\n".join(lines)

    def _add(self, who: str, what: bytes | str) -> None:
        self._seen += 1
        if len(self._first) < FIRST:
            self._first.append((who, what))
        else:
            self._last.append((who, what))

    def _public(self, line: bytes) -> bytes:
        end = b"" if line.endswith(b"\r\n") or not line.endswith(b"\n") else b" <LF>"
        if self._asked:
            self._asked = False
            return _HIDDEN + end
        if _VERB.match(line):
            odd = b"" if line.isascii() else b" <8bit>"
            return line[:_LONGEST].rstrip(b"\r\n") + odd + end
        if auth := _AUTH.match(line):
            self._login = True
            mechanism = _MECHANISM.match(line, auth.end())
            shown = mechanism[0] if mechanism else b""
            rest = line[mechanism.end() if mechanism else auth.end() :].strip()
            return auth[0] + shown + (b" " * bool(shown) + _HIDDEN if rest else b"") + end
        word = None if self._login else _OTHER.match(line)
        return (word[0] + b" " if word else b"") + _HIDDEN + end


class Transcripts:
    """The last sessions: `keep` takes one that has ended, `run` commits them."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._waiting: deque[tuple[float, str, str, str, Transcript]] = deque()
        self._failing = False

    def keep(self, peer: str, door: str, transcript: Transcript, outcome: str) -> None:
        """`outcome`: the last refusal, or what came of it: "mail", "no mail", "timed out"."""
        peer = peer_name(peer)
        self._waiting.append((self._clock(), str(door), peer, outcome, transcript))
        self._bound(door, peer)

    async def run(self, stop: asyncio.Event) -> None:
        """Commit every two seconds until `stop`, and then once more."""
        await flush_until(stop, self.flush)

    async def flush(self) -> bool:
        """Commit what ended; False = the database took nothing, it waits in memory."""
        waiting, self._waiting = self._waiting, deque()
        try:
            if waiting:
                sessions = await asyncio.to_thread(_written, list(waiting))
                await self._store.doors.heard(sessions)
        except StoreError as error:
            if not self._failing:
                log.error("transcripts_not_kept", error=str(error))  # noqa: TRY400 - no bug
            self._failing = True
            self._waiting.extendleft(reversed(waiting))
            while len(self._waiting) > MOST_WAITING:
                self._drop_oldest()
            return False
        self._failing = False
        return True

    def _bound(self, door: str, peer: str) -> None:
        """As the store does: of each peer the newest, and copiers' are the last to go."""
        mine = [one for one in self._waiting if one[1:3] == (door, peer)]
        if len(mine) > SESSIONS_OF_ONE:
            self._waiting.remove(mine[0])
        elif len(self._waiting) > MOST_WAITING:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        strangers = (one for one in self._waiting if one[1] != DEVICE)
        self._waiting.remove(next(strangers, self._waiting[0]))


def _written(waiting: list[tuple[float, str, str, str, Transcript]]) -> list[Session]:
    return [
        Session(at, door, peer, masked_reply(outcome), transcript.text())
        for at, door, peer, outcome, transcript in waiting
    ]


def _line(who: str, what: bytes | str) -> str:
    text = what.decode("utf-8", "replace") if isinstance(what, bytes) else what
    text = " | ".join(text.replace("\r", "").split("\n"))
    if who == "--":
        return clean(f"-- {masked_text(text)}")
    return clean(f"{who}: {masked_reply(text) if who == 'S' else masked_text(text)}")
