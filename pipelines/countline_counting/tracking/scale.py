"""The scale of a detector's scores, measured on a recording, so that one set of thresholds serves every detector.

The settings of the tracker are written for scores that begin near 0 and end near 1. A detector may report its scores
on another scale: 0.7 of them, from 0.3 on, in per cent, or as logits. Two numbers describe such a scale: the *floor*,
below which the detector reports nothing, and the *top*, which its best boxes have. False boxes may have any score, so
the top is measured on boxes that *persist*: that overlap a box a moment before and a box a moment after.

Only the floor and the top are brought to a common place. Two detectors differ in the shape of the distribution between
them, too. That shape is left alone. Order and persistence alone do not show which boxes are false, because false boxes
persist as well as weak true ones: each common curve that was tried, over quantiles of persistent boxes or over the
share that persists, made the counts of public sequences worse. So scores that were changed along another curve (their
ranks, for example) may give other counts.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_counting import rules
from countline_counting.frames import DetectionFrame
from countline_counting.tracking.association import Bools, largest_overlap
from countline_counting.tracking.motion import Floats

FLOOR_SCORE: Final = 0.05
"""The floor becomes this score ..."""
TOP_SCORE: Final = 0.99
"""... and the top this one."""
CUT_SCORE: Final = 0.4
"""The lowest score of a list that was cut off at a threshold becomes this one: such a list has no weak boxes."""
WEAKEST_SHARE: Final = 0.05
"""A list was cut off if this share of its boxes, the weakest ones, ..."""
CUT_PERSISTS: Final = 0.6
"""... persists at least this many times as often as the stronger half ..."""
CUT_LEAST: Final = 0.5
"""... and if at least this share of that half persists. If less does, persistence shows nothing."""
PERSISTS_S: Final = 0.1
"""A persistent box overlaps boxes at least this long before and after, in the nearest such frames, ..."""
PERSISTS_OVERLAP: Final = 0.5
"""... by at least this intersection over union."""
DECIMALS: Final = 4
"""Scores on the common scale have this number of decimals, so that equal ones are equal however they were rounded."""
LEAST_BOXES: Final = 50
"""With fewer persistent boxes, nothing is known about the scale, and scores stay as they are."""


@dataclass(frozen=True, slots=True)
class ScoreScale:
    """A scale of scores, between a floor and a top."""

    floor: float = 0.0
    top: float = 1.0
    floor_score: float = 0.0
    """The score on the common scale that the floor becomes."""
    top_score: float = 1.0
    """The same for the top, and for scores beyond it."""

    def score(self, raw: Floats) -> Floats:
        """Bring (N,) scores of the detector to the common scale."""
        if self == UNCHANGED:
            return raw
        slope = (self.top_score - self.floor_score) / (self.top - self.floor)
        scaled = np.clip(self.floor_score + slope * (raw - self.floor), self.floor_score, self.top_score)
        return np.asarray(np.round(scaled, DECIMALS))

    def applied(self, frame: DetectionFrame) -> DetectionFrame:
        """Return the frame with scores on the common scale."""
        if self == UNCHANGED:
            return frame
        detections = frame.detections.copy()
        detections[:, 4] = self.score(detections[:, 4].astype(np.float64))
        return replace(frame, detections=detections)


UNCHANGED: Final = ScoreScale()
"""The scale of scores that stay as they are."""


@dataclass(slots=True)
class _Frame:
    t: float
    boxes: Floats
    scores: Floats
    seen_before: Bools
    """(N,) whether each box overlaps a box of the frame a moment before."""


class ScaleMeter:
    """Measures the scale of a recording's scores, frame by frame."""

    def __init__(self) -> None:
        self._waiting: deque[_Frame] = deque()
        """Frames whose next frame, a moment later, has not come yet."""
        self._before: _Frame | None = None
        """The newest frame that is a moment older than the last one."""
        self._t = -math.inf
        self._scores: list[Floats] = []
        self._persists: list[Bools] = []

    def see(self, frame: DetectionFrame) -> None:
        """Take the next frame. Where time goes back, a new stretch begins."""
        if frame.t <= self._t:
            self._waiting.clear()
            self._before = None
        self._t = frame.t
        rows = frame.detections.astype(np.float64)
        rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 2:4] > rows[:, :2]).all(axis=1)]
        newest = _Frame(frame.t, rows[:, :4], rows[:, 4], np.zeros(len(rows), dtype=np.bool_))
        while self._waiting and frame.t - self._waiting[0].t >= PERSISTS_S - rules.TIME_SLACK_S:
            self._before = self._waiting.popleft()
            self._scores.append(self._before.scores)
            self._persists.append(self._before.seen_before & _seen_in(newest, self._before))
        if self._before is not None:
            newest.seen_before = _seen_in(self._before, newest)
        self._waiting.append(newest)

    def scale(self) -> ScoreScale:
        """Return the scale of the scores so far; `UNCHANGED` if too few boxes persist or all scores are equal."""
        if not self._scores:
            return UNCHANGED
        return scale_of(np.concatenate(self._scores), np.concatenate(self._persists))


def scale_of_recording(frames: Iterable[DetectionFrame]) -> ScoreScale:
    """Return the scale of the scores of a whole recording."""
    meter = ScaleMeter()
    for frame in frames:
        meter.see(frame)
    return meter.scale()


def _seen_in(other: _Frame, frame: _Frame) -> Bools:
    """Return (N,) which boxes of a frame overlap a box of another frame, near in time."""
    if abs(frame.t - other.t) > rules.STALL_S:
        return np.zeros(len(frame.boxes), dtype=np.bool_)
    return np.asarray(largest_overlap(frame.boxes, other.boxes) >= PERSISTS_OVERLAP)


def scale_of(scores: Floats, persists: NDArray[np.bool_]) -> ScoreScale:
    """Return the scale of (N,) scores, of boxes that persist or not, (N,).

    Scores on another scale, `a + b * scores` with b > 0, give the same scores on the common scale.
    """
    if np.count_nonzero(persists) < LEAST_BOXES:
        return UNCHANGED
    floor, top = float(scores.min()), float(scores[persists].max())
    if not floor < top:
        return UNCHANGED
    weakest = persists[scores <= np.quantile(scores, WEAKEST_SHARE)].mean()
    stronger = persists[scores >= np.median(scores)].mean()
    is_cut = stronger >= CUT_LEAST and weakest >= CUT_PERSISTS * stronger
    return ScoreScale(floor, top, CUT_SCORE if is_cut else FLOOR_SCORE, TOP_SCORE)
