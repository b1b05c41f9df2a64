"""How pictures are displayed: every display matrix against its definition, sizes, and changes in mid-stream."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.display import (
    Displayer,
    Orientation,
    PictureShape,
    displayed_wh,
    orientation_of,
    plausible_sar,
)

ONE = 1 << 16
MATRICES = {
    Orientation.UPRIGHT: (1, 0, 0, 1),
    Orientation.MIRRORED: (-1, 0, 0, 1),
    Orientation.UPSIDE_DOWN: (1, 0, 0, -1),
    Orientation.HALF_TURN: (-1, 0, 0, -1),
    Orientation.CLOCKWISE: (0, 1, -1, 0),
    Orientation.COUNTERCLOCKWISE: (0, -1, 1, 0),
    Orientation.TRANSPOSED: (0, 1, 1, 0),
    Orientation.ANTITRANSPOSED: (0, -1, -1, 0),
}
"""a, b, c, d of the matrix: a point (x, y) goes to (a x + c y, b x + d y)."""


def matrix_of(a: float, b: float, c: float, d: float) -> bytes:
    return struct.pack("=9i", round(a * ONE), round(b * ONE), 0, round(c * ONE), round(d * ONE), 0, 0, 0, 1 << 30)


def displayed(pixels: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Move each pixel as the definition of the matrix says."""
    height, width = pixels.shape[:2]
    corners = np.array([(a * x + c * y, b * x + d * y) for x in (0, width - 1) for y in (0, height - 1)])
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    moved = np.zeros((bottom - top + 1, right - left + 1, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            moved[b * x + d * y - top, a * x + c * y - left] = pixels[y, x]
    return moved


@pytest.mark.parametrize("orientation", list(Orientation), ids=lambda each: each.name.lower())
def test_a_picture_is_turned_as_its_matrix_says(orientation: Orientation, monkeypatch: pytest.MonkeyPatch) -> None:
    elements = MATRICES[orientation]
    assert orientation_of(matrix_of(*elements)) is orientation
    pixels = np.arange(6 * 10 * 3, dtype=np.uint8).reshape(6, 10, 3)
    picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    picture.pts, picture.time_base = 7, Fraction(1, 10)
    monkeypatch.setattr("countline_common.display._stated_orientation", lambda _: orientation)
    shown, shape = Displayer(None).show(picture, None)
    assert np.array_equal(shown.to_ndarray(), displayed(pixels, *elements))
    assert shape == PictureShape((shown.width, shown.height), orientation)
    assert shown.pts == 7
    assert shown.planes[0].line_size > 0


@given(st.sampled_from(list(Orientation)), st.floats(-0.3, 0.3), st.floats(0.2, 5.0))
def test_a_matrix_that_is_off_or_scaled_counts_as_the_nearest(
    orientation: Orientation, off: float, scale: float
) -> None:
    a, b, c, d = MATRICES[orientation]
    cos, sin = np.cos(off) * scale, np.sin(off) * scale
    turned = (a * cos - b * sin, a * sin + b * cos, c * cos - d * sin, c * sin + d * cos)
    assert orientation_of(matrix_of(*turned)) is orientation


@pytest.mark.parametrize(
    ("decoded", "sar", "orientation", "shown"),
    [
        ((640, 180), Fraction(1, 2), Orientation.UPRIGHT, (320, 180)),
        ((320, 360), Fraction(2), Orientation.UPRIGHT, (640, 360)),
        ((720, 576), Fraction(16, 15), Orientation.UPRIGHT, (768, 576)),
        ((1440, 1080), Fraction(4, 3), Orientation.CLOCKWISE, (1080, 1920)),  # SAR is that of the decoded picture
        ((1920, 1080), Fraction(4320, 4319), Orientation.UPRIGHT, (1920, 1080)),
    ],
)
def test_a_displayed_size_is_in_square_pixels(
    decoded: tuple[int, int], sar: Fraction, orientation: Orientation, shown: tuple[int, int]
) -> None:
    assert displayed_wh(decoded, sar, orientation) == shown


@pytest.mark.parametrize("sar", [None, Fraction(0), Fraction(4095), Fraction(1, 1000), Fraction(-1)])
def test_a_proportion_that_cannot_be_true_is_ignored(sar: Fraction | None) -> None:
    assert plausible_sar(sar) == 1


def test_a_proportion_that_changes_in_mid_stream_holds_from_there() -> None:
    picture = av.VideoFrame(320, 240, "yuv420p")
    displayer = Displayer(Fraction(2))  # the container's, which the codec contradicts
    sizes = [displayer.show(picture, sar)[1].size_wh for sar in (Fraction(1), Fraction(1), Fraction(4, 3), None)]
    assert sizes == [(640, 240), (640, 240), (427, 240), (640, 240)]


def test_shapes_match_if_lines_mean_the_same_on_both() -> None:
    shape = PictureShape((640, 360))
    assert shape.matches(PictureShape((1920, 1088)))
    assert not shape.matches(PictureShape((640, 480)))
    assert not shape.matches(PictureShape((360, 640)))
    assert not shape.matches(PictureShape((640, 360), Orientation.HALF_TURN))
    assert str(PictureShape((360, 640), Orientation.CLOCKWISE)) == "360x640, turned clockwise"
