"""Which boxes of a frame are used: valid ones with a sufficient score, not masked, one for each object."""

from dataclasses import replace

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
        valid = (table[:, 2] > table[:, 0]) & (table[:, 3] > table[:, 1])  # refuses NaN too
        table = table[valid & np.isfinite(table).all(axis=1)]
        keep = table[:, 4] >= self._spec.min_score
        table = self._kept(frame.t, table, keep, Reason.BOX_SCORE_TOO_LOW)
        if self._masks is not None:
            keep = self._masks.seen(anchors(table[:, :4], self._spec.anchor))
            table = self._kept(frame.t, table, keep, Reason.MASKED)
        keep = without_duplicates(table[:, :4], table[:, 5].astype(np.int64), (-table[:, 4]).tolist)
        return self._kept(frame.t, table, keep, Reason.DUPLICATE_BOX)

    def tracks(self, frame: TrackedFrame) -> TrackedFrame:
        """Return the frame with the boxes that are used. `Sightings` removes duplicates later, by the age of tracks."""
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
        return replace(
            frame,
            ids=frame.ids[~out],
            xyxy_px=frame.xyxy_px[~out],
            scores=frame.scores[~out],
            classes=frame.classes[~out],
        )

    def _report(self, t: float, xyxy_px: Floats, ids: Ids | None, reason: Reason) -> None:
        if self._listener is not None and len(xyxy_px):
            self._listener(BoxesLeftOut(t, xyxy_px, anchors(xyxy_px, self._spec.anchor), ids, reason))
