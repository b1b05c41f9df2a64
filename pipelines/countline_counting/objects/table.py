"""The table of living objects: where each one was, its size, its class, and for how long it was seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from countline_counting.geometry.segments import Floats
from countline_counting.objects.sights import Observations

SIZE_MEMORY_S: Final = 0.5
"""Time constant of the running mean of an object's size."""
HISTORY: Final = 12
"""Past sights that are kept of each object, from which its motion is fitted ..."""
HISTORY_SPACING_S: Final = 0.05
"""... at least this far apart."""
MOTION_WINDOW_S: Final = 0.6
"""Motion is fitted to the sights of this span."""
PLACE_NOISE: Final = 0.08
"""Expected standard deviation of a detected place, in heights; as in `TrackerSettings.position_noise`."""
PLACE_NOISE_SIGHTS: Final = 3
"""The expected noise weighs as much as this number of sights against what the sights of one object show."""

_ROW: Final = np.dtype(
    [
        ("number", np.int64),  # the object's id: 1, 2, ... in order of birth
        ("alive", np.bool_),
        ("stitched", np.bool_),  # healed from fragments
        ("second", np.int8),  # whether it is a second box of another object (`doubles.Second`)
        ("first_t", np.float64),
        ("last_t", np.float64),
        ("last_running_s", np.float64),
        ("sights", np.int64),
        ("score_sum", np.float64),
        ("shown_t", np.float64),  # the last sight that lines and zones took; earlier than `last_t` with hindsight
        ("size_wh_px", np.float64, 2),  # running mean over the sights that had all of it in the picture
        ("anchor_px", np.float64, 2),  # there; NaN before the first
        ("history", np.float64, (HISTORY, 5)),  # a ring of t, centre x, centre y, width, height
        ("history_head", np.int64),
        ("shown", np.float64, (HISTORY, 5)),  # the same until `shown_t`, as lines and zones saw it
        ("shown_head", np.int64),
    ]
)


class Objects:
    """A table with one row for each living object. A row is used again after its object has ended."""

    def __init__(self) -> None:
        self._table: NDArray[np.void] = _empty_rows(32)
        self.votes: Floats = np.zeros((32, 4))
        """(R, C) sum of scores by row and class; `columns` maps classes to columns."""
        self._columns: dict[int, int] = {}
        self._free = list(range(31, -1, -1))
        self.next_number = 1
        """The number that the next object will get."""

    def __getitem__(self, field: str) -> NDArray[Any]:
        """Return one column of the table, as a view."""
        return self._table[field]

    def take_number(self) -> int:
        """Return a number that no object had before."""
        self.next_number += 1
        return self.next_number - 1

    def birth(self, number: int, t: float, running_s: float) -> int:
        """Give a new object a row; return the row."""
        if not self._free:
            size = len(self._table)
            self._table = np.concatenate([self._table, _empty_rows(size)])
            self.votes = np.concatenate([self.votes, np.zeros_like(self.votes)])
            self._free = list(range(2 * size - 1, size - 1, -1))
        row = self._free.pop()
        record = self._table[row]
        record["number"], record["alive"] = number, True
        record["first_t"] = record["last_t"] = record["shown_t"] = t
        record["last_running_s"] = running_s
        return row

    def death(self, row: int) -> None:
        """Free the row."""
        self._table[row] = _empty_rows(1)[0]
        self.votes[row] = 0
        self._free.append(row)

    def living(self) -> list[int]:
        """Return the rows of all objects."""
        rows: list[int] = np.nonzero(self._table["alive"])[0].tolist()
        return rows

    def columns(self, classes: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the columns of `votes` for (N,) classes; new classes get columns."""
        values = classes.tolist()
        for value in values:
            if value not in self._columns:
                self._columns[value] = len(self._columns)
        missing = len(self._columns) - self.votes.shape[1]
        if missing > 0:
            self.votes = np.pad(self.votes, ((0, 0), (0, max(missing, 4))))
        return np.array([self._columns[value] for value in values], dtype=np.intp)

    def class_of(self, row: int) -> int:
        """Return the class with the largest sum of scores over the object's life; of equal ones the lower number."""
        votes = self.votes[row]
        return min(self._columns, key=lambda value: (-votes[self._columns[value]], value), default=0)

    def remember(self, observed: Observations, xyxy_px: Floats) -> None:
        """Enter observations, with their boxes (N, 4) as they would be if nothing cut them off."""
        rows = observed.rows
        self["last_t"][rows] = observed.t
        self["last_running_s"][rows] = observed.running_s
        self["sights"][rows] += 1
        self["score_sum"][rows] += observed.scores
        columns = self.columns(observed.classes)  # first: a class seen for the first time makes the table wider
        self.votes[rows, columns] += observed.scores
        self.extend("history", rows, observed.t, xyxy_px)

    def extend(self, ring: str, rows: NDArray[np.intp], t: Floats, xyxy_px: Floats) -> None:
        """Add the boxes (N, 4) of (N,) rows to one of the two rings, unless the newest there is too near in time."""
        head = self[f"{ring}_head"][rows]
        keep = ~(t - self[ring][rows, head, 0] < HISTORY_SPACING_S)
        kept, heads, boxes = rows[keep], (head[keep] + 1) % HISTORY, xyxy_px[keep]
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        self[ring][kept, heads] = np.column_stack([t[keep], centre, boxes[:, 2:] - boxes[:, :2]])
        self[f"{ring}_head"][kept] = heads

    def age_of(self, row: int) -> float:
        """Return the seconds from the object's first sight to its last."""
        return float(self["last_t"][row] - self["first_t"][row])

    def score_of(self, row: int) -> float:
        """Return the mean score over the object's life."""
        record = self._table[row]
        return float(record["score_sum"] / max(1, record["sights"]))

    def motion(self, row: int) -> "Motion":
        """Return where the object was last and how it moved there."""
        return fit_motion(self._table[row]["history"])


def _empty_rows(size: int) -> NDArray[np.void]:
    rows = np.zeros(size, dtype=_ROW)
    rows["anchor_px"] = rows["history"] = rows["shown"] = math.nan
    return rows


@dataclass(frozen=True, slots=True)
class Motion:
    """A place at a time, and the straight motion there."""

    t: float
    xy_px: tuple[float, float]
    """Centre of the box."""
    size_wh_px: tuple[float, float]
    velocity_px_s: tuple[float, float]
    velocity_error_px_s: float
    """Standard error of the velocity along the noisier axis; infinite for a single sight."""

    def at(self, t: float) -> tuple[float, float]:
        """Return the centre at a time, if the motion goes on."""
        (x, y), (speed_x, speed_y), passed_s = self.xy_px, self.velocity_px_s, t - self.t
        return x + speed_x * passed_s, y + speed_y * passed_s


def fit_motion(history: Floats | Sequence[Sequence[float]], *, at_start: bool = False) -> Motion:
    """Fit a straight motion to the newest rows (M, 5) of `history`; with `at_start`, to the oldest."""
    table = np.asarray(history, dtype=np.float64)
    table = table[~np.isnan(table[:, 0])]
    table = table[np.argsort(table[:, 0], kind="stable")]
    edge = table[0 if at_start else -1]
    recent = table[np.abs(table[:, 0] - edge[0]) <= MOTION_WINDOW_S]
    relative = recent[:, 0] - recent[:, 0].mean()
    spread = float(relative @ relative)
    slope = relative @ recent[:, 1:3] / spread if spread > 0 else np.zeros(2)
    t, x, y, width, height = edge.tolist()
    error = _slope_error(recent[:, 1:3], relative[:, None] * slope, height) / math.sqrt(spread) if spread else math.inf
    return Motion(t, (x, y), (width, height), (float(slope[0]), float(slope[1])), error)


def _slope_error(places: Floats, motion: Floats, height: float) -> float:
    """Return the noise of (M, 2) places around a motion: what they show, or `PLACE_NOISE` where they are few."""
    off = places - places.mean(axis=0) - motion
    shown = float((off**2).sum(axis=0).max())
    expected = PLACE_NOISE_SIGHTS * (PLACE_NOISE * height) ** 2
    return math.sqrt((shown + expected) / (len(places) - 2 + PLACE_NOISE_SIGHTS))
