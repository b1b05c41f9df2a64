"""Times without frames of a stream, as the warning of a count names them."""

import pytest

from countline_pipelines.offline.gaps import Absences

START = 1_700_000_000.0
LABEL = "rtsp://127.0.0.1/s"


def words(times: list[float], away_s: float = 0.0, period_s: float = 0.1) -> str | None:
    absences = Absences(period_s)
    for t in times:
        absences.frame_counted(START + t)
    warning = absences.warning(LABEL, away_s)
    return None if warning is None else warning.message


def steps(begin: float, end: float, step: float = 0.1) -> list[float]:
    return [begin + index * step for index in range(round((end - begin) / step) + 1)]


def test_a_time_without_frames_is_named_from_the_first_frame_on() -> None:
    times = [*steps(0, 5), *steps(9.3, 12), *steps(14.5, 20)]
    assert words(times) == f"{LABEL}: no frame was counted from 5.0 s to 9.3 s, 12.0 s to 14.5 s (6.8 s in all)"


def test_a_stream_that_is_away_at_the_end_is_named() -> None:
    assert words(steps(0, 5), away_s=3.0) == f"{LABEL}: no frame was counted from 5.0 s to 8.0 s (3.0 s in all)"


@pytest.mark.parametrize("times", [[], [0.0], steps(0, 5), [*steps(0, 5), *steps(5.9, 8)]])
def test_frames_that_come_as_usual_are_no_absence(times: list[float]) -> None:
    """A stall of less than a second is none, as in coverage."""
    assert words(times) is None


def test_a_camera_that_sends_a_frame_every_five_seconds_is_not_absent() -> None:
    assert words(steps(0, 100, 5.0), period_s=5.0) is None


def test_a_long_list_is_cut_short() -> None:
    message = words(steps(0, 0.3) + [t for k in range(1, 8) for t in steps(10 * k, 10 * k + 0.3)])
    assert message is not None
    assert message.endswith("40.3 s to 50.0 s and 2 more (67.9 s in all)")
