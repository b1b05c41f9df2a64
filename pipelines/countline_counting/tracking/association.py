"""Which detection belongs to which track.

In a crowd, only few of all pairs overlap. So pairs are kept as lists and not as tables: the time grows with the number
of objects and not with its square, and most matches need no assignment problem.
"""

from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from countline_counting.geometry.boxes import intersection_over_union

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.intp]

_IMPOSSIBLE = 1e4
"""A cost above the sum of the costs of all possible pairs."""
_FEW_PAIRS = 3000
"""Up to this number of pairs, comparing all of them is faster than sorting (measured)."""


class Overlaps(NamedTuple):
    """K pairs of boxes that overlap, (K,) each."""

    rows: Rows
    columns: Rows
    share: Floats
    """Intersection over union."""


def overlaps(boxes: Floats, others: Floats) -> Overlaps:
    """Return the pairs of (N, 4) and (M, 4) boxes x1, y1, x2, y2 that share an area."""
    few = len(boxes) * len(others) <= _FEW_PAIRS
    rows, columns = _touching(boxes, others) if few else _touching_by_sweep(boxes, others)
    return Overlaps(rows, columns, intersection_over_union(boxes[rows], others[columns]))


def _touching(boxes: Floats, others: Floats) -> tuple[Rows, Rows]:
    """Compare every box with every other."""
    x1, y1, x2, y2 = boxes.T[:, :, None]
    left, top, right, bottom = others.T
    return cast("tuple[Rows, Rows]", ((x1 < right) & (left < x2) & (y1 < bottom) & (top < y2)).nonzero())


def _touching_by_sweep(boxes: Floats, others: Floats) -> tuple[Rows, Rows]:
    """Find the same pairs among many boxes: of the others, sorted by left edges, only one run can reach a box."""
    order = np.argsort(others[:, 0], kind="stable")
    left = others[order, 0]
    widest = (others[:, 2] - others[:, 0]).max(initial=0.0)
    begin = np.searchsorted(left, boxes[:, 0] - widest)
    count = np.maximum(np.searchsorted(left, boxes[:, 2]) - begin, 0)
    rows = np.repeat(np.arange(len(boxes)), count)
    run = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    columns = order[np.repeat(begin, count) + run]
    first, second = boxes[rows], others[columns]
    touching = ((first[:, :2] < second[:, 2:]) & (second[:, :2] < first[:, 2:])).all(axis=1)
    return rows[touching], columns[touching]


def largest_overlap(boxes: Floats, others: Floats) -> Floats:
    """Return the largest intersection over union of each of (N, 4) boxes with any of the others, (N,)."""
    pairs = overlaps(boxes, others)
    largest = np.zeros(len(boxes))
    np.maximum.at(largest, pairs.rows, pairs.share)
    return largest


def cheapest_pairs(rows: Rows, columns: Rows, cost: Floats) -> tuple[Rows, Rows]:
    """Return the rows and columns of the matching with the most pairs; of several, the one with the least cost.

    Args:
        rows: (K,) first members of the possible pairs.
        columns: (K,) second members.
        cost: (K,) costs of the pairs.
    """
    if not len(rows):
        return rows, columns
    # A pair whose members are in no other pair needs no solver.
    settled = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    contested = ~settled
    if not np.count_nonzero(contested):
        return rows, columns
    open_rows, row_of = _numbered(rows[contested])
    open_columns, column_of = _numbered(columns[contested])
    table = np.full((len(open_rows), len(open_columns)), _IMPOSSIBLE)
    table[row_of, column_of] = cost[contested]
    i, j = linear_sum_assignment(table)
    real = table[i, j] < _IMPOSSIBLE
    return (
        np.concatenate([rows[settled], open_rows[i[real]]]),
        np.concatenate([columns[settled], open_columns[j[real]]]),
    )


def _numbered(values: Rows) -> tuple[Rows, Rows]:
    """Return the distinct values in order, and the index of each value among them; faster than `np.unique`."""
    different = np.nonzero(np.bincount(values))[0]
    number = np.zeros(int(different[-1]) + 1, dtype=np.intp)
    number[different] = np.arange(len(different))
    return different, number[values]
