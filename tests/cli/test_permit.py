"""`permit`: the verdict of the door, as sentences, as JSON, and as an exit code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.outbound.permit import LOGIN_FIRST
from tests.cli.test_verbs import GOOD, run

RULES = """
[[sender]]
address = "fired@example.com"
deny = true
[[sender]]
login = "bob"
address = "bob@example.com"
from_number = "+14155550111"
countries = ["US", "DE"]
faxes_per_hour = 5
tell = "team@example.com"
[[sender]]
domain = "example.com"
[[sender]]
address = "sales@fax.local"
[[sender]]
login = "carol"
[[device]]
name = "copier-2"
network = "192.0.2.7"
tell = "office@example.com"
[aliases]
sales = ["+14155550120", "+14155550121"]
jamaica = "+18765551234"
four = ["+14155550121", "+14155550122", "+14155550123", "+14155550124"]
board = { numbers = "+14155550130", for = "ceo@example.com" }
[limits]
pages_per_day = 900
[[route]]
mail = "office@example.com"
"""
ANN = "ann@example.com"
HERE = "127.0.0.1, in SMTP_TRUSTED_NETWORKS"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


def permit(rules: Path, *arguments: str) -> Result:
    environ = GOOD | {"RULES_FILE": str(rules), "SMTP_DEVICE_NETWORKS": "192.0.2.0/24"}
    environ |= {"MAIL_ADMIN": "admin@example.com", "FAX_MAX_RECIPIENTS": "3"}
    return CliRunner().invoke(app, ["permit", *arguments], env=environ)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((ANN, "+14155550100"), "Permitted: +14155550100."),
        ((ANN, "4155550100"), "Permitted: +14155550100."),
        (("<Ann@Example.com>", "+14155550100@fax.local"), "Permitted: +14155550100."),
        ((ANN, "FAX=+14155550100/T33S=77@fax.local"), "Permitted: +14155550100."),
        ((ANN, "1-415-555-0100/ref=4711@fax.local"), "Permitted: +14155550100."),
        ((ANN, "sales"), "Permitted: +14155550120, +14155550121."),
        ((ANN, "fax@fax.local"), "Permitted: the address."),
        (("ceo@example.com", "board"), "Permitted: +14155550130."),
        (("bob@example.com", "+493012345678", "--login", "bob"), "Permitted: +493012345678."),
        ((ANN, "+14155550100", "--mailbox"), "Permitted: +14155550100."),
        (("x@copier", "+14155550100", "--peer", "192.0.2.7"), "Permitted: +14155550100."),
        (("x@y.example", "postmaster", "--peer", "203.0.113.9"), "postmaster@fax.local is mail"),
    ],
)  # fmt: skip
def test_yes(rules: Path, arguments: tuple[str, ...], says: str) -> None:
    done = permit(rules, *arguments)
    assert (done.exit_code, done.stdout.count("\n")) == (0, 1), done.stdout
    assert done.stdout.startswith(says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("x@y.example", "+14155550100"), "no rule names it: 550 5.7.1 Sender not listed"),
        (("fired@example.com", "+14155550100"), "sender 1 denies it: 550 5.7.1 Sender not listed"),
        ((ANN, "+14155550100", "--login", "bob"), "553 5.7.1 Sender not owned"),
        ((ANN, "+14155550100", "--peer", "203.0.113.9"), "530 5.7.0 Authentication required"),
        ((ANN, "+14155550100", "--peer", "2001:db8::9"), "530 5.7.0 Authentication required"),
        (("x@y.example", "+14155550100", "--mailbox"), "550 5.7.1 Sender not listed"),
        (("x@y.example", "+14155550100", "--peer", "192.0.2.8"), "550 5.7.1 Sender not listed"),
        (("", "+14155550100"), "550 5.7.1 Automatic mail is not faxed"),
        (("sales@fax.local", "+14155550100"), "550 5.7.1 The sender is an address of ours"),
        (("ann", "+14155550100", "--login", "carol"), "553 5.1.7 Nobody could be told"),
        ((ANN, "four"), "550 5.5.3 Too many numbers for one mail"),
        ((ANN, "+493012345678"), "550 5.7.1 Destination not permitted"),
        ((ANN, "jamaica"), "550 5.7.1 Destination not permitted"),
        ((ANN, "911"), "550 5.7.1 Destination not permitted"),
        ((ANN, "(206) 555-1234@fax.local"), "553 5.1.3 "),
        ((ANN, "+1 206 555 1234"), "553 5.1.3 "),
        ((ANN, "+14155550100@elsewhere.example"), "554 5.7.1 Relay access denied"),
        ((ANN, "+14155550100/covr=none@fax.local"), "known here"),
        ((ANN, "+14155550100/body=covr@fax.local"), "known here"),
        ((ANN, "board"), "50"),
    ],
)
def test_no(rules: Path, arguments: tuple[str, ...], says: str) -> None:
    done = permit(rules, *arguments)
    assert (done.exit_code, done.stdout.count("\n")) == (1, 1), done.stdout
    assert done.stdout.startswith("Refused: ")
    assert says in done.stdout


def test_why(rules: Path) -> None:
    done = permit(rules, "bob@example.com", "sales", "--login", "bob", "--explain")
    said = done.stdout.splitlines()
    assert said[:8] == [
        f"The sender is bob@example.com, logged in as bob, from {HERE}.",
        "sender 1: it names other addresses.",
        "sender 2: it matches.",
        "It may send (sender 2) and counts as login:bob.",
        "It calls from +14155550111; team@example.com hears of the results.",
        "No more than 5 faxes an hour from this sender.",
        "No more than 900 pages a day in all.",
        "It is addressed to sales@fax.local.",
    ]
    assert any(one.startswith("+14155550121: Allowed") for one in said)
    assert said[-1] == "Permitted: +14155550120, +14155550121."


def test_why_not(rules: Path) -> None:
    done = permit(rules, "x@y.example", "sales", "--peer", "203.0.113.9", "--explain")
    assert done.stdout.splitlines() == [
        "The sender is x@y.example, not logged in, from 203.0.113.9.",
        "sender 1: it names other addresses.",
        "sender 2: it names other addresses.",
        "sender 3: it names other addresses.",
        "sender 4: it names other addresses.",
        "sender 5: it wants a login.",
        f"Refused: it comes from no known network and has not logged in: {LOGIN_FIRST}",
    ]


def test_json(rules: Path) -> None:
    yes = json.loads(permit(rules, "x@c", "sales", "--peer", "192.0.2.7", "--json").stdout)
    assert yes.pop("why")[-1] == "Permitted: +14155550120, +14155550121."
    assert yes == {
        "permitted": True, "reply": "", "numbers": ["+14155550120", "+14155550121"],
        "identity": "device:copier-2", "rule": "device copier-2", "line": "+14155550199",
    }  # fmt: skip
    done = permit(rules, ANN, "911", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["reply"] == "550 5.7.1 Destination not permitted"


def test_as_a_command(tmp_path: Path, rules: Path) -> None:
    """Exit codes of a real process; help with an example; mistakes are told, all of them."""
    good = GOOD | {"RULES_FILE": str(rules)}
    assert run("permit", ANN, "+14155550100", **good).returncode == 0
    assert run("permit", ANN, "911", **good).returncode == 1
    assert run("permit", ANN).returncode == 2
    assert run("permit", ANN, "911", "--peer", "192.0.2.7x").returncode == 2
    assert re.search(r"Example:\n +fax-gateway permit ", run("permit", "--help").stdout)
    rules.write_text("[[sender]]\nlogn = 'bob'\n[limits]\nx = 1\n")
    done = run("permit", ANN, "911", **good)
    assert done.returncode == 78
    assert "logn is no key: did you mean login?" in done.stderr
    assert "limits: x is no key" in done.stderr


def test_without_rules(tmp_path: Path) -> None:
    rules = tmp_path / "routes-only.toml"
    rules.write_text('[[route]]\nmail = "office@example.com"\n')
    done = permit(rules, ANN, "+14155550100", "--explain")
    assert done.exit_code == 0
    assert f"It may send (there are no sender rules) and counts as address:{ANN}." in done.stdout
