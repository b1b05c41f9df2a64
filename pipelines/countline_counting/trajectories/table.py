"""The part of its path that each object is on."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_counting.geometry.segments import Floats
from countline_counting.paths import UNITS_PER_PX, ObjectPath

ERROR_HEIGHTS: Final = 0.002
"""Bound on the distance of a sight from the path, in heights of its box; at least `LEAST_ERROR_PX`."""
PART_CORNERS: Final = 400
"""A track that has more corners comes in parts ..."""
PART_S: Final = 600.0
"""... as does one that lasts longer."""
MS_US: Final = 1000.0
"""Microseconds in a millisecond."""

Rows = NDArray[np.intp]
Ended = list[tuple[int, ObjectPath]]
"""(row, path) of each part of a path that has ended."""


class PathTable:
    """The current part of each object's path, and the speeds that may lead on from its last corner.

    Times are microseconds, and rows are those of the table of objects.
    """

    def __init__(self) -> None:
        self.count = np.zeros(0, dtype=np.int64)
        """(R,) number of corners; 0 without an object."""
        self.part = np.zeros(0, dtype=np.int64)
        self.late = np.zeros(0, dtype=np.bool_)
        """(R,) whether the object of the last sight was not known at once."""
        self.sights = np.zeros(0, dtype=np.int64)
        self.start_us = np.zeros(0)
        self.corner_us = np.zeros(0)
        """(R,) time of the last corner."""
        self.last_us = np.zeros(0)
        """(R,) time of the last sight."""
        self.corner = np.zeros((0, 4))
        """(R, 4) x, y, width, height of the last corner in pixels."""
        self.low = np.zeros((0, 4))
        """(R, 4) lowest speeds that stay within the bound of every sight since the last corner ..."""
        self.high = np.zeros((0, 4))
        """... and highest ones."""
        self.corners = np.zeros((0, PART_CORNERS + 3, 5), dtype=np.int32)
        """(R, C, 5) milliseconds since the start of the part, and tenths of a pixel."""
        self.unseen: dict[int, list[tuple[int, int]]] = {}
        self.joined: dict[int, list[int]] = {}

    def reserve(self, size: int) -> None:
        """Make room for rows below `size`."""
        missing = size - len(self.count)
        if missing <= 0:
            return
        more = max(missing, len(self.count), 16)
        for name in ("count", "part", "late", "sights", "start_us", "corner_us", "last_us"):
            setattr(self, name, np.pad(getattr(self, name), (0, more)))
        for name in ("corner", "low", "high"):
            setattr(self, name, np.pad(getattr(self, name), ((0, more), (0, 0))))
        self.corners = np.pad(self.corners, ((0, more), (0, 0), (0, 0)))

    def begin(self, rows: Rows, t_us: Floats, value: Floats) -> None:
        """Begin the paths of objects at their first sights."""
        self.start_us[rows] = self.last_us[rows] = t_us
        self.sights[rows] = 1
        self.add_corner(rows, t_us, value)

    def close(self, rows: Rows, speed: Floats) -> None:
        """Set a corner at each object's last sight, rounded up to a millisecond, where its speed (N, 4) leads."""
        start_us = self.start_us[rows]
        t_us = start_us + np.ceil((self.last_us[rows] - start_us) / MS_US) * MS_US
        ahead_s = (t_us - self.corner_us[rows]) * 1e-6
        self.add_corner(rows, t_us, self.corner[rows] + speed * ahead_s[:, None])

    def add_corner(self, rows: Rows, t_us: Floats, value: Floats) -> None:
        """Set corners. After a corner, every speed is possible."""
        units, count = np.rint(value * UNITS_PER_PX), self.count[rows]
        self.corners[rows, count, 0] = (t_us - self.start_us[rows]) / MS_US
        self.corners[rows, count, 1:] = units
        self.count[rows] = count + 1
        self.corner_us[rows] = t_us
        self.corner[rows] = units / UNITS_PER_PX
        self.low[rows], self.high[rows] = -np.inf, np.inf

    def full(self, rows: Rows, now_us: Floats) -> list[int]:
        """Return the rows whose part must end before a sight at these times."""
        long = (now_us - self.start_us[rows] > PART_S * 1e6) & (self.count[rows] > 1)
        full: list[int] = rows[long | (self.count[rows] >= PART_CORNERS)].tolist()
        return full

    def path(self, row: int, *, continues: bool) -> ObjectPath:
        """Return the current part."""
        t_ms, x, y, width, height = (tuple(column) for column in self.corners[row, : self.count[row]].T.tolist())
        return ObjectPath(
            start=float(self.start_us[row]) / 1e6,
            t_ms=t_ms,
            x=x,
            y=y,
            width=width,
            height=height,
            unseen=tuple(self.unseen.get(row, ())),
            joined=tuple(self.joined.get(row, ())),
            sights=int(self.sights[row]),
            error_heights=ERROR_HEIGHTS,
            part=int(self.part[row]),
            continues=continues,
        )

    def forget(self, row: int) -> None:
        """Free the row."""
        self.count[row] = self.part[row] = 0
        self.unseen.pop(row, None)
        self.joined.pop(row, None)

    def next_part(self, row: int) -> ObjectPath:
        """Cut the path at its last corner, where the next part begins; return the part before."""
        path = self.path(row, continues=True)
        self.corners[row, 0] = self.corners[row, self.count[row] - 1]
        self.corners[row, 0, 0] = 0
        self.count[row] = self.sights[row] = 1
        self.part[row] += 1
        self.start_us[row] = self.corner_us[row]
        self.unseen.pop(row, None)
        self.joined.pop(row, None)
        return path
