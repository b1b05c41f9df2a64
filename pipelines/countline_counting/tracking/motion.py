"""A Kalman filter for all tracks at once: constant velocity, measured time steps, noise in lengths of the object.

Centre x and y, width and height have independent noises, so the joint filter with 8 x 8 matrices splits into four
filters with 2 x 2 matrices, written out below. Every noise is proportional to the length of the object, so variances
are kept in squared lengths. Then x and y share one covariance, and so do width and height.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from countline_counting import rules
from countline_counting.tracking.noise import USUAL_RATIO, MeasuredNoise
from countline_counting.tracking.settings import TrackerSettings

Floats = NDArray[np.float64]

MIN_SIZE_PX = 1.0
"""Predicted boxes are at least this wide and high."""
BORDER_SHARE = 0.006
"""The border cuts off a box whose edge is this near to it, as a share of the picture's width or height ..."""
BORDER_NOISE = 0.03
"""... or as a share of the box's own width or height, because a detected edge is no more exact than that."""
LEAVING_HEIGHTS_PER_S = 0.1
"""An object that touches the border and moves outwards at this speed walks out of the picture."""


@dataclass(slots=True)
class Covariances:
    """Variances of value and velocity, and their covariance, in lengths and seconds.

    (N, 2) each: column 0 for x and y, column 1 for width and height.
    """

    value: Floats
    mixed: Floats
    velocity: Floats

    def predict(self, elapsed_s: float, wander: Floats) -> None:
        """Advance by a time; `wander` (2,) is the standard deviation that the velocity gains in a second."""
        noise = wander * wander
        grown = self.mixed + elapsed_s * self.velocity
        self.value = self.value + elapsed_s * (self.mixed + grown) + noise * elapsed_s**3 / 3
        self.mixed = grown + noise * elapsed_s**2 / 2
        self.velocity = self.velocity + noise * elapsed_s

    def update(self, rows: NDArray[np.intp], variance: Floats) -> tuple[Floats, Floats]:
        """Update (M,) rows by measurements with (M, 2) variances; return gains of value and velocity, (M, 4) each."""
        value, mixed = self.value[rows], self.mixed[rows]
        total = value + variance
        gain, velocity_gain = value / total, mixed / total
        self.value[rows] = value - gain * value
        # Two sights a moment apart leave a huge variance, which rounding can take below zero.
        self.velocity[rows] = np.maximum(self.velocity[rows] - velocity_gain * mixed, 0.0)
        self.mixed[rows] = mixed - gain * mixed
        return gain.repeat(2, axis=1), velocity_gain.repeat(2, axis=1)

    def append(self, count: int, value: Floats, velocity: Floats) -> None:
        """Add rows for tracks that were measured once, with standard deviations (2,) of value and velocity."""
        self.value = np.concatenate([self.value, np.tile(value**2, (count, 1))])
        self.mixed = np.concatenate([self.mixed, np.zeros((count, 2))])
        self.velocity = np.concatenate([self.velocity, np.tile(velocity**2, (count, 1))])

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Drop the rows that are not marked."""
        self.value, self.mixed, self.velocity = self.value[rows], self.mixed[rows], self.velocity[rows]


class MotionModel:
    """Places and velocities of N tracks."""

    def __init__(self, settings: TrackerSettings) -> None:
        self._settings = settings
        self.box: Floats = np.zeros((0, 4))
        """(N, 4) centre x, centre y, width, height in pixels."""
        self.velocity: Floats = np.zeros((0, 4))
        """(N, 4) the same per second."""
        self.covariances = Covariances(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2)))
        self._wander = np.array([settings.acceleration, settings.growth])
        self._noise = np.array([settings.position_noise, settings.size_noise])
        self._measured = MeasuredNoise()

    @property
    def measured_ratio(self) -> float:
        """Noise of the boxes of this camera, as a multiple of the assumed noise."""
        return self._measured.ratio

    @property
    def noise_ratio(self) -> float:
        """The same, but at least 1."""
        return max(1.0, self._measured.ratio)

    def __len__(self) -> int:
        return len(self.box)

    def predict(self, elapsed_s: float) -> None:
        """Advance all tracks by a time."""
        self.box = self.box + self.velocity * elapsed_s
        self.box[:, 2:] = np.maximum(self.box[:, 2:], MIN_SIZE_PX)
        self.covariances.predict(elapsed_s, self._wander)

    def update(self, rows: NDArray[np.intp], measured: Floats, doubt: Floats) -> None:
        """Update (M,) rows by (M, 4) measured boxes; `doubt` (M,) multiplies the variance of each.

        No variance is smaller than that of the measured noise.
        """
        predicted = self.box[rows]
        measured, cut = self.with_feet(measured, rows)
        self.velocity[rows[cut], 3] = 0.0  # nothing is measured, and an old growth must not go on for ever
        off = measured - predicted
        variance = self._noise**2 * np.maximum(doubt, self._measured.ratio**2)[:, None]
        if len(rows):
            deviation = np.sqrt(self.covariances.value[rows] + variance).repeat(2, axis=1)
            off_lengths = off / predicted[:, 2:].max(axis=1, keepdims=True)
            self._measured.take(off_lengths[~cut], deviation[~cut], doubt[~cut])
        gain, velocity_gain = self.covariances.update(rows, variance)
        self.box[rows] = predicted + gain * off
        self.velocity[rows] += velocity_gain * off

    def with_feet(self, measured: Floats, rows: NDArray[np.intp]) -> tuple[Floats, NDArray[np.bool_]]:
        """Complete (M, 4) boxes of (M,) rows that something in the picture cuts off from below.

        If the boxes of the camera are noisier than usual, return them as they are: their shapes show nothing.

        Returns:
            The boxes, and (M,) which ones were completed.
        """
        if self._measured.ratio >= USUAL_RATIO:
            return measured, np.zeros(len(rows), dtype=np.bool_)
        return with_feet(measured, self.box[rows])

    def leap(self, rows: NDArray[np.intp], measured: Floats, elapsed_s: Floats) -> None:
        """Take the second measurement of objects that moved farther than predicted: two places give the velocity."""
        start = self.box[rows, :2] - self.velocity[rows, :2] * elapsed_s[:, None]
        self.velocity[rows, :2] = (measured[:, :2] - start) / elapsed_s[:, None]
        self.box[rows] = measured
        variance = self._settings.position_noise**2
        self.covariances.value[rows, 0] = variance
        self.covariances.mixed[rows, 0] = variance / elapsed_s
        self.covariances.velocity[rows, 0] = 2 * variance / elapsed_s**2

    def append(self, measured: Floats) -> None:
        """Begin tracks at (M, 4) measured boxes."""
        settings = self._settings
        self.box = np.concatenate([self.box, measured])
        self.velocity = np.concatenate([self.velocity, np.zeros_like(measured)])
        changes = np.array([settings.first_speed, settings.first_growth])
        self.covariances.append(len(measured), self._noise * self.noise_ratio, changes)

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Drop the tracks that are not marked."""
        self.box, self.velocity = self.box[rows], self.velocity[rows]
        self.covariances.keep(rows)

    def spread(self) -> Floats:
        """Return (N,) standard deviations of the place of the next measurement, in lengths."""
        return cast("Floats", np.sqrt(self.covariances.value[:, 0] + (self.noise_ratio * self._noise[0]) ** 2))


def walks_out(box: Floats, velocity: Floats, picture_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (N,) whether objects are at the picture's border and move out of the picture.

    Args:
        box: (N, 4) centres and sizes in pixels.
        velocity: (N, 2) of the centres, per second.
        picture_wh: in pixels.
    """
    low, high = cut_edges(corners(box), picture_wh)
    outward = LEAVING_HEIGHTS_PER_S * box[:, 3:]
    return cast("NDArray[np.bool_]", ((low & (velocity < -outward)) | (high & (velocity > outward))).any(axis=1))


def cut_edges(xyxy_px: Floats, picture_wh: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which edges of (N, 4) boxes the border cuts off: (N, 2) left and top, (N, 2) right and bottom."""
    picture = np.array(picture_wh, dtype=np.float64)
    first, last = xyxy_px[:, :2], xyxy_px[:, 2:]
    margin = np.maximum(BORDER_SHARE * picture, BORDER_NOISE * (last - first))
    low: NDArray[np.bool_] = first <= margin
    high: NDArray[np.bool_] = last >= picture - margin
    return low, high


def with_feet(measured: Floats, expected: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Complete the boxes that something in the picture cuts off from below.

    Such a box has the shape of a part of its object. Its upper edge is about where the upper edge of the whole object
    is expected, and its lower edge is farther up. A person who bends or sits down lowers the upper edge.

    Args:
        measured: (N, 4) centres and sizes of boxes.
        expected: (N, 4) where the whole objects are expected.

    Returns:
        The boxes, with the expected height where they are cut off, and (N,) which ones are.
    """
    is_part = measured[:, 2] * expected[:, 3] >= rules.PART_SHAPE * expected[:, 2] * measured[:, 3]
    down, short = expected[:, 1] - measured[:, 1], (expected[:, 3] - measured[:, 3]) / 2
    cut: NDArray[np.bool_] = is_part & (down + short > 2 * np.abs(down - short))
    if cut.any():
        measured = measured.copy()
        measured[cut, 1] += short[cut]
        measured[cut, 3] = expected[cut, 3]
    return measured, cut


def corners(box: Floats) -> Floats:
    """Convert (N, 4) centres and sizes to x1, y1, x2, y2."""
    half = box[:, 2:] / 2
    return np.concatenate([box[:, :2] - half, box[:, :2] + half], axis=1)


def centred(xyxy: Floats) -> Floats:
    """Convert (N, 4) x1, y1, x2, y2 to centres and sizes."""
    low, high = xyxy[:, :2], xyxy[:, 2:4]
    return np.concatenate([(low + high) / 2, high - low], axis=1)
