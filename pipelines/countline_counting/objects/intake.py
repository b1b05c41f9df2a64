"""Which boxes of a frame are used: valid ones with a sufficient score, not masked, one for each object."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_counting.frames import DetectionFrame, TrackedFrame
from countline_counting.geometry.segments import Floats
from countline_counting.objects.boxes import without_duplicates
from countline_counting.objects.facts import BoxesLeftOut, ObjectListener
from countline_counting.objects.masks import MaskFilter, anchors
from countline_counting.reasons import Reason
from countline_counting.spec import CountingSpec

Ids = NDArray[np.int64]

LARGEST_PX: Final = 1e6
"""A box that reaches farther than this is none: no picture is so large. Stored paths hold ten million pixels."""
LEAST_SIZE_PX: Final = 1e-3
"""A box that is smaller than this is none: it has no size that distances could be measured by."""


class Intake:
    """Selects the boxes of one camera's frames.

    Args:
        spec: sets the least score, the masks and the anchor that masks are tested with.
        size_wh: size of the picture in pixels.
        listener: receives the boxes that are left out, with the reason.
    """

    def __init__(self, spec: CountingSpec, size_wh: tuple[int, int], listener: ObjectListener | None) -> None:
        self._spec = spec
        self._masks = MaskFilter(spec.masks, size_wh) if spec.masks else None
        self._listener = listener

    def detections(self, frame: DetectionFrame) -> Floats:
        """Return the (M, 6) detections that are used."""
        table = frame.detections.astype(np.float64)
        table = table[_valid(table)]
        keep = table[:, 4] >= self._spec.min_score
        table = self._kept(frame.t, table, keep, Reason.BOX_SCORE_TOO_LOW)
        if self._masks is not None:
            keep = self._masks.seen(anchors(table[:, :4], self._spec.anchor))
            table = self._kept(frame.t, table, keep, Reason.MASKED)
        keep = without_duplicates(table[:, :4], table[:, 5].astype(np.int64), (-table[:, 4]).tolist)
        return self._kept(frame.t, table, keep, Reason.DUPLICATE_BOX)

    def tracks(self, frame: TrackedFrame) -> TrackedFrame:
        """Return the frame with the boxes that are used. `Sightings` removes duplicates later, by the age of tracks.

        Of boxes with one id, the first is used.
        """
        table = np.column_stack([frame.xyxy_px, frame.scores])
        valid = _valid(table)
        valid[np.nonzero(valid)[0]] = _is_first(frame.ids[valid])
        if not valid.all():
            frame = _selected(frame, valid)
        low = frame.scores < self._spec.min_score
        if low.any():
            frame = self._without(frame, low, Reason.BOX_SCORE_TOO_LOW)
        if self._masks is not None:
            hidden = ~self._masks.seen(anchors(frame.xyxy_px, self._spec.anchor))
            frame = self._without(frame, hidden, Reason.MASKED)
        return frame

    def _kept(self, t: float, table: Floats, keep: NDArray[np.bool_], reason: Reason) -> Floats:
        if keep.all():
            return table
        self._report(t, table[~keep, :4], None, reason)
        return table[keep]

    def _without(self, frame: TrackedFrame, out: NDArray[np.bool_], reason: Reason) -> TrackedFrame:
        self._report(frame.t, frame.xyxy_px[out], frame.ids[out], reason)
        return _selected(frame, ~out)

    def _report(self, t: float, xyxy_px: Floats, ids: Ids | None, reason: Reason) -> None:
        if self._listener is not None and len(xyxy_px):
            self._listener(BoxesLeftOut(t, xyxy_px, anchors(xyxy_px, self._spec.anchor), ids, reason))


def _valid(table: Floats) -> NDArray[np.bool_]:
    """Return (N,) which rows x1, y1, x2, y2, ... are finite numbers of pixels and have a width and a height."""
    is_near = (np.abs(table[:, :4]) <= LARGEST_PX).all(axis=1) & np.isfinite(table).all(axis=1)
    boxes = np.where(is_near[:, None], table[:, :4], 0.0)
    valid: NDArray[np.bool_] = (boxes[:, 2:] - boxes[:, :2] >= LEAST_SIZE_PX).all(axis=1)
    return valid


def _is_first(ids: Ids) -> NDArray[np.bool_]:
    """Return (N,) which ids are the first of their kind."""
    first = np.zeros(len(ids), dtype=np.bool_)
    first[np.unique(ids, return_index=True)[1]] = True
    return first


def _selected(frame: TrackedFrame, which: NDArray[np.bool_]) -> TrackedFrame:
    return replace(
        frame,
        ids=frame.ids[which],
        xyxy_px=frame.xyxy_px[which],
        scores=frame.scores[which],
        classes=frame.classes[which],
    )
