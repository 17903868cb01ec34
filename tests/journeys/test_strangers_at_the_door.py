"""Who may not fax, and what may not be faxed: the running daemon refuses it in plain words."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.house import House, house, letter

GOOD = "+14155610000@fax.local"
ANN = "MAIL FROM:<ann@example.com>"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = {"INBOUND": "off", "FAX_MAX_RECIPIENTS": "2", "SMTP_MAX_MESSAGE": "100kB"}
    with house(tmp_path_factory.mktemp("house"), settings=settings) as home:
        yield home
        assert home.faxes() == [], "whatever was refused left nothing behind"
        assert list((home.data / "spool").iterdir()) == []
        assert home.jobs() == []


def dialogue(home: House, *commands: str, body: bytes = b"") -> str:
    """The last reply."""
    host, _, port = home.smtp.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=30) as client:
        client.ehlo("client.example.com")
        replies = [client.docmd(command) for command in commands]
        if body:
            replies.append(client.data(body))
        code, text = replies[-1]
        return f"{code} {text.decode()}"


@pytest.mark.parametrize(
    ("commands", "reply"),
    [
        (("MAIL FROM:<>", f"RCPT TO:<{GOOD}>"), "550 5.7.1 Automatic mail is not faxed"),
        (
            (f"MAIL FROM:<{GOOD}>", f"RCPT TO:<{GOOD}>"),
            "550 5.7.1 The sender is an address of ours: nobody could be told; set a mailbox",
        ),
        ((f"{ANN} SIZE=100001",), "552 5.3.4 Message too big"),
        ((f"{ANN} FOO=bar",), "555 5.5.4 Parameter not supported"),
        ((ANN, "RCPT TO:<ann@example.com>"), "554 5.7.1 Relay access denied"),
        ((ANN, "RCPT TO:<@a:+14155610000@fax.local>"), "554 5.7.1 Relay access denied"),
        ((ANN, "RCPT TO:<bob@fax.local>"), "501 5.1.3 Bad number syntax"),
        ((ANN, "RCPT TO:<123@fax.local>"), "550 5.1.1 Not a valid fax number"),
        ((ANN, "RCPT TO:<911@fax.local>"), "550 5.7.1 Destination not permitted"),
        ((ANN, "RCPT TO:<+18765550100@fax.local>"), "550 5.7.1 Destination not permitted"),
        ((ANN, "RCPT TO:<+442079460000@fax.local>"), "550 5.7.1 Destination not permitted"),
        (
            (ANN, "RCPT TO:<(206) 555-1234@fax.local>"),
            "553 5.1.3 Brackets, comments and spaces are never dialled: write +14155550100@",
        ),
        (
            (ANN, *(f"RCPT TO:<+1415562{i:04}@fax.local>" for i in range(3))),
            "452 4.5.3 Too many recipients",
        ),
        (("BDAT 10 LAST",), "502 5.5.1 Command not implemented"),
        (("DATA",), "503 5.5.1 RCPT first"),
    ],
)
def test_refused_before_the_mail_is_sent(
    home: House, commands: tuple[str, ...], reply: str
) -> None:
    assert dialogue(home, *commands) == reply


@pytest.mark.parametrize(
    ("mail", "reply"),
    [
        (letter(GOOD, Auto_Submitted="auto-replied"), "550 5.7.1 Automatic mail is not faxed"),
        (letter(GOOD, List_Id="<l.example.com>"), "550 5.7.1 Automatic mail is not faxed"),
        (letter(GOOD, X_Fax_Gateway="abc"), "554 5.4.6 Routing loop"),
        (letter(GOOD) + b"\r\n" + b"x" * 5000, "554 5.6.0 Line too long"),
        (letter(GOOD) + b"\0", "554 5.6.0 NUL not allowed"),
        (letter(GOOD) + b"a line\r\n" * 13_000, "552 5.3.4 Message too big"),
        (b"X: y\r\n" * 600 + b"\r\ntext\r\n", "554 5.6.0 Message too complex"),
    ],
    ids=["automatic", "list", "loop", "line", "nul", "big", "complex"],
)
def test_refused_at_the_end_of_the_mail(home: House, mail: bytes, reply: str) -> None:
    assert dialogue(home, ANN, f"RCPT TO:<{GOOD}>", body=mail) == reply


def test_only_listed_networks_may_submit(tmp_path: Path) -> None:
    settings = {"INBOUND": "off", "SMTP_TRUSTED_NETWORKS": "192.0.2.0/24"}
    with house(tmp_path, settings=settings) as home:
        assert dialogue(home, ANN, f"RCPT TO:<{GOOD}>") == "530 5.7.0 Authentication required"
        # everybody reaches the people who run it
        assert dialogue(home, ANN, "RCPT TO:<postmaster>") == "250 2.1.5 Recipient ok"
        assert dialogue(home, "GET / HTTP/1.1") == "421 4.7.0 Not SMTP"
        said = home.daemon.output.read_text("utf-8")
        assert '"mail_refused"' in said
        assert "530 5.7.0" in said


def test_a_refusal_is_found_in_the_log(home: House) -> None:
    since = len(home.daemon.output.read_text("utf-8"))
    dialogue(home, ANN, "RCPT TO:<+18765550111@fax.local>")
    line = home.daemon.said(r'\{[^\n]*"toll_denied"[^\n]*\}', since)[0]
    assert "+1•••0111" in line or "\\u2022\\u2022\\u20220111" in line
    assert "18765550111" not in line
