"""The smarthost, our next mail hop: one transaction a mail, TLS as configured and never less.

A reply decides what to do: 4xx, no connection and our own login are worth another try, 5xx is the
end for that recipient. A cut after the final dot is tried again: the receiver recognises the
copy by its Message-ID, and a mail twice is better than a fax lost.

Connection, TLS, login and envelope are aiosmtplib's. The body is written here, from the file and
with back-pressure: the library holds a mail five times in memory and stops the loop meanwhile,
and its time for the answer runs while the body is still on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import aiosmtplib

from gateway.errors import Cause, PermanentError, TransientError
from gateway.mail.compose import ADDRESS, is_mailbox
from gateway.mail.headers import clean

SLOWEST = 32 << 10  # bytes/s
_BLOCK = 256 << 10
_OUR_ACCOUNT = frozenset({530, 534, 535, 538})  # RFC 4954: nothing that is the mail's fault
_ASCII_ONLY = "5.6.7 an address in another script, and it offers no SMTPUTF8"  # RFC 6531 §3.5
_SYNTAX = frozenset({500, 501, 502, 503, 504})  # a wrong port or a wrong server


@dataclass(frozen=True, slots=True)
class Relay:
    """Where mail goes and how we get in."""

    host: str
    port: int
    tls: Literal["none", "starttls", "implicit"] = "none"
    user: str = ""
    password: str = field(default="", repr=False)
    hostname: str = "localhost"
    timeout: float = 30.0  # s for one step of the dialogue; four of them for a whole small mail


@dataclass(frozen=True, slots=True)
class Refused:
    """A recipient that the smarthost did not take, and its words, which begin with the code."""

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
        """Hand over a written mail; returns the recipients that were not taken, if some were.

        `envelope_from` is "" for the null sender. TransientError: not taken, try later.
        PermanentError: no recipient was taken, ever.
        """
        _check(envelope_from, recipients)
        client = self._client()
        with message.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            limit = 4 * self._relay.timeout + size / SLOWEST
            try:
                async with asyncio.timeout(limit):
                    await self._enter(client)
                    refusals = await _offer(client, envelope_from, recipients, size)
                    if len(refusals) < len(recipients):
                        await _hand_over(client, file)
                _leave(client)
            except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
                raise self._translated(error) from error
            finally:
                _hang_up(client)
        if len(refusals) == len(recipients):
            raise self._all_refused(refusals)
        return [Refused(one.recipient, _words(one)) for one in refusals]

    def _client(self) -> aiosmtplib.SMTP:
        relay = self._relay
        return aiosmtplib.SMTP(
            hostname=relay.host, port=relay.port, timeout=relay.timeout,
            local_hostname=relay.hostname, use_tls=relay.tls == "implicit",
            start_tls=relay.tls == "starttls", tls_context=self._context,
            username=relay.user or None, password=relay.password or None,
        )  # fmt: skip

    async def _enter(self, client: aiosmtplib.SMTP) -> None:
        """Connection, TLS, login: whatever is refused here is not the fault of a mail."""
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except aiosmtplib.SMTPResponseException as error:
            raise TransientError(f"{self._where} said: {_words(error)}") from error
        except ValueError as error:  # a host name that is none
            raise TransientError(f"{self._where} cannot be asked: {clean(str(error))}") from error

    @property
    def _where(self) -> str:
        return f"the smarthost {self._relay.host}:{self._relay.port}"

    def _translated(self, error: Exception) -> Exception:
        """What to do about a failed transaction."""
        if not isinstance(error, aiosmtplib.SMTPResponseException):
            return TransientError(f"{self._where} did not take it: {clean(repr(error))}")
        said = f"{self._where} said: {_words(error)}"
        return PermanentError(said, Cause.REJECTED) if _final(error) else TransientError(said)

    def _all_refused(self, refusals: list[aiosmtplib.SMTPRecipientRefused]) -> Exception:
        said = clean("; ".join(map(_words, refusals)))
        if all(map(_final, refusals)):
            return PermanentError(f"{self._where} refused it: {said}", Cause.REJECTED)
        return TransientError(f"{self._where} said: {said}")


def _check(envelope_from: str, recipients: Sequence[str]) -> None:
    """The library reads addresses loosely; these go out as they are or not at all."""
    wrong = [one for one in recipients if not is_mailbox(one)]
    if envelope_from and not ADDRESS.fullmatch(envelope_from):
        wrong.append(envelope_from)
    if wrong or not recipients:
        raise PermanentError(f"no mail address: {clean(', '.join(wrong))}", Cause.REJECTED)


async def _offer(
    client: aiosmtplib.SMTP, envelope_from: str, recipients: Sequence[str], size: int
) -> list[aiosmtplib.SMTPRecipientRefused]:
    """Say the envelope; returns the refusals.

    One in another script is said only where SMTPUTF8 is offered, and refused where it is not.
    """
    options = [f"SIZE={size}"] if client.supports_extension("size") else []
    scripts = client.supports_extension("smtputf8")
    if scripts and not all(map(str.isascii, recipients)):
        options.append("SMTPUTF8")
    await client.mail(envelope_from, options=options)
    refusals = []
    for recipient in recipients:
        if not (scripts or recipient.isascii()):
            refusals.append(aiosmtplib.SMTPRecipientRefused(553, _ASCII_ONLY, recipient))
            continue
        try:
            await client.rcpt(recipient, encoding="utf-8")
        except aiosmtplib.SMTPRecipientRefused as refusal:
            if refusal.code == 421:  # it closes the connection (RFC 5321 §3.8)
                raise
            refusals.append(refusal)
    return refusals


async def _hand_over(client: aiosmtplib.SMTP, file: BinaryIO) -> None:
    """DATA, and the answer that counts: the one after the final dot."""
    reply = await client.execute_command(b"DATA")
    protocol = client.protocol
    if reply.code != 354 or protocol is None:
        raise aiosmtplib.SMTPDataError(reply.code, reply.message)
    if protocol._buffer:  # noqa: SLF001 - there is no other way to see replies to unsaid commands
        raise aiosmtplib.SMTPException("it answers before it is asked")
    answer = asyncio.create_task(protocol.read_response())
    await asyncio.sleep(0)  # it listens now: a refusal in the middle of the body is not missed
    try:
        ended = await _say(protocol, file, answer)
        reply = await answer
    finally:
        answer.cancel()
    if reply.code != 250 or not ended:
        raise aiosmtplib.SMTPDataError(reply.code, reply.message)


async def _say(
    protocol: aiosmtplib.protocol.SMTPProtocol, file: BinaryIO, answer: asyncio.Task[object]
) -> bool:
    """Write the body and its final dot; False = it was cut short, the answer tells why."""
    with contextlib.suppress(ConnectionError):
        while block := await asyncio.to_thread(_lines, file):
            if answer.done():
                return False
            protocol.write(block)
            await protocol._drain_helper()  # noqa: SLF001 - what StreamWriter.drain waits for
        protocol.write(b".\r\n")
        return True
    return False


def _lines(file: BinaryIO) -> bytes:
    """The next whole lines as DATA wants them: a dot at the start doubled (RFC 5321 §4.5.2)."""
    block = file.read(_BLOCK) + file.readline()
    ends = block.count(b"\r\n")
    if block and not (block.endswith(b"\r\n") and ends == block.count(b"\n") == block.count(b"\r")):
        raise ValueError("a line of a mail of ours does not end in CR LF")
    return (b"." if block.startswith(b".") else b"") + block.replace(b"\r\n.", b"\r\n..")


def _leave(client: aiosmtplib.SMTP) -> None:
    """QUIT, without waiting for its answer: the 250 above is to be kept before anything happens."""
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        if client.protocol:
            client.protocol.write(b"QUIT\r\n")


def _hang_up(client: aiosmtplib.SMTP) -> None:
    """At once: an orderly close would wait for a server that does not read any more."""
    transport = client.transport
    client.close()
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


def _final(reply: aiosmtplib.SMTPResponseException) -> bool:
    return 500 <= reply.code <= 599 and reply.code not in _OUR_ACCOUNT | _SYNTAX


def _words(reply: aiosmtplib.SMTPResponseException) -> str:
    return f"{reply.code} {clean(str(reply.message))}"
