"""Mail programs that people use: each logs in over TLS and sends a PDF to two numbers."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.interop.home import ANN, COPIER, PASSWORD, TRUSTED, Home, home, mail_to, need, two

LISTENERS = pytest.mark.parametrize("listener", ["smtp", "smtps"])
REFUSED = "+18765550100@fax.local"  # Jamaica


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home(tmp_path_factory.mktemp("house")) as there:
        yield there


def run(house: Home, *command: str, mail: bytes = b"") -> tuple[int, str]:
    """What a program says, and how it ends."""
    done = subprocess.run(command, input=mail, capture_output=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def file_with(house: Home, name: str, mail: bytes) -> Path:
    file = house.root / name
    file.write_bytes(mail)
    return file


def at_fax(*numbers: str) -> list[str]:
    return [f"{number}@fax.local" for number in numbers]


# curl


def curl(house: Home, listener: str, mail: bytes, *recipients: str) -> tuple[int, str]:
    scheme = {"smtp": "smtp", "smtps": "smtps"}[listener]
    to = [word for recipient in recipients for word in ("--mail-rcpt", recipient)]
    return run(
        house, need("curl"), "-sSv", "--url", f"{scheme}://127.0.0.1:{house.port(listener)}/client",
        "--ssl-reqd", "--cacert", str(house.authority), "--user", f"{ANN}:{PASSWORD}",
        "--mail-from", ANN, *to, "--crlf",
        "--upload-file", str(file_with(house, "curl.eml", mail)),
    )  # fmt: skip


@LISTENERS
def test_curl(house: Home, listener: str) -> None:
    numbers = two(10 + len(listener))
    code, said = curl(house, listener, mail_to(*numbers), *at_fax(*numbers))
    assert code == 0, said
    assert "250 2.0.0 accepted as" in said
    house.faxed(*numbers)


def test_curl_is_told_why(house: Home) -> None:
    code, said = curl(house, "smtp", mail_to("+18765550100"), REFUSED)
    assert code != 0
    assert "550 5.7.1 Destination not permitted" in said


# swaks


def without_plus(*numbers: str) -> str:
    """It takes +1415… for an option."""
    return ",".join(to.removeprefix("+") for to in at_fax(*numbers))


@LISTENERS
@pytest.mark.parametrize("way", ["PLAIN", "LOGIN"])
def test_swaks(house: Home, listener: str, way: str) -> None:
    numbers = two(20 + len(listener) + 10 * len(way))
    mail = file_with(house, f"swaks-{way}-{listener}.eml", mail_to(*numbers))
    code, said = run(
        house, need("swaks", "swaks libnet-ssleay-perl"), "--server", "127.0.0.1",
        "--port", str(house.port(listener)), "--tls" if listener == "smtp" else "--tls-on-connect",
        "--auth", way, "--auth-user", ANN, "--auth-password", PASSWORD, "--from", ANN,
        "--to", without_plus(*numbers), "--data", f"@{mail}",
    )  # fmt: skip
    assert code == 0, said
    house.faxed(*numbers)


def test_swaks_as_a_copier(house: Home) -> None:
    """The device listener asks for no login and no TLS."""
    numbers = two(29)
    mail = file_with(house, "copier.eml", mail_to(*numbers))
    code, said = run(
        house, need("swaks", "swaks libnet-ssleay-perl"), "--server", "127.0.0.1",
        "--port", str(house.port("device")), "--protocol", "SMTP",
        "--local-interface", COPIER, "--from", ANN,
        "--to", without_plus(*numbers), "--data", f"@{mail}",
    )  # fmt: skip
    assert code == 0, said
    house.faxed(*numbers)


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        (("--tls", "--auth", "PLAIN", "-au", ANN, "-ap", "wrong"), "535 5.7.8"),
        (("--tls",), "530 5.7.0 Authentication required"),
        ((), "530 5.7.0 Authentication required"),
    ],
)
def test_swaks_is_turned_away(house: Home, options: tuple[str, ...], reply: str) -> None:
    code, said = run(
        house, need("swaks", "swaks libnet-ssleay-perl"), "--server", "127.0.0.1",
        "--port", str(house.port()), "--from", ANN, "--to", "14155779900@fax.local", *options,
    )  # fmt: skip
    assert code != 0
    assert reply in said


# msmtp


@LISTENERS
def test_msmtp(house: Home, listener: str) -> None:
    numbers = two(40 + len(listener))
    code, said = run(
        house, need("msmtp"), "--host=127.0.0.1", f"--port={house.port(listener)}", "--tls=on",
        f"--tls-starttls={'on' if listener == 'smtp' else 'off'}",
        f"--tls-trust-file={house.authority}", "--auth=on", f"--user={ANN}",
        f"--passwordeval=echo {PASSWORD}", f"--from={ANN}", "--dsn-notify=success,failure",
        "--dsn-return=hdrs", *at_fax(*numbers), mail=mail_to(*numbers),
    )  # fmt: skip
    assert code == 0, said
    house.faxed(*numbers)


# Python


@contextlib.contextmanager
def python(house: Home, listener: str = "smtp", *, login: bool = True) -> Iterator[smtplib.SMTP]:
    context = ssl.create_default_context(cafile=str(house.authority))
    where = ("127.0.0.1", house.port(listener))
    source = None if login else (TRUSTED, 0)
    if listener == "smtps":
        client: smtplib.SMTP = smtplib.SMTP_SSL(*where, timeout=30, context=context)
    else:
        client = smtplib.SMTP(*where, timeout=30, source_address=source)
    with client:
        if listener == "smtp":
            client.starttls(context=context)
        if login:
            client.login(ANN, PASSWORD)
        yield client


def parsed(mail: bytes) -> EmailMessage:
    message = message_from_bytes(mail, policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


@LISTENERS
def test_python(house: Home, listener: str) -> None:
    numbers = two(50 + len(listener))
    with python(house, listener) as client:
        assert client.send_message(parsed(mail_to(*numbers))) == {}
    house.faxed(*numbers)


def test_python_in_eight_bits(house: Home) -> None:
    numbers = two(60)
    mail = parsed(mail_to(*numbers, text="Grüße aus Köln\n"))
    body = mail.get_body()
    assert isinstance(body, EmailMessage)
    body.replace_header("Content-Transfer-Encoding", "8bit")
    body.set_payload("Grüße aus Köln\r\n".encode())
    content = mail.as_bytes()
    assert "Grüße".encode() in content
    with python(house) as client:
        assert client.sendmail(ANN, at_fax(*numbers), content, ["BODY=8BITMIME"]) == {}
    house.faxed(*numbers)


def test_python_with_a_name_beyond_ascii(house: Home) -> None:
    numbers = two(61)
    mail = parsed(mail_to(*numbers))
    mail.replace_header("From", "jörg@exämple.com")
    with python(house, login=False) as client:
        client.ehlo()
        assert client.has_extn("smtputf8")
        assert client.send_message(mail) == {}
    house.faxed(*numbers)
    assert {f["sender"] for f in house.faxes() if f["number"] in numbers} == {"jörg@exämple.com"}


def test_python_asks_for_a_report(house: Home) -> None:
    numbers = two(62)
    with python(house) as client:
        refused = client.sendmail(
            ANN, at_fax(*numbers), mail_to(*numbers, subject="Report me"),
            ["RET=HDRS", "ENVID=QQ314159"], ["NOTIFY=SUCCESS,FAILURE"],
        )  # fmt: skip
    assert refused == {}
    house.faxed(*numbers)
    report = house.sink.first(ANN, "Report me")
    assert report.get_content_type() == "multipart/report"
    assert "Original-Envelope-Id: QQ314159" in report.as_string()
    assert "Action: delivered" in report.as_string()


def test_python_hears_of_one_bad_recipient(house: Home) -> None:
    numbers = two(63)
    with python(house) as client:
        refused = client.sendmail(ANN, [*at_fax(*numbers), REFUSED], mail_to(*numbers))
    assert refused == {REFUSED: (550, b"5.7.1 Destination not permitted")}
    house.faxed(*numbers)
