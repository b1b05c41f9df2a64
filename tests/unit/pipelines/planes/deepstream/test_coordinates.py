"""Boxes on their way back to the picture of the source."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_pipelines.planes.deepstream.cameras.coordinates import clipped, from_network

sizes = st.tuples(st.integers(64, 4000), st.integers(64, 4000))
shares = st.tuples(*(st.floats(0, 1) for _ in range(4)))


def box_in(source: tuple[int, int], corners: tuple[float, ...]) -> np.ndarray:
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    return np.array([[x1 * source[0], y1 * source[1], x2 * source[0], y2 * source[1]]])


def test_boxes_stay_within_the_picture() -> None:
    given_px = np.array([[-5.0, 10.0, 700.0, 500.0]])
    assert clipped(given_px, (640, 480)).tolist() == [[0.0, 10.0, 640.0, 480.0]]
    assert given_px.tolist() == [[-5.0, 10.0, 700.0, 500.0]], "what is given is not changed"


@given(sizes, st.tuples(st.integers(32, 1300), st.integers(32, 1300)), shares)
def test_a_models_answer_comes_back_to_the_source(frame, network, corners) -> None:
    true = box_in(frame, corners)
    scale = min(network[0] / frame[0], network[1] / frame[1])
    whole = np.array([max(1, int(side * scale + 1e-6)) for side in frame])  # of the picture inside the input
    answer = np.array([[*(true[0] * np.tile(whole / np.array(frame), 2)), 0.8, 2]], np.float32)
    if (answer[0, 2:4] - answer[0, :2]).min() < 1e-2:
        return
    left, top, width, height, score, class_id = from_network(answer, network, frame)[0]
    assert [left, top, left + width, top + height] == pytest.approx(true[0], abs=1e-4 * max(frame))
    assert (score, class_id) == (pytest.approx(0.8), 2)


@pytest.mark.parametrize(
    "row",
    [
        [10, 10, 20, 20, 0, 1],  # an unused row
        [20, 10, 10, 20, 0.9, 1],  # no width
        [10, 10, 20, np.nan, 0.9, 1],
        [np.nan, 10, 20, 20, 0.9, 1],
        [10, 10, 20, 20, np.nan, 1],
        [10, 10, 20, 20, 0.9, np.nan],
        [700, 10, 720, 20, 0.9, 1],  # outside
    ],
)
def test_a_row_that_is_no_box_makes_no_object(row: list[float]) -> None:
    assert len(from_network(np.array([row], np.float32), (640, 384), (640, 384))) == 0
