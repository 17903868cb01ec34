"""The smarthost: what each of its replies means, also where it is hostile."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gateway.demo.mailbox import Mailbox, Trouble
from gateway.errors import PermanentError, TransientError
from gateway.mail.compose import Mail, write
from gateway.mail.smarthost import Relay, Smarthost

pytestmark = pytest.mark.anyio

WELL = {"banner": "220 x", "EHLO": "250-x\r\n250 SIZE 9000", "MAIL": "250 ok", "RCPT": "250 ok",
        "DATA": "354 go", ".": "250 taken", "QUIT": "221 bye", "RSET": "250 ok"}  # fmt: skip
TLS = {"EHLO": "250-x\r\n250 STARTTLS", "STARTTLS": "220 go"}


@dataclass
class Server:
    """A server that answers from a table and remembers what it heard; "" hangs up."""

    table: dict[str, str]
    context: ssl.SSLContext | None = None  # for STARTTLS
    heard: list[str] = field(default_factory=list)
    relay: Relay = field(init=False)
    tasks: list[asyncio.Task[None] | None] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.current_task())
        try:
            await self._converse(reader, writer)
        finally:
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            going = await _say(writer, self.table["banner"])
            while going and (line := await reader.readline()):
                self.heard.append(line.decode("ascii", "replace").strip())
                verb = self.heard[-1].partition(" ")[0].upper()
                going = await _say(writer, self.table.get(verb, "500 what"))
                if verb == "DATA" and self.table["DATA"].startswith("354"):
                    body = await reader.readuntil(b"\r\n.\r\n")
                    self.heard.append(f"{len(body)} bytes")
                    going = await _say(writer, self.table["."])
                if verb == "STARTTLS" and self.context:
                    self.heard.append("TLS")
                    await writer.start_tls(self.context)


async def _say(writer: asyncio.StreamWriter, reply: str) -> bool:
    if reply == "ENDLESS":
        while True:
            writer.write(b"250-and more\r\n" * 100)
            await writer.drain()
    writer.write(reply.encode() + b"\r\n" if reply else b"")
    await writer.drain()
    return bool(reply)


@asynccontextmanager
async def serving(
    replies: Mapping[str, str], context: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    one = Server(WELL | dict(replies), context)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    one.relay = Relay(host, port, timeout=2.0)
    try:
        yield one
    finally:
        server.close()
        talking = [task for task in one.tasks if task]
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        await asyncio.sleep(0)  # the transports that were aborted close now


@asynccontextmanager
async def scripted(replies: Mapping[str, str]) -> AsyncIterator[Relay]:
    async with serving(replies) as server:
        yield server.relay


@pytest.fixture
def message(tmp_path: Path) -> Path:
    path = tmp_path / "mail.eml"
    path.write_bytes(b"Subject: x\r\n\r\nHello\r\n.dot\r\n")
    return path


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ({}, None),
        ({"banner": "421 busy"}, TransientError),
        ({"banner": "554 no"}, TransientError),
        ({"banner": ""}, TransientError),
        ({"EHLO": "421 later"}, TransientError),
        ({"EHLO": ""}, TransientError),
        ({"MAIL": "451 later"}, TransientError),
        ({"MAIL": "530 log in first"}, TransientError),
        ({"MAIL": "550 sender refused"}, PermanentError),
        ({"MAIL": "552 too big"}, PermanentError),
        ({"RCPT": "450 greylisted"}, TransientError),
        ({"RCPT": "550 no such user"}, PermanentError),
        ({"RCPT": ""}, TransientError),
        ({"DATA": "451 later"}, TransientError),
        ({"DATA": "554 no"}, PermanentError),
        ({".": "452 full"}, TransientError),
        ({".": "554 spam"}, PermanentError),
        ({".": ""}, TransientError),
        ({"MAIL": "rubbish"}, TransientError),
        ({"MAIL": "250-" + "x" * 100_000}, TransientError),
        ({"MAIL": "\0\0\0"}, TransientError),
        ({"MAIL": "250-x\r\n" * 10_000 + "250 x"}, TransientError),  # A53
        ({"MAIL": "ENDLESS"}, TransientError),
        ({"banner": "ENDLESS"}, TransientError),
        ({"EHLO": "ENDLESS"}, TransientError),
        ({".": "ENDLESS"}, TransientError),
        ({".": "250-x\0\x1b\r\n" * 99 + "250 taken"}, None),
        ({"RCPT": "421 shutting down"}, TransientError),
        ({"DATA": "250 taken already"}, TransientError),
        ({"DATA": "354 go\r\n250 taken already"}, TransientError),
        ({".": "354 more"}, TransientError),
        ({".": "299 what is this"}, TransientError),
        ({"QUIT": "500 never"}, None),
        ({"QUIT": "ENDLESS"}, None),
    ],
)
async def test_replies(
    replies: dict[str, str], error: type[Exception] | None, message: Path
) -> None:
    async with scripted(replies) as relay:
        sending = Smarthost(relay).send("", ["a@example.com"], message)
        if error is None:
            assert await sending == []
        else:
            with pytest.raises(error):
                await sending


@pytest.mark.parametrize("reply", ["221 bye", "ENDLESS"])
async def test_the_farewell_is_said_and_not_waited_for(reply: str, message: Path) -> None:
    async with serving({"QUIT": reply}) as server:
        assert await Smarthost(server.relay).send("", ["a@example.com"], message) == []
        async with asyncio.timeout(20):
            while server.heard[-1] != "QUIT":  # noqa: ASYNC110 - the next turn of the loop may do
                await asyncio.sleep(0)


async def test_words_are_one_clean_line(message: Path) -> None:
    async with scripted({"RCPT": "550-no such\r\n550 user \x1b[31m" + "x" * 400}) as relay:
        with pytest.raises(PermanentError) as caught:
            await Smarthost(relay).send("", ["a@example.com"], message)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


async def test_nobody_listens(message: Path) -> None:
    with pytest.raises(TransientError):
        await Smarthost(Relay("127.0.0.1", 1, timeout=2.0)).send("", ["a@example.com"], message)


async def test_tls_is_never_downgraded(message: Path) -> None:
    """F-S4: no STARTTLS offered, refused, or plain words instead: the mail and password stay."""
    for replies in ({}, TLS | {"STARTTLS": "454 not now"}, TLS | {"STARTTLS": "220 go"}):
        async with serving(replies) as server:
            for tls in ("starttls", "implicit"):
                relay = replace(server.relay, tls=tls, user="u", password="s3cret")
                with pytest.raises(TransientError) as caught:
                    await Smarthost(relay).send("", ["a@example.com"], message)
                assert "s3cret" not in str(caught.value)
            said = " ".join(server.heard)
            assert not re.search(r"MAIL|RCPT|DATA|AUTH", said), said


@dataclass(frozen=True)
class Certificate:
    file: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.file, self.key)
        return context

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.file))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    """good, other (of another host), expired: each its own authority."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificates: apt-get install openssl")
    root = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=root, check=True, capture_output=True)

    for name, host in (("good", "IP:127.0.0.1"), ("other", "DNS:other.example")):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2",
                "-subj", f"/CN={name}", "-addext", f"subjectAltName={host}")  # fmt: skip
    openssl("x509", "-in", "good.pem", "-days", "-1", "-signkey", "good.key", "-out", "expired.pem")
    return {
        "good": Certificate(root / "good.pem", root / "good.key"),
        "other": Certificate(root / "other.pem", root / "other.key"),
        "expired": Certificate(root / "expired.pem", root / "good.key"),
    }


async def test_a_good_certificate(certificates: dict[str, Certificate], message: Path) -> None:
    good = certificates["good"]
    async with serving(TLS, good.server()) as server:
        relay = replace(server.relay, tls="starttls")
        assert await Smarthost(relay, good.trusted()).send("", ["a@example.com"], message) == []
    verbs = [line.partition(" ")[0] for line in server.heard]
    assert verbs[:5] == ["EHLO", "STARTTLS", "TLS", "EHLO", "MAIL"]


@pytest.mark.parametrize(
    ("shown", "trusted", "says"),
    [
        ("good", "other", "self-signed"),
        ("other", "other", "mismatch"),
        ("expired", "expired", "expired"),
    ],
)
async def test_a_bad_certificate(
    shown: str, trusted: str, says: str, certificates: dict[str, Certificate], message: Path
) -> None:
    """F-S4: the mail waits, and the words name the reason."""
    async with serving(TLS, certificates[shown].server()) as server:
        relay = replace(server.relay, tls="starttls", user="u", password="s3cret")
        host = Smarthost(relay, certificates[trusted].trusted())
        with pytest.raises(TransientError, match=says):
            await host.send("", ["a@example.com"], message)
    assert server.heard[1:] == ["STARTTLS", "TLS"]


async def test_replies_slipped_in_before_tls_count_for_nothing(
    certificates: dict[str, Certificate], message: Path
) -> None:
    """CVE-2011-0411's sister: an answer in plain text must not be taken for one under TLS."""
    good = certificates["good"]
    slipped = TLS | {"STARTTLS": "220 go\r\n250-x\r\n250 AUTH PLAIN", "MAIL": "451 later"}
    async with serving(slipped, good.server()) as server:
        relay = replace(server.relay, tls="starttls", user="u", password="s3cret")
        with pytest.raises(TransientError):
            await Smarthost(relay, good.trusted()).send("", ["a@example.com"], message)
    assert not any(line.startswith("AUTH") for line in server.heard), server.heard


async def test_our_login_is_refused(message: Path) -> None:
    """F-S3: 535 is about our account: the mail waits."""
    replies = {"EHLO": "250-x\r\n250 AUTH PLAIN", "AUTH": "535 5.7.8 wrong password"}
    async with serving(replies) as server:
        relay = replace(server.relay, user="u", password="s3cret")
        with pytest.raises(TransientError, match=r"535 5\.7\.8 wrong password") as caught:
            await Smarthost(relay).send("", ["a@example.com"], message)
    assert "s3cret" not in repr(caught.value)


async def test_the_null_sender_one_transaction_and_the_same_message_id(tmp_path: Path) -> None:
    """R24, R25, F-S2: cut after the final dot, then sent again: a copy, recognisable as one."""
    mailbox = Mailbox(trouble=Trouble(times=1, after_taking=True))
    await mailbox.start()
    mail = Mail("fax@fax.local", ("a@example.com",), "x", "y", "<1.delivered@fax.local>", 0.0)
    write(mail, tmp_path / "mail.eml")
    host = Smarthost(Relay(*mailbox.address, timeout=5.0))
    with pytest.raises(TransientError):
        await host.send("", ["a@example.com"], tmp_path / "mail.eml")
    await host.send("", ["a@example.com"], tmp_path / "mail.eml")
    await mailbox.stop()
    assert [got.sender for got in mailbox.mails] == ["", ""]
    assert [got.mail["Message-ID"] for got in mailbox.mails] == ["<1.delivered@fax.local>"] * 2


@pytest.mark.parametrize("wrong", ["", "a", "a@b\r\nRCPT TO:<x@y>", "a@b c", "<a@b>", "ü b@c"])
async def test_addresses_are_checked_before_anything_is_said(wrong: str, message: Path) -> None:
    with pytest.raises(PermanentError, match="no mail address"):
        await Smarthost(Relay("127.0.0.1", 1)).send("", [wrong], message)


async def test_some_recipients_refused(message: Path) -> None:
    mailbox = Mailbox(refuse_rcpt={"b@example.com": "550 5.1.1 no such user"})
    await mailbox.start()
    relay = Relay(*mailbox.address, timeout=5.0)
    to = ["a@example.com", "b@example.com"]
    (refused,) = await Smarthost(relay).send("fax@fax.local", to, message)
    assert (refused.recipient, refused.said) == ("b@example.com", "550 5.1.1 no such user")
    (got,) = mailbox.mails
    assert (got.sender, got.recipients) == ("fax@fax.local", ("a@example.com",))
    assert got.content.endswith(b"\r\n.dot\r\n")
    await mailbox.stop()


FOREIGN = "jürgen@bücher.example"


async def test_an_address_in_another_script(tmp_path: Path) -> None:
    """RFC 6531: asked for only where it is needed; the mail itself stays ASCII."""
    mailbox = Mailbox()
    await mailbox.start()
    host = Smarthost(Relay(*mailbox.address, timeout=5.0))
    write(Mail("fax@fax.local", (FOREIGN,), "x", "y", "<1@fax.local>", 0.0), tmp_path / "mail.eml")
    assert await host.send("", [FOREIGN], tmp_path / "mail.eml") == []
    (got,) = mailbox.mails
    assert (got.sender, got.recipients) == ("", (FOREIGN,))
    assert got.content.isascii()
    await mailbox.stop()


@pytest.mark.parametrize(
    ("offers", "to", "said"),
    [
        ("250-SMTPUTF8\r\n", [FOREIGN], "MAIL FROM:<> SIZE=27 SMTPUTF8"),
        ("250-SMTPUTF8\r\n", ["a@example.com"], "MAIL FROM:<> SIZE=27"),
        ("", ["a@example.com", FOREIGN], "MAIL FROM:<> SIZE=27"),
    ],
)
async def test_smtputf8_is_asked_for_where_it_is_needed_and_offered(
    offers: str, to: list[str], said: str, message: Path
) -> None:
    async with serving({"EHLO": f"250-x\r\n{offers}250 SIZE 9000"}) as server:
        refused = await Smarthost(server.relay).send("", to, message)
    assert said in server.heard
    assert len([line for line in server.heard if line.startswith("RCPT")]) == 1
    assert [one.recipient for one in refused] == to[1:]


async def test_a_server_without_smtputf8_is_not_asked(message: Path) -> None:
    async with serving({}) as server:
        with pytest.raises(PermanentError, match=r"553 5\.6\.7 .*SMTPUTF8"):
            await Smarthost(server.relay).send("", [FOREIGN], message)
    assert not [line for line in server.heard if line.startswith(("RCPT", "DATA"))]


async def test_the_password_is_in_no_repr() -> None:
    assert "s3cret" not in repr(Relay("h", 25, password="s3cret"))
