"""Compares detections that two runtimes compute for the same frame; pure."""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Detections = NDArray[np.float32]

SAME: Final = 1e-2
"""Largest difference, in pixels and in score, between ONNX Runtime in Triton and here, both on CPUs."""
SAME_OVERLAP: Final = 0.9
"""Least IoU of the same detection on a GPU in half precision."""
SAME_SCORE: Final = 0.05
"""Largest difference of its scores."""


def difference(expected: "Detections", found: "Detections", score_threshold: float, *, exact: bool) -> str:
    """How the detections (max_detections, 6) of one frame differ, in words; empty if they are the same.

    With the same arithmetic (`exact`) rows are compared one by one. In half precision rows of nearly the same score
    change places, so every detection that is clearly above the threshold must have a similar one.
    """
    import numpy as np

    if expected.shape != found.shape:
        return f"{list(found.shape)} values instead of {list(expected.shape)}"
    if exact:
        by = np.abs(expected - found)
        return "" if np.all(by <= SAME) else f"values differ by up to {by.max():.4g}"
    sure = expected[expected[:, 4] >= score_threshold + SAME_SCORE]
    lost = [row for row in sure if not _has_similar(row, found)]
    return f"{len(lost)} of {len(sure)} detections are missing" if lost else ""


def _has_similar(row: Any, found: "Detections") -> bool:
    """Whether one of the detections has nearly the same class, score and box."""
    import numpy as np

    like = found[(found[:, 5] == row[5]) & (np.abs(found[:, 4] - row[4]) <= SAME_SCORE)]
    sides = np.minimum(like[:, 2:4], row[2:4]) - np.maximum(like[:, :2], row[:2])
    inner = np.prod(np.maximum(sides, 0.0), axis=1)
    outer = np.prod(like[:, 2:4] - like[:, :2], axis=1) + np.prod(row[2:4] - row[:2]) - inner
    return bool(np.any(inner >= SAME_OVERLAP * outer))
