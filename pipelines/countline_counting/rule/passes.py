"""What the rule of a line works on: one sight of one object, and one pass."""

from dataclasses import dataclass

from countline_counting import rules
from countline_counting.events import Direction
from countline_counting.geometry.segments import Point


@dataclass(frozen=True, slots=True)
class Sight:
    """One observation of one object, measured against one line."""

    t: float
    frame: int
    xy_px: Point
    distance_heights: float
    """Signed distance from the line in heights of the box, positive on the right-hand side."""
    hidden_beyond: bool = False
    """Whether the picture's border hides the true anchor, and the true anchor is farther from the line."""
    height_px: float = 1.0
    """The height that `distance_heights` was divided by."""
    jitter_heights: float = 0.0
    """Standard deviation of the jitter of `distance_heights`; 0 while unknown."""

    @property
    def sure_heights(self) -> float:
        """Distance that is no jitter of a single sight."""
        return rules.SURE_DEVIATIONS * self.jitter_heights

    @property
    def is_measured(self) -> bool:
        """Whether the jitter of the boxes is known."""
        return self.jitter_heights > 0

    @property
    def jitters(self) -> bool:
        """Whether the jitter of the boxes is larger than the distances that make things clear."""
        return self.sure_heights > rules.ORIGIN_CLEAR_HEIGHTS

    @property
    def may_jitter_over(self) -> bool:
        """Whether jitter alone may have the object meet the line."""
        return self.jitters and abs(self.distance_heights) < self.sure_heights


@dataclass(frozen=True, slots=True)
class Pass:
    """One way over the line."""

    sign: int
    """1 in, -1 out."""
    t: float
    frame: int
    sequence: int
    """Number of this pass among those of the object over the line, from 0."""

    @property
    def direction(self) -> Direction:
        return direction_of(self.sign)


def direction_of(sign: int) -> Direction:
    """Return the direction of a pass to the right (1) or to the left (-1)."""
    return Direction.IN if sign > 0 else Direction.OUT
