"""What the demo detector is taught, and how it is judged."""

import numpy as np
import pytest
from numpy.typing import NDArray

from countline_demo.training.evaluate import DetectionTally, padded, tally
from countline_demo.training.targets import STRIDE, make_targets


def rows(*objects: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(objects, dtype=np.float32).reshape(-1, 6)


def test_an_object_has_its_peak_at_its_middle_and_its_box_around_it() -> None:
    made = make_targets(rows((40, 80, 64, 160, 1.0, 1)), (320, 320), 2)
    assert made.centres.shape == (2, 80, 80)
    assert made.centres[0].max() == 0
    row, column = np.unravel_index(made.centres[1].argmax(), (80, 80))
    assert abs(column * STRIDE + 2 - 52) <= 2
    assert abs(row * STRIDE + 2 - 120) <= 2
    assert made.centres[1].max() == 1
    assert made.boxes[:, row, column].tolist() == [40, 80, 64, 160]
    assert made.weights[row, column] == 1
    assert made.objects == 1


def test_hidden_and_tiny_objects_are_neither_to_be_found_nor_to_be_left() -> None:
    made = make_targets(rows((40, 80, 64, 160, 0.1, 0), (200, 200, 204, 209, 1.0, 0)), (320, 320), 2)
    assert made.objects == 0
    assert made.centres.max() == 0
    assert made.counted[0, 30, 13] == 0
    assert made.counted[0, 51, 50] == 0
    assert made.counted[1].min() == 1, "another class is still wrong there"


def test_where_objects_overlap_the_smaller_one_owns_the_cell() -> None:
    made = make_targets(rows((100, 100, 200, 200, 1.0, 1), (140, 140, 160, 160, 1.0, 0)), (320, 320), 2)
    assert made.boxes[:, 37, 37].tolist() == [140, 140, 160, 160]
    assert made.centres[:, 37, 37].tolist() == [1, 1]


PERSON = (100.0, 100.0, 130.0, 180.0)


@pytest.mark.parametrize(
    ("detections", "objects", "expected"),
    [
        (rows((*PERSON, 0.9, 0)), rows((*PERSON, 1.0, 0)), DetectionTally(right=1)),
        (rows(), rows((*PERSON, 1.0, 0)), DetectionTally(missed=1)),
        (rows((*PERSON, 0.9, 0)), rows(), DetectionTally(false=1)),
        # one object found twice: the better one is right, the other false
        (rows((*PERSON, 0.5, 0), (*PERSON, 0.9, 0)), rows((*PERSON, 1.0, 0)), DetectionTally(right=1, false=1)),
        # half a box beside: IoU 1/3
        (rows((115, 100, 145, 180, 0.9, 0)), rows((*PERSON, 1.0, 0)), DetectionTally(false=1, missed=1)),
        # more than half hidden, or too small: to be ignored, found or not
        (rows((*PERSON, 0.9, 0)), rows((*PERSON, 0.49, 0)), DetectionTally(ignored=1)),
        # most of the detection lies on the hidden object, then most of it does not
        (rows((100, 90, 130, 150, 0.9, 0)), rows((*PERSON, 0.2, 0)), DetectionTally(ignored=1)),
        (rows((100, 60, 130, 130, 0.9, 0)), rows((*PERSON, 0.2, 0)), DetectionTally(false=1)),
        (rows(), rows((*PERSON, 0.49, 0), (10, 10, 20, 25, 1.0, 0)), DetectionTally()),
        # what counts is matched before what does not
        (rows((*PERSON, 0.9, 0)), rows((*PERSON, 0.3, 0), (101, 100, 131, 180, 1.0, 0)), DetectionTally(right=1)),
    ],
)  # fmt: skip
def test_detections_are_judged(
    detections: NDArray[np.float32], objects: NDArray[np.float32], expected: DetectionTally
) -> None:
    assert tally(detections, objects) == expected


def test_pictures_are_padded_below_and_to_the_right_with_114() -> None:
    frame = padded(np.zeros((360, 640, 3), dtype=np.uint8))
    assert frame.shape == (384, 640, 3)
    assert frame[:360].max() == 0
    assert frame[360:].min() == frame.max() == 114
