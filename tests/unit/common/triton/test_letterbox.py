"""Pictures into the model's input and boxes back."""

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.triton.letterbox import PAD_VALUE, Letterbox, Scaler, paste

sizes = st.tuples(st.integers(16, 4000), st.integers(16, 4000))
inputs = st.tuples(st.integers(32, 1300), st.integers(32, 1300))


@given(sizes, inputs, st.tuples(*(st.floats(0, 1) for _ in range(4))))
def test_a_box_comes_back_to_where_it_was_within_half_a_pixel(source, size, corners) -> None:
    box = Letterbox(source, size)
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    true = np.array([x1 * source[0], y1 * source[1], x2 * source[0], y2 * source[1]])
    share = np.array([*box.scaled_wh, *box.scaled_wh]) / np.array([*source, *source])
    seen = np.array([[*(true * share), 0.9, 3]], np.float32)
    assert np.abs(box.to_source(seen)[0, :4] - true).max() < 0.5
    assert box.to_source(seen)[0, 4:].tolist() == pytest.approx([0.9, 3])


@given(sizes, inputs)
def test_the_picture_fits_and_touches_two_borders_at_least(source, size) -> None:
    width, height = Letterbox(source, size).scaled_wh
    assert 1 <= width <= size[0]
    assert 1 <= height <= size[1]
    assert width == size[0] or height == size[1]


def test_boxes_beyond_the_picture_are_clipped_to_it() -> None:
    box = Letterbox((768, 432), (416, 416))
    detections = np.array([[-5, -5, 416, 400, 0.5, 0]], np.float32)
    assert box.to_source(detections)[0, :4].tolist() == [0, 0, 768, 432]


def picture(width: int, height: int, colour: tuple[int, int, int]) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.full((height, width, 3), colour, np.uint8), format="rgb24")


def test_the_picture_lies_at_the_top_left_and_the_rest_is_114() -> None:
    box = Letterbox((640, 360), (416, 416))
    target = np.zeros((416, 416, 3), np.uint8)
    paste(Scaler().scale(picture(640, 360, (200, 100, 50)), box), target, padded=False)
    assert box.scaled_wh == (416, 234)
    assert (target[:234] == (200, 100, 50)).all()
    assert (target[234:] == PAD_VALUE).all()


def test_a_slot_is_padded_anew_for_a_picture_of_another_size() -> None:
    target = np.zeros((64, 96, 3), np.uint8)
    for width, height in ((96, 64), (50, 100), (300, 20)):
        box = Letterbox((width, height), (96, 64))
        paste(Scaler().scale(picture(width, height, (250, 250, 250)), box), target, padded=False)
        scaled_width, scaled_height = box.scaled_wh
        assert (target[:scaled_height, :scaled_width] > 240).all()
        assert (target[scaled_height:] == PAD_VALUE).all()
        assert (target[:, scaled_width:] == PAD_VALUE).all()


def test_rows_of_a_width_that_swscale_pads_are_copied_right() -> None:
    """swscale aligns rows; a width that is no multiple of its alignment shows whether that is minded."""
    ramp = np.tile(np.arange(101, dtype=np.uint8)[None, :, None], (37, 1, 3))
    target = np.zeros((37, 101, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(ramp, format="rgb24")
    paste(Scaler().scale(frame, Letterbox((101, 37), (101, 37))), target, padded=False)
    assert (target == ramp).all()
