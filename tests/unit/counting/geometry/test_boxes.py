"""Areas and overlaps of boxes."""

import doctest

import numpy as np
import pytest

from countline_counting.geometry import boxes as module
from countline_counting.geometry.boxes import areas, common_areas, intersection_over_union

ONE = [0, 0, 10, 10]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("other", "share"),
    [
        ([20, 0, 30, 10], 0),  # apart
        ([20, 20, 30, 30], 0),  # apart on both axes: the product of two negative spans is no area
        ([10, 0, 20, 10], 0),  # a common edge
        ([0, 0, 5, 10], 0.5),  # nested
        ([5, 0, 15, 10], 1 / 3),
        (ONE, 1),
        ([5, 5, 5, 5], 0),  # a point inside
    ],
)
def test_overlap_is_common_area_over_joint_area(kind, other, share):
    found = intersection_over_union(np.array([ONE], dtype=kind), np.array([other], dtype=kind))
    assert found.dtype == kind
    assert found == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_boxes_without_an_area_overlap_by_nothing(kind):
    with np.errstate(all="raise"):
        assert intersection_over_union(np.zeros((1, 4), dtype=kind), np.zeros((1, 4), dtype=kind)) == 0


def test_boxes_broadcast():
    rows, columns = np.random.default_rng(1).uniform(0, 50, (2, 7, 4)).cumsum(axis=2)
    table = intersection_over_union(rows[:, None], columns[None])
    assert table.shape == (7, 7)
    assert np.array_equal(np.diagonal(table), intersection_over_union(rows, columns))
    assert np.array_equal(common_areas(rows, rows), areas(rows))
    assert intersection_over_union(np.zeros((0, 1, 4)), columns[None]).shape == (0, 7)


def test_the_example_is_true():
    assert doctest.testmod(module).failed == 0
