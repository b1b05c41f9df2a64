"""Areas and overlaps of boxes x1, y1, x2, y2, all in one unit. The last axis is the box; the others broadcast.

>>> boxes = np.array([[0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
>>> intersection_over_union(boxes[:, None], boxes[None]).tolist()  # every box with every other
[[1.0, 0.0], [0.0, 1.0]]
"""

from typing import Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

_Real = TypeVar("_Real", bound=np.floating[Any])

_LEAST_AREA: Final = 1e-30
"""Far below the area of any box, so that two boxes without an area do not divide by zero."""


def areas(boxes: NDArray[_Real]) -> NDArray[_Real]:
    """Return the areas of (..., 4) boxes, (...)."""
    return cast("NDArray[_Real]", (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))


def common_areas(boxes: NDArray[_Real], others: NDArray[_Real]) -> NDArray[_Real]:
    """Return the areas that (..., 4) boxes share with (..., 4) others, (...)."""
    span = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(boxes[..., :2], others[..., :2])
    np.maximum(span, 0, out=span)
    return cast("NDArray[_Real]", span[..., 0] * span[..., 1])


def intersection_over_union(boxes: NDArray[_Real], others: NDArray[_Real]) -> NDArray[_Real]:
    """Return the overlaps of (..., 4) boxes with (..., 4) others, (...) from 0 to 1; 0 for boxes without an area."""
    common = common_areas(boxes, others)
    union = areas(boxes) + areas(others) - common
    return cast("NDArray[_Real]", common / np.maximum(union, _LEAST_AREA))
