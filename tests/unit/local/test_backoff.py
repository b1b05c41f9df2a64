"""Waits between restarts."""

from hypothesis import given
from hypothesis import strategies as st

from countline_local.supervision.backoff import Backoff


def test_waits_double_up_to_a_bound() -> None:
    backoff = Backoff(first_s=0.5, most_s=30.0)
    assert [backoff.next_s(lived_s=1.0) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_long_life_begins_the_series_anew() -> None:
    backoff = Backoff(first_s=0.5, healthy_after_s=60.0)
    for _ in range(5):
        backoff.next_s(lived_s=0.1)
    assert backoff.next_s(lived_s=60.0) == 0.5
    assert backoff.next_s(lived_s=0.1) == 1.0


@given(st.lists(st.floats(0, 1e6), max_size=2000))
def test_no_wait_is_ever_outside_its_bounds(lives_s: list[float]) -> None:
    backoff = Backoff()
    assert all(backoff.first_s <= backoff.next_s(lived_s) <= backoff.most_s for lived_s in lives_s)
