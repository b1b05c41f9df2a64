"""What is known of each object while it lives: where it was, how large it is, of which class, for how long."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from countline_counting.geometry.segments import Floats

SIZE_MEMORY_S: Final = 0.5
"""Time constant of the running mean of an object's size."""
HISTORY: Final = 12
"""Past sights that are kept of an object, to know how it moves ..."""
HISTORY_SPACING_S: Final = 0.05
"""... at least this far apart."""
MOTION_WINDOW_S: Final = 0.6
"""How far back motion is measured."""

_ROW: Final = np.dtype(
    [
        ("number", np.int64),  # the object's id: 1, 2, ... in order of birth
        ("alive", np.bool_),
        ("stitched", np.bool_),  # healed from fragments
        ("first_t", np.float64),
        ("last_t", np.float64),
        ("last_running_s", np.float64),
        ("sights", np.int64),
        ("score_sum", np.float64),
        ("size_wh_px", np.float64, 2),  # running mean, of sights that had the whole of it in the picture
        ("anchor_px", np.float64, 2),  # the last one; NaN before the first
        ("history", np.float64, (HISTORY, 5)),  # a ring of t, centre x, centre y, width, height
        ("history_head", np.int64),
    ]
)


class Objects:
    """A table with one row (slot) for each living object; slots are used again after an object has ended."""

    def __init__(self) -> None:
        self.rows: NDArray[np.void] = _empty_rows(32)
        self.votes: Floats = np.zeros((32, 4))
        """(S, C) sum of scores by class; `columns` says which class is where."""
        self._columns: dict[int, int] = {}
        self._free = list(range(31, -1, -1))
        self.next_number = 1
        """The number that the next object will get."""

    def __getitem__(self, field: str) -> NDArray[Any]:
        """Return one column of the table, as a view."""
        return self.rows[field]

    def take_number(self) -> int:
        """Return a number that no object had before."""
        self.next_number += 1
        return self.next_number - 1

    def birth(self, number: int, t: float, running_s: float) -> int:
        """Make a slot for a new object."""
        if not self._free:
            size = len(self.rows)
            self.rows = np.concatenate([self.rows, _empty_rows(size)])
            self.votes = np.concatenate([self.votes, np.zeros_like(self.votes)])
            self._free = list(range(2 * size - 1, size - 1, -1))
        slot = self._free.pop()
        row = self.rows[slot]
        row["number"], row["alive"] = number, True
        row["first_t"] = row["last_t"] = t
        row["last_running_s"] = running_s
        return slot

    def death(self, slot: int) -> None:
        """Free the slot."""
        self.rows[slot] = _empty_rows(1)[0]
        self.votes[slot] = 0
        self._free.append(slot)

    def columns(self, classes: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the columns of `votes` for (N,) classes, new classes included."""
        values = classes.tolist()
        for value in values:
            if value not in self._columns:
                self._columns[value] = len(self._columns)
        missing = len(self._columns) - self.votes.shape[1]
        if missing > 0:
            self.votes = np.pad(self.votes, ((0, 0), (0, max(missing, 4))))
        return np.array([self._columns[value] for value in values], dtype=np.intp)

    def class_of(self, slot: int) -> int:
        """Return the class with most evidence over the object's life; the lower number where two have the same."""
        row = self.votes[slot]
        return min(self._columns, key=lambda value: (-row[self._columns[value]], value), default=0)

    def score_of(self, slot: int) -> float:
        """Return the mean score over the object's life."""
        row = self.rows[slot]
        return float(row["score_sum"] / max(1, row["sights"]))

    def motion(self, slot: int) -> "Motion":
        """Return where the object was last and how it moved there."""
        return fit_motion(self.rows[slot]["history"])


def _empty_rows(size: int) -> NDArray[np.void]:
    rows = np.zeros(size, dtype=_ROW)
    rows["anchor_px"] = rows["history"] = math.nan
    return rows


@dataclass(frozen=True, slots=True)
class Motion:
    """A place in time and the straight motion there."""

    t: float
    xy_px: tuple[float, float]
    """Centre of the box."""
    size_wh_px: tuple[float, float]
    velocity_px_s: tuple[float, float]


def fit_motion(history: Floats | Sequence[Sequence[float]], *, at_start: bool = False) -> Motion:
    """Fit a straight motion to the newest (or at the start: the oldest) rows (M, 5) of `history`."""
    table = np.asarray(history, dtype=np.float64)
    table = table[~np.isnan(table[:, 0])]
    table = table[np.argsort(table[:, 0], kind="stable")]
    edge = table[0 if at_start else -1]
    recent = table[np.abs(table[:, 0] - edge[0]) <= MOTION_WINDOW_S]
    relative = recent[:, 0] - recent[:, 0].mean()
    spread = float(relative @ relative)
    slope = relative @ recent[:, 1:3] / spread if spread > 0 else np.zeros(2)
    return Motion(
        float(edge[0]), (float(edge[1]), float(edge[2])), (float(edge[3]), float(edge[4])), (slope[0], slope[1])
    )
