"""Settings, windows and points of a benchmark."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_models.bench.points import (
    Setting,
    Window,
    is_stable,
    loads_of,
    percentile,
    point_of,
    settings_of,
)


def windows(*frames_and_latency: tuple[int, float]) -> list[Window]:
    """Windows of one second."""
    return [Window(1.0, frames, (latency_ms,) * frames) for frames, latency_ms in frames_and_latency]


def test_a_delay_is_tried_only_where_there_is_something_to_join() -> None:
    assert settings_of([4, 1, 4], [2], [0, 500]) == [Setting(1, 2), Setting(4, 2), Setting(4, 2, 500)]
    assert settings_of([1], [1], [500]) == []


def test_a_worker_sends_whole_batches_and_a_delay_is_tried_with_single_frames() -> None:
    assert Setting(8, 1).frames_a_request == 8
    assert Setting(8, 1, 100).frames_a_request == 1


@pytest.mark.parametrize(
    ("instances", "given_loads", "expected"),
    [(1, [], [1, 2]), (2, [], [1, 3]), (2, [4, 2, 4], [2, 4])],
)
def test_an_idle_server_and_a_busy_one_are_measured_unless_options_say_otherwise(
    instances: int, given_loads: list[int], expected: list[int]
) -> None:
    assert loads_of(Setting(1, instances), given_loads) == expected


@pytest.mark.parametrize(
    ("found", "stable"),
    [
        (windows((100, 5), (100, 5)), False),  # too few
        (windows((100, 5), (104, 5), (109, 5)), True),
        (windows((100, 5), (104, 5), (111, 5)), False),  # throughput
        (windows((100, 5), (100, 5), (100, 5.6)), False),  # latency
        (windows((10, 50), (100, 5), (100, 5), (100, 5)), True),  # the slow beginning is over
        (windows((0, 5), (0, 5), (0, 5)), False),  # nothing answers nothing
    ],
)
def test_three_windows_in_a_row_that_agree_within_ten_percent_are_stable(found: list[Window], stable: bool) -> None:
    assert is_stable(found) is stable


def test_a_point_is_made_of_the_last_three_windows() -> None:
    point = point_of(Setting(2, 1), 2, windows((10, 90), (90, 10), (100, 20), (110, 30)))
    assert (point.frames_per_s, point.requests, point.stable) == (100.0, 300, False)
    assert (point.latency_p50_ms, point.latency_p95_ms, point.latency_p99_ms) == (20, 30, 30)
    assert point.spread == pytest.approx(0.2)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.floats(0, 100))
def test_a_percentile_is_one_of_the_values_and_so_many_do_not_exceed_it(values: list[float], percent: float) -> None:
    ascending = sorted(values)
    found = percentile(ascending, percent)
    assert found in ascending
    assert sum(value <= found for value in ascending) >= len(ascending) * percent / 100 - 1e-9
    assert sum(value < found for value in ascending) < max(1.0, len(ascending) * percent / 100)
