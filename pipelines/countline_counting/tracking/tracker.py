"""The tracker: detections of one camera in, tracks out, frame by frame.

It works like ByteTrack (Zhang et al. 2022). Detections of high score are matched first, by overlap and then by
distance. Detections of low score may only continue tracks: for a moment any track, for a second a track whose scores
were as low before. Motion is a Kalman filter with measured time steps, so that a dropped frame is only a longer step.
The filter trusts a detection less if its score is low or if other objects share the place; this keeps two people apart
who pass each other. If a camera's boxes are noisier than assumed, the filter and the gates allow for the measured noise
(`noise`). A track is returned from its first detection on. Counting decides whether a track that was seen
only once or twice is an object.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countline_counting.tracking.association import Bools, Rows, cheapest_pairs, largest_overlap, overlaps
from countline_counting.tracking.motion import Floats, MotionModel, centred, corners, cut_edges, walks_out
from countline_counting.tracking.noise import USUAL_RATIO
from countline_counting.tracking.settings import TrackerSettings
from countline_counting.tracking.smoothing import estimates_of

Tracks = tuple[NDArray[np.int64], Floats, Floats, NDArray[np.int64]]
"""ids (N,), boxes x1, y1, x2, y2 in pixels (N, 4), scores (N,), classes (N,)."""

ENTERED_S = 1.0
"""For this long after the picture's border cut off a box, boxes are returned as detected. The visible part grows as
fast as the object moves; the filter, which expects slow growth, needs this long to follow."""
PREDICTED_S = 1.0
"""A track that was seen within this time is near its prediction. It may hide other objects, and a detection of low
score may continue it."""


class _Seen(NamedTuple):
    """The detections of a frame."""

    xyxy: Floats
    centred: Floats
    scores: Floats


class _Pairs(NamedTuple):
    """The pairs of a track and a detection that overlap, (K,) each."""

    rows: Rows
    columns: Rows
    overlap: Floats
    cost: Floats
    near: Bools
    """Whether the detection is within the gates around the prediction."""


class Tracker:
    """Follows the objects of one camera. Ids grow from 1 and are never reused."""

    def __init__(self, settings: TrackerSettings) -> None:
        self._settings = settings
        self._motion = MotionModel(settings)
        self._ids: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._seen_t: Floats = np.zeros(0)
        self._sights: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._score_sum: Floats = np.zeros(0)
        self._cut_t: Floats = np.zeros(0)
        """(N,) when the picture's border last cut off a box of the track."""
        self._next_id = 1
        self._t: float | None = None
        self.estimates: Floats = np.zeros((0, 14))
        """(N, 14) what the filter knows of the tracks that the last `update` returned (`smoothing`)."""

    @property
    def noise_ratio(self) -> float:
        """Noise of the boxes of this camera, as a multiple of the assumed noise (`noise`)."""
        return self._motion.measured_ratio

    def __len__(self) -> int:
        """Return the number of tracks, those out of sight included."""
        return len(self._ids)

    def update(self, detections: Floats, t: float, picture_wh: tuple[int, int] | None = None) -> Tracks:
        """Take the detections of the next frame.

        Args:
            detections: (M, 6) x1, y1, x2, y2 in pixels, score, class; boxes have a width and a height.
            t: capture time; must grow.
            picture_wh: size of the picture in pixels, whose border cuts off boxes; None for no border.

        Returns:
            The tracks seen in this frame, with filtered boxes.
        """
        elapsed_s = 0.0 if self._t is None else t - self._t
        self._t = t
        self._motion.predict(elapsed_s)
        seen = _Seen(detections[:, :4], centred(detections), detections[:, 4])
        rows, chosen = self._continue(seen, t, elapsed_s)
        born = self._births(seen, chosen)
        if len(born):
            rows = np.concatenate([rows, self._begin(seen.centred[born], seen.scores[born], t)])
            chosen = np.concatenate([chosen, born])
        self.estimates = estimates_of(self._motion.box, self._motion.velocity, self._motion.covariances, rows)
        boxes = corners(self._motion.box[rows])
        if picture_wh is not None:
            cut = np.hstack(cut_edges(seen.xyxy[chosen], picture_wh)).any(axis=1)
            self._cut_t[rows[cut]] = t
            as_detected = t - self._cut_t[rows] <= ENTERED_S
            boxes[as_detected] = seen.xyxy[chosen[as_detected]]
        tracks = (self._ids[rows], boxes, seen.scores[chosen], detections[chosen, 5].astype(np.int64))
        self._forget(t, picture_wh)
        return tracks

    def _continue(self, seen: _Seen, t: float, elapsed_s: float) -> tuple[Rows, Rows]:
        """Match detections to tracks; return (K,) rows of tracks and (K,) indices of their detections."""
        pairs = self._compare(seen)
        rows, chosen = self._associate(pairs, seen, t, elapsed_s)
        doubt = self._doubt(pairs, seen, rows, chosen, t)
        leapt, landed = self._leaps(seen, rows, chosen, t, elapsed_s)
        self._motion.update(rows, seen.centred[chosen], doubt)
        if len(leapt):
            self._motion.leap(leapt, seen.centred[landed], t - self._seen_t[leapt])
            rows, chosen = np.concatenate([rows, leapt]), np.concatenate([chosen, landed])
        self._seen_t[rows] = t
        self._sights[rows] += 1
        self._score_sum[rows] += seen.scores[chosen]
        return rows, chosen

    def _compare(self, seen: _Seen) -> _Pairs:
        motion, settings = self._motion, self._settings
        rows, columns, overlap = overlaps(corners(motion.box), seen.xyxy)
        predicted = motion.box[rows]
        measured, _ = motion.with_feet(seen.centred[columns], rows)
        deviation = _apart(predicted, measured) / (motion.spread()[rows] * settings.gate)
        growth = np.abs(np.log(measured[:, 3] / predicted[:, 3]))
        near = (deviation < 1) & (growth < settings.size_gate * motion.noise_ratio)
        return _Pairs(rows, columns, overlap, (1 - overlap) + 0.2 * deviation + growth, near)

    def _associate(self, pairs: _Pairs, seen: _Seen, t: float, elapsed_s: float) -> tuple[Rows, Rows]:
        """Match in stages: good detections by overlap, the remaining good ones by distance, then those of low score."""
        settings = self._settings
        high = seen.scores >= settings.high_score
        good = pairs.near & (pairs.overlap > settings.min_overlap / self._motion.noise_ratio) & high[pairs.columns]
        rows, chosen = cheapest_pairs(pairs.rows[good], pairs.columns[good], pairs.cost[good])
        rows, chosen = self._farther(seen, rows, chosen, high)
        more_rows, more_chosen = self._weak(pairs, seen, rows, chosen, t, elapsed_s)
        return np.concatenate([rows, more_rows]), np.concatenate([chosen, more_chosen])

    def _weak(
        self, pairs: _Pairs, seen: _Seen, rows: Rows, chosen: Rows, t: float, elapsed_s: float
    ) -> tuple[Rows, Rows]:
        """Match the remaining detections of low score with the remaining tracks that were seen lately.

        A detector that gives an object low scores also misses it for longer. So after a gap, a weak detection continues
        a track that had such scores before. It does not continue a track of high scores, because it may be a second box
        of another object.
        """
        settings = self._settings
        left, free = seen.scores >= settings.low_score, t - self._seen_t < PREDICTED_S + elapsed_s
        left[chosen], free[rows] = False, False
        weak = pairs.near & (pairs.overlap > settings.low_min_overlap / self._motion.noise_ratio)
        weak &= left[pairs.columns] & free[pairs.rows]
        just_seen = t - self._seen_t < settings.low_score_unseen_s + elapsed_s
        own = settings.own_score * self._score_sum / self._sights
        weak &= just_seen[pairs.rows] | (seen.scores[pairs.columns] >= own[pairs.rows])
        return cheapest_pairs(pairs.rows[weak], pairs.columns[weak], pairs.cost[weak])

    def _farther(self, seen: _Seen, rows: Rows, chosen: Rows, high: Bools) -> tuple[Rows, Rows]:
        """Match the remaining good detections by distance: at low frame rates, boxes of one object need not overlap.

        Returns the matches, with those that were there before.
        """
        settings = self._settings
        free = high.copy()
        free[chosen] = False
        if not np.count_nonzero(free):
            return rows, chosen
        lost = self._sights > 1
        lost[rows] = False
        i, j = np.nonzero(lost)[0], np.nonzero(free)[0]
        boxes, others = self._motion.box[i, None], seen.centred[None, j]
        off = _apart(boxes, others)
        deviation = off / (self._motion.spread()[i, None] * settings.reach_gate)
        growth = np.abs(np.log(others[..., 3] / boxes[..., 3]))
        first, second = np.nonzero((deviation < 1) & (off < settings.reach) & (growth < settings.reach_growth))
        more, taken = cheapest_pairs(first, second, (deviation + growth)[first, second])
        return np.concatenate([rows, i[more]]), np.concatenate([chosen, j[taken]])

    def _leaps(self, seen: _Seen, rows: Rows, chosen: Rows, t: float, elapsed_s: float) -> tuple[Rows, Rows]:
        """Match objects first seen in the frame before with remaining detections, if there is only one choice."""
        settings = self._settings
        fresh = (self._sights == 1) & (t - self._seen_t <= elapsed_s)
        fresh[rows] = False
        free = seen.scores >= settings.high_score
        free[chosen] = False
        rows, columns = np.nonzero(fresh)[0], np.nonzero(free)[0]
        if not len(rows) or not len(columns):
            return rows[:0], columns[:0]
        boxes, others = self._motion.box[rows, None], seen.centred[None, columns]
        changed = np.abs(np.log(others[..., 2:] / boxes[..., 2:])).max(axis=2)
        possible = (changed < settings.leap_size) & (_apart(boxes, others) < settings.leap)
        lone = possible & (possible.sum(axis=1, keepdims=True) == 1) & (possible.sum(axis=0, keepdims=True) == 1)
        i, j = np.nonzero(lone)
        return rows[i], columns[j]

    def _doubt(self, pairs: _Pairs, seen: _Seen, rows: Rows, chosen: Rows, t: float) -> Floats:
        """Return (K,) factors for the variance of each match."""
        settings = self._settings
        owner = np.full(len(seen.scores), -1)
        owner[chosen] = rows
        recent = t - self._seen_t < PREDICTED_S
        others = (pairs.rows != owner[pairs.columns]) & recent[pairs.rows]
        crowd = np.zeros(len(seen.scores))
        np.maximum.at(crowd, pairs.columns[others], pairs.overlap[others])
        weakness = np.clip(settings.usual_score / np.maximum(seen.scores, 0.1), USUAL_RATIO, 4.0)
        return np.asarray(weakness**2 * (1 + settings.crowd_doubt * crowd))[chosen]

    def _births(self, seen: _Seen, chosen: Rows) -> Rows:
        """Return the indices of the detections that begin a track."""
        settings = self._settings
        born = seen.scores >= min(settings.lone_score, settings.high_score)
        born[chosen] = False
        candidates = np.nonzero(born)[0]
        weak = seen.scores[candidates] < settings.high_score
        if not np.count_nonzero(weak):
            return candidates
        crowded = largest_overlap(seen.xyxy[candidates], seen.xyxy[chosen]) >= settings.lone_overlap
        return candidates[~(weak & crowded)]

    def _begin(self, measured: Floats, scores: Floats, t: float) -> Rows:
        """Begin tracks; return their rows."""
        count, size = len(measured), len(self._motion)
        self._motion.append(measured)
        self._ids = np.concatenate([self._ids, np.arange(self._next_id, self._next_id + count)])
        self._next_id += count
        self._seen_t = np.concatenate([self._seen_t, np.full(count, t)])
        self._sights = np.concatenate([self._sights, np.ones(count, dtype=np.int64)])
        self._score_sum = np.concatenate([self._score_sum, scores])
        self._cut_t = np.concatenate([self._cut_t, np.full(count, -np.inf)])
        return np.arange(size, size + count)

    def _forget(self, t: float, picture_wh: tuple[int, int] | None) -> None:
        """Drop the tracks that were unseen for too long, and the unseen ones that walked out of the picture."""
        settings = self._settings
        memory_s = np.where(self._sights > 1, settings.memory_s, settings.first_memory_s)
        keep = t - self._seen_t <= memory_s
        if picture_wh is not None:
            keep &= (self._seen_t == t) | ~walks_out(self._motion.box, self._motion.velocity[:, :2], picture_wh)
        if not keep.all():
            self._motion.keep(keep)
            self._ids, self._seen_t, self._sights = self._ids[keep], self._seen_t[keep], self._sights[keep]
            self._score_sum, self._cut_t = self._score_sum[keep], self._cut_t[keep]


def _apart(boxes: Floats, others: Floats) -> Floats:
    """Return distances of centres in lengths of the objects, for arrays (..., 4) that broadcast."""
    off = boxes[..., :2] - others[..., :2]
    square = off[..., 0] ** 2 + off[..., 1] ** 2
    scale = np.maximum(boxes[..., 2], boxes[..., 3]) * np.maximum(others[..., 2], others[..., 3])
    return np.asarray(np.sqrt(square / scale))
