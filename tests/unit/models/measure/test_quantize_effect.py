"""Frames that are chosen, boxes that are matched, and the verdict on eight bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_models.quantize.counting import LineCount
from countline_models.quantize.effect import DetectionAgreement, SpeedGain, matches
from countline_models.quantize.frames import chosen_frames
from countline_models.quantize.verdict import ClipCounts, QuantizeVerdict, judge


@given(st.integers(2, 500), st.integers(1, 100), st.integers(1, 100))
def test_frames_to_calibrate_and_to_test_on_are_different_ones_of_the_clip(
    total: int, calibrating: int, held_out: int
) -> None:
    train, test = chosen_frames(total, calibrating, held_out)
    assert not set(train) & set(test)
    assert set(train) | set(test) <= set(range(total))
    assert 1 <= len(train) <= calibrating
    assert 1 <= len(test) <= held_out
    assert train == sorted(set(train))
    assert test == sorted(set(test))


def test_chosen_frames_are_spread_over_the_whole_clip() -> None:
    train, test = chosen_frames(1000, 10, 10)
    assert train == list(range(0, 1000, 100))
    assert np.diff(test).max() < 110


BOX = (10.0, 10.0, 30.0, 30.0)


def rows(*detections: tuple[tuple[float, ...], float, float]) -> np.ndarray:
    return np.array([(*box, score, label) for box, score, label in detections], np.float32).reshape(-1, 6)


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        (rows(), rows(), 0),
        (rows((BOX, 0.9, 0)), rows(), 0),
        (rows(), rows((BOX, 0.9, 0)), 0),
        (rows((BOX, 0.9, 0)), rows((BOX, 0.4, 0)), 1),
        (rows((BOX, 0.9, 0)), rows((BOX, 0.9, 1)), 0),  # another class
        (rows((BOX, 0.9, 0)), rows(((10, 10, 30, 19), 0.9, 0)), 0),  # IoU 0.45
        (rows((BOX, 0.9, 0)), rows(((10, 10, 30, 21), 0.9, 0)), 1),  # IoU 0.55
        (rows((BOX, 0.9, 0)), rows((BOX, 0.9, 0), (BOX, 0.8, 0)), 1),  # one partner each
    ],
)
def test_detections_are_matched_one_to_one_within_their_class(
    wanted: np.ndarray, found: np.ndarray, expected: int
) -> None:
    assert matches(wanted, found) == expected


def test_recall_and_precision_are_of_int8_against_float() -> None:
    agreement = DetectionAgreement(frames=5, in_float=10, in_int8=8, matched=6)
    assert (agreement.recall, agreement.precision) == (0.6, 0.75)
    assert (DetectionAgreement(5, 0, 0, 0).recall, DetectionAgreement(5, 0, 0, 0).precision) == (1.0, 1.0)
    assert (DetectionAgreement(5, 26, 0, 0).recall, DetectionAgreement(5, 26, 0, 0).precision) == (
        0.0,
        0.0,
    )  # it has gone blind
    assert (DetectionAgreement(5, 0, 9, 0).recall, DetectionAgreement(5, 0, 9, 0).precision) == (0.0, 0.0)


QUIET = (0.98, 1.0, 1.0, 1.03)


@pytest.mark.parametrize(
    ("gains", "noise", "faster"),
    [
        ((1.5, 1.6, 1.6, 1.7), QUIET, True),
        ((1.0, 1.0, 1.01, 1.02), QUIET, False),
        ((0.7, 0.8, 0.8, 0.9), QUIET, False),
        ((1.2, 1.3, 1.3, 1.4), (0.6, 1.0, 1.0, 1.1), False),  # the float model was 1.7 times as slow as itself
        ((0.9, 1.5, 1.6, 1.6), QUIET, True),  # one bad round of four
    ],
)
def test_faster_is_only_what_the_float_model_never_is_against_itself(
    gains: tuple[float, ...], noise: tuple[float, ...], faster: bool
) -> None:
    assert SpeedGain(10.0, 8.0, gains, noise).is_faster is faster


FAST, SLOW = SpeedGain(10.0, 5.0, (1.9, 2.0, 2.0, 2.1), QUIET), SpeedGain(10.0, 10.0, QUIET, QUIET)
TWO, THREE, NONE = (LineCount("door", 1, 1),), (LineCount("door", 2, 1),), (LineCount("door", 0, 0),)


@pytest.mark.parametrize(
    ("speed", "counts", "verdict", "word"),
    [
        (FAST, [ClipCounts("a.mp4", TWO, TWO)], QuantizeVerdict.PAYS, "all 2 crossings"),
        (FAST, [ClipCounts("a.mp4", TWO, TWO), ClipCounts("b.mp4", TWO, THREE)], QuantizeVerdict.DOES_NOT_PAY, "b.mp4"),
        (SLOW, [ClipCounts("a.mp4", TWO, TWO)], QuantizeVerdict.DOES_NOT_PAY, "within the noise"),
        (FAST, [], QuantizeVerdict.UNDECIDED, "--line"),
        (FAST, [ClipCounts("a.mp4", NONE, NONE)], QuantizeVerdict.UNDECIDED, "nothing crossed"),
        (SLOW, [], QuantizeVerdict.DOES_NOT_PAY, "within the noise"),
    ],
)
def test_it_pays_only_where_it_is_faster_and_counts_the_same(
    speed: SpeedGain, counts: list[ClipCounts], verdict: QuantizeVerdict, word: str
) -> None:
    found, reason = judge(speed, counts)
    assert found is verdict
    assert word in reason
