"""TLS with real handshakes over real sockets: who gets in, what a reload changes, what is said."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import subprocess
import warnings
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trustme

from gateway.doors.smtp.tls import Certificates, TlsError

pytestmark = pytest.mark.anyio

CA = trustme.CA()
ECDSA, RSA = trustme.KeyType.ECDSA, trustme.KeyType.RSA
TODAY = dt.datetime.now(dt.UTC)
OLD = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
NEW = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Each has TLS of its own."""
    return "asyncio", {"use_uvloop": request.param}


def put(
    folder: Path, kind: trustme.KeyType = ECDSA, expires: dt.datetime | None = None
) -> tuple[Path, Path, bytes]:
    """A pair on disk, as a renewal would write it, and the certificate's DER."""
    made = CA.issue_cert("fax.example", key_type=kind, not_after=expires)
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    key.chmod(0o600)
    return cert, key, ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())


def client(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that knows one version and no doubt."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    return context


class Echo(asyncio.Protocol):
    """Says what it hears; with STARTTLS when its first line asks for it."""

    def __init__(self, upgrade: ssl.SSLContext | None = None) -> None:
        self.upgrade = upgrade
        self.tasks: list[asyncio.Task[None]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by name

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        if data == b"STARTTLS\r\n":
            self.tasks.append(asyncio.get_running_loop().create_task(self.start_tls()))

    async def start_tls(self) -> None:
        assert self.upgrade
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(self.transport, self, self.upgrade, server_side=True)
        assert transport
        self.transport = transport


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A listener that got its context once, at its start."""
    server = await asyncio.get_running_loop().create_server(
        Echo, "127.0.0.1", 0, ssl=context, ssl_handshake_timeout=10
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


async def shake(port: int, version: ssl.TLSVersion, name: str = "") -> tuple[str, bytes]:
    """The version agreed on, and the certificate shown; bytes go both ways."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client(version), server_hostname=name
    )
    writer.write(b"hello\r\n")
    assert await reader.readline() == b"hello\r\n"
    talk = writer.get_extra_info("ssl_object")
    writer.close()
    await writer.wait_closed()
    return talk.version(), talk.getpeercert(binary_form=True)


@pytest.mark.parametrize("version", NEW)
async def test_strict_speaks_new_tls(tmp_path: Path, version: ssl.TLSVersion) -> None:
    cert, key, shown = put(tmp_path)
    async with listening(Certificates(cert, key).strict) as port:
        assert await shake(port, version) == (version.name.replace("_", "."), shown)


@pytest.mark.parametrize("version", OLD)
async def test_strict_refuses_old_tls(tmp_path: Path, version: ssl.TLSVersion) -> None:
    cert, key, _ = put(tmp_path)
    async with listening(Certificates(cert, key).strict) as port:
        # the alert, or what is left of it: asyncio resets after a failed handshake
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await shake(port, version)


@pytest.mark.parametrize("kind", [ECDSA, RSA])
@pytest.mark.parametrize("version", [*OLD, *NEW])
async def test_tolerant_speaks_all(
    tmp_path: Path, version: ssl.TLSVersion, kind: trustme.KeyType
) -> None:
    cert, key, shown = put(tmp_path, kind)
    async with listening(Certificates(cert, key).tolerant) as port:
        assert await shake(port, version) == (version.name.replace("_", "."), shown)


@pytest.mark.parametrize("name", ["", "fax.example"])
@pytest.mark.parametrize("kinds", [(ECDSA, ECDSA), (RSA, ECDSA), (ECDSA, RSA)])
async def test_a_reload_reaches_a_listener_that_runs(
    tmp_path: Path, kinds: tuple[trustme.KeyType, trustme.KeyType], name: str
) -> None:
    """A pinned context, another kind of key, a client without a server name: all see the new."""
    certificates = Certificates(*put(tmp_path, kinds[0])[:2])
    async with (
        listening(certificates.strict) as strict,
        listening(certificates.tolerant) as tolerant,
    ):
        for _ in range(2):
            *_, shown = put(tmp_path, kinds[1])
            certificates.reload()
            seen = {(await shake(strict, version, name))[1] for version in NEW}
            seen |= {(await shake(tolerant, version, name))[1] for version in (*OLD, *NEW)}
            assert seen == {shown}


async def test_a_reload_reaches_starttls(tmp_path: Path) -> None:
    certificates = Certificates(*put(tmp_path)[:2])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Echo(certificates.strict), "127.0.0.1", 0)
    async with server:
        *_, shown = put(tmp_path, RSA)
        certificates.reload()
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\r\n")
        assert await reader.readline() == b"STARTTLS\r\n"
        await writer.start_tls(client(ssl.TLSVersion.TLSv1_3))
        assert writer.get_extra_info("ssl_object").getpeercert(binary_form=True) == shown
        writer.close()
        await writer.wait_closed()


async def test_a_connection_outlives_a_reload(tmp_path: Path) -> None:
    certificates = Certificates(*put(tmp_path)[:2])
    async with listening(certificates.strict) as port:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client(ssl.TLSVersion.TLSv1_3), server_hostname=""
        )
        put(tmp_path)
        certificates.reload()
        writer.write(b"still here\r\n")
        assert await reader.readline() == b"still here\r\n"
        writer.close()
        await writer.wait_closed()


async def test_nobody_may_ask_for_another_handshake(tmp_path: Path) -> None:
    """Cheap to ask for, dear to grant; `R` is openssl's word for it."""
    certificates = Certificates(*put(tmp_path)[:2])
    async with listening(certificates.tolerant) as port:
        asks = await asyncio.create_subprocess_exec(
            "openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{port}",
            stdin=PIPE, stdout=DEVNULL, stderr=PIPE,
        )  # fmt: skip
        assert asks.stdin
        assert asks.stderr
        asks.stdin.write(b"R\n")  # and no end of input: that would end it first
        assert b"no renegotiation" in await asks.stderr.read()
        asks.stdin.close()
        assert await asks.wait() == 1


def other_key(cert: Path, key: Path) -> None:
    shown = cert.read_bytes()
    put(cert.parent)
    cert.write_bytes(shown)


def other_kind_of_key(cert: Path, key: Path) -> None:
    shown = cert.read_bytes()
    put(cert.parent, RSA)
    cert.write_bytes(shown)


def passphrase(cert: Path, key: Path) -> None:
    put(cert.parent, RSA)
    done = ["openssl", "rsa", "-aes256", "-passout", "pass:x", "-in", str(key), "-out", str(key)]
    subprocess.run(done, check=True, capture_output=True)


def weak(cert: Path, key: Path) -> None:
    made = f"req -x509 -newkey rsa:1024 -nodes -subj /CN=x -keyout {key} -out {cert}"
    subprocess.run(["openssl", *made.split()], check=True, capture_output=True)


def cut_in_half(cert: Path, key: Path) -> None:
    cert.write_bytes(cert.read_bytes()[:400] + b"\n-----END CERTIFICATE-----\n")


BROKEN = [
    (lambda cert, key: cert.unlink(), ["{cert}: No such file or directory"]),
    (
        lambda cert, key: (cert.unlink(), key.unlink()),
        ["{cert}: No such file or directory", "{key}: No such file or directory"],
    ),
    (lambda cert, key: cert.write_bytes(b""), ["{cert}: no certificate in PEM form"]),
    (lambda cert, key: key.write_bytes(b"\xff\xfe"), ["{key}: no private key in PEM form"]),
    (
        lambda cert, key: key.write_bytes(cert.read_bytes()),
        ["{key}: no private key in PEM form"],
    ),
    (other_key, ["{key}: the key does not belong to the certificate {cert}"]),
    (other_kind_of_key, ["{key}: the key does not belong to the certificate {cert}"]),
    (passphrase, ["{key}: the key has a passphrase, and nobody is there to type it"]),
    (weak, ["{cert}: too weak for today's clients (EE_KEY_TOO_SMALL)"]),
    (cut_in_half, ["{cert}, {key}: cannot be used together ([SSL] PEM lib (_ssl.c:"]),
]


@pytest.mark.parametrize(("spoil", "problems"), BROKEN)
async def test_a_broken_pair_is_named_and_the_old_one_stays(
    tmp_path: Path, spoil: object, problems: list[str]
) -> None:
    cert, key, shown = put(tmp_path)
    certificates = Certificates(cert, key)
    assert callable(spoil)
    spoil(cert, key)
    wanted = [problem.format(cert=cert, key=key) for problem in problems]
    for attempt in (lambda: Certificates(cert, key), certificates.reload):
        with pytest.raises(TlsError) as raised:
            attempt()
        assert len(raised.value.problems) == len(wanted)
        assert all(map(str.startswith, raised.value.problems, wanted))
    async with listening(certificates.strict) as port:
        assert (await shake(port, ssl.TLSVersion.TLSv1_3))[1] == shown


@pytest.mark.parametrize(
    ("days", "says"),
    [
        (40, []),
        (15, []),
        (13, ["{cert}: the certificate expires in 12 days"]),
        (1, ["{cert}: the certificate expires in 0 days"]),
        (-1, ["{cert}: the certificate has expired: clients that look will not send"]),
    ],
)
def test_the_end_is_announced(tmp_path: Path, days: int, says: list[str]) -> None:
    cert, key, _ = put(tmp_path, expires=TODAY + dt.timedelta(days=days))
    assert Certificates(cert, key).warnings == [say.format(cert=cert) for say in says]


def test_time_goes_on(tmp_path: Path) -> None:
    cert, key, _ = put(tmp_path, expires=TODAY + dt.timedelta(days=40))
    now = TODAY.timestamp()
    certificates = Certificates(cert, key, lambda: now)
    assert certificates.warnings == []
    now += 35 * 86400
    assert certificates.warnings == [f"{cert}: the certificate expires in 4 days"]
    now += 35 * 86400
    says = f"{cert}: the certificate has expired: clients that look will not send"
    assert certificates.warnings == [says]
    put(tmp_path)
    certificates.reload()
    assert certificates.warnings == []


def test_an_expired_certificate_still_encrypts(tmp_path: Path) -> None:
    cert, key, _ = put(tmp_path, expires=TODAY - dt.timedelta(days=1))
    certificates = Certificates(cert, key)
    certificates.reload()
    assert certificates.strict


def test_a_self_made_certificate_is_fine(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = f"req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=x -keyout {key} -out {cert}"
    subprocess.run(["openssl", *made.split()], check=True, capture_output=True)
    assert Certificates(cert, key).warnings == []


@pytest.mark.parametrize(("mode", "open_to_all"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_key_for_everybody_is_told(tmp_path: Path, mode: int, open_to_all: bool) -> None:
    cert, key, _ = put(tmp_path)
    key.chmod(mode)
    says = f"{key}: everybody on this machine may read the key: chmod o= {key}"
    assert Certificates(cert, key).warnings == ([says] if open_to_all else [])
