"""Events of counting: crossings, visits, occupancy samples.

The counter never withdraws an event, and the same input gives the same events, byte for byte.
"""

from dataclasses import dataclass
from enum import StrEnum

from countline_counting.paths import Trajectory


class Direction(StrEnum):
    """Direction over a line: `in` is to the right-hand side of a person who looks from its first point to the next."""

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
    """Capture time at which the path met the line, between two frames; seconds."""
    decided_at: float
    """Capture time of the frame that decided it."""
    frame: int
    """Index of the first frame at or after `t` in which the object was seen."""
    direction: Direction
    class_id: int
    score: float
    """Mean score of the track until the decision."""
    stitched: bool
    """Whether the track was healed from fragments before it crossed."""
    speed_m_per_s: float | None = None
    """Speed along the ground at the crossing; None without a ground plane, or with too few sights."""
    heading_deg: float | None = None
    """Direction of travel in the picture, clockwise from straight up; None if it is not known."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of a track in one zone; emitted when the stay has ended."""

    id: str
    zone_id: str
    zone_version: int
    track: int
    sequence: int
    entered_at: float
    left_at: float | None
    """None if the stay had not ended when counting ended."""
    dwell_s: float
    class_id: int
    decided_at: float
    born_inside: bool
    """Whether the track was first seen inside, so that the visit has no entry."""
    lost_inside: bool
    """Whether the track was last seen inside, so that the visit has no exit."""
    stitched: bool
    queue: bool = False
    """Whether the zone is a queue, so that the dwell time is a waiting time."""


@dataclass(frozen=True, slots=True)
class OccupancySample:
    """Number of objects in a zone from `t` on."""

    zone_id: str
    zone_version: int
    t: float
    count: int


Event = Crossing | Visit | OccupancySample | Trajectory
