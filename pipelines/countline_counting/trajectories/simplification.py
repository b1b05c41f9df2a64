"""Where objects were, as poly-lines whose corners have times and sizes: small enough to keep, true to a stated bound.

A path is simplified while it grows, with a handful of numbers for each object: from the last corner on, the speeds
that keep every sight since within its bound are an interval for each coordinate, which each sight narrows. When
nothing is left of one, a corner is set at the last sight for which something was. This is the swing filter of
Elmeleegy et al. (Online piece-wise linear approximation of numerical streams with precision guarantees, 2009), used on
x and y together as Lin et al. do (One-pass trajectory simplification using the synchronous Euclidean distance, 2019):
the error is the distance between object and path at the same *time*, and the circle around a sight is approximated by
the square inside it. Of the speeds that are left, the one is taken that comes nearest to the sight that did not fit.
At the same bound that takes 10 to 25 % fewer corners than Douglas-Peucker or an opening window, whose corners must be
sights, and it holds nothing but the corners. Sights wait for a few frames and are then taken together, for all objects
at once: what a frame costs in array arithmetic is thereby shared.

What the bound means: at the time of each sight, the path is at most `ERROR_HEIGHTS` heights of the object's box from
its anchor, and width and height are at most `SIZE_ERROR_HEIGHTS` (or a tenth of a pixel) from those that lines measure
by, which are running means. Rounding to tenths of a pixel and to milliseconds is included.

A long track comes in parts, so that neither its memory nor what a killed process loses grows with time. Every object
that was seen twice, two milliseconds apart or more, has a trajectory: whatever can be counted has one. A sight that
comes less than that after another is left out: streams begin with a burst of frames, stamped as if taken at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countline_counting.geometry.segments import Floats
from countline_counting.rule.lines import Sights
from countline_counting.trajectories.paths import LEAST_ERROR_PX, UNITS_PER_PX, Path

ERROR_HEIGHTS: Final = 0.002
"""Bound on the distance of a sight from the path, in heights of its box; `LEAST_ERROR_PX` where that is more."""
SIZE_ERROR_HEIGHTS: Final = 0.004
"""Bound on the error of width and height, in heights of the box."""
UNSEEN_PERIODS: Final = 1.6
"""A gap between two sights is marked as unseen from this many frame periods on."""
PART_CORNERS: Final = 400
"""A track that has more corners comes in parts ..."""
PART_S: Final = 600.0
"""... as does one that lasts longer."""
FRAMES_AT_ONCE: Final = 32
"""Frames whose sights are taken together."""

_ROUNDING_PX: Final = 0.5 / UNITS_PER_PX
_LEAST_PX: Final = LEAST_ERROR_PX - _ROUNDING_PX
"""Along one axis no bound is tighter than this besides rounding, however small the box."""
_MS_US: Final = 1000.0
_APART_US: Final = 2 * _MS_US
"""A corner is set up to a millisecond after its sight, and the next sight must be well after that to tell a speed."""
_WINDOW: Final = 6
"""How many sights of each object are looked at in one round; few go much farther without a corner."""
_AHEAD: Final = np.arange(_WINDOW)
_ROUNDS_A_SIGHT: Final = 4
"""Each round takes sights or sets a corner, and no sight asks for more than three; a camera must not hang on a path."""
_SHARES: Final = np.array([ERROR_HEIGHTS / np.sqrt(2)] * 2 + [SIZE_ERROR_HEIGHTS] * 2)
_Ints = NDArray[np.int64]
_Slots = NDArray[np.intp]


class _Moment(NamedTuple):
    """Sights that wait, with the longest gap that is none, and when they came."""

    sights: Sights
    limit_s: float
    now: float


@dataclass(frozen=True, slots=True)
class _Batch:
    """Sights of several frames, a row for each object. Times are microseconds, whole numbers below 2 to the 53rd."""

    slots: _Slots
    """(N,)"""
    counts: _Ints
    """(N,) sights of each; what follows in a row stands for nothing."""
    t_us: Floats
    """(N, B)"""
    value: Floats
    """(N, B, 4) x, y, width, height in pixels."""
    limit_us: Floats
    """(N, B) the longest time since the sight before that is no gap."""
    late: NDArray[np.bool_]
    """(N, B) whether it was not settled at once whose the sight is."""


class Paths:
    """The paths of all living objects; memory is bounded by how many there are."""

    def __init__(self) -> None:
        self._waiting: list[_Moment] = []
        self._table = _Table()

    def take(self, sights: Sights, period_s: float, now: float) -> list[tuple[int, Path]]:
        """Take the sights of one moment.

        Args:
            sights: which objects were seen where.
            period_s: usual time between two frames.
            now: capture time of the newest frame; of what is older it was not settled until now whose it is.

        Returns:
            (slot, path) of each part that ended.
        """
        if len(sights.slots):
            self._waiting.append(_Moment(sights, UNSEEN_PERIODS * period_s or np.inf, now))
        return self._catch_up() if len(self._waiting) >= FRAMES_AT_ONCE else []

    def end(self, slot: int) -> list[tuple[int, Path]]:
        """Forget an object.

        Returns:
            (slot, path) of each part that ended: the last one of this object, unless it was seen only once, and those
            of others that the sights which waited have ended.
        """
        ended, table = self._catch_up(), self._table
        if slot >= len(table.count) or table.count[slot] == 0:
            return ended
        rows = np.array([slot])
        if table.last_us[slot] > table.corner_us[slot]:
            table.close(rows, (table.low[rows] + table.high[rows]) / 2)
        if table.count[slot] > 1:
            ended.append((slot, table.path(slot, continues=False)))
        table.forget(slot)
        return ended

    def _catch_up(self) -> list[tuple[int, Path]]:
        """Take what waits."""
        if not self._waiting:
            return []
        batch = _gathered(self._waiting, self._table)
        self._waiting = []
        if not len(batch.slots):
            return []
        first = np.zeros(len(batch.slots), dtype=np.int64)
        new = self._table.count[batch.slots] == 0
        if new.any():
            self._table.begin(batch.slots[new], batch.t_us[new, 0], batch.value[new, 0])
            self._table.late[batch.slots[new]] = batch.late[new, 0]
            first[new] = 1
        return _Turns(self._table, batch, first).run()


class _Table:
    """The part of its path that each object is on, and what it may do next. Times are microseconds."""

    def __init__(self) -> None:
        self.count = np.zeros(0, dtype=np.int64)
        """(S,) corners; 0 where there is no object."""
        self.part = np.zeros(0, dtype=np.int64)
        self.late = np.zeros(0, dtype=np.bool_)
        """(S,) whether the last sight came late."""
        self.sights = np.zeros(0, dtype=np.int64)
        self.start_us = np.zeros(0)
        self.corner_us = np.zeros(0)
        """(S,) time of the last corner."""
        self.last_us = np.zeros(0)
        """(S,) time of the last sight."""
        self.corner = np.zeros((0, 4))
        """(S, 4) x, y, width, height of the last corner in pixels."""
        self.low = np.zeros((0, 4))
        """(S, 4) lowest speeds that reach every sight since ..."""
        self.high = np.zeros((0, 4))
        """... and highest ones."""
        self.corners = np.zeros((0, PART_CORNERS + 3, 5), dtype=np.int32)
        """(S, C, 5) milliseconds since the start of the part, and tenths of a pixel."""
        self.unseen: dict[int, list[tuple[int, int]]] = {}
        self.joined: dict[int, list[int]] = {}

    def reserve(self, size: int) -> None:
        """Make room for slots below `size`."""
        missing = size - len(self.count)
        if missing <= 0:
            return
        more = max(missing, len(self.count), 16)
        for name in ("count", "part", "late", "sights", "start_us", "corner_us", "last_us"):
            setattr(self, name, np.pad(getattr(self, name), (0, more)))
        for name in ("corner", "low", "high"):
            setattr(self, name, np.pad(getattr(self, name), ((0, more), (0, 0))))
        self.corners = np.pad(self.corners, ((0, more), (0, 0), (0, 0)))

    def begin(self, slots: _Slots, t_us: Floats, value: Floats) -> None:
        """Begin paths at the first sights of objects."""
        self.start_us[slots] = self.last_us[slots] = t_us
        self.sights[slots] = 1
        self.add_corner(slots, t_us, value)

    def close(self, slots: _Slots, speed: Floats) -> None:
        """Set a corner at the last sight of each object, rounded up to a millisecond, where (N, 4) speeds lead."""
        start_us = self.start_us[slots]
        t_us = start_us + np.ceil((self.last_us[slots] - start_us) / _MS_US) * _MS_US
        ahead_s = (t_us - self.corner_us[slots]) * 1e-6
        self.add_corner(slots, t_us, self.corner[slots] + speed * ahead_s[:, None])

    def add_corner(self, slots: _Slots, t_us: Floats, value: Floats) -> None:
        """Set corners, after which every speed is possible."""
        units, count = np.rint(value * UNITS_PER_PX), self.count[slots]
        self.corners[slots, count, 0] = (t_us - self.start_us[slots]) / _MS_US
        self.corners[slots, count, 1:] = units
        self.count[slots] = count + 1
        self.corner_us[slots] = t_us
        self.corner[slots] = units / UNITS_PER_PX
        self.low[slots], self.high[slots] = -np.inf, np.inf

    def full(self, slots: _Slots, now_us: Floats) -> list[int]:
        """Return the slots whose part is to end before a sight at these times."""
        long = (now_us - self.start_us[slots] > PART_S * 1e6) & (self.count[slots] > 1)
        full: list[int] = slots[long | (self.count[slots] >= PART_CORNERS)].tolist()
        return full

    def path(self, slot: int, *, continues: bool) -> Path:
        """Return the part that goes on at the moment."""
        t_ms, x, y, width, height = (tuple(column) for column in self.corners[slot, : self.count[slot]].T.tolist())
        return Path(
            start=float(self.start_us[slot]) / 1e6,
            t_ms=t_ms,
            x=x,
            y=y,
            width=width,
            height=height,
            unseen=tuple(self.unseen.get(slot, ())),
            joined=tuple(self.joined.get(slot, ())),
            sights=int(self.sights[slot]),
            error_heights=ERROR_HEIGHTS,
            part=int(self.part[slot]),
            continues=continues,
        )

    def forget(self, slot: int) -> None:
        """Free the slot."""
        self.count[slot] = self.part[slot] = 0
        self.unseen.pop(slot, None)
        self.joined.pop(slot, None)

    def next_part(self, slot: int) -> Path:
        """Cut the path at its last corner, where the next part begins."""
        path = self.path(slot, continues=True)
        self.corners[slot, 0] = self.corners[slot, self.count[slot] - 1]
        self.corners[slot, 0, 0] = 0
        self.count[slot] = self.sights[slot] = 1
        self.part[slot] += 1
        self.start_us[slot] = self.corner_us[slot]
        self.unseen.pop(slot, None)
        self.joined.pop(slot, None)
        return path


class _Turns:
    """One batch on its way into the table: round by round, each object up to its next corner."""

    def __init__(self, table: _Table, batch: _Batch, first: _Ints) -> None:
        self._table = table
        self._batch = batch
        self._first = first
        """(N,) number of the sight at which each object goes on."""
        self._reach = np.maximum(batch.value[..., 3:] * _SHARES - _ROUNDING_PX, _LEAST_PX)
        before_us = np.concatenate([table.last_us[batch.slots][:, None], batch.t_us[:, :-1]], axis=1)
        self._joined = batch.late & ~np.concatenate([table.late[batch.slots][:, None], batch.late[:, :-1]], axis=1)
        self._lost = (batch.t_us - before_us > batch.limit_us) | self._joined

    def run(self) -> list[tuple[int, Path]]:
        """Take everything; returns the parts that ended."""
        rows = np.nonzero(self._first < self._batch.counts)[0]
        ended: list[tuple[int, Path]] = []
        for _ in range(_ROUNDS_A_SIGHT * self._batch.t_us.shape[1] + 1):
            if not len(rows):
                return ended
            rows, more = self._advance(rows)
            ended += more
        raise RuntimeError(f"the paths of the objects in slots {self._batch.slots[rows].tolist()} do not get on")

    def _advance(self, rows: _Slots) -> tuple[_Slots, list[tuple[int, Path]]]:
        """Take sights up to the next corner; returns the rows that are not at their end, and the parts that ended."""
        table, batch, first = self._table, self._batch, self._first[rows]
        slots, number = batch.slots[rows], first[:, None] + _AHEAD
        given = number < batch.counts[rows, None]
        at = rows[:, None], np.minimum(number, batch.t_us.shape[1] - 1)
        t_us = batch.t_us[at]
        low, high = self._speeds(slots, at, given)
        late = t_us - table.start_us[slots, None] > PART_S * 1e6
        turns = ((low > high).any(axis=2)[:, 1:] | self._lost[at] | late) & given
        stops = turns.any(axis=1)
        taken = np.where(stops, turns.argmax(axis=1), given.sum(axis=1))
        every, some = np.arange(len(rows)), taken > 0
        table.low[slots], table.high[slots] = low[every, taken], high[every, taken]
        table.last_us[slots] = np.where(some, t_us[every, taken - 1], table.last_us[slots])
        table.late[slots] = np.where(some, batch.late[rows, first + taken - 1], table.late[slots])
        table.sights[slots] += taken
        self._first[rows] = first + taken
        ended = self._turn(rows[stops]) if stops.any() else []
        return rows[stops | (first + taken < batch.counts[rows])], ended

    def _speeds(self, slots: _Slots, at: tuple[_Slots, _Slots], given: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return (N, W + 1, 4) lowest and highest speeds that are left before each sight `at` and after the last."""
        table, reach = self._table, self._reach[at]
        elapsed_s = (self._batch.t_us[at] - table.corner_us[slots, None]) * 1e-6
        elapsed_s = np.maximum(elapsed_s, 1e-9)[..., None]  # a sight exactly at a corner allows every speed
        off = self._batch.value[at] - table.corner[slots, None]
        low, high = np.empty((len(slots), _WINDOW + 1, 4)), np.empty((len(slots), _WINDOW + 1, 4))
        low[:, 0], high[:, 0] = table.low[slots], table.high[slots]
        low[:, 1:] = np.where(given[..., None], (off - reach) / elapsed_s, -np.inf)
        high[:, 1:] = np.where(given[..., None], (off + reach) / elapsed_s, np.inf)
        return np.maximum.accumulate(low, axis=1), np.minimum.accumulate(high, axis=1)

    def _turn(self, rows: _Slots) -> list[tuple[int, Path]]:
        """Set a corner at the last sight of each object, and where it was lost, another where it is seen again."""
        table, batch, number = self._table, self._batch, self._first[rows]
        slots, t_us, value = batch.slots[rows], batch.t_us[rows, number], batch.value[rows, number]
        since = table.last_us[slots] > table.corner_us[slots]  # else it has that corner already
        closed = slots[since]
        elapsed_s = (t_us[since] - table.corner_us[closed]) * 1e-6
        wanted = (value[since] - table.corner[closed]) / elapsed_s[:, None]
        table.close(closed, np.clip(wanted, table.low[closed], table.high[closed]))
        ended = [(slot, table.next_part(slot)) for slot in table.full(slots, t_us)]
        lost = self._lost[rows, number]
        if lost.any():
            self._find_again(rows[lost], slots[lost], t_us[lost], value[lost])
        return ended

    def _find_again(self, rows: _Slots, slots: _Slots, t_us: Floats, value: Floats) -> None:
        table = self._table
        joined = self._joined[rows, self._first[rows]].tolist()
        for slot, is_joined in zip(slots.tolist(), joined, strict=True):
            index = int(table.count[slot])
            table.unseen.setdefault(slot, []).append((index - 1, index))
            if is_joined:
                table.joined.setdefault(slot, []).append(index)
        start_us = table.start_us[slots]
        table.add_corner(slots, start_us + np.floor((t_us - start_us) / _MS_US) * _MS_US, value)
        self._lost[rows, self._first[rows]] = False


def _apart(slots: _Slots, t_us: Floats, last_us: Floats) -> NDArray[np.bool_]:
    """Which sights (M,), sorted by slot, come `_APART_US` or more after the one before; last_us is before the first."""
    before_us = np.concatenate([last_us[:1], t_us[:-1]])
    begins = np.concatenate([[True], slots[1:] != slots[:-1]])
    before_us[begins] = last_us[begins]
    return np.asarray(t_us - before_us >= _APART_US)


def _gathered(waiting: Sequence[_Moment], table: _Table) -> _Batch:
    """Put the sights of each object into a row, in the order of time, and make room for all in the table."""
    lengths = [len(sights.slots) for sights, _, _ in waiting]
    slots = np.concatenate([sights.slots for sights, _, _ in waiting])
    order = np.argsort(slots, kind="stable")
    slots, t_us = slots[order], np.rint(np.concatenate([sights.t for sights, _, _ in waiting])[order] * 1e6)
    limit_us = np.repeat([1e6 * limit_s for _, limit_s, _ in waiting], lengths)[order]
    late = np.repeat([1e6 * now for _, _, now in waiting], lengths)[order] - t_us > _MS_US
    value = np.empty((len(slots), 4))
    value[:, :2] = np.concatenate([sights.xy_px for sights, _, _ in waiting])[order]
    value[:, 2] = np.concatenate([sights.width_px for sights, _, _ in waiting])[order]
    value[:, 3] = np.concatenate([sights.height_px for sights, _, _ in waiting])[order]
    table.reserve(int(slots[-1]) + 1)
    apart = _apart(slots, t_us, np.where(table.count[slots] > 0, table.last_us[slots], -np.inf))
    if not apart.all():
        slots, t_us, value, limit_us, late = (each[apart] for each in (slots, t_us, value, limit_us, late))
    own, row, counts = np.unique(slots, return_inverse=True, return_counts=True)
    column = np.arange(len(slots)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(own), int(counts.max(initial=0)))
    batch = _Batch(own, counts, np.zeros(shape), np.zeros((*shape, 4)), np.full(shape, np.inf), np.zeros(shape, bool))
    batch.t_us[row, column], batch.value[row, column], batch.limit_us[row, column] = t_us, value, limit_us
    batch.late[row, column] = late
    return batch
