"""From pixels of the network's input, and of the muxer's output, to pixels of the source; pure.

    source ──muxer──> muxed frame ──nvinferserver──> input of the network
            (legacy: scaled to one size, padded on both sides;  new: as it is)      (scaled to fit, at the top left)

The tracker's boxes are in pixels of the muxed frame, and leave this plane in pixels of the source.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_pipelines.planes.deepstream.config.facts import Mux

Floats = NDArray[np.float64]
ROUNDING: Final = 1e-6
"""A side that fits exactly must not lose a pixel to arithmetic."""


@dataclass(frozen=True, slots=True)
class MuxSpace:
    """What the muxer does to pictures.

    Args:
        mux: which muxer.
        mux_wh: size of the legacy muxer's output.
        padded: whether it keeps the shape of pictures and pads them.
    """

    mux: Mux
    mux_wh: tuple[int, int] = (0, 0)
    padded: bool = True

    def frame_wh(self, source_wh: tuple[int, int]) -> tuple[int, int]:
        """Size of the muxed frame."""
        return source_wh if self.mux is Mux.NEW else self.mux_wh

    def to_source(self, xyxy_px: Floats, source_wh: tuple[int, int]) -> Floats:
        """Map (N, 4) boxes from the muxed frame to the source, clipped to the picture; `xyxy_px` is not changed."""
        mapped = xyxy_px.copy()
        if self.mux is Mux.LEGACY:
            (scale_x, scale_y), (left, top) = self._placed(source_wh)
            mapped[:, 0::2] = (mapped[:, 0::2] - left) / scale_x
            mapped[:, 1::2] = (mapped[:, 1::2] - top) / scale_y
        np.clip(mapped[:, 0::2], 0, source_wh[0], out=mapped[:, 0::2])
        np.clip(mapped[:, 1::2], 0, source_wh[1], out=mapped[:, 1::2])
        return mapped

    def share_of_frame(self, point: tuple[float, float], source_wh: tuple[int, int]) -> tuple[float, float]:
        """A point of the source in shares of its sides, in shares of the muxed frame's."""
        if self.mux is Mux.NEW:
            return point
        scales, corner = self._placed(source_wh)
        x, y = ((corner[axis] + point[axis] * source_wh[axis] * scales[axis]) / self.mux_wh[axis] for axis in (0, 1))
        return x, y

    def _placed(self, source_wh: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float]]:
        """Factors (x, y) of a picture in the muxed frame, and where its corner lies."""
        scale_x, scale_y = self.mux_wh[0] / source_wh[0], self.mux_wh[1] / source_wh[1]
        if not self.padded:
            return (scale_x, scale_y), (0.0, 0.0)
        scale = min(scale_x, scale_y)
        left, top = (self.mux_wh[0] - source_wh[0] * scale) / 2, (self.mux_wh[1] - source_wh[1] * scale) / 2
        return (scale, scale), (left, top)


def from_network(detections: NDArray[np.float32], network_wh: tuple[int, int], frame_wh: tuple[int, int]) -> Floats:
    """Map a model's answer to the muxed frame.

    Args:
        detections: (N, 6) x1, y1, x2, y2 in pixels of the input, score, class.
        network_wh: size of the input.
        frame_wh: size of the muxed frame, which lies scaled to fit at the input's top left.

    Returns:
        (M, 6) float64: sound rows alone, left, top, width, height in pixels of the frame, score, class.
    """
    rows = detections[detections[:, 4] > 0].astype(np.float64)
    scale = min(network_wh[0] / frame_wh[0], network_wh[1] / frame_wh[1])
    for axis in (0, 1):  # the scaled picture has whole pixels, so the true factors differ a little from the common one
        rows[:, axis:4:2] *= frame_wh[axis] / max(1, math.floor(frame_wh[axis] * scale + ROUNDING))
    np.clip(rows[:, 0:4:2], 0, frame_wh[0], out=rows[:, 0:4:2])
    np.clip(rows[:, 1:4:2], 0, frame_wh[1], out=rows[:, 1:4:2])
    rows[:, 2:4] -= rows[:, :2]
    return rows[(rows[:, 2] > 0) & (rows[:, 3] > 0) & (rows[:, 5] >= 0)]  # no comparison with NaN holds
