"""When Triton's answer is that of ONNX Runtime; and what deploying costs the service that does it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from countline_models.deploy.likeness import difference

PERSON = [100, 50, 140, 150, 0.9, 0]
CAR = [300, 80, 420, 160, 0.8, 1]
FAINT = [10, 10, 20, 30, 0.42, 0]


def rows(*found: list[float]) -> np.ndarray:
    filled = np.zeros((5, 6), np.float32)
    for index, row in enumerate(found):
        filled[index] = row
    return filled


def moved(row: list[float], by: float = 0.0, score: float = 0.0, class_id: int | None = None) -> list[float]:
    x1, y1, x2, y2, old, own = row
    return [x1 + by, y1, x2 + by, y2, old + score, own if class_id is None else class_id]


CASES = [
    ("the same", rows(PERSON, CAR), True, True),
    ("a rounding apart", rows(moved(PERSON, 0.005), CAR), True, True),
    ("half a pixel aside", rows(moved(PERSON, 0.5), CAR), False, True),
    ("in another order", rows(CAR, PERSON), False, True),
    ("a score of half precision", rows(moved(PERSON, 0, 0.02), CAR), False, True),
    ("a faint one more", rows(PERSON, CAR, FAINT), False, True),
    ("far aside", rows(moved(PERSON, 10), CAR), False, False),
    ("another score", rows(moved(PERSON, 0, -0.2), CAR), False, False),
    ("another class", rows(moved(PERSON, 0, 0, 1), CAR), False, False),
    ("one missing", rows(PERSON), False, False),
    ("nothing", rows(), False, False),
]


@pytest.mark.parametrize(("found", "exactly", "about"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_answers_are_the_same_to_a_rounding_or_on_a_gpu_by_their_sure_detections(
    found: np.ndarray, exactly: bool, about: bool
) -> None:
    expected = rows(PERSON, CAR)
    assert (difference(expected, found, 0.4, exact=True) == "") == exactly
    assert (difference(expected, found, 0.4, exact=False) == "") == about


def test_a_faint_detection_may_be_lost_in_half_precision() -> None:
    assert difference(rows(PERSON, FAINT), rows(PERSON), 0.4, exact=False) == ""


def test_a_service_that_deploys_loads_nothing_heavy_before_it_does() -> None:
    heavy = "{'onnx', 'onnxruntime', 'numpy', 'tritonclient', 'av'}"
    code = f"import sys, countline_models.deploy; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert result.stdout.strip() == "set()"
