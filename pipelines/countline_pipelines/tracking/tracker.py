"""The tracker: detections of one camera in, tracks out, frame by frame.

In the manner of ByteTrack (Zhang et al. 2022): detections of high score choose first, those of low score may only
continue tracks that were seen a moment ago. Motion is a Kalman filter with measured time steps, so that a dropped
frame is only a longer step. A track is told of from its first detection on; whether one that was seen once is an
object, the counting decides.
"""

import numpy as np
from numpy.typing import NDArray

from countline_pipelines.tracking.association import Bools, Rows, cheapest_pairs, overlaps
from countline_pipelines.tracking.motion import Floats, MotionModel, centred, corners
from countline_pipelines.tracking.settings import TrackerSettings

Tracks = tuple[NDArray[np.int64], Floats, Floats, NDArray[np.int64]]
"""ids (N,), boxes x1, y1, x2, y2 in pixels (N, 4), scores (N,), classes (N,)."""


class Tracker:
    """Follows the objects of one camera; ids grow from 1 and are never given twice."""

    def __init__(self, settings: TrackerSettings) -> None:
        self._settings = settings
        self._motion = MotionModel(settings)
        self._ids: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._seen_t: Floats = np.zeros(0)
        self._sights: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._next_id = 1
        self._t: float | None = None

    def update(self, detections: Floats, t: float) -> Tracks:
        """Take the detections of the next frame.

        Args:
            detections: (M, 6) x1, y1, x2, y2 in pixels, score, class.
            t: capture time; must grow.

        Returns:
            The tracks that were seen in this frame, with smoothed boxes.
        """
        elapsed_s = 0.0 if self._t is None else t - self._t
        self._t = t
        self._motion.predict(elapsed_s)
        measured, scores = centred(detections), detections[:, 4]
        rows, chosen = self._associate(detections, measured, elapsed_s)
        self._motion.update(rows, measured[chosen], scores[chosen])
        self._seen_t[rows] = t
        self._sights[rows] += 1
        born = scores >= self._settings.high_score
        born[chosen] = False
        rows = np.concatenate([rows, self._begin(measured[born], t)])
        chosen = np.concatenate([chosen, np.nonzero(born)[0]])
        tracks = (
            self._ids[rows],
            corners(self._motion.box[rows]),
            scores[chosen],
            detections[chosen, 5].astype(np.int64),
        )
        self._forget(t)
        return tracks

    def _associate(self, detections: Floats, measured: Floats, elapsed_s: float) -> tuple[Rows, Rows]:
        """Return which row of the tracks (K,) goes with which detection (K,)."""
        settings, scores = self._settings, detections[:, 4]
        cost, near, overlap = self._compare(detections, measured)
        free_rows = np.ones(len(self._motion), dtype=np.bool_)
        high = scores >= settings.high_score
        rows, chosen = _match(cost, near & (overlap > settings.min_overlap), free_rows, high)
        free_rows[rows] = False
        assert self._t is not None
        free_rows &= self._t - self._seen_t < settings.low_score_unseen_s + elapsed_s
        low = scores >= settings.low_score
        low[chosen] = False
        more_rows, more_chosen = _match(cost, near & (overlap > settings.low_min_overlap), free_rows, low)
        return np.concatenate([rows, more_rows]), np.concatenate([chosen, more_chosen])

    def _compare(self, detections: Floats, measured: Floats) -> tuple[Floats, Bools, Floats]:
        """Return costs, whether a pair is possible at all, and overlaps; (N, M) each."""
        motion, settings = self._motion, self._settings
        predicted = motion.box
        overlap = overlaps(corners(predicted), detections[:, :4])
        off = predicted[:, None, :2] - measured[None, :, :2]
        height = np.sqrt(predicted[:, 3, None] * measured[None, :, 3])
        deviation = np.hypot(off[..., 0], off[..., 1]) / (height * motion.spread()[:, None] * settings.gate)
        growth = np.abs(np.log(measured[None, :, 3] / predicted[:, 3, None]))
        cost = (1 - overlap) + 0.2 * deviation + growth
        return cost, (deviation < 1) & (growth < settings.size_gate), overlap

    def _begin(self, measured: Floats, t: float) -> Rows:
        """Begin tracks; return their rows."""
        count, size = len(measured), len(self._motion)
        self._motion.append(measured)
        self._ids = np.concatenate([self._ids, np.arange(self._next_id, self._next_id + count)])
        self._next_id += count
        self._seen_t = np.concatenate([self._seen_t, np.full(count, t)])
        self._sights = np.concatenate([self._sights, np.ones(count, dtype=np.int64)])
        return np.arange(size, size + count)

    def _forget(self, t: float) -> None:
        """Drop the tracks that were not seen for too long."""
        settings = self._settings
        memory_s = np.where(self._sights > 1, settings.memory_s, settings.first_memory_s)
        keep = t - self._seen_t <= memory_s
        if not keep.all():
            self._motion.keep(keep)
            self._ids, self._seen_t, self._sights = self._ids[keep], self._seen_t[keep], self._sights[keep]


def _match(cost: Floats, possible: Bools, free_rows: Bools, free_columns: Bools) -> tuple[Rows, Rows]:
    rows, columns = np.nonzero(free_rows)[0], np.nonzero(free_columns)[0]
    window = np.ix_(rows, columns)
    i, j = cheapest_pairs(cost[window], possible[window])
    return rows[i], columns[j]
