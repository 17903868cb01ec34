"""The smarthost, our next mail hop: one transaction a mail, TLS as configured and never less.

A reply decides what to do: 4xx, no connection and our own login are worth another try, 5xx is the
end for that recipient. A cut after the final dot is tried again: the receiver recognises the
copy by its Message-ID, and a mail twice is better than a fax lost.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiosmtplib

from gateway.errors import Cause, PermanentError, TransientError
from gateway.mail.compose import ADDRESS
from gateway.mail.headers import clean

SLOWEST = 32 << 10  # bytes/s
_OUR_ACCOUNT = frozenset({530, 534, 535, 538})  # RFC 4954: nothing that is the mail's fault
_SYNTAX = frozenset({500, 501, 502, 503, 504})  # before MAIL: a wrong port or a wrong server


@dataclass(frozen=True, slots=True)
class Relay:
    """Where mail goes and how we get in."""

    host: str
    port: int
    tls: Literal["none", "starttls", "implicit"] = "none"
    user: str = ""
    password: str = ""
    hostname: str = "localhost"
    timeout: float = 30.0  # s for one step of the dialogue

    def __repr__(self) -> str:
        return f"Relay({self.host}:{self.port}, {self.tls})"


@dataclass(frozen=True, slots=True)
class Refused:
    """A recipient that the smarthost would not take, in its words."""

    recipient: str
    said: str


class Smarthost:
    """Sends mails one by one; several tasks may send at once, each over its own connection."""

    def __init__(self, relay: Relay, context: ssl.SSLContext | None = None) -> None:
        self._relay = relay
        self._context = context or ssl.create_default_context()

    async def send(
        self, envelope_from: str, recipients: Sequence[str], message: Path
    ) -> list[Refused]:
        """Hand a written mail over; returns the recipients that were refused for good.

        TransientError: not taken, try later. PermanentError: no recipient was taken, ever.
        """
        wrong = [one for one in recipients if not ADDRESS.fullmatch(one)]
        if wrong or not recipients:
            raise PermanentError(f"no mail address: {clean(', '.join(wrong))}", Cause.REJECTED)
        content = await asyncio.to_thread(message.read_bytes)
        try:
            async with asyncio.timeout(4 * self._relay.timeout + len(content) / SLOWEST):
                return await self._transact(envelope_from, recipients, content)
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            raise _translated(error, self._relay) from error

    async def _transact(
        self, envelope_from: str, recipients: Sequence[str], content: bytes
    ) -> list[Refused]:
        relay = self._relay
        client = aiosmtplib.SMTP(
            hostname=relay.host, port=relay.port, timeout=relay.timeout,
            local_hostname=relay.hostname, use_tls=relay.tls == "implicit",
            start_tls=relay.tls == "starttls", tls_context=self._context,
            username=relay.user or None, password=relay.password or None,
        )  # fmt: skip
        async with client:
            errors, _ = await client.sendmail(envelope_from, list(recipients), content)
        later = [str(reply.message) for reply in errors.values() if reply.code < 500]
        if later and len(errors) == len(recipients):
            raise TransientError(f"the smarthost said: {clean(later[0])}")
        return [
            Refused(who, f"{reply.code} {clean(reply.message)}") for who, reply in errors.items()
        ]


def _translated(error: Exception, relay: Relay) -> Exception:
    """What to do about a failed transaction."""
    where = f"the smarthost {relay.host}:{relay.port}"
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        final = [one for one in error.recipients if one.code >= 500]
        said = clean("; ".join(f"{one.code} {one.message}" for one in error.recipients))
        if len(final) == len(error.recipients):
            return PermanentError(f"{where} refused it: {said}", Cause.REJECTED)
        return TransientError(f"{where} said: {said}")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        said = f"{where} said: {error.code} {clean(str(error.message))}"
        ours = error.code in _OUR_ACCOUNT or isinstance(
            error, aiosmtplib.SMTPConnectError | aiosmtplib.SMTPHeloError
        )
        if error.code < 500 or ours or (error.code in _SYNTAX):
            return TransientError(said)
        return PermanentError(said, Cause.REJECTED)
    return TransientError(f"{where} did not take it: {clean(repr(error))}")
