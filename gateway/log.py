"""structlog: one telling line a step; console on a terminal, JSON for journald. Redaction.

Events are past-tense `noun_verb` words, listed in the README. Never logged: content, subjects,
secrets; numbers are masked unless LOG_NUMBERS=full.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# However people write one; times and addresses of hosts have colons, or fewer digits in a row.
_NUMBER = re.compile(r"(?<![\w.:])(\+?)(\d(?:[ .()/-]{0,2}\d){6,14})(?![\w:])")
_HOST = re.compile(r"(\d{1,3}\.){3}\d{1,3}")
_OURS = frozenset({"timestamp", "level"})
_SHORTEST = 4  # characters of a secret, or of a number
_LOUD = ("mail.log", "aiosmtpd", "httpx", "httpcore", "uvicorn", "uvicorn.error", "asyncio")


_ENCODER = json.JSONEncoder(default=repr)  # json.dumps would make one for every line


def _json(event: EventDict, **_unused: object) -> str:
    return _ENCODER.encode(event)


def setup(
    level: str = "info",
    form: Literal["auto", "console", "json"] = "auto",
    numbers: Literal["masked", "full"] = "masked",
    secrets: Iterable[str] = (),
) -> None:
    """Configure once, before anything logs. `secrets` are replaced wherever they might appear."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    redact = Redact(secrets, mask_numbers=numbers == "masked")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, redact, last],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    for name in _LOUD:  # libraries that would tell commands, addresses or mail text
        logging.getLogger(name).setLevel(logging.WARNING)


class Redact:
    """Takes secrets and full numbers out of every value, also out of tracebacks."""

    def __init__(self, secrets: Iterable[str], *, mask_numbers: bool) -> None:
        words = [re.escape(secret) for secret in secrets if len(secret) >= _SHORTEST]
        self._secret = re.compile("|".join(words)) if words else None
        self._mask_numbers = mask_numbers

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        clean = self._clean
        return {key: value if key in _OURS else clean(value) for key, value in event.items()}

    def _clean(self, value: object) -> object:
        if value is None or isinstance(value, int | float):
            return value
        if isinstance(value, list | tuple | set):
            return [self._clean(item) for item in value]
        text = value if isinstance(value, str) else repr(value)
        if len(text) < _SHORTEST:
            return text
        if self._secret:
            text = self._secret.sub("[secret]", text)
        return _NUMBER.sub(_masked, text) if self._mask_numbers else text


def _masked(match: re.Match[str]) -> str:
    """An international number, or ten digits and more: only its end tells one from another."""
    plus, written = match.groups()
    digits = re.sub(r"\D", "", written)
    if _HOST.fullmatch(written) or (not plus and len(digits) < 10):
        return match[0]
    return f"{plus}•••{digits[-4:]}"
