"""Server contexts for TLS: a strict one, and one for copiers that know nothing newer than TLS 1.0.

A listener may keep the context it was started with: at every handshake it passes on to the newest.
(Loading a pair into the same context again is no way: it keeps one certificate for each kind of
key, so an old RSA one would be shown for ever beside a new ECDSA one, and a key that does not
match would leave a context without a certificate.)
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SOON = 14  # days: renewal should have happened by then
_DAY = 86400
_NOT_YET, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_MISMATCH = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
_WEAK = frozenset({"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"})


class TlsError(ValueError):
    """The pair cannot be used; `problems` says why, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class _Pair:
    """One pair of files as it was loaded."""

    strict: ssl.SSLContext
    tolerant: ssl.SSLContext
    expires: float  # wall clock, 0 = see `fault`
    fault: str


class Certificates:
    """`SMTP_TLS_CERT` and `SMTP_TLS_KEY`, and what of them is in use."""

    def __init__(self, cert: Path, key: Path, clock: Callable[[], float] = time.time) -> None:
        """Raises TlsError."""
        self._cert, self._key, self._clock = cert, key, clock
        self._pair = first = _load(cert, key)
        self.strict, self.tolerant = first.strict, first.tolerant
        self.strict.sni_callback = self._pass_on_strict
        self.tolerant.sni_callback = self._pass_on_tolerant

    def reload(self) -> None:
        """Take the files as they are now; raises TlsError and keeps what was in use."""
        self._pair = _load(self._cert, self._key)

    @property
    def warnings(self) -> list[str]:
        """What works now and will not please everybody, or not for long."""
        return [*self._ages(), *_too_open(self._key)]

    def _ages(self) -> Iterator[str]:
        pair = self._pair
        if pair.fault:
            yield f"{self._cert}: {pair.fault}: clients that look will not send"
            return
        days = int((pair.expires - self._clock()) // _DAY)
        if days < 0:
            yield f"{self._cert}: the certificate has expired: clients that look will not send"
        elif days < _SOON:
            yield f"{self._cert}: the certificate expires in {days} days"

    # RFC 6066 §3 is not what these are for: OpenSSL calls them without a server name, too

    def _pass_on_strict(self, talk: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        talk.context = self._pair.strict

    def _pass_on_tolerant(self, talk: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        talk.context = self._pair.tolerant


def _load(cert: Path, key: Path) -> _Pair:
    if problems := [*_unreadable(cert, "CERTIFICATE"), *_unreadable(key, "PRIVATE KEY")]:
        raise TlsError(problems)
    strict, tolerant = _context(), _context()
    strict.minimum_version = ssl.TLSVersion.TLSv1_2
    # down to TLS 1.0, no further: SSLv3 is an option that is never set
    tolerant.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    tolerant.set_ciphers("DEFAULT:@SECLEVEL=0")  # without it OpenSSL 3 refuses TLS 1.0 and 1.1
    try:
        for context in (strict, tolerant):
            context.load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise TlsError([_in_words(error, cert, key)]) from error
    return _Pair(strict, tolerant, *_looked_at(strict, cert))


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION  # cheap to ask for, dear to grant
    return context


def _unreadable(path: Path, what: str) -> Iterator[str]:
    try:
        text = path.read_text("ascii", errors="replace")
    except OSError as error:
        yield f"{path}: {error.strerror}"
        return
    if f"{what}-----" not in text:
        yield f"{path}: no {what.lower()} in PEM form"
    elif "ENCRYPTED" in text:
        yield f"{path}: the key has a passphrase, and nobody is there to type it"


def _in_words(error: OSError, cert: Path, key: Path) -> str:
    reason = getattr(error, "reason", "") or ""
    if reason in _MISMATCH:
        return f"{key}: the key does not belong to the certificate {cert}"
    if reason in _WEAK:
        return f"{cert}: too weak for today's clients ({reason})"
    return f"{cert}, {key}: cannot be used together ({error})"


def _looked_at(server: ssl.SSLContext, cert: Path) -> tuple[float, str]:
    """When it expires, and what a client finds wrong: one shakes hands with us, in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trusts this certificate, whoever made it
    try:
        client.load_verify_locations(cert)
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        asks = client.wrap_bio(back, there)
        answers = server.wrap_bio(there, back, server_side=True)
        for side in (asks, answers, asks, answers):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
        found = asks.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        known = {_NOT_YET: "the certificate is not valid yet"}
        known[_EXPIRED] = "the certificate has expired"
        return 0.0, known.get(error.verify_code, error.verify_message)
    except ssl.SSLError as error:
        raise TlsError([f"{cert}: no handshake succeeds with it ({error})"]) from error
    return float(ssl.cert_time_to_seconds(str(found["notAfter"]))), ""


def _too_open(key: Path) -> Iterator[str]:
    with suppress(OSError):
        if key.stat().st_mode & 0o007:
            yield f"{key}: everybody on this machine may read the key: chmod o= {key}"
