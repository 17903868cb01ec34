"""`device doctor`: from a session at the door to the lines that mend it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.doors.refusals import Refusals
from gateway.doors.smtp.settings import LOOPBACK, Kind
from gateway.doors.transcripts import LEFT, TLS_FAILED, Transcript, Transcripts
from gateway.rules import load
from gateway.spool import Spool
from gateway.store import DATABASE, Store
from tests.cli.test_verbs import GOOD
from tests.cli.test_verbs import run as run_program
from tests.doors.client import door, until

pytestmark = pytest.mark.anyio

PEER = "192.0.2.17"
HELLO, FROM = b"EHLO copier\r\n", b"MAIL FROM:<scan@example.com>\r\n"
TO, DATA, END = b"RCPT TO:<+14155550100@fax.local>\r\n", b"DATA\r\n", b"\r\n.\r\n"
PIECE = b'Content-Type: message/partial; id="1@x"; number=1; total=2\r\n\r\nx'
Talk = Callable[[Transcript], None]


def bare_lf(transcript: Transcript) -> None:
    transcript.said("220 fax.local ESMTP")
    transcript.heard(b"EHLO MFP-3\n")
    transcript.said("500 5.5.2 Bad command syntax")


def login_after_helo(transcript: Transcript) -> None:
    transcript.said("220 fax.local ESMTP")
    transcript.heard(b"HELO MFP-3\r\n")
    transcript.said("250 fax.local")
    transcript.heard(b"AUTH LOGIN c2Nhbm5lcg==\r\n")
    transcript.said("503 5.5.1 EHLO first")
    transcript.note(LEFT)


def old_tls(transcript: Transcript) -> None:
    transcript.said("220 fax.local ESMTP")
    transcript.note(TLS_FAILED.format("UNSUPPORTED_PROTOCOL"))


def fine(transcript: Transcript) -> None:
    transcript.said("220 fax.local ESMTP")
    transcript.heard(b"EHLO MFP-3\r\n")
    transcript.said("250 fax.local")
    transcript.heard(b"MAIL FROM:<scan@example.com>\r\n")
    transcript.said("250 2.1.0 Sender ok")
    transcript.said("250 2.0.0 accepted as k7m2p9x4h3qd")


async def kept(path: Path, *talks: Talk, newest: Kind = Kind.MAIN) -> None:
    """As the doors leave it behind."""
    store = Store(path / DATABASE)
    await store.open()
    now = time.time()
    for number, talk in enumerate(talks):
        transcripts = Transcripts(store, lambda number=number: now - 600 + number)  # type: ignore[misc]
        transcript = Transcript()
        talk(transcript)
        door = newest if talk is talks[-1] else Kind.MAIN
        transcripts.keep(f"::ffff:{PEER}", door, transcript, "no mail")
        assert await transcripts.flush()
    await store.close()


def run(data: Path, *arguments: str, **environ: str) -> Result:
    rules = {"RULES_FILE": str(data / "rules.toml")}
    return CliRunner().invoke(
        app, ["device", "doctor", *arguments], env=GOOD | rules | {"DATA_DIR": str(data)} | environ
    )


def said(data: Path, *arguments: str, code: int = 0, **environ: str) -> dict[str, Any]:
    done = run(data, *arguments, "--json", **environ)
    assert done.exit_code == code, done.output
    value: dict[str, Any] = json.loads(done.stdout)
    return value


async def test_from_two_bad_sessions_to_the_lines_that_mend_it(tmp_path: Path) -> None:
    await kept(tmp_path, bare_lf, login_after_helo, old_tls)
    told = said(tmp_path, PEER)
    assert list(told) == ["peer", "sessions", "findings", "rules", "settings", "copier"]
    assert [(f["name"], f["sessions"], f["newest"]) for f in told["findings"]] == [
        ("old-tls", 1, True),
        ("login-after-helo", 1, False),
        ("bare-lf", 1, False),
    ]
    assert list(told["findings"][0]) == [
        "name", "means", "do", "compat", "quote", "sessions", "newest",
    ]  # fmt: skip
    second = told["sessions"][1]
    assert second["dialogue"][3] == "C: AUTH LOGIN ***"
    assert second["story"] == (
        'it said HELO MFP-3; wanted to log in (LOGIN); we said "503 5.5.1 EHLO first"; client left'
    )
    assert told["settings"] == [
        "SMTP_DEVICE_LISTEN=0.0.0.0:2526", f"SMTP_DEVICE_NETWORKS={PEER}",
    ]  # fmt: skip
    assert told["copier"] == "Let the copier send to SMTP_DEVICE_LISTEN (0.0.0.0:2526)."
    file = tmp_path / "rules.toml"
    file.write_text(f'{told["rules"]}\n[[route]]\nmail = "office@example.com"\n')
    (device,) = load(file, ["fax.local"]).device
    assert device.compat == {"tls1.0"}

    # when it is done as it was told, there is nothing more to write
    files: dict[str, Any] = {"SMTP_DEVICE_LISTEN": "127.0.0.1:2526", "SMTP_DEVICE_NETWORKS": PEER}
    again = said(tmp_path, PEER, **files)
    assert (again["rules"], again["settings"]) == ("", [])
    assert again["copier"] == "Let the copier send to SMTP_DEVICE_LISTEN (127.0.0.1:2526)."


async def test_a_copier_that_is_where_it_belongs_needs_no_cure(tmp_path: Path) -> None:
    """What only older sessions at another door show."""
    await kept(tmp_path, bare_lf, fine, newest=Kind.DEVICE)
    files: dict[str, Any] = {"SMTP_DEVICE_LISTEN": "127.0.0.1:2526", "SMTP_DEVICE_NETWORKS": PEER}
    told = said(tmp_path, PEER, **files)
    assert [(f["name"], f["newest"]) for f in told["findings"]] == [("bare-lf", False)]
    assert (told["rules"], told["settings"], told["copier"]) == ("", [], "")


@pytest.mark.parametrize(
    ("kind", "lines", "names"),
    [
        (Kind.MAIN, [b"EHLO copier\n"], ["bare-lf"]),
        (Kind.MAIN, [HELLO, FROM, TO, DATA, b"a" * 5000 + END], ["long-lines"]),
        (Kind.MAIN, [HELLO, FROM, TO, DATA, b"a\0b" + END], ["nul"]),
        (Kind.MAIN, [HELLO, b"MAIL FROM:<ann@example.com> SIZE=99000000\r\n"], ["too-big"]),
        (Kind.MAIN, [HELLO, b"MAIL FROM:<>\r\n", TO], ["no-sender"]),
        (Kind.MAIN, [HELLO, b"AUTH LOGIN\r\n"], ["login-not-offered"]),
        (Kind.DEVICE, [HELLO, FROM, b"RCPT TO:<(206) 555-1234@fax.local>\r\n"], ["brackets"]),
        (Kind.DEVICE, [b"EHLO copier\n", FROM, TO, DATA, b"a\n.\n"], []),
        (Kind.DEVICE, [HELLO, FROM, TO, DATA, PIECE + END], ["split"]),
        (Kind.DEVICE, [HELLO, FROM, TO, DATA], ["left-in-data"]),
        (Kind.DEVICE, [], ["left-at-greeting"]),
    ],
)
async def test_from_the_door_to_the_doctor(
    store: Store, spool: Spool, tmp_path: Path, kind: Kind, lines: list[bytes], names: list[str]
) -> None:
    """A real session, and what is said about it."""
    async with door(store, spool, kind, devices=LOOPBACK) as connect:
        client = await connect()
        for line in lines:
            await client.say(line)
        client.writer.close()
        shared = connect.listener._shared
        await until(lambda: bool(shared.services.transcripts._waiting))
        await shared.services.transcripts.flush()
    told = said(tmp_path, "127.0.0.1")
    assert [one["name"] for one in told["findings"]] == names, told["sessions"]
    assert told["sessions"][0]["door"] == kind
    assert ("we took the mail" in told["sessions"][0]["story"]) == (not names)


async def test_as_people_read_it(tmp_path: Path) -> None:
    await kept(tmp_path, login_after_helo, old_tls, bare_lf)
    done = run(tmp_path, PEER)
    assert done.exit_code == 0
    first, _, rest = done.stdout.partition("\n1. ")
    assert f"Z  {PEER} at the door smtp: no mail\n  it said EHLO MFP-3 <LF>; we said" in first
    assert rest.startswith("It ends lines with LF alone, where SMTP wants CR LF. (1 of 3 sessions)")
    assert (
        "\n     C: EHLO MFP-3 <LF>\n     S: 500 5.5.2 Bad command syntax\n   → Let it send" in rest
    )
    assert "(1 of 3 sessions, not in the newest)" in rest
    assert "Into rules.toml (then: systemctl reload fax-gateway):\n\n[[device]]\n" in rest
    assert "\nSMTP_DEVICE_LISTEN=0.0.0.0:2526\n" in rest
    assert rest.endswith("\nLet the copier send to SMTP_DEVICE_LISTEN (0.0.0.0:2526).\n")


async def test_the_files_in_force_are_looked_at(tmp_path: Path) -> None:
    await kept(tmp_path, old_tls)
    (tmp_path / "rules.toml").write_text(
        '[[device]]\nnetwork = "192.0.2.0/24"\nname = "second-floor"\n'
        '[[route]]\nmail = "office@example.com"\n'
    )
    told = said(tmp_path, PEER, SMTP_DEVICE_NETWORKS="10.0.0.0/8,192.0.2.0/25")
    assert told["rules"] == ('# in your [[device]] named "second-floor"\ncompat = ["tls1.0"]')
    assert told["settings"] == ["SMTP_DEVICE_LISTEN=0.0.0.0:2526"]


@pytest.mark.parametrize(
    "broken", [{"RULES_FILE": "nowhere"}, {"FAX_MAX_PAGES": "many"}, {"SMTP_LISTEN": "x"}]
)
async def test_broken_files_do_not_stop_the_doctor(tmp_path: Path, broken: dict[str, Any]) -> None:
    await kept(tmp_path, old_tls)
    assert "tls1.0" in said(tmp_path, PEER, **broken)["rules"]


async def test_all_is_well(tmp_path: Path) -> None:
    await kept(tmp_path, fine)
    done = run(tmp_path, PEER)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (
        0, "Nothing went wrong in these sessions.",
    )  # fmt: skip
    assert "we took the mail" in done.stdout


def nothing_yet(transcript: Transcript) -> None:
    fine(transcript)
    transcript._first.pop()
    transcript.heard(b"NOOP\r\n")
    transcript.said("250 2.0.0 Ok")


async def test_nothing_is_wrong_and_no_mail_came(tmp_path: Path) -> None:
    await kept(tmp_path, fine, nothing_yet)
    assert "and yet no mail came of some: press scan" in run(tmp_path, PEER).stdout


async def test_refused_without_a_session(tmp_path: Path) -> None:
    await kept(tmp_path)
    store = Store(tmp_path / DATABASE)
    await store.open()
    refusals = Refusals(store)
    refusals.note("device", PEER, "554 5.7.1 Only for copiers", because="not_listed")
    await refusals.flush()
    await store.close()
    told = said(tmp_path, PEER, SMTP_DEVICE_LISTEN="127.0.0.1:0", SMTP_DEVICE_NETWORKS="10.0.0.0/8")
    assert [(f["name"], f["sessions"]) for f in told["findings"]] == [("not-listed", 0)]
    assert told["settings"] == [f"SMTP_DEVICE_NETWORKS=10.0.0.0/8,{PEER}"]
    assert f"{PEER} was refused, and no session of it is kept." in run(tmp_path, PEER).stdout


async def test_nothing_is_known(tmp_path: Path) -> None:
    await kept(tmp_path, bare_lf)
    assert said(tmp_path, "192.0.2.99", code=1) == {
        "peer": "192.0.2.99", "sessions": [], "findings": [], "rules": "", "settings": [],
        "copier": "",
    }  # fmt: skip
    done = run(tmp_path, "192.0.2.99", SMTP_DEVICE_LISTEN="10.1.1.1:2526")
    assert done.exit_code == 1
    assert "Nothing is known of 192.0.2.99" in done.stdout
    assert "Press scan" in done.stdout
    assert "SMTP_DEVICE_LISTEN=10.1.1.1:2526" in done.stdout
    assert f"\n{PEER}  smtp  1         " in done.stdout, "perhaps it comes by another address"


def test_no_address(tmp_path: Path) -> None:
    done = run(tmp_path, "copier.example.com")
    assert (done.exit_code, "is no IP address" in done.stderr) == (2, True)


async def test_the_program_itself(tmp_path: Path) -> None:
    await kept(tmp_path, bare_lf)
    done = run_program("device", "doctor", PEER, DATA_DIR=str(tmp_path))
    assert (done.returncode, "LF alone" in done.stdout) == (0, True), done.stderr
    assert "fax-gateway device doctor" in run_program("device", "doctor", "--help").stdout
    assert "doctor" in run_program("device", "--help").stdout
    verbs = run_program("--help").stdout
    for line in ("Copiers: what goes wrong with them.", "What was refused at the doors, and why."):
        assert line in verbs, "whole, not cut off"
