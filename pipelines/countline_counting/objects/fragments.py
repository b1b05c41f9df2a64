"""The fragments of one camera: new ids of the tracker that wait until their objects are known."""

from collections.abc import Sequence

import numpy as np

from countline_counting import rules
from countline_counting.frames import TrackedFrame
from countline_counting.objects.healing import SETTLE_S, Fragment, Lost, Observed, best_joins, join_cost
from countline_counting.objects.table import Motion, Objects
from countline_counting.tracking.motion import walks_out

RUNNING_SLACK_S = 1e-3
"""Running time is a sum of many differences of Unix times. Limits on it allow for the rounding."""

CONFIRM_S = 1.0
"""A new track with one detection is dropped after this time."""


class Fragments:
    """Holds fragments, and finds the objects that they continue.

    Args:
        objects: the table of objects.
        trusted: whether a fragment that was seen only once is an object.
    """

    def __init__(self, objects: Objects, *, trusted: bool) -> None:
        self._objects = objects
        self._trusted = trusted
        self._by_raw_id: dict[int, Fragment] = {}

    def __len__(self) -> int:
        return len(self._by_raw_id)

    def awaited(self) -> frozenset[int]:
        """Return the rows of the objects that a waiting fragment may continue."""
        return frozenset[int]().union(*(fragment.awaited for fragment in self._by_raw_id.values()))

    def number_of(self, raw_id: int) -> int:
        """Return the number of the fragment with this id; 0 if there is none."""
        fragment = self._by_raw_id.get(raw_id)
        return fragment.number if fragment is not None else 0

    def add(self, raw_id: int, frame: TrackedFrame, i: int, running_s: float, estimate: Sequence[float] = ()) -> None:
        """Add box `i` of a frame to the fragment of its id, and begin that fragment if it is new.

        `estimate` is that of the tracker, as in `Observations`.
        """
        fragment = self._by_raw_id.get(raw_id)
        x1, y1, x2, y2 = frame.xyxy_px[i].tolist()
        score, class_id = float(frame.scores[i]), int(frame.classes[i])
        seen = Observed(frame.t, running_s, frame.index, (x1, y1, x2, y2), score, class_id, tuple(estimate))
        if fragment is not None:
            fragment.observed.append(seen)
            return
        fragment = self._by_raw_id[raw_id] = Fragment(raw_id, self._objects.take_number(), frame.size_wh)
        fragment.observed.append(seen)
        # One sight shows no motion yet, so no object that walked out is excluded here.
        fragment.awaited = frozenset(
            lost.row for lost in self._lost(fragment) if join_cost(lost, fragment.start(), class_id, leaves=True) <= 2
        )

    def take_due(self, now: float) -> tuple[list[Fragment], list[Fragment]]:
        """Remove and return the fragments that have waited long enough: those that are objects, and false ones."""
        due = [
            fragment
            for fragment in self._by_raw_id.values()
            if not fragment.awaited or now - fragment.born_t >= SETTLE_S - rules.TIME_SLACK_S
        ]
        settled, false = [], []
        for fragment in due:
            if self._trusted or fragment.confirmed:
                settled.append(fragment)
            elif now - fragment.born_t > CONFIRM_S:
                false.append(fragment)
            else:
                continue
            del self._by_raw_id[fragment.raw_id]
        return settled, false

    def rows_of(self, settled: Sequence[Fragment]) -> list[int | None]:
        """Return for each fragment the row of the object that it continues; None for a new object."""
        lost = {item.row: item for fragment in settled if fragment.awaited for item in self._lost(fragment)}
        candidates = list(lost)
        costs = []
        for fragment in settled:
            of_row = {item.row: item for item in self._lost(fragment)} if fragment.awaited else {}
            start, class_id = fragment.start(), fragment.observed[0].class_id
            leaves = _walks_out(start, fragment.picture_wh)
            costs.append(
                [
                    join_cost(of_row[row], start, class_id, leaves=leaves) if row in of_row else np.inf
                    for row in candidates
                ]
            )
        joined = {i: candidates[column] for i, column in best_joins(costs)}
        return [joined.get(i) for i in range(len(settled))]

    def _lost(self, fragment: Fragment) -> list[Lost]:
        """Return the objects that have been out of sight since before the fragment began."""
        table = self._objects
        born = fragment.observed[0]
        out_of_sight = table["alive"] & (table["last_t"] < born.t)
        found = []
        for row in np.nonzero(out_of_sight)[0].tolist():
            unseen_s = born.running_s - float(table["last_running_s"][row])
            if unseen_s <= rules.OBJECT_UNSEEN_S + RUNNING_SLACK_S:
                motion = table.motion(row)
                left = _walks_out(motion, fragment.picture_wh)
                found.append(Lost(row, motion, table.class_of(row), unseen_s, left))
        return found


def _walks_out(motion: Motion, picture_wh: tuple[int, int]) -> bool:
    box = np.array([[*motion.xy_px, *motion.size_wh_px]])
    return bool(walks_out(box, np.array([motion.velocity_px_s]), picture_wh)[0])
