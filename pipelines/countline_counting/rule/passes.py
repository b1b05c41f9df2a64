"""What the rule of a line works on: one sight of one object, and one pass."""

from dataclasses import dataclass

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
