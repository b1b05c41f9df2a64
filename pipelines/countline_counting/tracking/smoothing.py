"""Where objects were, with hindsight: the estimates of a filter, corrected by what was seen later.

A filter knows only the past, so it lags behind objects that turn, and follows the noise of the newest boxes. The
smoother of Rauch, Tung and Striebel (Maximum likelihood estimates of linear dynamic systems, 1965) goes backwards
through the estimates of a filter and corrects each one by the next one. It needs no boxes: an estimate with its
variances holds everything that was seen until then.

An *estimate* of a track is a row of 14 numbers: centre x, centre y, width, height in pixels; their velocities per
second; then variance of the value, covariance with the velocity, and variance of the velocity, each for the place and
for the size, in squared lengths of the object (`motion.Covariances`).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_counting.tracking.motion import MIN_SIZE_PX, Covariances, Floats

BOX: Final = slice(0, 4)
SPEED: Final = slice(4, 8)
STATE: Final = slice(0, 8)
"""Box and velocities."""
_SWAPPED: Final = [4, 5, 6, 7, 0, 1, 2, 3]
LEAST_DETERMINANT: Final = 1e-18
"""Two estimates whose predicted covariance has a smaller determinant are at one moment: neither corrects the other."""


def estimates_of(box: Floats, velocity: Floats, covariances: Covariances, rows: NDArray[np.intp]) -> Floats:
    """Return the (M, 14) estimates of some rows of a filter's (N, 4) boxes and velocities."""
    parts = (box, velocity, covariances.value, covariances.mixed, covariances.velocity)
    return np.concatenate([part[rows] for part in parts], axis=1)


def smoothed(
    estimates: Floats, t: Floats, following: NDArray[np.intp], moments: Sequence[slice], wander: Floats
) -> Floats:
    """Correct estimates by those of the same tracks that follow.

    Args:
        estimates: (M, 14) of the filter.
        t: (M,) their times.
        following: (M,) index of the next estimate of the same track; -1 for its last one.
        moments: the estimates, cut into parts with at most one of each track, in the order of time.
        wander: (2,) standard deviations that the velocities of place and size gain in a second, in lengths.

    Returns:
        (M, 8) boxes and velocities.
    """
    state = estimates[:, STATE].copy()
    earlier = np.nonzero(following >= 0)[0]
    elapsed_s = t[following[earlier]] - t[earlier]
    own, crossed = (np.zeros_like(state) for _ in range(2))
    own[earlier], crossed[earlier] = _gains(estimates[earlier], elapsed_s, wander)
    predicted = state.copy()
    predicted[earlier, BOX] += state[earlier, SPEED] * elapsed_s[:, None]
    for moment in reversed(moments):  # the gains of all moments are known, so little is left to do for each
        off = state[following[moment]] - predicted[moment]
        state[moment] += own[moment] * off + crossed[moment] * off[:, _SWAPPED]
    state[:, 2:4] = np.maximum(state[:, 2:4], MIN_SIZE_PX)
    return state


def _gains(estimates: Floats, elapsed_s: Floats, wander: Floats) -> tuple[Floats, Floats]:
    """Return how much of a deviation at the next sight each number takes over, (M, 8) each.

    The first is for the deviation of the same number, the second for that of its velocity, or of the value whose
    velocity it is.
    """
    dt, noise = elapsed_s[:, None], wander * wander
    value, mixed, speed = estimates[:, 8:10], estimates[:, 10:12], estimates[:, 12:14]
    grown = mixed + dt * speed
    value_then = value + dt * (mixed + grown) + noise * dt**3 / 3
    mixed_then = grown + noise * dt**2 / 2
    speed_then = speed + noise * dt
    determinant = value_then * speed_then - mixed_then**2
    weight = (determinant > LEAST_DETERMINANT) / np.maximum(determinant, LEAST_DETERMINANT)
    moved = value + dt * mixed
    place = (moved * speed_then - mixed * mixed_then) * weight
    place_by_speed = (mixed * value_then - moved * mixed_then) * weight
    turn = (grown * speed_then - speed * mixed_then) * weight
    turn_by_speed = (speed * value_then - grown * mixed_then) * weight
    own = np.concatenate([place, turn_by_speed], axis=1).repeat(2, axis=1)
    return own, np.concatenate([place_by_speed, turn], axis=1).repeat(2, axis=1)
