"""The paths of boxes that counting leaves out."""

import numpy as np
from numpy.typing import NDArray

from countline_counting import rules
from countline_counting.geometry.segments import Floats, Point
from countline_counting.tracking import Tracker, TrackerSettings

Step = tuple[tuple[float, Point], tuple[float, Point]]
"""Time and anchor before, time and anchor after."""


class LeftOutPaths:
    """Follows boxes that are left out for one reason. Boxes without ids are tracked for this alone."""

    def __init__(self) -> None:
        self._tracker = Tracker(TrackerSettings(lone_score=0.0, high_score=0.0, low_score=0.0))
        self._last: dict[int, tuple[float, Point]] = {}

    def steps(self, t: float, xyxy_px: Floats, xy_px: Floats, ids: NDArray[np.int64] | None) -> list[Step]:
        """Take (N, 4) boxes with (N, 2) anchors and (N,) ids; return each box's step from its previous place."""
        if ids is None:
            share = xy_px - xyxy_px[:, :2]
            table = np.column_stack([xyxy_px, np.ones(len(xyxy_px)), np.arange(len(xyxy_px))])
            ids, _, _, rows = self._tracker.update(table, t)
            xy_px = xyxy_px[rows, :2] + share[rows]
        found = []
        for number, (x, y) in zip(ids.tolist(), xy_px.tolist(), strict=True):
            before, now = self._last.get(number), (t, (x, y))
            if before is not None and t - before[0] <= rules.OBJECT_UNSEEN_S:
                found.append((before, now))
            self._last[number] = now
        self._last = {number: last for number, last in self._last.items() if t - last[0] <= rules.OBJECT_UNSEEN_S}
        return found
