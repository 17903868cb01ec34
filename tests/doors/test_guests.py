"""Who is let in, who is turned away with which reply, and whose place a newcomer gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doors.smtp.guests import Admission, Guest, GuestLimits, Guests, home_of

TOO_MANY = "421 4.7.0 Too many connections"
BUSY = "421 4.3.2 Busy"
FEW = GuestLimits(total=5, per_address=2, per_minute=60)


def come(guests: Guests, peer: str, now: float = 0.0) -> Guest:
    admission = guests.admit(peer, now)
    assert admission.reply == ""
    assert admission.guest
    return admission.guest


def full(now: float = 0.0) -> tuple[Guests, list[Guest]]:
    """A house of five, each from an address of its own, one second apart."""
    guests = Guests(FEW)
    return guests, [come(guests, f"192.0.2.{n}", now + n) for n in range(5)]


def test_an_address_has_its_share() -> None:
    guests = Guests()
    for _ in range(20):
        come(guests, "192.0.2.1")
    assert guests.admit("192.0.2.1", 1.0) == Admission(TOO_MANY)
    assert guests.admit("192.0.2.1", 1.0, trusted=True) == Admission(TOO_MANY)
    come(guests, "192.0.2.2")
    assert len(guests) == 21


def test_the_house_has_its_limit() -> None:
    guests = Guests()
    for n in range(200):
        come(guests, f"192.0.2.{n}")
    assert guests.admit("198.51.100.1", 1.0) == Admission(BUSY)
    assert len(guests) == 200


def test_a_place_left_is_free_again_once() -> None:
    guests = Guests(FEW)
    first, _ = come(guests, "192.0.2.1"), come(guests, "192.0.2.1")
    assert guests.admit("192.0.2.1", 0.0).reply == TOO_MANY
    guests.leave(first)
    guests.leave(first)
    assert len(guests) == 1
    come(guests, "192.0.2.1")
    assert guests.admit("192.0.2.1", 0.0).reply == TOO_MANY


def test_sixty_a_minute_from_one_address() -> None:
    guests = Guests()
    for n in range(60):
        guests.leave(come(guests, "192.0.2.1", n * 0.5))
    assert guests.admit("192.0.2.1", 59.9) == Admission(TOO_MANY)
    guests.leave(come(guests, "192.0.2.2", 59.9))
    guests.leave(come(guests, "192.0.2.1", 60.0))


def test_who_is_trusted_may_come_as_often_as_it_likes() -> None:
    guests = Guests()
    for _ in range(200):
        admission = guests.admit("192.0.2.1", 0.0, trusted=True)
        assert admission.guest
        guests.leave(admission.guest)


@pytest.mark.parametrize(
    ("peer", "home"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::3", "20010db800010002::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "20010db800010002::/64"),
        ("2001:db8:1:3::3", "20010db800010003::/64"),
        ("fe80::1%eth0", "fe80000000000000::/64"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_home(peer: str, home: str) -> None:
    assert home_of(peer) == home


def test_a_network_of_ipv6_is_one_customer() -> None:
    guests = Guests(FEW)
    come(guests, "2001:db8::1")
    come(guests, "2001:db8::2")
    assert guests.admit("2001:db8::3", 0.0) == Admission(TOO_MANY)
    come(guests, "2001:db8:0:1::1")


def test_the_idlest_makes_room_for_a_newcomer() -> None:
    guests, here = full()
    assert guests.admit("198.51.100.1", 2.9) == Admission(BUSY)
    here[0].step(2.0)
    first = guests.admit("198.51.100.1", 4.0)
    assert first.evict is here[1]
    assert guests.admit("198.51.100.2", 4.5) == Admission(BUSY)
    second = guests.admit("198.51.100.2", 5.0)
    assert second.evict in (here[0], here[2])
    assert len(guests) == 5


def test_an_address_makes_room_in_its_own_share_only() -> None:
    guests = Guests(FEW)
    stranger = come(guests, "192.0.2.9", 0.0)
    mine = [come(guests, "192.0.2.1", 1.0), come(guests, "192.0.2.1", 2.0)]
    assert guests.admit("192.0.2.1", 3.5) == Admission(TOO_MANY)
    assert guests.admit("192.0.2.1", 4.0).evict is mine[0]
    guests.leave(stranger)


CROWDED = GuestLimits(total=13, per_address=8)


def crowded() -> tuple[Guests, list[Guest]]:
    """Eight guests of one address, five of another; they came just now."""
    guests = Guests(CROWDED)
    many = [come(guests, "192.0.2.1") for _ in range(8)]
    for _ in range(5):
        come(guests, "192.0.2.2")
    return guests, many


@pytest.mark.parametrize(
    ("peer", "now", "makes_room"),
    [
        ("198.51.100.1", 0.9, False),  # everybody gets a second
        ("198.51.100.1", 1.0, True),
        ("192.0.2.2", 1.0, False),  # five and the newcomer: no fewer than the eight
        ("192.0.2.2", 3.0, True),
    ],
)
def test_a_crowd_gives_way_sooner(peer: str, now: float, makes_room: bool) -> None:
    guests, _ = crowded()
    assert bool(guests.admit(peer, now).evict) is makes_room


def test_who_sends_mail_is_no_crowd() -> None:
    guests, many = crowded()
    for guest in many[1:]:
        guest.received(1000, 0.9)
    many[0].waits(0.9)
    evicted = [guests.admit(f"198.51.100.{n}", 1.0).evict for n in range(9)]
    assert [guest.home for guest in evicted if guest] == ["192.0.2.2"] * 2
    assert guests.admit("198.51.100.77", 1.05) == Admission(BUSY)


def test_two_of_an_address_are_no_crowd() -> None:
    guests = Guests(GuestLimits(total=4))
    for n in range(4):
        come(guests, f"192.0.2.{n % 2}")
    assert guests.admit("198.51.100.1", 2.9) == Admission(BUSY)


def test_the_evicted_may_leave_late() -> None:
    guests, here = full()
    assert guests.admit("198.51.100.1", 9.0).evict is here[0]
    guests.leave(here[0])
    assert len(guests) == 5


def test_how_a_connection_is_cut_comes_with_its_guest() -> None:
    cut: list[str] = []
    guests = Guests(GuestLimits(total=1))
    guests.admit("192.0.2.1", 0.0, cut=lambda: cut.append("first"))
    evict = guests.admit("192.0.2.2", 3.0).evict
    assert evict
    evict.cut()
    assert cut == ["first"]


def alone(now: float = 0.0) -> tuple[Guests, Guest]:
    guests = Guests(GuestLimits(total=1))
    return guests, come(guests, "192.0.2.1", now)


def goes(guests: Guests, now: float) -> bool:
    """Would it make room?"""
    return guests.admit("192.0.2.2", now).evict is not None


@pytest.mark.parametrize(
    ("rate", "every", "stays"),
    [
        (1, 1.0, False),  # a trickle
        (499, 1.0, False),
        (500, 1.0, True),
        (500, 0.01, True),
        (1, 0.001, True),  # byte after byte, but fast
        (65536, 2.9, True),
    ],
)
def test_a_decent_rate(rate: int, every: float, stays: bool) -> None:
    guests, guest = alone()
    guest.step(0.0)
    now = 0.0
    while now < 20:
        now += every
        guest.received(rate, now)
    assert goes(guests, now) is not stays


def test_a_burst_earns_no_pension() -> None:
    guests, guest = alone()
    guest.received(10_000_000, 1.0)
    guest.received(1, 2.0)
    guest.received(1, 3.9)
    assert goes(guests, 4.0)


def test_a_scanner_that_pauses_catches_up() -> None:
    guests, guest = alone()
    guest.received(65536, 1.0)
    guest.received(65536, 60.0)
    assert not goes(guests, 62.9)


def test_envelope_after_envelope_is_no_work() -> None:
    guests, guest = alone()
    for n in range(20):  # MAIL, RSET, MAIL, RSET ... each just in time
        guest.step(n * 2.5)
    assert goes(guests, 20 * 2.5)


def test_a_client_that_stays_for_its_next_mail_is_new_again() -> None:
    guests, guest = alone()
    guest.step(0.0)
    guest.done(1.0)
    guest.step(300.0)
    assert not goes(guests, 302.9)


def test_our_own_slowness_is_not_held_against_a_guest() -> None:
    guests, guest = alone()
    guest.waits(2.0)
    assert not goes(guests, 100.0)
    guest.answered(100.0)
    assert not goes(guests, 100.9)
    assert goes(guests, 101.0)


def test_an_answer_without_a_wait_gives_nothing() -> None:
    guests, guest = alone()
    guest.answered(2.0)
    assert goes(guests, 3.0)


def test_a_full_house_of_waiting_guests_keeps_them() -> None:
    guests, here = full()
    for guest in here:
        guest.waits(5.0)
    assert guests.admit("198.51.100.1", 60.0) == Admission(BUSY)
    here[3].answered(60.0)  # it used two of its three seconds
    assert guests.admit("198.51.100.1", 60.9) == Admission(BUSY)
    assert guests.admit("198.51.100.1", 61.0).evict is here[3]


def test_stress_begins_at_four_fifths() -> None:
    guests = Guests(GuestLimits(total=10))
    here = [come(guests, f"192.0.2.{n}") for n in range(7)]
    moods = [guests.stressed]
    here.append(come(guests, "192.0.2.8"))
    moods.append(guests.stressed)
    guests.leave(here[0])
    moods.append(guests.stressed)
    assert moods == [False, True, False]


def test_one_line_a_minute_for_an_address() -> None:
    guests = Guests()
    said = [guests.log_now("192.0.2.1", now) for now in (0.0, 1.0, 59.9, 60.0, 119.0, 121.0)]
    assert said == [True, False, False, True, False, True]
    assert guests.log_now("192.0.2.2", 1.0)
    assert not guests.log_now("::ffff:192.0.2.2", 2.0)


def test_a_hundred_lines_a_minute_for_an_address() -> None:
    guests = Guests()
    assert sum(guests.worth_a_line("192.0.2.1", n / 10) for n in range(599)) == 100
    assert guests.worth_a_line("192.0.2.2", 59.9)
    assert guests.worth_a_line("192.0.2.1", 60.0)


def test_a_million_addresses_are_not_remembered() -> None:
    guests = Guests()
    for n in range(12_000):
        guests.leave(come(guests, f"10.{n >> 8}.{n & 255}.1"))
    assert len(guests._callers) == 10_000
    assert not guests._here


EVENTS = st.tuples(
    st.sampled_from(("come", "leave", "step", "received", "done", "waits", "answered")),
    st.integers(0, 7),  # which address, which guest
    st.sampled_from((0.0, 0.1, 1.0, 3.0, 61.0)),  # s later
)


@given(st.lists(EVENTS, max_size=80))
def test_whatever_happens_the_house_is_never_overfull(events: list[tuple[str, int, float]]) -> None:
    guests, here, now = Guests(FEW), list[Guest](), 0.0
    for what, which, later in events:
        now += later
        if what == "come":
            idle = [g for g in here if not g.waiting and now - g.useful_at >= 3.0]
            admission = guests.admit(f"192.0.2.{which % 4}", now)
            assert bool(admission.reply) is (admission.guest is None)
            if admission.evict:
                assert admission.evict in idle
                mine = admission.guest
                assert mine
                rivals = (
                    [g for g in idle if g.home == mine.home] if full_share(here, mine) else idle
                )
                assert admission.evict.useful_at == min(g.useful_at for g in rivals)
                here.remove(admission.evict)
            if admission.guest:
                here.append(admission.guest)
        elif here:
            guest = here[which % len(here)]
            if what == "leave":
                guests.leave(guest)
                here.remove(guest)
            elif what == "received":
                guest.received(which * 100, now)
            else:
                getattr(guest, what)(now)
        assert len(guests) == len(here) <= 5
        assert all(len([g for g in here if g.home == one.home]) <= 2 for one in here)


def full_share(here: list[Guest], newcomer: Guest) -> bool:
    return len([g for g in here if g.home == newcomer.home]) >= 2
