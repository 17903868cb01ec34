"""What the simulator answers: replies, the two families' wrappers, and their errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

JSON = "application/json"
HTML = "text/html; charset=utf-8"
ERROR_PAGE = b"<html><head><title>Error</title></head><body><h1>Error</h1></body></html>\n"
WORDS = {401: "invalid_credentials", 429: "too_many_requests"}


@dataclass(frozen=True, slots=True)
class Pace:
    """How a body leaves. `cut`: close after so many bytes, -1 = none; `rate`: bytes a second.

    `chunked`: its length is not told.
    """

    cut: int = -1
    chunked: bool = False
    rate: float = 0.0
    stall_after: int = -1
    stall: float = 0.0


class Body(Protocol):
    """Bytes, or a file that reads like them."""

    def __len__(self) -> int: ...

    def __getitem__(self, piece: slice, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Body = b""
    media_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    pace: Pace = Pace()


class RefusedError(Exception):
    """The provider says no. `field` is the one it does not like, "" = none in particular."""

    def __init__(
        self, status: int, message: str, field: str = "", headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.headers = headers


def bare(content: object, status: int = 200) -> Reply:
    """Family B and the control API: the object as it is."""
    return Reply(status, json.dumps(content).encode())


def envelope(
    content: object, token: str, request_id: str, status: int, more: Mapping[str, Any]
) -> Reply:
    """Family A: the object as `data`; the token is echoed as the document shows."""
    whole = {"auth_token": token, "data": content, "request_id": request_id, "status": "success"}
    return bare({**whole, **more}, status)


def enveloped_error(refused: RefusedError, request_id: str) -> Reply:
    said: dict[str, Any] = {"message": refused.message}
    if refused.field:
        said = {refused.field: {"required": said}}
    whole = {
        "data": said,
        "error": str(refused.status),
        "message": "validation error" if refused.field else _word(refused.status),
        "request_id": request_id,
        "status": "error",
    }
    return Reply(refused.status, json.dumps(whole).encode(), headers=refused.headers)


def bare_error(refused: RefusedError) -> Reply:
    error = {
        "code": _word(refused.status),
        "message": refused.message,
        "param": refused.field,
        "type": "api_error" if refused.status >= 500 else "invalid_request_error",
    }
    return Reply(refused.status, json.dumps({"error": error}).encode(), headers=refused.headers)


def phrase(status: int) -> str:
    """The reason phrase of RFC 9110, "Error" where it has none."""
    return HTTPStatus(status).phrase if status in {int(code) for code in HTTPStatus} else "Error"


def _word(status: int) -> str:
    return WORDS.get(status) or phrase(status).lower().replace(" ", "_")
