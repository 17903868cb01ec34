"""rules.toml: taken whole or not at all, with every mistake told in words that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.inbound.route import route
from gateway.rules import Rules, RulesError, load
from tests.make import inbound

EXAMPLE = Path(__file__).parent.parent / "gateway" / "rules.example.toml"
LAST = '[[route]]\nmail = ["office@example.com"]\n'


def read(tmp_path: Path, text: str) -> Rules:
    path = tmp_path / "rules.toml"
    path.write_text(text, "utf-8")
    return load(path, ("fax.local",))


def test_the_example_is_good() -> None:
    assert len(load(EXAMPLE, ("fax.local",)).route) == 3


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
