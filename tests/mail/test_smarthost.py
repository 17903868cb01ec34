"""The smarthost: what each of its replies means, also where it is hostile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.demo.mailbox import Mailbox
from gateway.errors import PermanentError, TransientError
from gateway.mail.smarthost import Relay, Smarthost

pytestmark = pytest.mark.anyio

WELL = {"banner": "220 x", "EHLO": "250 x", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go",
        ".": "250 taken", "QUIT": "221 bye", "RSET": "250 ok"}  # fmt: skip


@asynccontextmanager
async def scripted(**replies: str) -> AsyncIterator[Relay]:
    """A server that answers from a table; "" hangs up."""
    table = WELL | {{"DOT": "."}.get(name, name): reply for name, reply in replies.items()}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(reply: str) -> bool:
            writer.write(reply.encode() + b"\r\n" if reply else b"")
            await writer.drain()
            return bool(reply)

        try:
            going = await say(table["banner"])
            while going and (line := await reader.readline()):
                verb = line[:4].decode("ascii", "replace").strip().upper()
                going = await say(table.get(verb, "500 what"))
                if verb == "DATA" and table["DATA"].startswith("354"):
                    await reader.readuntil(b"\r\n.\r\n")
                    going = await say(table["."])
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield Relay(host, port, timeout=2.0)
    finally:
        server.close()


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
        ({"DOT": "452 full"}, TransientError),
        ({"DOT": "554 spam"}, PermanentError),
        ({"DOT": ""}, TransientError),
        ({"MAIL": "rubbish"}, TransientError),
        ({"MAIL": "250-" + "x" * 100_000}, TransientError),
        ({"MAIL": "\0\0\0"}, TransientError),
    ],
)
async def test_replies(
    replies: dict[str, str], error: type[Exception] | None, message: Path
) -> None:
    async with scripted(**replies) as relay:
        sending = Smarthost(relay).send("", ["a@example.com"], message)
        if error is None:
            assert await sending == []
        else:
            with pytest.raises(error):
                await sending


async def test_words_are_one_clean_line(message: Path) -> None:
    async with scripted(RCPT="550-no such\r\n550 user \x1b[31m" + "x" * 400) as relay:
        with pytest.raises(PermanentError) as caught:
            await Smarthost(relay).send("", ["a@example.com"], message)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


async def test_nobody_listens(message: Path) -> None:
    with pytest.raises(TransientError):
        await Smarthost(Relay("127.0.0.1", 1, timeout=2.0)).send("", ["a@example.com"], message)


async def test_tls_is_never_downgraded(message: Path) -> None:
    async with scripted() as relay:
        for strict in (replace(relay, tls="starttls"), replace(relay, tls="implicit")):
            with pytest.raises(TransientError):
                await Smarthost(strict).send("", ["a@example.com"], message)


@pytest.mark.parametrize("wrong", ["", "a", "a@b\r\nRCPT TO:<x@y>", "a@b c", "<a@b>", "ü@b"])
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


async def test_the_password_is_in_no_repr() -> None:
    assert "s3cret" not in repr(Relay("h", 25, password="s3cret"))
