"""How long a start may take."""

import pytest

from countline_local.supervision.patience import StartPatience

USUAL_S, MOST_S = 60.0, 480.0


@pytest.mark.parametrize(
    ("share", "work_s", "ends_s"),
    [
        (0.0, 0.0, 60),  # a process that waits in vain
        (0.05, 1e9, 60),  # it tries again and again, in vain
        (1.0, 3.0, 60),  # it starts as usual, then waits in vain
        (1.0, 400.0, 420),  # one of many on an overloaded machine, until its work is done
        (1.0, 1e9, 480),  # it works for ever
    ],
)
def test_a_start_has_time_as_long_as_the_process_is_busy(share: float, work_s: float, ends_s: float) -> None:
    now = 1000.0
    patience = StartPatience(1, USUAL_S, MOST_S, busy=lambda _: min(share * (now - 1000.0), work_s), clock=lambda: now)
    while not patience.is_over():
        now += 0.5
    assert patience.waited_s == pytest.approx(ends_s, abs=1)
