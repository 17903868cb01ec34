"""The server's side of AUTH PLAIN and AUTH LOGIN (RFC 4954, RFC 4616), up to the name and password.

Pure: lines in, challenges out. What is not understood raises `Refused` with the reply.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field

from gateway.doors.smtp.grammar import Refused

MECHANISMS = ("PLAIN", "LOGIN")
LINE_LIMIT = 1024  # bytes of a response with its CRLF: name and password with room to spare

CANCELLED = "501 5.7.0 Authentication cancelled"
SYNTAX = "501 5.5.4 Syntax: AUTH mechanism [initial-response]"
NOT_BASE64 = "501 5.5.2 The response is not base64 of what the mechanism wants"
UNKNOWN_MECHANISM = "504 5.5.4 Unknown mechanism: PLAIN and LOGIN are known"
TOO_LONG = "500 5.5.6 Authentication exchange line is too long"
OTHER_IDENTITY = "535 5.7.8 Nobody may act for another user: leave the authorization identity empty"

_PLAIN = "334 "
# Copiers look for these two words, in base64 `Username:` and `Password:`, and quit at any other.
_NAME = "334 VXNlcm5hbWU6"
_PASSWORD = "334 UGFzc3dvcmQ6"  # noqa: S105 - it asks for one


@dataclass(frozen=True, slots=True)
class Challenge:
    """The reply that asks for the next line."""

    reply: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the client claims; never log either: a password is soon typed into the wrong field."""

    name: str = field(repr=False)
    password: bytes = field(repr=False)


class Exchange:
    """One AUTH command: `begin()`, then `step(line)` until it gives credentials or raises."""

    def __init__(self, argument: str) -> None:
        """The argument is what stands after AUTH: a mechanism and perhaps the first response."""
        mechanism, _, initial = argument.partition(" ")
        self._plain = mechanism.upper() == "PLAIN"
        self._initial = initial.strip(" ")
        self._name: str | None = None  # that LOGIN was told
        if not mechanism or " " in self._initial:
            raise Refused(SYNTAX)
        if mechanism.upper() not in MECHANISMS:
            raise Refused(UNKNOWN_MECHANISM)

    def begin(self) -> Challenge | Credentials:
        match self._initial:
            case "":
                return Challenge(_PLAIN if self._plain else _NAME)
            case "=":  # RFC 4954 §4: a response of no bytes
                return self._take(b"")
            case line:
                return self.step(line)

    def step(self, line: str) -> Challenge | Credentials:
        """The line of a client, without its CRLF."""
        if len(line) + 2 > LINE_LIMIT:
            raise Refused(TOO_LONG)
        if line == "*":
            raise Refused(CANCELLED)
        try:
            return self._take(binascii.a2b_base64(line, strict_mode=True))
        except ValueError:  # binascii's and the decoder's are kinds of it
            raise Refused(NOT_BASE64) from None

    def _take(self, response: bytes) -> Challenge | Credentials:
        if self._plain:
            return _plain(response)
        if self._name is None:
            self._name = response.decode()
            return Challenge(_PASSWORD)
        return Credentials(self._name, response)


def _plain(response: bytes) -> Credentials:
    """Authorization identity NUL name NUL password (RFC 4616 §2)."""
    parts = response.split(b"\0")
    if len(parts) != 3:
        raise Refused(NOT_BASE64)
    for_whom, name, password = parts
    if for_whom not in (b"", name):
        raise Refused(OTHER_IDENTITY)
    return Credentials(name.decode(), password)
