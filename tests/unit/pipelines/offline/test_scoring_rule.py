"""The scoring rule of the sequence benchmarks, on paths whose passages are known."""

import numpy as np
import pytest
from tests.benchmarks.mot.recordings import stretched
from tests.benchmarks.mot.scoring import LENIENT, STRICT, Passage, Score, TrueLine, passages, score

from countline_pipelines.evaluation.comparison import with_true_ids
from countline_pipelines.evaluation.mot import Boxes

LINE = ((100.0, 100.0), (300.0, 100.0))
"""From left to right: down the picture is in."""


def feet(*ys, x=200.0, number=1, score_=0.9):
    """Boxes 20 x 100 whose bottom-centres are at these heights, one a frame."""
    frames = np.arange(1, len(ys) + 1)
    xyxy = np.array([[x - 10, y - 100, x + 10, y] for y in ys], dtype=float)
    return Boxes(frames, np.full(len(ys), number), xyxy, np.full(len(ys), score_))


@pytest.mark.parametrize(
    ("ys", "rule", "expected"),
    [
        ((50, 90, 110, 150), STRICT, [Passage(3, 1)]),
        ((150, 110, 90, 50), STRICT, [Passage(3, -1)]),
        ((90, 110, 150), STRICT, []),  # never clear before the line
        ((90, 110, 150), LENIENT, [Passage(2, 1)]),
        ((50, 90, 115), LENIENT, []),  # not far enough beyond
        ((50, 110, 90, 110, 150), STRICT, [Passage(4, 1)]),  # the last meeting dates it
        ((50, 150, 50), STRICT, [Passage(2, 1), Passage(3, -1)]),
    ],
)
def test_a_passage_is_clear_on_both_sides_and_meets_the_line(ys, rule, expected):
    assert list(passages(feet(*ys), LINE, *rule)) == expected


def test_a_way_past_the_end_of_the_line_is_no_passage():
    assert list(passages(feet(50, 90, 110, 150, x=301.0), LINE, *LENIENT)) == []


def test_a_total_between_the_two_rules_has_no_error_and_one_outside_is_off_by_the_distance():
    truth = TrueLine(strict=[Passage(10, 1)], lenient=[Passage(10, 1), Passage(50, 1)])
    for counted, error in (([], 1), ([Passage(10, 1)], 0), ([Passage(10, 1), Passage(50, 1)], 0)):
        assert score([truth], [counted], 10.0).error == error
    assert score([truth], [[Passage(10, 1)] * 3], 10.0).error == 1


def test_matches_are_one_to_one_and_within_a_second():
    truth = TrueLine(strict=[Passage(10, 1)], lenient=[Passage(10, 1), Passage(50, 1)])
    found = [Passage(12, 1), Passage(13, 1), Passage(61, 1), Passage(50, -1)]
    assert score([truth], [found], 10.0) == Score(true=2, error=2, hits=1, false=3, missed=0)
    assert score([truth], [[Passage(21, 1)]], 10.0) == Score(true=2, error=0, hits=0, false=1, missed=1)


def test_perfect_association_takes_the_ids_of_the_objects_and_drops_other_boxes():
    there = feet(100, 100)
    found = feet(110, 300, number=-1)
    right = with_true_ids(there, found, 2)
    assert (right.frame.tolist(), right.ids.tolist()) == ([1], [1])


def test_scores_are_stretched_once():
    raw = Boxes(np.array([1, 1, 1]), np.full(3, -1), feet(1, 2, 3).xyxy, np.array([0.2, 0.3, 0.6]))
    once = stretched(raw)
    assert once.score.tolist() == [0.05, 0.25, 0.99]
    assert stretched(once).score.tolist() == once.score.tolist()
