"""New users, and the wait after wrong passwords."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.errors import InvalidInputError
from countline_common.http.client_address import caller_address
from countline_control.auth import domain
from countline_control.auth.domain import Attempts


@pytest.mark.parametrize("username", ["a", "Anna.B", "anna@example.org", "x" * 64, "0"])
def test_names_that_people_have_are_taken(username: str) -> None:
    domain.check_new_user(username, "correct horse battery")


@pytest.mark.parametrize("username", ["", " ", "a b", "a\n", "x" * 65, ".a", "a/b", "<b>"])
def test_names_that_would_mislead_are_refused(username: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        domain.check_new_user(username, "correct horse battery")
    assert [problem.field for problem in caught.value.fields] == ["username"]


@pytest.mark.parametrize(
    ("password", "fine"),
    [
        ("correct horse battery", True),
        ("Tr0ub4dor&3", True),
        ("a" * 9, False),
        (" " * 10, False),
        ("password123", False),
        ("qwertyuiop123", False),
        ("x" * 1024, False),
        ("turnip " * 4, False),
        ("correct horse battery staple " * 35, True),
        ("correct horse battery staple " * 36, False),
        ("annabella", False),
        ("AnnaBella!1", False),
    ],
)
def test_a_password_is_long_hard_to_guess_and_not_the_name(password: str, fine: bool) -> None:
    if fine:
        domain.check_new_user("annabella", password)
    else:
        with pytest.raises(InvalidInputError) as caught:
            domain.check_new_user("annabella", password)
        assert [problem.field for problem in caught.value.fields] == ["password"]
        assert password not in str(caught.value.fields)


@given(st.floats(0, 1000), st.floats(0, 1e6))
def test_the_wait_grows_with_failures_shrinks_with_time_and_has_an_end(failures: float, elapsed_s: float) -> None:
    attempts = Attempts(failures, last_at=0.0)
    wait = domain.wait_s(attempts, 10, elapsed_s)
    assert 0.0 <= wait <= domain.MAX_WAIT_S
    assert wait <= domain.wait_s(Attempts(failures + 1, 0.0), 10, elapsed_s)
    assert domain.wait_s(attempts, 10, elapsed_s + wait) <= 1e-9 * (1 + elapsed_s)
    if failures <= 9:
        assert wait == 0.0


def test_the_wait_doubles() -> None:
    assert [domain.wait_s(Attempts(10 + n, 0.0), 10, 0.0) for n in range(4)] == [1, 2, 4, 8]
    assert domain.wait_s(None, 10, 0.0) == 0.0


def test_after_a_quarter_of_an_hour_failures_are_forgotten() -> None:
    assert domain.failures_after(Attempts(70, 0.0), 50, domain.FORGIVEN_AFTER_S + 1) == 1
    assert domain.failures_after(None, 50, 0.0) == 1


def test_until_then_they_are_forgiven_one_by_one() -> None:
    assert domain.failures_after(Attempts(40, 0.0), 50, 0.0) == 41
    assert domain.failures_after(Attempts(40, 0.0), 50, domain.FORGIVEN_AFTER_S / 5) == 31
    assert domain.failures_after(Attempts(4, 0.0), 50, domain.FORGIVEN_AFTER_S / 5) == 1
    assert domain.failures_after(Attempts(4, 100.0), 50, 0.0) == 5, "a clock that was set back forgives nothing"


@given(st.lists(st.floats(0, 600), max_size=200))
def test_typos_of_an_office_never_make_it_wait(pauses: list[float]) -> None:
    """Of fewer than 50 people whose typos come in any order within a quarter of an hour."""
    attempts, now = None, 0.0
    for pause in pauses:
        now += max(pause, domain.FORGIVEN_AFTER_S / 49)
        assert domain.wait_s(attempts, 50, now) == 0.0
        attempts = Attempts(domain.failures_after(attempts, 50, now), now)


def test_names_are_compared_without_case() -> None:
    assert domain.username_key(" Anna ") == domain.username_key("ANNA")


HERE = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("ipv4:10.0.0.7:5000", "", "10.0.0.7"),
        ("ipv4:10.0.0.7:5000", "1.2.3.4", "10.0.0.7"),
        ("ipv6:%5B2001:db8::7%5D:5000", "", "2001:db8::7"),
        ("ipv4:127.0.0.1:5000", "1.2.3.4", "1.2.3.4"),
        ("ipv4:127.0.0.1:5000", "9.9.9.9, 1.2.3.4", "1.2.3.4"),
        ("ipv6:[::1]:5000", "2001:db8::7", "2001:db8::7"),
        ("ipv4:127.0.0.1:5000", "", ""),
        ("ipv4:127.0.0.1:5000", "nonsense", ""),
        ("unix:/run/x", "", ""),
        ("", "", ""),
    ],
)
def test_an_address_is_that_of_the_peer_or_what_a_proxy_of_ours_saw(
    peer: str, forwarded_for: str, address: str
) -> None:
    assert caller_address(peer, forwarded_for, HERE) == address
