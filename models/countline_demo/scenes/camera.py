"""A ground plane in metres, seen by a pinhole camera that looks along +Y and down.

World axes: X to the right, Y away from the camera, Z up; the camera stands at (0, 0, height_m). Pixels: u to the
right, v down, origin at the outer corner of the top-left pixel.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Points3 = NDArray[np.float64]
"""(N, 3) metres: X, Y, Z."""
Points2 = NDArray[np.float64]
"""(N, 2) pixels: u, v."""

NEAREST_M = 0.2
"""Least depth of projected points, which keeps the division finite."""


@dataclass(frozen=True)
class GroundCamera:
    """A fixed camera over flat ground."""

    size_wh: tuple[int, int]
    height_m: float
    pitch_deg: float
    """Angle of the optical axis below the horizon."""
    horizontal_view_deg: float

    @cached_property
    def focal_px(self) -> float:
        """Focal length in pixels."""
        return self.size_wh[0] / 2 / math.tan(math.radians(self.horizontal_view_deg) / 2)

    @cached_property
    def _pitch(self) -> tuple[float, float]:
        return math.cos(math.radians(self.pitch_deg)), math.sin(math.radians(self.pitch_deg))

    def depth_m(self, points: Points3) -> NDArray[np.float64]:
        """Distance along the optical axis, (N,) metres."""
        cos, sin = self._pitch
        return np.maximum(points[:, 1] * cos + (self.height_m - points[:, 2]) * sin, NEAREST_M)

    def project(self, points: Points3) -> tuple[Points2, NDArray[np.float64]]:
        """Pixels (N, 2) of world points (N, 3), and the scale there in pixels per metre (N,)."""
        cos, sin = self._pitch
        below = self.height_m - points[:, 2]
        scale = self.focal_px / np.maximum(points[:, 1] * cos + below * sin, NEAREST_M)
        pixels = np.empty((len(points), 2))
        pixels[:, 0] = self.size_wh[0] / 2 + points[:, 0] * scale
        pixels[:, 1] = self.size_wh[1] / 2 + (below * cos - points[:, 1] * sin) * scale
        return pixels, scale

    def ground_at(self, u: float, v: float) -> tuple[float, float]:
        """World X, Y in metres of the ground at pixel (u, v), which must lie below the horizon."""
        cos, sin = self._pitch
        x = (u - self.size_wh[0] / 2) / self.focal_px
        y = (v - self.size_wh[1] / 2) / self.focal_px
        reach = self.height_m / (y * cos + sin)
        return x * reach, (cos - y * sin) * reach

    def rays(self, oversampling: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Directions X, Y, Z (H, W) through the middles of pixels divided `oversampling` times in each direction."""
        width, height = (side * oversampling for side in self.size_wh)
        cos, sin = self._pitch
        across = ((np.arange(width) + 0.5) / oversampling - self.size_wh[0] / 2) / self.focal_px
        down = ((np.arange(height) + 0.5) / oversampling - self.size_wh[1] / 2) / self.focal_px
        x, y = np.meshgrid(across.astype(np.float32), down.astype(np.float32))
        return x, (cos - y * sin).astype(np.float32), (-sin - y * cos).astype(np.float32)
