"""What counting says: crossings, visits, occupancy. Never withdrawn, and the same for the same input, byte for byte."""

from dataclasses import dataclass
from enum import StrEnum

from countline_counting.paths import Trajectory


class Direction(StrEnum):
    """The way over a line: `in` is to the right-hand side of someone who looks from its first point to the next."""

    IN = "in"
    OUT = "out"

    @property
    def opposite(self) -> "Direction":
        return Direction.OUT if self is Direction.IN else Direction.IN


@dataclass(frozen=True, slots=True)
class Crossing:
    """One track crossing one line once: the unit that is counted."""

    id: str
    """32 hex digits, computed from identity, line, line version, track and sequence."""
    line_id: str
    line_version: int
    track: int
    sequence: int
    """Number of this crossing among those of this track over this line, from 0."""
    t: float
    """Capture time at which the path met the line, between two frames."""
    decided_at: float
    """Capture time of the frame at which it was decided."""
    frame: int
    """Index of the first frame at or after `t` that saw the object."""
    direction: Direction
    class_id: int
    score: float
    """Mean score of the track until then."""
    stitched: bool
    """Whether the track was healed from fragments before it crossed."""
    speed_m_per_s: float | None = None
    """Along the ground when it crossed; None without a ground plane, or where too little was seen."""
    heading_deg: float | None = None
    """Direction of travel in the picture, clockwise from straight up; None where it is not known."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One track's stay in one zone; written when the stay has ended."""

    id: str
    zone_id: str
    zone_version: int
    track: int
    sequence: int
    entered_at: float
    left_at: float | None
    """None where the stay was still going on when counting ended."""
    dwell_s: float
    class_id: int
    decided_at: float
    born_inside: bool
    """Whether the track was first seen inside, so that it has no entry."""
    lost_inside: bool
    """Whether the track was last seen inside, so that it has no exit."""
    stitched: bool
    queue: bool = False
    """Whether the zone is a queue, so that the dwell time is a waiting time."""


@dataclass(frozen=True, slots=True)
class OccupancySample:
    """How many objects a zone holds from `t` on."""

    zone_id: str
    zone_version: int
    t: float
    count: int


Event = Crossing | Visit | OccupancySample | Trajectory
