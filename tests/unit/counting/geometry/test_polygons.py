"""Whether the outline of a zone or mask crosses itself."""

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from countline_counting.geometry.polygons import polygon_crosses_itself

points = st.tuples(st.floats(0.0, 1.0, allow_nan=False), st.floats(0.0, 1.0, allow_nan=False))


@given(st.lists(points, min_size=3, max_size=8, unique=True))
def test_a_polygon_and_its_reflections_rotations_and_reversal_are_judged_alike(corners: list) -> None:
    judged = polygon_crosses_itself(tuple(corners))
    assert polygon_crosses_itself(tuple(corners[::-1])) == judged
    assert polygon_crosses_itself((*corners[1:], corners[0])) == judged
    assert polygon_crosses_itself(tuple((y, x) for x, y in corners)) == judged


@given(st.integers(3, 12), st.floats(0.05, 0.45))
def test_a_regular_polygon_does_not_cross_itself_and_a_star_does(corners: int, radius: float) -> None:
    circle = [
        (0.5 + radius * math.cos(2 * math.pi * i / corners), 0.5 + radius * math.sin(2 * math.pi * i / corners))
        for i in range(corners)
    ]
    assert not polygon_crosses_itself(tuple(circle))
    if corners >= 5 and corners % 2:
        assert polygon_crosses_itself(tuple(circle[(2 * i) % corners] for i in range(corners)))


@given(st.lists(points, min_size=3, max_size=3, unique=True))
def test_three_corners_make_a_zone_unless_they_lie_on_one_line(corners: list) -> None:
    (ax, ay), (bx, by), (cx, cy) = ((Fraction(x), Fraction(y)) for x, y in corners)
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    assert polygon_crosses_itself(tuple(corners)) == (area == 0)
