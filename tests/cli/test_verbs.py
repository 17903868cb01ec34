"""The command line as a sysadmin meets it: exit codes, words, JSON, signals, systemd's socket."""

from __future__ import annotations

import json
import os
import re
import signal
import smtplib
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.house import House, house
from tests.make import pdf

pytestmark = pytest.mark.slow

GOOD = {
    "AUDIAN_ACCOUNT_ID": "acc",
    "AUDIAN_AUTH_TOKEN": "s3cret-token",
    "FAX_FROM_NUMBER": "+14155550199",
    "INBOUND": "off",
}


def run(
    *arguments: str,
    typed: str = "",
    **environ: str,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments], input=typed,
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "COLUMNS": "120", **environ},
    )  # fmt: skip


@pytest.mark.parametrize(
    "verb", ["run", "demo", "check", "list", "show", "simulate", "permit", "rejects", "user"]
)
def test_help(verb: str) -> None:
    done = run(verb, "--help")
    assert (done.returncode, "Usage" in done.stdout) == (0, True)
    assert re.search(rf"Example:\n +fax-gateway {verb}\b", done.stdout)


def test_the_list_of_verbs_is_whole_in_80_columns() -> None:
    for verb in ((), ("device",)):
        listed = run(*verb, "--help", COLUMNS="80").stdout
        assert listed.count("...") == 1, "the usage line has one, and no verb's line is cut off"
        _, _, verbs = listed.partition("Commands:\n")
        assert all(re.match(r"  \w+ {2,}\w", line) for line in verbs.splitlines()), verbs


def test_wrong_usage_is_2() -> None:
    assert run("show").returncode == 2
    assert run("nonsense").returncode == 2
    assert run("simulate", "--profile", "unknown").returncode == 2


def test_check_is_fine() -> None:
    done = run("check", **GOOD)
    assert (done.returncode, "fine" in done.stdout) == (0, True)
    assert "s3cret-token" not in done.stdout + done.stderr
    assert "AUDIAN_AUTH_TOKEN=(set)" in done.stdout


def test_check_tells_everything_at_once_and_exits_78(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[route]]\nmial = ["a@example.com"]\n')
    done = run("check", **GOOD, INBOUND_POLL_INTERVAL="60", FAX_HOME_COUNTRY="USA")
    assert done.returncode == 78
    assert "INBOUND_POLL_INTERVAL=60: a number with its unit" in done.stderr
    assert "FAX_HOME_COUNTRY=USA" in done.stderr
    bad_rules = GOOD | {"INBOUND": "poll", "RULES_FILE": str(rules)}
    both = run("check", **bad_rules | {"AUDIAN_AUTH": "basic"})
    assert both.returncode == 78
    assert "AUDIAN_AUTH=basic: allowed is 'token' or 'bearer'" in both.stderr
    assert "mial is no key" in both.stderr, "rules are read also where settings are wrong"
    done = run("check", "--json", **bad_rules)
    assert done.returncode == 78
    assert "mial is no key: did you mean mail?" in str(json.loads(done.stdout)["problems"])
    assert run("run", **bad_rules, DATA_DIR=str(tmp_path / "d")).returncode == 78


def test_list_without_a_gateway_says_so(tmp_path: Path) -> None:
    done = run("list", **GOOD, DATA_DIR=str(tmp_path))
    assert (done.returncode, "has the gateway run here" in done.stderr) == (1, True)


@pytest.mark.parametrize("verb", [("check",), ("list",), ("show", "x"), ("run",)])
def test_an_env_file_that_is_not_there(verb: tuple[str, ...]) -> None:
    """Who names a file means it: the default's faxes would be somebody else's."""
    done = run(*verb, "--env-file", "absent.env", **GOOD)
    assert (done.returncode, "absent.env cannot be read" in done.stderr) == (78, True)


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user: needs root")
def test_credentials_that_one_may_not_read(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", READ_CONFIG], capture_output=True, text=True, check=False,
        env=GOOD | {"CREDENTIALS_DIRECTORY": str(credentials)},
    )  # fmt: skip
    said = f"CREDENTIALS_DIRECTORY={credentials} cannot be read: Permission denied"
    assert done.stdout.strip() == said


READ_CONFIG = """
import os
from gateway.config import ConfigError, load
os.setuid(65534)
try:
    load()
except ConfigError as error:
    print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="root alone may not write to /proc")
def test_a_data_dir_of_no_use(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("/proc/fax", str(tmp_path / "file")):
        done = run("run", **GOOD, DATA_DIR=place)
        assert done.returncode == 1
        assert f"{place} is of no use" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_database_of_a_newer_gateway(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "gateway.db")
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    done = run("run", **GOOD, DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "newer" in done.stderr
    assert "Traceback" not in done.stderr


def ask(home: House, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(*arguments, **home.daemon.environ)


def test_list_show_and_a_second_gateway(tmp_path: Path) -> None:
    with house(tmp_path) as home:
        home.send("+14155510000/ref=4711/T33S=12@fax.local", content=pdf(2))
        (fax,) = home.all_closed(1)
        listed = json.loads(ask(home, "list", "--json").stdout)
        assert [(f["id"], f["state"], f["pages"]) for f in listed] == [(fax["id"], "closed", 2)]
        assert fax["id"] in ask(home, "list").stdout
        without_secrets = {"DATA_DIR": str(home.data)}
        assert fax["id"] in run("list", **without_secrets).stdout
        shown = json.loads(ask(home, "show", fax["id"], "--json").stdout)
        states = [event["state"] for event in shown["history"]]
        assert states == ["accepted", "prepared", "submitted", "delivered", "closed"]
        assert shown["attempts"][0]["outcome"] == "accepted"
        assert shown["wishes"] == {"ref": "4711", "subaddress": "12"}
        assert shown["identity"] == "address:ann@example.com"
        told = ask(home, "show", fax["id"]).stdout
        assert "delivered" in told
        assert "ref=4711, subaddress=12" in told
        assert ask(home, "show", "nothing").returncode == 1
        second = ask(home, "run")
        assert (second.returncode, "another gateway works in" in second.stderr) == (1, True)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        for name in ("SMTP_LISTEN", "WEB_LISTEN"):
            done = run(
                "run",
                **GOOD,
                DATA_DIR=str(tmp_path),
                **({"WEB_LISTEN": "127.0.0.1:0"} | {name: place}),
            )
            assert (done.returncode, f"cannot listen on {place}" in done.stderr) == (1, True)


def test_signals(tmp_path: Path) -> None:
    """SIGHUP takes good rules and refuses broken ones; SIGTERM ends cleanly."""
    with house(tmp_path) as home:
        assert home.daemon.process
        (tmp_path / "rules.toml").write_text("nonsense")
        home.daemon.process.send_signal(signal.SIGHUP)
        home.daemon.said('"rules_refused"')
        (tmp_path / "rules.toml").unlink()
        home.daemon.process.send_signal(signal.SIGHUP)
        home.daemon.said("is not there: the rules in force are kept")
        (tmp_path / "rules.toml").write_text('[[route]]\nmail = "new@example.com"\n')
        home.daemon.process.send_signal(signal.SIGHUP)
        home.daemon.said('"rules_loaded"')
        home.inject(pdf(1))
        home.notice("new@example.com")
        assert home.daemon.end(signal.SIGTERM) == 0
        home.daemon.process = None
        assert '"gateway_stopped"' in home.daemon.output.read_text("utf-8")


def test_what_systemd_hears(tmp_path: Path) -> None:
    """READY when the doors are open, signs of life with a status line, STOPPING at the end."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(str(path))
        hears.settimeout(30)
        extra = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"}
        with house(tmp_path, settings=extra) as home:
            heard = [hears.recv(4096).decode()]
            while sum("WATCHDOG=1" in one for one in heard) < 3:
                heard.append(hears.recv(4096).decode())
            home.daemon.end()
            while "STOPPING=1" not in heard[-1]:
                heard.append(hears.recv(4096).decode())
    assert heard[0].startswith("READY=1") or heard[1].startswith("READY=1")
    assert any(re.search(r"STATUS=0 faxes at work, 0 held", one) for one in heard)


SECRETS = ("sandbox-token", "hook-secret-hook-secret-hook", "c4nary-hmac")
CONTENT = ("c4nary-subject", "c4nary-text", "c4nary-caller")
NUMBERS = r"415[^0-9\n]{0,2}552[^0-9\n]{0,2}\d{4}|202[^0-9\n]{0,2}555[^0-9\n]{0,2}1234"


def test_no_canary_in_what_the_daemon_says(tmp_path: Path) -> None:
    """P19: both roads, with refusals and failures, at the most talkative level."""
    talkative = {"LOG_LEVEL": "debug", "WEBHOOK_HMAC_SECRET": "c4nary-hmac"}
    facts = {"subject": "c4nary-subject", "text": "c4nary-text", "name": "contract.pdf"}
    with house(tmp_path, settings=talkative) as home:
        home.send("+14155520000@fax.local", content=pdf(1), **facts)
        home.send("1-415-552-0012@fax.local", content=pdf(1), **facts)  # the provider refuses it
        home.send("4155520005@fax.local", content=pdf(1), **facts)  # the line drops
        home.send("+14155520001@fax.local", content=b"%PDF-1.7 c4nary-text", **facts)
        host, _, port = home.smtp.rpartition(":")
        with smtplib.SMTP(host, int(port), timeout=30) as client:
            client.ehlo("client.example.com")
            client.mail("ann@example.com")
            for wrong in (
                "(415) 552-0000",
                "+1.415.552.0000.x",
                "4155520000/x",
                "+4155520000000000",
            ):
                assert client.docmd(f"RCPT TO:<{wrong}@fax.local>")[0] >= 500
        home.hook(b"{c4nary-text", secret="wrong-c4nary-text")
        home.inject(pdf(2), from_name="c4nary-caller")
        home.all_closed(5)
        home.daemon.end()
        said = home.daemon.output.read_text("utf-8")
        faxes = run("list", **home.daemon.environ).stdout
    assert len(faxes.splitlines()) == 6
    for canary in (*SECRETS, *CONTENT):
        assert canary not in said, canary
    assert not re.search(NUMBERS, said), re.search(f".*(?:{NUMBERS}).*", said)
