"""The journal of a count: candidates for crossings, each with its outcome."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from countline_counting.events import Direction
from countline_counting.geometry.segments import Point
from countline_counting.reasons import Reason

MAX_CANDIDATES: Final = 200_000
"""Number of candidates that are kept one by one. The totals go on."""
NO_TRACK: Final = 0
"""The track of boxes that were left out, which have none."""


@dataclass(frozen=True, slots=True)
class PathPoint:
    """A point of the path that mattered."""

    what: str
    """`origin`, `before`, `met`, `after`, `farthest` (beyond the line), `clear` (beyond it) or `nearest` (to it)."""
    t: float
    xy_px: Point
    distance_heights: float
    """Distance from the line, positive on its right-hand side."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A measured value and its limit."""

    name: str
    value: float
    limit: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something near a line that was a crossing, or was none for one reason."""

    line_id: str
    line_version: int
    track: int
    direction: Direction
    t: float
    reason: Reason | None
    """None for a crossing."""
    decided: str = ""
    """How a pass was decided: the object `stayed` beyond, `came back later`, was `unseen` for a time, or `ended`."""
    gates: tuple[Gate, ...] = ()
    path: tuple[PathPoint, ...] = ()
    event_id: str = ""
    """Id of the crossing; empty if there is none."""


@dataclass(slots=True)
class Journal:
    """Collects candidates. It counts them when they appear and again when they are settled; both counts must agree."""

    candidates: list[Candidate] = field(default_factory=list)
    appeared: Counter[tuple[str, Direction]] = field(default_factory=Counter)
    """By line and direction."""
    settled: Counter[tuple[str, Direction, Reason | None]] = field(default_factory=Counter)
    """By line, direction and outcome; None is a crossing."""

    def appear(self, line_id: str, direction: Direction) -> None:
        """Count something that comes near a line."""
        self.appeared[line_id, direction] += 1

    def settle(self, candidate: Candidate) -> None:
        """Record a candidate with its outcome."""
        self.settled[candidate.line_id, candidate.direction, candidate.reason] += 1
        if len(self.candidates) < MAX_CANDIDATES:
            self.candidates.append(candidate)
