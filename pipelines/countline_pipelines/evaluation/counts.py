"""The count error: crossings of a run against crossings of the true objects, line by line.

A true crossing is what the product's own rule counts for each true object alone. So the error comes from detection and
tracking; `countline selftest` checks the rule itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from countline_counting.events import Crossing, Direction
from countline_pipelines.evaluation.comparison import best_matches

MATCH_S: Final = 1.0
"""A counted crossing matches a true one of its line and direction within this time."""
_MATCH_WORTH: Final = 1e6
"""One more match is worth more than any nearness in time."""


@dataclass(frozen=True, slots=True)
class LineError:
    """One line in one direction."""

    line_id: str
    direction: Direction
    true: int
    counted: int
    matched: int
    missed: tuple[Crossing, ...]
    """True crossings that were not counted."""
    extra: tuple[Crossing, ...]
    """Counted crossings that are not true."""

    @property
    def error(self) -> int:
        return abs(self.counted - self.true)


@dataclass(frozen=True, slots=True)
class CountErrors:
    """All lines."""

    lines: tuple[LineError, ...]

    @property
    def true(self) -> int:
        return sum(line.true for line in self.lines)

    @property
    def error(self) -> float | None:
        """Sum of the differences of totals as a share of all true crossings; None without true crossings."""
        return sum(line.error for line in self.lines) / self.true if self.true else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall of single crossings; None without crossings."""
        counted = sum(line.counted for line in self.lines)
        matched = sum(line.matched for line in self.lines)
        return 2 * matched / (counted + self.true) if counted + self.true else None


def count_errors(line_ids: Sequence[str], true: Iterable[Crossing], counted: Iterable[Crossing]) -> CountErrors:
    """Compare crossings of the truth with those of a run."""
    true, counted = list(true), list(counted)
    return CountErrors(
        tuple(
            _line_error(line_id, direction, _of(true, line_id, direction), _of(counted, line_id, direction))
            for line_id in line_ids
            for direction in Direction
        )
    )


def _of(crossings: list[Crossing], line_id: str, direction: Direction) -> list[Crossing]:
    chosen = [c for c in crossings if c.line_id == line_id and c.direction is direction]
    return sorted(chosen, key=lambda crossing: (crossing.t, crossing.track))


def _line_error(line_id: str, direction: Direction, true: list[Crossing], counted: list[Crossing]) -> LineError:
    apart_s = np.abs(np.array([c.t for c in true])[:, None] - np.array([c.t for c in counted])[None, :])
    worth = np.where(apart_s <= MATCH_S, _MATCH_WORTH - apart_s, 0)
    rows, columns = best_matches(worth)
    pairs = [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if worth[i, j] > 0]
    hit, right = {i for i, _ in pairs}, {j for _, j in pairs}
    return LineError(
        line_id,
        direction,
        len(true),
        len(counted),
        len(pairs),
        tuple(c for i, c in enumerate(true) if i not in hit),
        tuple(c for j, c in enumerate(counted) if j not in right),
    )
