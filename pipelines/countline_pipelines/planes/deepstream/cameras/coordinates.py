"""From pixels of the network's input to pixels of the source; pure.

    source ── nvstreammux (unscaled) ── nvinferserver ── input of the network (scaled to fit, at the top left)

nvinferserver and nvtracker report boxes in pixels of the source, because the muxer does not scale.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDING: Final = 1e-6
"""A side that fits exactly must not lose a pixel to rounding errors."""


def clipped(xyxy_px: Floats, source_wh: tuple[int, int]) -> Floats:
    """(N, 4) boxes, clipped to the picture; `xyxy_px` is not changed."""
    boxes = xyxy_px.copy()
    np.clip(boxes[:, 0::2], 0, source_wh[0], out=boxes[:, 0::2])
    np.clip(boxes[:, 1::2], 0, source_wh[1], out=boxes[:, 1::2])
    return boxes


def from_network(detections: NDArray[np.float32], network_wh: tuple[int, int], source_wh: tuple[int, int]) -> Floats:
    """Map a model's output to the source.

    Args:
        detections: (N, 6) x1, y1, x2, y2 in pixels of the input, score, class.
        network_wh: size of the input.
        source_wh: size of the source; its picture is scaled to fit and lies at the input's top left.

    Returns:
        (M, 6) float64: left, top, width, height in pixels of the source, score, class. Only valid rows: a score above
        0, a box with an area inside the picture, no NaN.
    """
    rows = detections[detections[:, 4] > 0].astype(np.float64)
    scale = min(network_wh[0] / source_wh[0], network_wh[1] / source_wh[1])
    for axis in (0, 1):  # the scaled picture has whole pixels, so the factors of both axes differ a little from `scale`
        rows[:, axis:4:2] *= source_wh[axis] / max(1, math.floor(source_wh[axis] * scale + ROUNDING))
    np.clip(rows[:, 0:4:2], 0, source_wh[0], out=rows[:, 0:4:2])
    np.clip(rows[:, 1:4:2], 0, source_wh[1], out=rows[:, 1:4:2])
    rows[:, 2:4] -= rows[:, :2]
    return rows[(rows[:, 2] > 0) & (rows[:, 3] > 0) & (rows[:, 5] >= 0)]  # comparisons with NaN are false
