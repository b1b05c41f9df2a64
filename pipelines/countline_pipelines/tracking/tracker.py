"""The tracker: detections of one camera in, tracks out, frame by frame.

In the manner of ByteTrack (Zhang et al. 2022): detections of high score choose first, those of low score may only
continue tracks that were seen a moment ago. Motion is a Kalman filter with measured time steps, so that a dropped frame
is only a longer step; it trusts a detection less the lower its score is and the more objects share the place, which is
what keeps two people apart who pass each other. A track is told of from its first detection on; whether one that was
seen only once or twice is an object, the counting decides.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countline_pipelines.tracking.association import Bools, Rows, cheapest_pairs, overlaps
from countline_pipelines.tracking.motion import Floats, MotionModel, centred, corners, lengths
from countline_pipelines.tracking.settings import TrackerSettings

Tracks = tuple[NDArray[np.int64], Floats, Floats, NDArray[np.int64]]
"""ids (N,), boxes x1, y1, x2, y2 in pixels (N, 4), scores (N,), classes (N,)."""

CROWD_SEEN_S = 1.0
"""A track that was seen within this time may hide others."""


class _Seen(NamedTuple):
    """The detections of a frame."""

    xyxy: Floats
    centred: Floats
    scores: Floats


class _Pairs(NamedTuple):
    """How tracks (N) and detections (M) stand to each other; (N, M) each."""

    cost: Floats
    near: Bools
    overlap: Floats
    apart: Floats
    """Distance from the prediction in lengths."""


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

    def __len__(self) -> int:
        """Return how many tracks are followed, those out of sight included."""
        return len(self._ids)

    def update(self, detections: Floats, t: float) -> Tracks:
        """Take the detections of the next frame.

        Args:
            detections: (M, 6) x1, y1, x2, y2 in pixels, score, class; boxes have a width and a height.
            t: capture time; must grow.

        Returns:
            The tracks that were seen in this frame.
        """
        elapsed_s = 0.0 if self._t is None else t - self._t
        self._t = t
        self._motion.predict(elapsed_s)
        seen = _Seen(detections[:, :4], centred(detections), detections[:, 4])
        rows, chosen = self._continue(seen, t, elapsed_s)
        born = np.nonzero(self._births(seen, chosen))[0]
        rows = np.concatenate([rows, self._begin(seen.centred[born], t)])
        chosen = np.concatenate([chosen, born])
        smoothing = self._settings.smoothing
        boxes = corners(self._motion.box[rows]) * smoothing + seen.xyxy[chosen] * (1 - smoothing)
        tracks = (self._ids[rows], boxes, seen.scores[chosen], detections[chosen, 5].astype(np.int64))
        self._forget(t)
        return tracks

    def _continue(self, seen: _Seen, t: float, elapsed_s: float) -> tuple[Rows, Rows]:
        """Give detections to tracks; return which row of the tracks (K,) took which detection (K,)."""
        pairs = self._compare(seen)
        rows, chosen = self._associate(pairs, seen, t, elapsed_s)
        doubt = self._doubt(seen, rows, chosen, t)
        leapt, landed = self._leaps(pairs, seen, (rows, chosen), t, elapsed_s)
        self._motion.update(rows, seen.centred[chosen], doubt)
        self._motion.leap(leapt, seen.centred[landed], t - self._seen_t[leapt])
        rows, chosen = np.concatenate([rows, leapt]), np.concatenate([chosen, landed])
        self._seen_t[rows] = t
        self._sights[rows] += 1
        return rows, chosen

    def _compare(self, seen: _Seen) -> _Pairs:
        motion, settings = self._motion, self._settings
        predicted, measured = motion.box, seen.centred
        overlap = overlaps(corners(predicted), seen.xyxy)
        off = predicted[:, None, :2] - measured[None, :, :2]
        scale = np.sqrt(lengths(predicted)[:, None] * lengths(measured)[None, :])
        apart = np.hypot(off[..., 0], off[..., 1]) / scale
        deviation = apart / (motion.spread()[:, None] * settings.gate)
        growth = np.abs(np.log(measured[None, :, 3] / predicted[:, 3, None]))
        near = (deviation < 1) & (growth < settings.size_gate)
        return _Pairs((1 - overlap) + 0.2 * deviation + growth, near, overlap, apart)

    def _associate(self, pairs: _Pairs, seen: _Seen, t: float, elapsed_s: float) -> tuple[Rows, Rows]:
        """Match by score in two stages: the good detections first, then the doubtful ones."""
        settings = self._settings
        high = seen.scores >= settings.high_score
        free_rows = np.ones(len(self._motion), dtype=np.bool_)
        rows, chosen = _match(pairs.cost, pairs.near & (pairs.overlap > settings.min_overlap), free_rows, high)
        free_rows[rows] = False
        free_rows &= t - self._seen_t < settings.low_score_unseen_s + elapsed_s
        low = seen.scores >= settings.low_score
        low[chosen] = False
        close = pairs.near & (pairs.overlap > settings.low_min_overlap)
        more_rows, more_chosen = _match(pairs.cost, close, free_rows, low)
        return np.concatenate([rows, more_rows]), np.concatenate([chosen, more_chosen])

    def _leaps(
        self, pairs: _Pairs, seen: _Seen, taken: tuple[Rows, Rows], t: float, elapsed_s: float
    ) -> tuple[Rows, Rows]:
        """Match what was first seen in the frame before with what is left over, where there is only one choice."""
        settings = self._settings
        fresh = (self._sights == 1) & (t - self._seen_t <= elapsed_s)
        fresh[taken[0]] = False
        free = seen.scores >= settings.high_score
        free[taken[1]] = False
        rows, columns = np.nonzero(fresh)[0], np.nonzero(free)[0]
        if not len(rows) or not len(columns):
            return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
        sizes, others = self._motion.box[rows, 2:], seen.centred[columns, 2:]
        changed = np.abs(np.log(others[None] / sizes[:, None])).max(axis=2)
        possible = (changed < settings.leap_size) & (pairs.apart[np.ix_(rows, columns)] < settings.leap)
        lone = possible & (possible.sum(axis=1, keepdims=True) == 1) & (possible.sum(axis=0, keepdims=True) == 1)
        i, j = np.nonzero(lone)
        return rows[i], columns[j]

    def _doubt(self, seen: _Seen, rows: Rows, chosen: Rows, t: float) -> Floats:
        """Return by how much the variance of each match is to be multiplied, (K,)."""
        settings = self._settings
        shared = overlaps(seen.xyxy[chosen], corners(self._motion.box))
        shared[np.arange(len(rows)), rows] = 0
        shared[:, t - self._seen_t >= CROWD_SEEN_S] = 0
        crowd = shared.max(axis=1, initial=0.0)
        weakness = np.clip(settings.usual_score / np.maximum(seen.scores[chosen], 0.1), 0.7, 4.0)
        return np.asarray(weakness**2 * (1 + settings.crowd_doubt * crowd))

    def _births(self, seen: _Seen, chosen: Rows) -> Bools:
        """Return which detections begin a track, (M,)."""
        settings = self._settings
        crowded = overlaps(seen.xyxy, seen.xyxy[chosen]).max(axis=1, initial=0.0)
        alone = crowded < settings.lone_overlap
        born: Bools = (seen.scores >= settings.high_score) | (alone & (seen.scores >= settings.lone_score))
        born[chosen] = False
        return born

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
