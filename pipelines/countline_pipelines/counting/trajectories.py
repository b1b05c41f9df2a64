"""Where objects were, as poly-lines whose corners have times and sizes: small enough to keep, true to a stated bound.

A path is simplified while it grows, with a handful of numbers for each object: from the last corner on, the speeds
that keep every sight since within its bound are an interval for each coordinate, which each sight narrows. When
nothing is left of one, a corner is set at the last sight for which something was. This is the swing filter of
Elmeleegy et al. (Online piece-wise linear approximation of numerical streams with precision guarantees, 2009), used on
x and y together as Lin et al. do (One-pass trajectory simplification using the synchronous Euclidean distance, 2019):
the error is the distance between object and path at the same *time*, and the circle around a sight is approximated by
the square inside it. Of the speeds that are left, the one is taken that comes nearest to the sight that did not fit.
At the same bound that takes 10 to 25 % fewer corners than Douglas-Peucker or an opening window, whose corners must be
sights, and it holds nothing but the corners.

What the bound means: at the time of each sight, the path is at most `error_heights` heights of the object's box from
its anchor, and width and height are at most `SIZE_ERROR_HEIGHTS` (or a tenth of a pixel) from those that lines measure
by, which are running means. Rounding to tenths of a pixel and to milliseconds is included.

A long track comes in parts, so that neither its memory nor what a killed process loses grows with time. Every object
that was seen twice, a millisecond apart or more, has a trajectory: whatever can be counted has one.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_pipelines.counting.geometry import Floats
from countline_pipelines.counting.lines import Sights
from countline_pipelines.counting.paths import UNITS_PER_PX, Path

ERROR_HEIGHTS: Final = 0.02
"""Bound on the distance of a sight from the path, in heights of its box; boxes below 8 pixels state more."""
SIZE_ERROR_HEIGHTS: Final = 0.05
"""Bound on the error of width and height, in heights of the box."""
UNSEEN_S: Final = 0.2
"""A gap between two sights is marked as unseen from this on ..."""
UNSEEN_PERIODS: Final = 2.5
"""... and from this many frame periods on."""
PART_CORNERS: Final = 200
"""A track that has more corners comes in parts ..."""
PART_S: Final = 600.0
"""... as does one that lasts longer."""

_ROUNDING_PX: Final = 0.5 / UNITS_PER_PX
_LEAST_PX: Final = 0.05
"""No bound is tighter than this besides rounding, however small the box."""
_MS_US: Final = 1000
_SHARES: Final = np.array([ERROR_HEIGHTS / np.sqrt(2)] * 2 + [SIZE_ERROR_HEIGHTS] * 2)
_OPEN: Final = np.inf
_Ints = NDArray[np.int64]

_STATE: Final = np.dtype(
    [
        ("count", np.int64),  # corners; 0 where there is no object
        ("start_us", np.int64),  # of the part
        ("corner_ms", np.int64),  # of the last corner, since then
        ("last_us", np.int64),  # of the last sight, since then
        ("corner", np.float64, 4),  # x, y, width, height of the last corner in pixels
        ("low", np.float64, 4),  # speeds that reach every sight since
        ("high", np.float64, 4),
        ("least_height", np.float64),
        ("sights", np.int64),
        ("part", np.int64),
    ]
)


class Paths:
    """The paths of all living objects; memory is bounded by how many there are."""

    def __init__(self) -> None:
        self._state: NDArray[np.void] = np.zeros(0, dtype=_STATE)
        self._corners: NDArray[np.int64] = np.zeros((0, PART_CORNERS + 3, 5), dtype=np.int64)
        self._unseen: dict[int, list[tuple[int, int]]] = {}

    def take(self, sights: Sights, period_s: float) -> list[tuple[int, Path]]:
        """Take the sights of one moment.

        Args:
            sights: which objects were seen where.
            period_s: usual time between two frames.

        Returns:
            (slot, path) of each part that ended by it.
        """
        self._reserve(int(sights.slots.max(initial=-1)) + 1)
        slots, value = sights.slots, _values(sights)
        t_us = np.rint(sights.t * 1e6).astype(np.int64)
        new = self._state["count"][slots] == 0
        if new.any():
            self._begin(slots[new], t_us[new], value[new])
        table = self._state[slots]
        now_us = t_us - table["start_us"]
        elapsed_us = now_us - table["last_us"]
        if elapsed_us.min(initial=_MS_US) < _MS_US:  # doubled sights, and the first of each object
            rest = elapsed_us >= _MS_US
            slots, value, table, now_us = slots[rest], value[rest], table[rest], now_us[rest]
            elapsed_us = elapsed_us[rest]
        lost = elapsed_us > 1e6 * max(UNSEEN_S, UNSEEN_PERIODS * period_s)
        return self._extend(slots, table, now_us, value, lost)

    def end(self, slot: int) -> Path | None:
        """Forget an object; return the last part of its path, None where it was seen only once."""
        if slot >= len(self._state) or self._state["count"][slot] == 0:
            return None
        rows = np.array([slot])
        if self._state["last_us"][slot] > _MS_US * self._state["corner_ms"][slot]:
            table = self._state[rows]
            self._add_corner(rows, _ceil_ms(table["last_us"]), _towards(table, (table["low"] + table["high"]) / 2))
        ended = self._path(slot, continues=False) if self._state["count"][slot] > 1 else None
        self._state[slot] = np.zeros(1, dtype=_STATE)[0]
        self._unseen.pop(slot, None)
        return ended

    def _reserve(self, size: int) -> None:
        missing = size - len(self._state)
        if missing > 0:
            more = max(missing, len(self._state), 16)
            self._state = np.concatenate([self._state, np.zeros(more, dtype=_STATE)])
            self._corners = np.pad(self._corners, ((0, more), (0, 0), (0, 0)))

    def _begin(self, slots: NDArray[np.intp], t_us: _Ints, value: Floats) -> None:
        state = self._state
        state["start_us"][slots] = t_us
        state["sights"][slots] = 1
        state["least_height"][slots] = value[:, 3]
        self._add_corner(slots, np.zeros(len(slots), dtype=np.int64), value)

    def _extend(
        self, slots: NDArray[np.intp], table: NDArray[np.void], now_us: _Ints, value: Floats, lost: NDArray[np.bool_]
    ) -> list[tuple[int, Path]]:
        elapsed_s = (now_us - _MS_US * table["corner_ms"])[:, None] * 1e-6
        reach = _reach(value)
        low = np.maximum(table["low"], (value - reach - table["corner"]) / elapsed_s)
        high = np.minimum(table["high"], (value + reach - table["corner"]) / elapsed_s)
        turns = (low > high).any(axis=1) | lost | (now_us > PART_S * 1e6)
        keeps = slots
        if turns.any():
            self._turn(slots[turns], table[turns], value[turns], now_us[turns], lost[turns])
            keeps, low, high = slots[~turns], low[~turns], high[~turns]
        state = self._state
        state["low"][keeps] = low
        state["high"][keeps] = high
        state["last_us"][slots] = now_us
        state["sights"][slots] += 1
        state["least_height"][slots] = np.minimum(table["least_height"], value[:, 3])
        turned = slots[turns]
        full = (state["count"][turned] >= PART_CORNERS) | (state["corner_ms"][turned] >= PART_S * 1000)
        return [(slot, self._next_part(slot)) for slot in turned[full].tolist()]

    def _turn(
        self, slots: NDArray[np.intp], table: NDArray[np.void], value: Floats, now_us: _Ints, lost: NDArray[np.bool_]
    ) -> None:
        """Set a corner at the last sight of each object, and where it was lost, another where it is seen again."""
        # An object that was seen nowhere since its last corner has that corner already.
        since = table["last_us"] > _MS_US * table["corner_ms"]
        seen = table[since]
        wanted = (value[since] - seen["corner"]) / _seconds(now_us[since] - _MS_US * seen["corner_ms"])
        speed = np.clip(wanted, seen["low"], seen["high"])
        self._add_corner(slots[since], _ceil_ms(seen["last_us"]), _towards(seen, speed))
        for slot in slots[lost].tolist():
            index = int(self._state["count"][slot])
            self._unseen.setdefault(slot, []).append((index - 1, index))
        self._add_corner(slots[lost], now_us[lost] // _MS_US, value[lost])
        self._aim(slots, value, now_us)

    def _aim(self, slots: NDArray[np.intp], value: Floats, now_us: _Ints) -> None:
        """Begin anew what speeds are left, with the first sight after the last corner."""
        state, reach = self._state, _reach(value)
        elapsed_us = now_us - _MS_US * state["corner_ms"][slots]
        off, elapsed_s = value - state["corner"][slots], _seconds(np.maximum(elapsed_us, 1))
        at_corner = (elapsed_us == 0)[:, None]
        state["low"][slots] = np.where(at_corner, -_OPEN, (off - reach) / elapsed_s)
        state["high"][slots] = np.where(at_corner, _OPEN, (off + reach) / elapsed_s)

    def _add_corner(self, slots: NDArray[np.intp], t_ms: _Ints, value: Floats) -> None:
        state, units = self._state, np.rint(value * UNITS_PER_PX)
        count = state["count"][slots]
        self._corners[slots, count, 0] = t_ms
        self._corners[slots, count, 1:] = units
        state["count"][slots] = count + 1
        state["corner_ms"][slots] = t_ms
        state["corner"][slots] = units / UNITS_PER_PX
        state["low"][slots], state["high"][slots] = -_OPEN, _OPEN

    def _path(self, slot: int, *, continues: bool) -> Path:
        row = self._state[slot]
        t_ms, x, y, width, height = (tuple(column) for column in self._corners[slot, : row["count"]].T.tolist())
        small = np.sqrt(2) * (_LEAST_PX + _ROUNDING_PX) / float(row["least_height"])
        return Path(
            start=int(row["start_us"]) / 1e6,
            t_ms=t_ms,
            x=x,
            y=y,
            width=width,
            height=height,
            unseen=tuple(self._unseen.get(slot, ())),
            sights=int(row["sights"]),
            error_heights=max(ERROR_HEIGHTS, float(small)),
            part=int(row["part"]),
            continues=continues,
        )

    def _next_part(self, slot: int) -> Path:
        """Cut the path at its last corner, where the next part begins."""
        row = self._state[slot]
        ended_us = _MS_US * int(row["corner_ms"])
        newest = int(row["last_us"]) > ended_us  # the newest sight is the next part's
        row["sights"] -= newest
        path = self._path(slot, continues=True)
        self._corners[slot, 0] = self._corners[slot, row["count"] - 1]
        self._corners[slot, 0, 0] = 0
        row["count"], row["corner_ms"], row["part"], row["sights"] = 1, 0, row["part"] + 1, 1 + newest
        row["start_us"] += ended_us
        row["last_us"] -= ended_us
        self._unseen.pop(slot, None)
        return path


def _values(sights: Sights) -> Floats:
    return np.column_stack([sights.xy_px, sights.width_px, sights.height_px])


def _reach(value: Floats) -> Floats:
    """How far the path may be from a sight in each of (N, 4) x, y, width, height, in pixels, before rounding."""
    reach: Floats = np.maximum(value[:, 3:] * _SHARES - _ROUNDING_PX, _LEAST_PX)
    return reach


def _towards(table: NDArray[np.void], speed: Floats) -> Floats:
    """Where objects are at their last sight, rounded up to a millisecond, if they go on from their last corner."""
    ahead_s = _seconds(_MS_US * (_ceil_ms(table["last_us"]) - table["corner_ms"]))
    corner: Floats = table["corner"]
    at: Floats = corner + speed * ahead_s
    return at


def _ceil_ms(t_us: _Ints) -> _Ints:
    return -(-t_us // _MS_US)


def _seconds(t_us: _Ints) -> Floats:
    """(N,) microseconds as a column of seconds."""
    return t_us[:, None] * 1e-6
