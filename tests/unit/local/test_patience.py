"""How long a start may take."""

import os
import time

import pytest

from countline_local.supervision.patience import StartPatience, processor_seconds

USUAL_S, MOST_S = 60.0, 480.0


@pytest.mark.parametrize(
    ("share", "work_s", "ends_s"),
    [
        (0.0, 0.0, 60),  # a process that waits in vain
        (0.004, 0.0, 60),  # its event loop looks again and again
        (1.0, 3.0, 75),  # it starts as usual, then waits in vain
        (0.05, 20.0, 420),  # one of many on an overloaded machine, until its work is done
        (1.0, 1e9, 480),  # it works for ever
    ],
)
def test_a_start_has_time_as_long_as_the_process_works(share: float, work_s: float, ends_s: float) -> None:
    now = 1000.0
    patience = StartPatience(1, USUAL_S, MOST_S, used=lambda _: min(share * (now - 1000.0), work_s), clock=lambda: now)
    while not patience.is_over():
        now += 0.5
    assert patience.waited_s == pytest.approx(ends_s, abs=16 if share == 0.05 else 1)


def test_the_processor_time_of_a_process_grows_while_it_works() -> None:
    before = processor_seconds(os.getpid())
    began = time.process_time()
    while time.process_time() - began < 0.1:
        pass
    assert processor_seconds(os.getpid()) - before >= 0.08
    assert processor_seconds(2**22 + 1) == 0.0
