"""Trajectories: the paths of objects as poly-lines, small enough to store and true to a stated bound.

A path is simplified while it grows, with a few numbers for each object. From the last corner on, the speeds that keep
every sight within its bound are an interval for each coordinate, and each sight narrows it. When an interval is empty,
a corner is set at the last sight before. This is the swing filter of Elmeleegy et al. (Online piece-wise linear
approximation of numerical streams with precision guarantees, 2009). x and y are filtered together as in Lin et al.
(One-pass trajectory simplification using the synchronous Euclidean distance, 2019): the error is the distance between
object and path at the same *time*, and the square inside it replaces the circle around a sight. Of the remaining
speeds, the path takes the one that comes nearest to the sight that did not fit. At the same bound this gives 10 to 25 %
fewer corners than Douglas-Peucker or an opening window, whose corners must be sights, and only corners are held. Sights
wait for a few frames and are then taken together, for all objects at once, which shares the cost of array arithmetic.

The bound: at the time of each sight, the path is at most `ERROR_HEIGHTS` heights of the object's box from its anchor.
Width and height are at most `SIZE_ERROR_HEIGHTS` (or a tenth of a pixel) from those that lines measure by, which are
running means. This includes rounding to tenths of a pixel and to milliseconds.

A long track comes in parts, so that neither its memory nor the loss at a kill grows with time. Every object that was
seen twice, two milliseconds apart or more, has a trajectory, so everything that can be counted has one. A sight that
comes sooner after another one is left out, because streams begin with a burst of frames that have almost the same time.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_counting.geometry.segments import Floats
from countline_counting.identity import Identity, event_id
from countline_counting.objects.doubles import Second
from countline_counting.objects.sights import Sights
from countline_counting.objects.table import Objects
from countline_counting.paths import LEAST_ERROR_PX, UNITS_PER_PX, ObjectPath, Trajectory
from countline_counting.trajectories.batch import SightBatch, SightMoment, gathered
from countline_counting.trajectories.table import ERROR_HEIGHTS, MS_US, PART_S, Ended, PathTable, Rows

SIZE_ERROR_HEIGHTS: Final = 0.004
"""Bound on the error of width and height, in heights of the box."""
UNSEEN_PERIODS: Final = 1.6
"""A gap between two sights is marked as unseen from this many frame periods on."""
FRAMES_AT_ONCE: Final = 32
"""Number of frames whose sights are taken together."""

_ROUNDING_PX: Final = 0.5 / UNITS_PER_PX
_LEAST_PX: Final = LEAST_ERROR_PX - _ROUNDING_PX
"""Without rounding, no bound along one axis is tighter than this, however small the box."""
_WINDOW: Final = 6
"""Number of sights of each object in one round; few objects go much farther without a corner."""
_AHEAD: Final = np.arange(_WINDOW)
_ROUNDS_A_SIGHT: Final = 4
"""Each round takes sights or sets a corner, and no sight needs more than three. A path must not block its camera."""
_SHARES: Final = np.array([ERROR_HEIGHTS / np.sqrt(2)] * 2 + [SIZE_ERROR_HEIGHTS] * 2)


def trajectories_of(
    identity: Identity, objects: Objects, picture_wh: tuple[int, int], ended: Iterable[tuple[int, ObjectPath]]
) -> list[Trajectory]:
    """Return the events for parts of paths that have ended, each with what the table knows of its object.

    Second boxes of other objects have none.
    """
    return [
        Trajectory(
            id=event_id(identity, "trajectory", "", 0, int(objects["number"][row]), path.part),
            track=int(objects["number"][row]),
            class_id=objects.class_of(row),
            score=objects.score_of(row),
            stitched=bool(objects["stitched"][row]),
            picture_wh=picture_wh,
            path=path,
        )
        for row, path in ended
        if objects["second"][row] != Second.YES
    ]


class Paths:
    """The paths of all living objects. Their number bounds the memory."""

    def __init__(self) -> None:
        self._waiting: list[SightMoment] = []
        self._table = PathTable()

    def take(self, sights: Sights, period_s: float) -> Ended:
        """Take the sights of one moment.

        Args:
            sights: the sights.
            period_s: usual time between two frames.

        Returns:
            (row, path) of each part that ended.
        """
        if len(sights.rows):
            self._waiting.append(SightMoment(sights, UNSEEN_PERIODS * period_s or np.inf))
        return self._catch_up() if len(self._waiting) >= FRAMES_AT_ONCE else []

    def end(self, row: int) -> Ended:
        """Forget an object.

        Returns:
            (row, path) of each part that ended: the last one of this object, unless it was seen only once, and parts
            of other objects that the waiting sights ended.
        """
        ended, table = self._catch_up(), self._table
        if row >= len(table.count) or table.count[row] == 0:
            return ended
        only = np.array([row])
        if table.last_us[row] > table.corner_us[row]:
            table.close(only, (table.low[only] + table.high[only]) / 2)
        if table.count[row] > 1:
            ended.append((row, table.path(row, continues=False)))
        table.forget(row)
        return ended

    def _catch_up(self) -> Ended:
        """Take the waiting sights."""
        if not self._waiting:
            return []
        batch = gathered(self._waiting, self._table)
        self._waiting = []
        if not len(batch.rows):
            return []
        first = np.zeros(len(batch.rows), dtype=np.int64)
        new = self._table.count[batch.rows] == 0
        if new.any():
            self._table.begin(batch.rows[new], batch.t_us[new, 0], batch.value[new, 0])
            self._table.late[batch.rows[new]] = batch.late[new, 0]
            first[new] = 1
        return _Turns(self._table, batch, first).run()


class _Turns:
    """Enters one batch into the table, in rounds: each round takes every object up to its next corner.

    `members` are indices of objects in the batch, `rows` those in the tables.
    """

    def __init__(self, table: PathTable, batch: SightBatch, first: NDArray[np.int64]) -> None:
        self._table = table
        self._batch = batch
        self._first = first
        """(N,) index of the next sight of each object."""
        self._reach = np.maximum(batch.value[..., 3:] * _SHARES - _ROUNDING_PX, _LEAST_PX)
        before_us = np.concatenate([table.last_us[batch.rows][:, None], batch.t_us[:, :-1]], axis=1)
        self._joined = batch.late & ~np.concatenate([table.late[batch.rows][:, None], batch.late[:, :-1]], axis=1)
        self._lost = (batch.t_us - before_us > batch.limit_us) | self._joined

    def run(self) -> Ended:
        """Take everything; return the parts that ended."""
        members = np.nonzero(self._first < self._batch.counts)[0]
        ended: Ended = []
        for _ in range(_ROUNDS_A_SIGHT * self._batch.t_us.shape[1] + 1):
            if not len(members):
                return ended
            members, more = self._advance(members)
            ended += more
        raise RuntimeError(f"the paths of the objects in rows {self._batch.rows[members].tolist()} make no progress")

    def _advance(self, members: Rows) -> tuple[Rows, Ended]:
        """Take sights up to the next corner; return the members that are not at their end, and the parts that ended."""
        table, batch, first = self._table, self._batch, self._first[members]
        rows, number = batch.rows[members], first[:, None] + _AHEAD
        given = number < batch.counts[members, None]
        at = members[:, None], np.minimum(number, batch.t_us.shape[1] - 1)
        t_us = batch.t_us[at]
        low, high = self._speeds(rows, at, given)
        late = t_us - table.start_us[rows, None] > PART_S * 1e6
        turns = ((low > high).any(axis=2)[:, 1:] | self._lost[at] | late) & given
        stops = turns.any(axis=1)
        taken = np.where(stops, turns.argmax(axis=1), given.sum(axis=1))
        every, some = np.arange(len(members)), taken > 0
        table.low[rows], table.high[rows] = low[every, taken], high[every, taken]
        table.last_us[rows] = np.where(some, t_us[every, taken - 1], table.last_us[rows])
        table.late[rows] = np.where(some, batch.late[members, first + taken - 1], table.late[rows])
        table.sights[rows] += taken
        self._first[members] = first + taken
        ended = self._turn(members[stops]) if stops.any() else []
        return members[stops | (first + taken < batch.counts[members])], ended

    def _speeds(self, rows: Rows, at: tuple[Rows, Rows], given: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return (N, W + 1, 4) lowest and highest speeds that remain before each sight `at` and after the last."""
        table, reach = self._table, self._reach[at]
        elapsed_s = (self._batch.t_us[at] - table.corner_us[rows, None]) * 1e-6
        elapsed_s = np.maximum(elapsed_s, 1e-9)[..., None]  # a sight exactly at a corner allows every speed
        off = self._batch.value[at] - table.corner[rows, None]
        low, high = np.empty((len(rows), _WINDOW + 1, 4)), np.empty((len(rows), _WINDOW + 1, 4))
        low[:, 0], high[:, 0] = table.low[rows], table.high[rows]
        low[:, 1:] = np.where(given[..., None], (off - reach) / elapsed_s, -np.inf)
        high[:, 1:] = np.where(given[..., None], (off + reach) / elapsed_s, np.inf)
        return np.maximum.accumulate(low, axis=1), np.minimum.accumulate(high, axis=1)

    def _turn(self, members: Rows) -> Ended:
        """Set a corner at the last sight of each object, and another one where a lost object is seen again."""
        table, batch, number = self._table, self._batch, self._first[members]
        rows, t_us, value = batch.rows[members], batch.t_us[members, number], batch.value[members, number]
        since = table.last_us[rows] > table.corner_us[rows]  # otherwise the corner is there already
        closed = rows[since]
        elapsed_s = (t_us[since] - table.corner_us[closed]) * 1e-6
        wanted = (value[since] - table.corner[closed]) / elapsed_s[:, None]
        table.close(closed, np.clip(wanted, table.low[closed], table.high[closed]))
        ended = [(row, table.next_part(row)) for row in table.full(rows, t_us)]
        lost = self._lost[members, number]
        if lost.any():
            self._find_again(members[lost], rows[lost], t_us[lost], value[lost])
        return ended

    def _find_again(self, members: Rows, rows: Rows, t_us: Floats, value: Floats) -> None:
        table = self._table
        joined = self._joined[members, self._first[members]].tolist()
        for row, is_joined in zip(rows.tolist(), joined, strict=True):
            index = int(table.count[row])
            table.unseen.setdefault(row, []).append((index - 1, index))
            if is_joined:
                table.joined.setdefault(row, []).append(index)
        start_us = table.start_us[rows]
        table.add_corner(rows, start_us + np.floor((t_us - start_us) / MS_US) * MS_US, value)
        self._lost[members, self._first[members]] = False
