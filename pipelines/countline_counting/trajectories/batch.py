"""Sights of several frames, gathered so that one round of array arithmetic takes them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countline_counting.geometry.segments import Floats
from countline_counting.objects.sights import Sights
from countline_counting.trajectories.table import MS_US, PathTable, Rows

_APART_US: Final = 2 * MS_US
"""A corner lies up to a millisecond after its sight. The next sight must be well after that to give a speed."""


class SightMoment(NamedTuple):
    """The sights of one moment."""

    sights: Sights
    limit_s: float
    """Longest time between two sights of an object that is no gap."""


@dataclass(frozen=True, slots=True)
class SightBatch:
    """Sights of N objects over several frames. Times are whole microseconds below 2 to the 53rd."""

    rows: Rows
    """(N,) rows of the objects in the table of objects."""
    counts: NDArray[np.int64]
    """(N,) number of sights of each object, B at most; the rest of its arrays is undefined."""
    t_us: Floats
    """(N, B)"""
    value: Floats
    """(N, B, 4) x, y, width, height in pixels."""
    limit_us: Floats
    """(N, B) longest time since the previous sight that is no gap."""
    late: NDArray[np.bool_]
    """(N, B) whether the object of the sight was not known at once."""


def _apart(rows: Rows, t_us: Floats, last_us: Floats) -> NDArray[np.bool_]:
    """Return which sights (M,), sorted by row, come `_APART_US` or more after the one before.

    `last_us` is the time before the first.
    """
    before_us = np.concatenate([last_us[:1], t_us[:-1]])
    begins = np.concatenate([[True], rows[1:] != rows[:-1]])
    before_us[begins] = last_us[begins]
    return np.asarray(t_us - before_us >= _APART_US)


def gathered(waiting: Sequence[SightMoment], table: PathTable) -> SightBatch:
    """Gather the sights of each object in the order of time, and make room for all objects in the table."""
    lengths = [len(sights.rows) for sights, _ in waiting]
    rows = np.concatenate([sights.rows for sights, _ in waiting])
    order = np.argsort(rows, kind="stable")
    rows, t_us = rows[order], np.rint(np.concatenate([sights.t for sights, _ in waiting])[order] * 1e6)
    limit_us = np.repeat([1e6 * limit_s for _, limit_s in waiting], lengths)[order]
    late = 1e6 * np.concatenate([sights.known_at for sights, _ in waiting])[order] - t_us > MS_US
    value = np.empty((len(rows), 4))
    value[:, :2] = np.concatenate([sights.xy_px for sights, _ in waiting])[order]
    value[:, 2] = np.concatenate([sights.width_px for sights, _ in waiting])[order]
    value[:, 3] = np.concatenate([sights.height_px for sights, _ in waiting])[order]
    table.reserve(int(rows[-1]) + 1)
    apart = _apart(rows, t_us, np.where(table.count[rows] > 0, table.last_us[rows], -np.inf))
    if not apart.all():
        rows, t_us, value, limit_us, late = (each[apart] for each in (rows, t_us, value, limit_us, late))
    own, place, counts = np.unique(rows, return_inverse=True, return_counts=True)
    column = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(own), int(counts.max(initial=0)))
    value_shape = (*shape, 4)
    batch = SightBatch(
        own, counts, np.zeros(shape), np.zeros(value_shape), np.full(shape, np.inf), np.zeros(shape, dtype=np.bool_)
    )
    batch.t_us[place, column], batch.value[place, column], batch.limit_us[place, column] = t_us, value, limit_us
    batch.late[place, column] = late
    return batch
