"""Tolerant readers: the provider's many spellings → our few types. Total: no input raises.

The documents disagree with each other and with the platform behind them (envelope or bare, names
and types of fields, ISO or Gregorian times), so each fact is looked for under all its names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from gateway.errors import TransientError
from gateway.provider import Phase, Received, Sent

GREGORIAN = 62_167_219_200  # seconds from year 0 to the Unix epoch
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")  # of a received fax: strangers name it in webhooks
SENT_ID = re.compile(r"(?!\.{1,2}$)[!-~]{1,200}")  # of ours: whatever its answer says, opaque

_PHASES = {
    Phase.WORKING: "pending queued scheduled accepted attaching_files resubmitting retrying "
    "processing locked preparing converting sending in_progress transmitting dialing "
    "negotiating started",
    Phase.DELIVERED: "sent completed delivered success successful",
    Phase.FAILED: "failed failure error undelivered rejected busy no_answer cancelled canceled "
    "expired",
}
_PHASE_OF = {word: phase for phase, words in _PHASES.items() for word in words.split()}
_TIMES = ("timestamp", "received_at", "created_at", "created", "fax_timestamp")
_REASONS = ("result_text", "error_message", "result_cause", "error", "failure_reason", "message")


class UnreadableError(ValueError):
    """The answer has none of the known shapes."""


def parsed(content: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TransientError("the provider's answer is no JSON") from error


def payload(answer: Any) -> Any:  # noqa: ANN401
    """What is inside the envelope; a bare answer is its own payload."""
    if isinstance(answer, dict) and "data" in answer:
        status = answer.get("status")
        if (
            {"request_id", "auth_token", "success"} & answer.keys()
            or status in ("success", "error", "fatal")
        ):  # fmt: skip
            if status in ("error", "fatal"):
                raise UnreadableError(f"an error inside a success: {message_of(answer)}")
            return answer["data"]
    return answer


def rows(answer: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401
    """The list in an answer. One that has none raises: it must never count as empty."""
    inside = payload(answer)
    found = inside
    if isinstance(inside, dict):
        found = next((inside[k] for k in ("faxes", "items", "results") if k in inside), None)
    if not isinstance(found, list):
        raise UnreadableError("the answer holds no list")
    return [row for row in found if isinstance(row, dict)]


def sent(row: Mapping[str, Any], clock_offset: float = 0.0) -> Sent | None:
    """An outbound fax; None when the row is a received one. An id that is of no use becomes ""."""
    fax_id = _first(row, "id", "_id", "fax_id")
    if _first(row, "direction") in ("inbound", "incoming") or row.get("folder") == "inbox":
        return None
    word = _first(row, "status")
    result = row.get("tx_result")
    result = result if isinstance(result, dict) else {}
    phase = phase_of(word)
    return Sent(
        id=fax_id if SENT_ID.fullmatch(fax_id) else "",
        phase=phase,
        word=_clean(word, 60),
        to_number=_first(row, "to_number", "to"),
        from_number=_first(row, "from_number", "from"),
        pages=_count(row, "pages") or _count(result, "total_pages", "pages"),
        duration=_count(row, "duration") or _count(result, "time_elapsed"),
        reason=_reason(row, result) if phase is Phase.FAILED else "",
        created_at=_time(row, clock_offset),
    )


def received(row: Mapping[str, Any], clock_offset: float = 0.0) -> Received | None:
    """A received fax; None when the row is none."""
    fax_id = _first(row, "id", "_id", "fax_id")
    outbound = _first(row, "direction") in ("outbound", "outgoing")
    if not ID.fullmatch(fax_id) or outbound:
        return None
    return Received(
        id=fax_id,
        from_number=_clean(_first(row, "from_number", "from", "caller_id_number"), 40),
        to_number=_clean(_first(row, "to_number", "to", "callee_id_number"), 40),
        from_name=_clean(_first(row, "from_name", "caller_id_name"), 200),
        pages=_count(row, "pages"),
        size=_count(row, "file_size"),
        format=_clean(_first(row, "format"), 20),
        status=_clean(_first(row, "status"), 40),
        received_at=_time(row, clock_offset),
    )


def submitted_id(answer: Any) -> str:  # noqa: ANN401
    """The id of a fax just submitted; "" = the answer names none."""
    try:
        inside = payload(answer)
    except UnreadableError:
        return ""
    for place in (inside, answer):
        if isinstance(place, dict):
            fax_id = _first(place, "id", "_id", "fax_id")
            if SENT_ID.fullmatch(fax_id):
                return fax_id
    return ""


def phase_of(word: str) -> Phase:
    """An unknown word is WORKING: it must never end a fax."""
    return _PHASE_OF.get(re.sub(r"[\s-]+", "_", word.strip().lower()), Phase.WORKING)


def message(content: bytes) -> str:
    """What an error's body says, in one clean line; "" = nothing usable."""
    try:
        return message_of(json.loads(content))
    except (ValueError, RecursionError):
        return ""


def message_of(answer: Any) -> str:  # noqa: ANN401
    """The sentences under `message` anywhere in an error, or its own plain `message`."""
    if not isinstance(answer, dict):
        return ""
    inside = list(_messages(answer.get("data"), ())) or list(_messages(answer.get("error"), ()))
    plain = answer.get("message")
    return _clean("; ".join(inside) or (plain if isinstance(plain, str) else ""), 200)


def retry_after(value: str, now: float) -> float | None:
    """Seconds of a Retry-After (RFC 9110 §10.2.3: seconds or a date); None = unusable."""
    if re.fullmatch(r"\d{1,9}", value.strip()):
        return float(value)
    at = http_date(value)
    return None if at is None else at - now


def http_date(value: str) -> float | None:
    try:
        at = parsedate_to_datetime(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _messages(value: Any, path: tuple[str, ...]) -> Iterator[str]:  # noqa: ANN401
    """Validation errors nest as {field: {rule: {message}}}: name the field with each message."""
    if not isinstance(value, dict) or len(path) > 4:
        return
    if isinstance(text := value.get("message"), str):
        yield f"{path[0]}: {text}" if path else text
        return
    for key, inner in list(value.items())[:20]:
        yield from _messages(inner, (*path, str(key)))


def _first(row: Mapping[str, Any], *names: str) -> str:
    value = next((row[name] for name in names if row.get(name) not in (None, "")), "")
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _count(row: Mapping[str, Any], *names: str) -> int:
    text = _first(row, *names)
    return int(text) if re.fullmatch(r"\d{1,9}", text) else 0


def _reason(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    found = (_first(place, name) for place in (result, row) for name in _REASONS)
    return _clean(next((text for text in found if text), ""), 200)


def _time(row: Mapping[str, Any], clock_offset: float) -> float:
    """Seconds since the epoch by our clock; 0 = the row has no time."""
    for name in _TIMES:
        at = _instant(row.get(name))
        if at:
            return at - clock_offset
    return 0.0


def _instant(value: Any) -> float:  # noqa: ANN401
    if isinstance(value, str) and not re.fullmatch(r"\d{1,20}", value):
        try:
            at = datetime.fromisoformat(value)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return 0.0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    if not math.isfinite(number) or number <= 0:
        return 0.0
    if number > 1e12:
        return number / 1000
    return number - GREGORIAN if number > 6.2e10 else number


def _clean(text: str, most: int) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:most]
