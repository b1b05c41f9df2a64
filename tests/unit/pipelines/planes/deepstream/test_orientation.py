"""What DeepStream's converter is set to, so that pictures are shown as a player shows them."""

from fractions import Fraction

import pytest

from countline_common.display import Orientation
from countline_pipelines.planes.deepstream.config.orientation import (
    FLIP_METHOD,
    NVMM_CAPS,
    ORIENTATION_OF_TAG,
    shown_caps,
)


@pytest.mark.parametrize(
    ("sar", "orientation", "caps"),
    [
        (None, Orientation.UPRIGHT, ""),
        (Fraction(1), Orientation.UPRIGHT, ""),
        (Fraction(100), Orientation.UPRIGHT, ""),  # cannot be true
        (Fraction(1, 2), Orientation.UPRIGHT, ",width=320,height=180"),
        (Fraction(1), Orientation.HALF_TURN, ",width=640,height=180"),
        (Fraction(1), Orientation.CLOCKWISE, ",width=180,height=640"),
        (Fraction(1, 2), Orientation.TRANSPOSED, ",width=180,height=320"),
        (Fraction(59, 54), Orientation.UPRIGHT, ",width=700,height=180"),  # 699.3: even, as NV12 needs
    ],
)
def test_pictures_get_their_displayed_size(sar: Fraction | None, orientation: Orientation, caps: str) -> None:
    assert shown_caps((640, 180), sar, orientation) == NVMM_CAPS + caps


def test_every_orientation_has_a_tag_and_a_method() -> None:
    assert set(ORIENTATION_OF_TAG.values()) == set(FLIP_METHOD) == set(Orientation)
    assert sorted(FLIP_METHOD.values()) == list(range(8))
