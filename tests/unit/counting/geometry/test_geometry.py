"""Geometry against rational arithmetic: the same answer for every path, however degenerate."""

import random
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_counting.geometry.polygons import inside, polygon_crosses_itself
from countline_counting.geometry.segments import PolyLine, crossing_sign, path_crossings

TINY = Fraction(1, 2**220)
"""Stands for the infinitely small e of the definition: far below what products of these numbers can differ by."""

grid = st.integers(-4, 4).map(float)
real = st.floats(-1e4, 1e4).map(lambda value: round(value, 9))
on_grid = st.tuples(grid, grid)
anywhere = st.tuples(real, real)
point = st.one_of(on_grid, anywhere)


def rational(p, shifted=False):
    x, y = Fraction(p[0]), Fraction(p[1])
    return (x + TINY, y + TINY**2) if shifted else (x, y)


def cross(a, b, p):
    value = (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
    return (value > 0) - (value < 0)


def crossing_by_definition(a, b, p, q):
    """Two segments in general position: each has its ends on both sides of the other."""
    a, b, p, q = rational(a), rational(b), rational(p, shifted=True), rational(q, shifted=True)
    before, after = cross(a, b, p), cross(a, b, q)
    return after if before != after and cross(p, q, a) != cross(p, q, b) else 0


def inside_by_definition(polygon, p):
    """Even-odd rule with a ray to the right, in rational numbers."""
    x, y = rational(p, shifted=True)
    odd = False
    for a, b in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        (ax, ay), (bx, by) = rational(a), rational(b)
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            odd = not odd
    return odd


@given(point, point, point, point)
def test_a_step_crosses_a_segment_as_rational_arithmetic_says(a, b, p, q):
    if a != b:
        assert crossing_sign(a, b, p, q) == crossing_by_definition(a, b, p, q)


BINARY_PLACES = 20
SHIFT_BITS = 300


def whole(p, shifted=False):
    """A point of at most 20 binary places in units of 2^-620, where e is 2^320 and e^2 is 2^20: integers are quick."""
    x, y = (int(v * 2**BINARY_PLACES) << 2 * SHIFT_BITS for v in p)
    return (x + (1 << SHIFT_BITS), y + 1) if shifted else (x, y)


def crossing_in_integers(a, b, p, q):
    a, b, p, q = whole(a), whole(b), whole(p, shifted=True), whole(q, shifted=True)
    before, after = cross(a, b, p), cross(a, b, q)
    return after if before != after and cross(p, q, a) != cross(p, q, b) else 0


def random_point(rng, scale, coarse):
    places = 0 if coarse else BINARY_PLACES
    x, y = (rng.randint(-scale * 2**places, scale * 2**places) / 2**places for _ in range(2))
    return x, y


def test_a_hundred_thousand_random_steps_over_poly_lines_agree_with_exact_arithmetic():
    """A third of them on a coarse grid, where points lie on lines and paths run through corners all the time."""
    rng = random.Random(7)
    for i in range(34_000):
        scale, coarse = rng.choice([3, 3, 1000]), i % 3 == 0
        *line, p, q = (random_point(rng, scale, coarse) for _ in range(6))
        for a, b in pairwise(line):
            if a != b:
                assert crossing_sign(a, b, p, q) == crossing_in_integers(a, b, p, q)


@given(st.lists(point, min_size=3, max_size=7), st.lists(point, min_size=2, max_size=12))
def test_crossings_of_a_closed_line_add_up_to_what_changed_inside(corners, path):
    """For any outline, even one that crosses itself: an odd number of crossings changes inside to outside."""
    outline = (*corners, corners[0])
    crossings = sum(len(path_crossings(outline, p, q)) for p, q in pairwise(path))
    assert crossings % 2 == (inside(tuple(corners), path[0]) != inside(tuple(corners), path[-1]))


@given(st.lists(st.one_of(on_grid, st.tuples(st.floats(-4, 4), st.floats(-4, 4))), min_size=2, max_size=20))
def test_in_less_out_of_a_square_is_its_true_change_on_every_walk(path):
    square = ((-2.0, -2.0), (2.0, -2.0), (2.0, 2.0), (-2.0, 2.0))
    outline = (*square, square[0])
    net = sum(sign for p, q in pairwise(path) for _, sign in path_crossings(outline, p, q))
    assert net == inside(square, path[-1]) - inside(square, path[0])


@given(st.lists(point, min_size=3, max_size=7), point)
def test_a_point_is_in_a_polygon_as_rational_arithmetic_says(corners, p):
    assert inside(tuple(corners), p) == inside_by_definition(tuple(corners), p)


@given(point, point, point, point)
def test_a_line_drawn_the_other_way_swaps_in_and_out(a, b, p, q):
    if a != b:
        assert crossing_sign(a, b, p, q) == -crossing_sign(b, a, p, q)


@given(point, point, point, point)
def test_the_way_back_undoes_the_way_there(a, b, p, q):
    if a != b:
        assert crossing_sign(a, b, p, q) == -crossing_sign(a, b, q, p)


def test_a_path_through_a_corner_crosses_once():
    corner = ((0.0, 0.0), (5.0, 0.0), (10.0, 0.0))
    assert [sign for _, sign in path_crossings(corner, (5.0, -3.0), (5.0, 3.0))] == [1]


def test_in_is_to_the_right_of_someone_who_looks_along_the_line():
    assert crossing_sign((300.0, 360.0), (900.0, 360.0), (600.0, 300.0), (600.0, 400.0)) == 1


@pytest.mark.parametrize(
    ("polygon", "clashes"),
    [
        pytest.param(((0, 0), (4, 0), (4, 4), (0, 4)), False, id="square"),
        pytest.param(((0, 0), (4, 0), (4, 4), (2, 1), (0, 4)), False, id="concave"),
        pytest.param(((0, 0), (4, 4), (4, 0), (0, 4)), True, id="bow tie"),
        pytest.param(((0, 0), (4, 0), (2, 0)), True, id="folded back on itself"),
        pytest.param(((0, 0), (4, 0), (4, 4), (2, 0), (0, 4)), True, id="corner touches an edge"),
        pytest.param(((0, 0), (0, 0), (4, 4), (0, 4)), True, id="a corner twice"),
        pytest.param(((0, 0), (2, 0), (4, 0), (4, 4)), False, id="a corner on a straight edge"),
    ],
)
def test_outlines_that_cross_or_touch_themselves_are_found(polygon, clashes):
    assert polygon_crosses_itself(polygon) is clashes


@given(st.lists(on_grid, min_size=1, max_size=5))
def test_distance_from_a_closed_line_is_positive_inside(points):
    """A clockwise square on the screen has its inside on the right."""
    square = ((-2.0, -2.0), (2.0, -2.0), (2.0, 2.0), (-2.0, 2.0))
    distance = PolyLine((*square, square[0])).signed_distance_px(np.array(points))
    for p, d in zip(points, distance, strict=True):
        if max(abs(p[0]), abs(p[1])) != 2:
            assert (d > 0) == inside(square, p)


def test_beyond_a_free_end_the_side_is_that_of_the_extension():
    line = PolyLine(((0.0, 0.0), (10.0, 0.0)))
    assert line.signed_distance_px(np.array([[20.0, 3.0], [20.0, -3.0]])).tolist() == [3.0, -3.0]


def test_at_a_sharp_corner_the_side_is_that_of_the_wedge():
    """Nearest to the tip of a V both segments are equally near, and only one of them knows the side."""
    wedge = PolyLine(((-5.0, 10.0), (0.0, 0.0), (5.0, 10.0)))
    above, between = wedge.signed_distance_px(np.array([[0.0, -4.0], [0.0, 8.0]]))
    assert above * between < 0
    assert abs(above) == pytest.approx(4.0)
