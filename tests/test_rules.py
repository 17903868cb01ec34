"""rules.toml: taken whole or not at all, with every mistake told in words that help."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.inbound.route import route
from gateway.rules import (
    COMPAT,
    Alias,
    Device,
    Limits,
    Route,
    Rules,
    RulesError,
    Sender,
    Spending,
    load,
)
from tests.make import inbound

EXAMPLE = Path(__file__).parent.parent / "gateway" / "rules.example.toml"
LAST = '[[route]]\nmail = ["office@example.com"]\n'


def read(tmp_path: Path, text: str) -> Rules:
    path = tmp_path / "rules.toml"
    path.write_text(text, "utf-8")
    return load(path, ("fax.local",))


def test_the_example_is_good() -> None:
    """And shows every key there is."""
    rules = load(EXAMPLE, ("fax.local",))
    assert (len(rules.sender), len(rules.device), len(rules.route)) == (3, 1, 3)
    text = EXAMPLE.read_text("utf-8")
    for table in (Sender, Device, Alias, Limits, Spending, Route, Rules):
        for name, field in table.model_fields.items():
            assert re.search(rf"\b{field.alias or name}\b", text), f"{table.__name__}: {name}"
    assert all(word in text for word in COMPAT)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "route is missing"),
        ("route = 7", "route:"),
        ("[[route]", "rules.toml:"),
        ("[[route]]\nmial = 'a@b.c'\n", "route 1: mial is no key: did you mean mail?"),
        ("[[route]]\nmial = 'a@b.c'\n", "route 1: mail is missing"),
        ("[[rute]]\n" + LAST, "rute is no key: did you mean route?"),
        ("[[route]]\nmail = []\n", "route 1: mail:"),
        ("[[route]]\nmail = 'nobody'\n", "a mail address such as"),
        ("[[route]]\nmail = 'a@b.c\\r\\nBcc: x@y.z'\n", "cannot be read|mail address|rules.toml"),
        ("[[route]]\nto = '4155550100'\nmail = 'a@b.c'\n" + LAST, "a number such as"),
        ("[[route]]\nto = '+1*5'\nmail = 'a@b.c'\n" + LAST, "a number such as"),
        ("[[route]]\nto = '+14155550100'\nmail = 'a@b.c'\n", "the last route must catch"),
        (LAST + LAST, "route 1 catches every fax"),
        ("[[route]]\nmail = '+14155550100@FAX.local'\n", "is a fax address"),
        ("[[route]]\nmail = 'ann@14155550100.fax.local'\n", "is a fax address"),
        ("[[route]]\nmail = 'a@fax.local.'\n", "a mail address such as"),
        ("[[route]]\nmail = 'office@example..com'\n", "a mail address such as"),
        ("[[route]]\nmail = 'office.@example.com'\n", "a mail address such as"),
        ("[[route]]\nmail = 'office@-example.com'\n", "a mail address such as"),
        ("[[route]]\nmail = 'office@example.com '\n", "a mail address such as"),
        ("[[route]]\nmail = 'office@\u0435xample.com'\n", "a mail address such as"),
        ("[[route]]\nto = '*'\nmail = 'a@b.c'\n" + LAST, "a number such as"),
        ("[[route]]\nto = ''\nmail = 'a@b.c'\n" + LAST, "a number such as"),
        ("[[route]]\nto = []\nmail = 'a@b.c'\n" + LAST, "route 1 catches every fax"),
        ("x = " + "[" * 20_000, "rules.toml"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RulesError) as caught:
        read(tmp_path, text)
    assert any(word in str(caught.value) for word in says.split("|")), caught.value


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_as_other_systems_write_files(tmp_path: Path, mark: str, end: str) -> None:
    """Notepad begins a file with a mark and ends lines with two characters."""
    text = mark + LAST.replace("\n", end)
    (tmp_path / "rules.toml").write_bytes(text.encode())
    assert load(tmp_path / "rules.toml", ()).route[0].mail == ("office@example.com",)


def test_an_example_of_each_good_address(tmp_path: Path) -> None:
    for address in ("o'neil+fax@sub.example.com", "a@localhost", "_x-1@b-c.example", "1@2.3"):
        assert read(tmp_path, f'[[route]]\nmail = "{address}"\n').route[0].mail == (address,)


S, D = "[[sender]]\n", '[[device]]\nname = "c"\nnetwork = "192.0.2.7"\n'
BOB = S + 'login = "bob"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sender = 7", "sender: a list is wanted"),
        ("device = {}", "device: a list is wanted"),
        ("limits = 7", "limits: a table is wanted"),
        ("aliases = 7", "aliases: a table is wanted"),
        ("[[sendr]]", "sendr is no key: did you mean sender?"),
        ("[[x]]", "x is no key; there is: sender, device, aliases, limits, route"),
        # who a rule is about
        (S, "sender 1: address, domain, login or network is wanted: who is it about?"),
        (S + "address = []", "sender 1: address: at least one is wanted"),
        (S + "domain = []", "sender 1: domain: at least one is wanted"),
        (S + "network = []", "sender 1: network: at least one is wanted"),
        (S + 'address = ""', 'sender 1: address: a mail address such as "office@example.com"'),
        (S + 'address = "example.com"', "sender 1: address: a mail address such as"),
        (S + 'address = "*@example.com"', ""),  # a star is a letter of addresses
        (S + 'domain = "@example.com"', 'sender 1: domain: a domain such as "example.com"'),
        (S + 'domain = "*"', "sender 1: domain: a domain such as"),
        (S + 'domain = "*.*.example.com"', "sender 1: domain: a domain such as"),
        (S + 'domain = ".example.com"', "sender 1: domain: a domain such as"),
        (S + 'domain = "ex\u0430mple.com"', "sender 1: domain: a domain such as"),
        (S + 'login = ""', "sender 1: login: the name of a user in SMTP_USERS_FILE"),
        (S + 'login = " ann"', "sender 1: login: the name of a user in SMTP_USERS_FILE"),
        (S + 'login = "ann:secret"', "sender 1: login: the name of a user in SMTP_USERS_FILE"),
        (S + 'login = "ann smith@Example.com"', ""),
        (S + 'network = "example.com"', 'sender 1: network: a network such as "192.0.2.0/24"'),
        (S + 'network = "10.0.0.1/8"', "10.0.0.1/8 has host bits set"),
        (S + "network = 7", "sender 1: network: a list is wanted"),
        (S + 'network = "0.0.0.0/0"', "sender 1: network: this is the whole internet"),
        (S + 'network = "::/0"', "sender 1: network: this is the whole internet"),
        (S + 'network = "::ffff:0:0/96"', "sender 1: network: this is the whole internet"),
        (S + 'login = "a"\ntrust = "from"', 'sender 1: trust = "from" is about addresses'),
        (BOB + 'trust = "all"', "sender 1: trust: allowed is 'from'"),
        (BOB + 'deny = "maybe"', "sender 1: deny: true or false is wanted"),
        # what holds for it
        (BOB + 'from_number = "4155550100"', "sender 1: from_number: a number in international"),
        (BOB + 'from_number = "+1415*"', "sender 1: from_number: a number in international"),
        (BOB + 'countries = "USA"', "sender 1: countries: a two-letter country code"),
        (BOB + "countries = []", "sender 1: countries: at least one is wanted"),
        (BOB + 'body = "covr"', "sender 1: body: allowed is 'cover', 'page' or 'ignore'"),
        (BOB + 'notices = "never"', "sender 1: notices: allowed is 'all', 'ok', 'fail' or 'none'"),
        (BOB + 'tell = "nobody"', "sender 1: tell: a mail address such as"),
        (BOB + 'tell = "1@fax.local"', "sender 1: 1@fax.local is a fax address: a notice would"),
        (BOB + "faxes_per_hour = 0", "sender 1: faxes_per_hour: a count of 1 or more is wanted"),
        (BOB + 'pages_per_day = "9"', "sender 1: pages_per_day: a whole number is wanted"),
        (BOB + "pages_per_day = true", "sender 1: pages_per_day: a whole number is wanted"),
        (BOB + "pages_per_day = 1.5", "sender 1: pages_per_day: a whole number is wanted"),
        (BOB + "pages_per_month = 9", "pages_per_month is no key: did you mean pages_per_hour?"),
        (BOB + 'aliases = "sale"\n[aliases]\nsales = "+14155550100"',
         "sender 1: aliases: sale is no alias: did you mean sales?"),
        (BOB + 'aliases = ["sales"]', "sender 1: aliases: sales is no alias; there is: none"),
        # copiers
        ('[[device]]\nnetwork = "192.0.2.7"', "device 1: name is missing"),
        ('[[device]]\nname = "c"', "device 1: network is missing"),
        ('[[device]]\nname = "c"\naddress = "x"', "device 1: network: a network such as"),
        ('[[device]]\nname = "Copier 2"\nnetwork = "192.0.2.7"', "device 1: name: a name such as"),
        (D + D, "device: two are named c"),
        (D + 'compat = "tls1"', "'tls1' is not known: did you mean tls1.0?"),
        (D + 'compat = ["tls1.0", "bare-lf"]',
         "compat: the copiers' listener forgives all but old TLS by itself: 'bare-lf' is not"),
        (D + 'compat = "long-lines"', "'long-lines' is not known; there is: tls1.0"),
        (D + 'sender = "scan@1.fax.local"', "device 1: scan@1.fax.local is a fax address"),
        (D + 'tell = "1@FAX.LOCAL"', "device 1: 1@FAX.LOCAL is a fax address"),
        # aliases
        ('[aliases]\nSales = "+14155550100"', "aliases: Sales: a name such as"),
        ('[aliases]\n"4155550100" = "+14155550100"', "aliases: 4155550100: a name such as"),
        ('[aliases]\n"a..b" = "+14155550100"', "aliases: a..b: a name such as"),
        ('[aliases]\n"a/b" = "+14155550100"', "aliases: a/b: a name such as"),
        ('[aliases]\nfax = "+14155550100"', "aliases: fax: this address has a meaning already"),
        ('[aliases]\npostmaster = "+14155550100"', "aliases: postmaster: this address has a"),
        ('[aliases]\nsales = "4155550100"', "aliases: sales: numbers: a number in international"),
        ("[aliases]\nsales = []", "aliases: sales: numbers: at least one is wanted"),
        ("[aliases]\nsales = 7", "aliases: sales: a table is wanted"),
        ("[aliases]\nsales = {}", "aliases: sales: numbers is missing"),
        ('[aliases]\nsales = { numbers = "+14155550100", fro = "x.y" }',
         "aliases: sales: fro is no key: did you mean for?"),
        ('[aliases]\nsales = { numbers = "+14155550100", for = "ann@" }',
         "aliases: sales: for: a mail address such as"),
        # limits
        ("[limits]\nfaxes_per_our = 1", "limits: faxes_per_our is no key: did you mean faxes"),
        ("[limits]\nfaxes_per_day = -1", "limits: faxes_per_day: a count of 1 or more is wanted"),
        ("[limits]\ndestination = 7", "limits: destination: a table is wanted"),
        ("[limits.destination]\nfaxes = 1", "limits.destination: faxes is no key: did you mean"),
    ],
)  # fmt: skip
def test_mistakes_about_senders(tmp_path: Path, text: str, says: str) -> None:
    whole = f"{text}\n{LAST}"
    if not says:
        assert read(tmp_path, whole)
        return
    with pytest.raises(RulesError) as caught:
        read(tmp_path, whole)
    (problem,) = caught.value.problems
    assert says in problem


def test_who_takes_no_faxes_in_needs_no_routes(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(BOB)
    assert load(path, (), inbound=False).sender[0].login == ("bob",)
    with pytest.raises(RulesError, match="route is missing"):
        load(path, ())
    path.write_text('[[route]]\nto = "+14155550100"\nmail = "a@b.c"\n')
    with pytest.raises(RulesError, match="the last route must catch"):
        load(path, (), inbound=False)


@pytest.mark.parametrize(
    ("written", "peer", "is_there"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.0/120", "::ffff:192.0.2.9", True),
        ("::ffff:192.0.2.0/120", "192.0.3.9", False),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        ("2001:db8::/32", "2001:db8::1", True),
    ],
)
def test_a_client_is_the_same_however_its_network_is_written(
    tmp_path: Path, written: str, peer: str, is_there: bool
) -> None:
    """Else what denies it denies nobody."""
    path = tmp_path / "rules.toml"
    path.write_text(f'[[sender]]\nnetwork = "{written}"\ndeny = true\n')
    (rule,) = load(path, (), inbound=False).sender
    assert rule.is_at(peer) is is_there


def test_numbers_that_must_be_on_the_account(tmp_path: Path) -> None:
    text = f'{BOB}from_number = "+14155550111"\n{BOB}{D}from_number = "+14155550122"\n{LAST}'
    assert read(tmp_path, text).lines() == {"+14155550111", "+14155550122"}
    assert read(tmp_path, LAST).lines() == frozenset()


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    with pytest.raises(RulesError) as caught:
        read(tmp_path, "[[route]]\nto = 'x'\nmail = 'y'\n[[route]]\nz = 1\nmail = 'a@b.c'\n")
    assert len(caught.value.problems) == 3


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="cannot be read"):
        load(tmp_path / "none.toml", ())
    assert Rules.default("admin@example.com").route[0].mail == ("admin@example.com",)


RULES = """
[[route]]
to = "+14155550199"
mail = "copy@example.com"
continue = true
[[route]]
to = "+14155550199"
from = ["+12025551234", "+1303*"]
mail = ["ann@example.com", "copy@example.com"]
[[route]]
from = "+44*"
mail = "london@example.com"
"""


@pytest.mark.parametrize(
    ("number", "line", "mail"),
    [
        ("+12025551234", "+14155550199", ("copy@example.com", "ann@example.com")),
        ("+13035550000", "+14155550199", ("copy@example.com", "ann@example.com")),
        ("+442071234567", "+14155550188", ("london@example.com",)),
        ("+12025559999", "+14155550199", ("copy@example.com", "office@example.com")),
        ("", "", ("office@example.com",)),
        ("anonymous", "+14155550188", ("office@example.com",)),
    ],
)
def test_routes(tmp_path: Path, number: str, line: str, mail: tuple[str, ...]) -> None:
    decision = route(read(tmp_path, RULES + LAST), inbound(number=number, line=line))
    assert decision.mail == mail
    assert decision.why[-1].endswith(f"matches: {mail[-1]}") or "matches" in decision.why[-1]
