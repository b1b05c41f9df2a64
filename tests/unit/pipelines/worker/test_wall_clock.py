"""Live pictures are dated by a clock that is right."""

import pytest

from countline_pipelines.sources.wall_clock import WallClock
from countline_pipelines.worker.clock_check import server_time

NOW = 1_796_000_000.0


class Clocks:
    """This machine's clock and the one that cannot be set, as a test moves them."""

    def __init__(self, local: float = NOW) -> None:
        self.local, self.steady = local, 50.0
        self.wall = WallClock(lambda: self.local, lambda: self.steady)

    def pass_s(self, seconds: float) -> None:
        self.local += seconds
        self.steady += seconds


@pytest.mark.parametrize("offset_s", [-NOW, -86_400.0, -2.1, 2.1, 3600.0])
def test_a_clock_that_is_off_is_replaced_by_that_of_the_server(offset_s: float) -> None:
    clocks = Clocks(NOW + offset_s)
    assert clocks.wall.now() == NOW + offset_s
    clocks.wall.observe(NOW, clocks.steady)
    assert clocks.wall.is_off
    assert clocks.wall.offset_s == pytest.approx(offset_s)
    clocks.pass_s(7)
    assert clocks.wall.now() == pytest.approx(NOW + 7)


@pytest.mark.parametrize("offset_s", [-1.9, 0.0, 1.9])
def test_a_clock_that_is_nearly_right_is_used(offset_s: float) -> None:
    clocks = Clocks(NOW + offset_s)
    clocks.wall.observe(NOW, clocks.steady)
    assert clocks.wall.now() == NOW + offset_s
    assert not clocks.wall.is_off


@pytest.mark.parametrize("step_s", [-NOW, -86_400.0, 3600.0])
def test_a_clock_that_is_set_between_two_comparisons_moves_no_time(step_s: float) -> None:
    clocks = Clocks()
    clocks.wall.observe(NOW, clocks.steady)
    clocks.pass_s(5)
    clocks.local += step_s
    assert clocks.wall.now() == pytest.approx(NOW + 5)


def test_a_clock_at_the_limit_is_not_left_and_taken_in_turns() -> None:
    clocks = Clocks(NOW + 2.05)
    clocks.wall.observe(NOW, clocks.steady)
    clocks.local -= 0.1
    assert clocks.wall.now() == pytest.approx(NOW)
    clocks.local -= 1.0
    assert clocks.wall.now() == pytest.approx(NOW + 0.95)


def test_the_time_of_an_answer_has_nanoseconds() -> None:
    assert server_time(b'{"ts": "2026-11-29T16:00:00.123456789Z"}') == pytest.approx(1_795_968_000.123456)
    with pytest.raises(LookupError):
        server_time(b"{}")
