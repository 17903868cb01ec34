"""Who may send: listed, proven, and never by an address alone; P14 over all combinations."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model import Ceiling
from gateway.numbers import Refusal
from gateway.outbound.permit import (
    LOGIN_FIRST,
    NOT_LISTED,
    NOT_OWNED,
    Defaults,
    Denied,
    Permit,
    Policy,
)
from gateway.rules import Rules

LINE = "+14155550199"
OFFICE, RELAY, COPIER, WORLD = "10.1.0.7", "10.9.0.1", "192.0.2.7", "203.0.113.9"
DEFAULTS = Defaults(
    line=LINE,
    trusted=(ip_network("127.0.0.0/8"), ip_network("10.9.0.0/16")),
    devices=(ip_network("192.0.2.0/24"),),
)


def policy(text: str = "", defaults: Defaults = DEFAULTS) -> Policy:
    return Policy(Rules.model_validate(tomllib.loads(text)), defaults)


def decided(rules: Policy, sender: str, **how: str | bool) -> str:
    """In one line: the reply, or the rule and whom it counts for."""
    verdict = rules.sender(rules.who(sender, **how))  # type: ignore[arg-type]
    if isinstance(verdict, Denied):
        return verdict.reply
    return f"{verdict.rule} → {verdict.identity}"


NOBODY = "there are no sender rules"


@pytest.mark.parametrize(
    ("sender", "how", "says"),
    [
        ("ann@example.com", {"peer": WORLD}, LOGIN_FIRST),
        ("ann@example.com", {}, LOGIN_FIRST),
        ("ann@example.com", {"verified": True}, NOT_LISTED),  # a stranger's own domain is verified
        ("Ann@Example.com", {"peer": "127.0.0.1"}, f"{NOBODY} → address:ann@example.com"),
        ("ann@example.com", {"peer": "::ffff:127.0.0.1"}, f"{NOBODY} → address:ann@example.com"),
        ("ann@example.com", {"peer": "::1"}, LOGIN_FIRST),  # not in this list
        ("ann@example.com", {"peer": "no address"}, LOGIN_FIRST),
        ("ann@example.com", {"peer": RELAY}, f"{NOBODY} → address:ann@example.com"),
        ("ann@example.com", {"peer": WORLD, "login": "Bob"}, f"{NOBODY} → login:bob"),
        ("ann@example.com", {"peer": COPIER}, f"{NOBODY} → device:{COPIER}"),
        ("ann@example.com", {"peer": COPIER, "login": "bob"}, f"{NOBODY} → login:bob"),
        ("", {"peer": "127.0.0.1"}, NOT_LISTED),  # nobody could be told
        ("", {"peer": WORLD}, LOGIN_FIRST),
    ],
)
def test_without_rules(sender: str, how: dict[str, str | bool], says: str) -> None:
    assert decided(policy(), sender, **how) == says


LISTED = """
[[sender]]
address = "fired@example.com"
deny = true
[[sender]]
login = "bob"
address = ["bob@example.com", "sales@example.com"]
[[sender]]
login = ["carol", "DAVE", "Zo\u00cb Ann"]
[[sender]]
network = "10.1.0.0/16"
address = "erp@example.com"
[[sender]]
domain = ["example.com", "*.example.com"]
[[sender]]
address = "home@example.net"
trust = "from"
[[device]]
name = "copier-2"
network = "192.0.2.7"
"""


@pytest.mark.parametrize(
    ("sender", "how", "says"),
    [
        # denied, however it comes
        ("fired@example.com", {"peer": WORLD}, NOT_LISTED),
        ("FIRED@example.COM", {"login": "carol", "peer": WORLD}, NOT_LISTED),
        ("fired@example.com", {"peer": COPIER}, NOT_LISTED),
        ("fired@example.com", {"login": "bob"}, NOT_LISTED),  # not that it is another's
        ("fired@example.com", {"verified": True}, NOT_LISTED),
        # a login with its own addresses
        ("bob@example.com", {"login": "bob", "peer": WORLD}, "sender 2 → login:bob"),
        ("Sales@Example.com", {"login": "BOB"}, "sender 2 → login:bob"),
        ("ann@example.com", {"login": "bob", "peer": WORLD}, NOT_OWNED),
        ("ann@example.com", {"login": "bob", "peer": RELAY}, NOT_OWNED),
        ("ann@example.com", {"login": "bob", "peer": COPIER}, "device copier-2 → device:copier-2"),
        ("", {"login": "bob"}, NOT_OWNED),
        # a login for any address
        ("who@else.example", {"login": "carol", "peer": WORLD}, "sender 3 → login:carol"),
        ("who@else.example", {"login": "dave"}, "sender 3 → login:dave"),
        ("who@else.example", {"login": "Zo\u00cb Ann"}, "sender 3 → login:Zo\u00cb Ann"),
        ("who@else.example", {"login": "Zo\u00eb Ann"}, NOT_LISTED),  # ASCII alone is folded
        ("", {"login": "carol"}, NOT_LISTED),
        # a login that no rule names, with an address that one does
        ("ann@example.com", {"login": "eve", "peer": WORLD}, "sender 5 → login:eve"),
        ("who@else.example", {"login": "eve", "peer": WORLD}, NOT_LISTED),
        # a network of a rule is proof for that rule only
        ("erp@example.com", {"peer": OFFICE}, "sender 4 → address:erp@example.com"),
        ("ann@example.com", {"peer": OFFICE}, LOGIN_FIRST),
        ("erp@example.com", {"peer": WORLD}, LOGIN_FIRST),
        # domains, whole ones
        ("ann@example.com", {"peer": RELAY}, "sender 5 → address:ann@example.com"),
        ("ann@a.b.EXAMPLE.com", {"peer": RELAY}, "sender 5 → address:ann@a.b.example.com"),
        ("ann@example.com", {"verified": True}, "sender 5 → address:ann@example.com"),
        ("ann@example.com", {"peer": WORLD}, LOGIN_FIRST),
        ("ann@notexample.com", {"peer": RELAY}, NOT_LISTED),
        ("ann@example.com.evil.example", {"peer": RELAY}, NOT_LISTED),
        ("example.com", {"peer": RELAY}, NOT_LISTED),
        ("@example.com", {"peer": RELAY}, NOT_LISTED),
        ("ann@example.com@evil.example", {"peer": RELAY}, NOT_LISTED),
        ('"ann@example.com"@evil.example', {"peer": RELAY}, NOT_LISTED),
        ("ann@example.com ", {"peer": RELAY}, NOT_LISTED),
        ("xhome@example.net", {"peer": RELAY}, NOT_LISTED),
        ("ann@exampl\u0435.com", {"peer": RELAY}, NOT_LISTED),
        # an address alone, because the rule says so
        ("home@example.net", {"peer": WORLD}, "sender 6 → address:home@example.net"),
        ("home@example.net", {}, "sender 6 → address:home@example.net"),
        # copiers: listed, and not
        ("x@y.example", {"peer": COPIER}, "device copier-2 → device:copier-2"),
        ("ann@example.com", {"peer": COPIER}, "device copier-2 → device:copier-2"),
        ("x@y.example", {"peer": "192.0.2.8"}, NOT_LISTED),
        ("ann@example.com", {"peer": "192.0.2.8"}, "sender 5 → address:ann@example.com"),
        ("who@else.example", {"login": "eve", "peer": COPIER}, "device copier-2 → device:copier-2"),
        ("who@else.example", {"login": "carol", "peer": COPIER}, "sender 3 → login:carol"),
    ],
)
def test_with_rules(sender: str, how: dict[str, str | bool], says: str) -> None:
    assert decided(policy(LISTED), sender, **how) == says


def test_what_a_login_is_denied_is_not_all_it_has() -> None:
    rules = policy("""
        [[sender]]
        login = "eve"
        address = "boss@example.com"
        deny = true
        [[sender]]
        domain = "example.com"
    """)
    assert decided(rules, "boss@example.com", login="eve") == NOT_LISTED
    assert decided(rules, "eve@example.com", login="eve") == "sender 2 → login:eve"


def test_letters_that_look_alike_are_others() -> None:
    """The Kelvin sign becomes a k when it is made small."""
    rules = policy('[[sender]]\ndomain = "bank.example"\n[[sender]]\nlogin = "kim"\n')
    assert decided(rules, "ann@bank.example", peer=RELAY).startswith("sender 1")
    assert decided(rules, "ann@ban\u212a.example", peer=RELAY) == NOT_LISTED
    assert decided(rules, "x@y.example", login="\u212aim") == NOT_LISTED


@pytest.mark.parametrize(
    ("device", "mail_from", "sender", "tell"),
    [
        ('sender = "scan@example.com"', "root@copier.local", "scan@example.com", ()),
        ('sender = "scan@example.com"', "", "scan@example.com", ()),
        ("", "ann@example.com", "ann@example.com", ()),
        ('tell = "it@example.com"', "ann@example.com", "ann@example.com", ("it@example.com",)),
        ('tell = "it@example.com"', "", "it@example.com", ("it@example.com",)),
        ('tell = "it@example.com"', "scanner", "it@example.com", ("it@example.com",)),
        ("", "", None, ()),
        ("", "scanner", None, ()),
    ],
)
def test_who_hears_of_a_copiers_faxes(
    device: str, mail_from: str, sender: str | None, tell: tuple[str, ...]
) -> None:
    rules = policy(f'[[device]]\nname = "c"\naddress = "{COPIER}"\n{device}')
    verdict = rules.sender(rules.who(mail_from, peer=COPIER))
    if sender is None:
        assert isinstance(verdict, Denied)
        assert (verdict.reply, "has no address" in verdict.rule) == (NOT_LISTED, True)
    else:
        assert isinstance(verdict, Permit)
        assert (verdict.sender, verdict.tell) == (sender, tell)


FACTS = """
[[sender]]
login = "bob"
from_number = "+14155550111"
countries = ["US", "DE"]
body = "page"
notices = "fail"
tell = "boss@example.com"
faxes_per_hour = 5
pages_per_day = 90
aliases = ["sales"]
[[sender]]
domain = "example.com"
faxes_per_day = 7
[[sender]]
network = "10.1.0.0/16"
pages_per_hour = 2
[[device]]
name = "copier-2"
network = "192.0.2.7"
faxes_per_day = 3
[aliases]
sales = "+14155550120"
team = ["+14155550121", "+14155550122"]
board = { numbers = "+14155550130", for = ["boss@example.com", "*.board.example"] }
[limits]
pages_per_day = 1000
[limits.destination]
faxes_per_hour = 2
"""
EVERYBODY = (Ceiling("destination", 3600.0, 2), Ceiling("gateway", 86400.0, 0, 1000))


def permitted(rules: Policy, sender: str, **how: str | bool) -> Permit:
    verdict = rules.sender(rules.who(sender, **how))  # type: ignore[arg-type]
    assert isinstance(verdict, Permit)
    return verdict


def test_facts_of_a_rule() -> None:
    assert permitted(policy(FACTS), "bob@example.com", login="bob") == Permit(
        "login:bob", "sender 1", "bob@example.com", "+14155550111",
        frozenset({"US", "DE"}), "page", "fail", ("boss@example.com",),
        (Ceiling("sender", 3600.0, 5), Ceiling("sender", 86400.0, 0, 90), *EVERYBODY),
        {"sales": ("+14155550120",)},
    )  # fmt: skip


def test_facts_of_nothing() -> None:
    assert permitted(policy(), "a@b.example", peer=RELAY) == Permit(
        "address:a@b.example", NOBODY, "a@b.example", LINE, frozenset({"US"})
    )


@pytest.mark.parametrize(
    ("sender", "how", "names"),
    [
        ("ann@example.com", {"peer": RELAY}, ["sales", "team"]),
        ("boss@example.com", {"peer": RELAY}, ["sales", "team", "board"]),
        ("Boss@Example.com", {"peer": RELAY}, ["sales", "team", "board"]),
        ("x@a.board.example", {"peer": OFFICE}, ["sales", "team", "board"]),
        ("x@board.example", {"peer": OFFICE}, ["sales", "team"]),
        ("boss@example.com", {"login": "bob"}, ["sales"]),
        ("x@y.example", {"peer": COPIER}, ["sales", "team"]),
    ],
)
def test_aliases(sender: str, how: dict[str, str], names: list[str]) -> None:
    assert list(permitted(policy(FACTS), sender, **how).aliases) == names


@pytest.mark.parametrize(
    ("identity", "sender", "ceilings"),
    [
        ("login:bob", "bob@example.com",
         (Ceiling("sender", 3600.0, 5), Ceiling("sender", 86400.0, 0, 90))),
        ("login:eve", "eve@example.com", (Ceiling("sender", 86400.0, 7),)),
        ("address:ann@example.com", "ann@example.com", (Ceiling("sender", 86400.0, 7),)),
        ("address:ann@example.com", "", (Ceiling("sender", 86400.0, 7),)),
        ("address:x@y.example", "x@y.example", (Ceiling("sender", 3600.0, 0, 2),)),
        ("network:10.1.0.0/16", "x@y.example", (Ceiling("sender", 3600.0, 0, 2),)),
        ("network:10.1.0.0/16", "ann@example.com", (Ceiling("sender", 3600.0, 0, 2),)),
        ("network:10.2.0.0/16", "ann@example.com", ()),  # the rules know it no more
        ("device:copier-2", "scan@example.com", (Ceiling("sender", 86400.0, 3),)),
        ("device:copier-9", "scan@example.com", ()),  # the rules know it no more
        ("device:192.0.2.9", "scan@example.com", ()),
        ("", "ann@example.com", (Ceiling("sender", 86400.0, 7),)),  # of before there were rules
    ],
)  # fmt: skip
def test_ceilings_of_a_fax_that_came_in_long_ago(
    identity: str, sender: str, ceilings: tuple[Ceiling, ...]
) -> None:
    assert policy(FACTS).ceilings(identity, sender) == (*ceilings, *EVERYBODY)


def test_ceilings_of_a_network_come_after_those_of_a_name() -> None:
    """Where a fax came from is not known any more: the servers' limit must not bind people."""
    rules = policy("""
        [[sender]]
        network = "10.1.0.0/16"
        faxes_per_day = 5
        [[sender]]
        domain = "example.com"
        faxes_per_day = 700
    """)
    people, servers = (Ceiling("sender", 86400.0, n) for n in (700, 5))
    assert permitted(rules, "ann@example.com", peer=RELAY).ceilings == (people,)
    assert permitted(rules, "erp@other.example", peer=OFFICE).ceilings == (servers,)


def test_who_may_write_any_address_counts_by_its_network() -> None:
    """Else a host would dodge its limit by another name in each mail."""
    rules = policy("""
        [[sender]]
        network = ["10.1.0.0/16", "2001:db8::/64"]
        faxes_per_day = 5
        [[sender]]
        network = "10.9.0.0/16"
        address = "erp@example.com"
    """)
    for sender, how in (
        ("a@b.example", {"peer": OFFICE}),
        ("ann@example.com", {"peer": "::ffff:10.1.2.3"}),
        ("c@d.example", {"peer": "2001:db8::9"}),
    ):
        permit = permitted(rules, sender, **how)
        assert (permit.identity, permit.sender) == ("network:10.1.0.0/16", sender)
        assert permit.ceilings == (Ceiling("sender", 86400.0, 5),)
    # proven, or named by the rule: that counts
    assert permitted(rules, "a@b.example", peer=OFFICE, login="Bob").identity == "login:bob"
    named = permitted(rules, "erp@example.com", peer=RELAY)
    assert named.identity == "address:erp@example.com"


@pytest.mark.parametrize(
    ("how", "written", "dialled"),
    [
        ({"peer": RELAY}, "4155550100", "+14155550100"),
        ({"peer": RELAY}, "+493012345678", Refusal.TOLL_DENIED),
        ({"login": "bob"}, "+493012345678", "+493012345678"),
        ({"login": "bob"}, "+18765551234", Refusal.TOLL_DENIED),  # Jamaica, under +1
        ({"login": "bob"}, "911", Refusal.TOLL_DENIED),
    ],
)
def test_countries_are_those_of_the_rule(how: dict[str, str], written: str, dialled: str) -> None:
    rules = policy(FACTS)
    assert rules.number(permitted(rules, "ann@example.com", **how), written) == dialled


# P14 over all combinations

ADDRESSES = st.sampled_from(
    ["ann@example.com", "bob@example.com", "x@sub.example.com", "x@evil.example", "", "example.com"]
)
PEERS = st.sampled_from(["127.0.0.1", RELAY, OFFICE, COPIER, WORLD, "2001:db8::9", ""])
LOGINS = st.sampled_from(["", "bob", "eve"])


def one_or_more(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2)


RULE = st.fixed_dictionaries(
    {},
    optional={
        "address": one_or_more("ann@example.com", "bob@example.com"),
        "domain": one_or_more("example.com", "*.example.com", "evil.example"),
        "login": one_or_more("bob", "carol"),
        "network": one_or_more("10.1.0.0/16", "2001:db8::/64"),
        "deny": st.booleans(),
        "trust": st.just("from"),
    },
).filter(
    lambda rule: (
        bool(rule.keys() & {"address", "domain"})
        or (bool(rule.keys() & {"login", "network"}) and "trust" not in rule)
    )
)
DEVICE = {"name": "copier", "network": "192.0.2.7"}
RULES = st.builds(
    lambda senders, devices: Rules.model_validate({"sender": senders, "device": devices}),
    st.lists(RULE, max_size=4),
    st.sampled_from([[], [DEVICE]]),
)


@settings(max_examples=500, deadline=None)
@given(RULES, ADDRESSES, PEERS, LOGINS, st.booleans())
def test_never_an_open_relay(
    rules: Rules, sender: str, peer: str, login: str, verified: bool
) -> None:
    """Whoever is let in is proven by something that nobody can merely write."""
    judge = Policy(rules, DEFAULTS)
    who = judge.who(sender, login=login, peer=peer, verified=verified)
    verdict = judge.sender(who)
    proven = bool(login) or verified or who.trusted or who.device or judge.device(peer)
    listed = [rule for rule in rules.sender if rule.network and rule.is_at(peer)]
    spoken = [rule for rule in rules.sender if rule.trust and rule.owns(sender)]
    if isinstance(verdict, Permit):
        assert proven or listed or spoken
        assert verdict.sender
    if rules.sender and not judge.device(peer) and isinstance(verdict, Permit):
        assert any(not rule.deny and not judge.why_not(rule, who) for rule in rules.sender)
    if not (proven or listed or spoken) and isinstance(verdict, Denied):
        denies = any(rule.deny and not judge.why_not(rule, who) for rule in rules.sender)
        assert verdict.reply in ({LOGIN_FIRST, NOT_LISTED} if denies else {LOGIN_FIRST})


@settings(max_examples=200, deadline=None)
@given(RULES, ADDRESSES, PEERS, LOGINS)
def test_a_login_has_no_address_of_others(rules: Rules, sender: str, peer: str, login: str) -> None:
    judge = Policy(rules, DEFAULTS)
    named = [rule for rule in rules.sender if login in rule.login and not rule.deny]
    verdict = judge.sender(judge.who(sender, login=login, peer=peer))
    if named and not any(rule.owns(sender) for rule in named) and not judge.device(peer):
        assert isinstance(verdict, Denied)
        assert verdict.reply in (NOT_OWNED, NOT_LISTED)


@settings(max_examples=200, deadline=None)
@given(RULES, ADDRESSES, PEERS, LOGINS)
def test_the_ceilings_at_the_door_are_those_at_submission(
    rules: Rules, sender: str, peer: str, login: str
) -> None:
    """What the door promised must not fail later, and nobody spends by another rule."""
    judge = Policy(rules, DEFAULTS)
    verdict = judge.sender(judge.who(sender, login=login, peer=peer))
    if isinstance(verdict, Permit):
        assert judge.ceilings(verdict.identity, verdict.sender) == verdict.ceilings


def test_a_verdict_is_kept() -> None:
    """It is asked for each mail: many rules are walked once for a sender."""
    rules = policy("".join(f'[[sender]]\naddress = "u{n}@example.com"\n' for n in range(2000)))
    who = rules.who("u1999@example.com", peer=RELAY)
    first = rules.sender(who)
    assert isinstance(first, Permit)
    assert all(rules.sender(replace(who)) is first for _ in range(10))


def test_one_phone_book_for_all_who_may_use_it() -> None:
    """Thousands of verdicts are kept: not thousands of copies of every alias."""
    rules = policy(FACTS)
    ann, eve = (permitted(rules, f"{name}@example.com", peer=RELAY) for name in ("ann", "eve"))
    assert ann.aliases is eve.aliases
