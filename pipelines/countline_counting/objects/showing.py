"""From observations to the sights that lines and zones take: cut boxes completed, sizes averaged."""

import numpy as np
from numpy.typing import NDArray

from countline_counting import rules
from countline_counting.geometry.segments import Floats
from countline_counting.objects.boxes import completed
from countline_counting.objects.sights import Observations, Sights
from countline_counting.objects.table import SIZE_MEMORY_S, Objects
from countline_counting.tracking.motion import centred, cut_edges, with_feet


class Showing:
    """Makes sights of observations, those of each object in the order of time.

    Args:
        objects: the table of objects, which keeps what was shown last.
        anchor: the point of a box that is counted, as fractions of its width and height.
        feet_may_hide: whether something in the picture may cut boxes off from below. Our tracker completes such boxes.
    """

    def __init__(self, objects: Objects, anchor: tuple[float, float], *, feet_may_hide: bool) -> None:
        self.anchor = anchor
        self._objects = objects
        self._feet_may_hide = feet_may_hide

    def whole(self, observed: Observations) -> tuple[Floats, NDArray[np.bool_], Floats]:
        """Return boxes as they would be if nothing cut them off, (N, 1) which are not cut off, and `Sights.hidden`."""
        known_wh = self._objects["size_wh_px"][observed.rows]
        low, high = cut_edges(observed.xyxy_px, observed.picture_wh)
        short = high.copy()
        if self._feet_may_hide:
            short[:, 1] |= self._feet_hidden(observed, known_wh)
        whole = ~(low | short).any(axis=1, keepdims=True)
        boxes = observed.xyxy_px if whole.all() else completed(observed.xyxy_px, known_wh, low, short)
        share = np.array(self.anchor)
        return boxes, whole, (high & ~low) * share - (low & ~high) * (1 - share)

    def show(self, observed: Observations) -> tuple[Sights, Floats]:
        """Return observations as sights, and their boxes as they would be if nothing cut them off."""
        table, rows = self._objects, observed.rows
        boxes, whole, hidden = self.whole(observed)
        known_wh, before_xy_px, before_t = (table[name][rows] for name in ("size_wh_px", "anchor_px", "shown_t"))
        size_wh = boxes[:, 2:] - boxes[:, :2]
        first = np.isnan(before_xy_px[:, 0])
        weight = np.where(first, 1.0, 1.0 - np.exp((before_t - observed.t) / SIZE_MEMORY_S))[:, None]
        # If the border cuts an object off, its visible size counts only where it is larger than the known size.
        measured_wh = np.where(whole, size_wh, np.maximum(known_wh, size_wh))
        known_wh = known_wh + (measured_wh - known_wh) * weight
        sights = Sights(
            rows=rows,
            t=observed.t,
            frame=observed.frame,
            xy_px=boxes[:, :2] + size_wh * np.array(self.anchor),
            hidden=hidden,
            height_px=known_wh[:, 1],
            before_t=before_t,
            before_xy_px=before_xy_px,
            width_px=known_wh[:, 0],
            known_at=observed.known_at,
        )
        table["size_wh_px"][rows] = known_wh
        table["anchor_px"][rows] = sights.xy_px
        table["shown_t"][rows] = observed.t
        table.extend("shown", rows, observed.t, boxes)
        return sights, boxes

    def _feet_hidden(self, observed: Observations, known_wh: Floats) -> NDArray[np.bool_]:
        """Return (N,) which boxes something in the picture cuts off from below."""
        boxes = centred(observed.xyxy_px)
        hidden = boxes[:, 2] * known_wh[:, 1] >= rules.PART_SHAPE * known_wh[:, 0] * boxes[:, 3]
        hidden &= known_wh[:, 1] > 0
        for i in np.nonzero(hidden)[0].tolist():
            place = self._objects.motion(int(observed.rows[i])).at(float(observed.t[i]))
            hidden[i] = with_feet(boxes[i : i + 1], np.array([[*place, *known_wh[i]]]))[1][0]
        return hidden
