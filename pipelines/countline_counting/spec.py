"""What is counted on one camera: lines, zones and the anchor, checked when they are made.

Coordinates are normalised to the picture: 0..1, origin at the top left.
"""

from dataclasses import dataclass
from enum import StrEnum

from countline_counting.errors import GeometryError
from countline_counting.geometry.exact import Points, polygon_crosses_itself
from countline_counting.geometry.ground import GroundPlane
from countline_counting.rules import DECIDE_LATEST_S

DEFAULT_ANCHOR = (0.5, 1.0)
"""Bottom-centre: where an object stands."""

MAX_TRACK_AGE_S = DECIDE_LATEST_S
"""No greater age can be asked of an object: its crossings are decided by then."""


@dataclass(frozen=True, slots=True)
class Line:
    """A count line of two points or more.

    *In* is a crossing to the right-hand side of someone who stands at the first point and looks to the next, on the
    screen.
    """

    id: str
    points: Points
    version: int = 1
    """Grows with each edit; a series of counts belongs to one version."""
    classes: frozenset[int] | None = None
    """Classes that count; None for all."""

    def __post_init__(self) -> None:
        field = f"lines[{self.id}].points"
        _check_points(field, self.points, at_least=2)
        if len(set(self.points)) < 2:
            raise GeometryError(field, "both ends are the same point", "give two points that lie apart")


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon, convex or concave; the last point is joined to the first."""

    id: str
    polygon: Points
    version: int = 1
    classes: frozenset[int] | None = None
    queue: bool = False
    """Whether objects in it wait: who is in it stands in the queue, and the dwell time is the waiting time."""

    def __post_init__(self) -> None:
        _check_outline(f"zones[{self.id}].polygon", self.polygon)


class MaskKind(StrEnum):
    """What a mask does with the detections whose anchor lies in it."""

    INCLUDE = "include"
    """Where there are such masks, only what lies in one of them is seen."""
    IGNORE = "ignore"
    """What lies in it is not seen."""


@dataclass(frozen=True, slots=True)
class Mask:
    """A part of the picture that is all there is, or that is not there; its outline belongs to it."""

    id: str
    polygon: Points
    kind: MaskKind

    def __post_init__(self) -> None:
        _check_outline(f"masks[{self.id}].polygon", self.polygon)


@dataclass(frozen=True, slots=True)
class CountingSpec:
    """Everything that one camera counts."""

    lines: tuple[Line, ...] = ()
    zones: tuple[Zone, ...] = ()
    anchor: tuple[float, float] = DEFAULT_ANCHOR
    """The point of a box that is tested, as fractions of its width and height from its top left."""
    min_score: float = 0.0
    """Detections below this score are not seen at all."""
    ground: GroundPlane | None = None
    """Where the ground is, so that crossings tell speeds."""
    min_track_age_s: float = 0.0
    """An object that was seen for less time than this crosses nothing."""
    min_track_score: float = 0.0
    """Nor does one whose mean score is below this."""
    masks: tuple[Mask, ...] = ()

    def __post_init__(self) -> None:
        _check_ids("lines", [line.id for line in self.lines])
        _check_ids("zones", [zone.id for zone in self.zones])
        _check_ids("masks", [mask.id for mask in self.masks])
        if not all(0.0 <= fraction <= 1.0 for fraction in self.anchor):
            raise GeometryError("anchor", f"{self.anchor} is not inside the box", "give two fractions from 0 to 1")
        if not 0.0 <= self.min_score <= 1.0:
            raise GeometryError("min_score", f"{self.min_score} is not a score", "give a number from 0 to 1")
        if not 0.0 <= self.min_track_score <= 1.0:
            raise GeometryError(
                "min_track_score", f"{self.min_track_score} is not a score", "give a number from 0 to 1"
            )
        if not 0.0 <= self.min_track_age_s <= MAX_TRACK_AGE_S:
            raise GeometryError(
                "min_track_age_s",
                f"{self.min_track_age_s} s is not in 0..{MAX_TRACK_AGE_S:g}",
                "a crossing is decided within 3 s, and an object's age must be known by then",
            )


def _check_outline(field: str, polygon: Points) -> None:
    _check_points(field, polygon, at_least=3)
    if polygon_crosses_itself(polygon):
        raise GeometryError(
            field, "the outline crosses or touches itself", "list the corners in the order of the outline"
        )


def _check_points(field: str, points: Points, at_least: int) -> None:
    if len(points) < at_least:
        raise GeometryError(field, f"{len(points)} points, at least {at_least} are needed", "add the missing points")
    for x, y in points:
        if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):  # also refuses NaN
            raise GeometryError(
                field,
                f"({x:g}, {y:g}) lies outside the picture, whose coordinates go from 0 to 1",
                "divide pixels by the picture's width and height",
            )


def _check_ids(field: str, ids: list[str]) -> None:
    for name in ids:
        if not name:
            raise GeometryError(field, "an id is empty", "name it")
        if ids.count(name) > 1:
            raise GeometryError(f"{field}[{name}]", "the id is given twice", "give each one an id of its own")
