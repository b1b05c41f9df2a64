"""What one camera counts: lines, zones, masks, anchor, thresholds and ground plane. Checked when it is made.

Coordinates are fractions of the picture: 0..1, origin at the top left. Lines and zones name their classes; the counter
of a camera resolves the names with the labels of its model (`CountingSpec.resolve`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from countline_counting.errors import GeometryError, UnknownClassError
from countline_counting.geometry.ground import GroundPlane
from countline_counting.geometry.polygons import polygon_crosses_itself
from countline_counting.geometry.segments import Points
from countline_counting.limits import LINE_POINTS, MAX_TRACK_AGE_S, OUTLINE_POINTS

DEFAULT_ANCHOR = (0.5, 1.0)
"""Bottom-centre: where an object stands."""


@dataclass(frozen=True, slots=True)
class Line:
    """A count line of two points or more.

    *In* is a crossing to the right-hand side of a person who stands at the first point and looks to the next one, on
    the screen.

    Raises:
        GeometryError: fewer than two different points, or a point outside the picture.
    """

    id: str
    points: Points
    version: int = 1
    """Grows with each edit; a series of counts belongs to one version."""
    classes: frozenset[str] = frozenset()
    """Names of the classes that count, or their numbers as text; empty for every class."""

    def __post_init__(self) -> None:
        field = f"lines[{self.id}].points"
        _check_points(field, self.points, at_least=LINE_POINTS)
        if len(set(self.points)) < 2:
            raise GeometryError(field, "both ends are the same point", "give two points that lie apart")


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon, convex or concave; the last point is joined to the first.

    Raises:
        GeometryError: fewer than three points, a point outside the picture, or an outline that crosses itself.
    """

    id: str
    polygon: Points
    version: int = 1
    classes: frozenset[str] = frozenset()
    """Names of the classes that count, or their numbers as text; empty for every class."""
    queue: bool = False
    """Whether objects wait in it: its occupancy is the length of the queue, and the dwell time is the waiting time."""

    def __post_init__(self) -> None:
        _check_outline(f"zones[{self.id}].polygon", self.polygon)


class MaskKind(StrEnum):
    """What a mask does with the detections whose anchor lies in it."""

    INCLUDE = "include"
    """The counter uses these detections, and no detection outside of every include mask."""
    IGNORE = "ignore"
    """The counter leaves these detections out."""


@dataclass(frozen=True, slots=True)
class Mask:
    """A polygon that hides detections; its outline belongs to it.

    Raises:
        GeometryError: as for `Zone`.
    """

    id: str
    polygon: Points
    kind: MaskKind

    def __post_init__(self) -> None:
        _check_outline(f"masks[{self.id}].polygon", self.polygon)


@dataclass(frozen=True, slots=True)
class CountingSpec:
    """Everything that one camera counts.

    Raises:
        GeometryError: two lines, zones or masks with one id, or a value outside its range.
    """

    lines: tuple[Line, ...] = ()
    zones: tuple[Zone, ...] = ()
    anchor: tuple[float, float] = DEFAULT_ANCHOR
    """The point of a box that is tested, as fractions of its width and height from its top left."""
    min_score: float = 0.0
    """The counter leaves out detections below this score. The model's own threshold decides which may begin a track."""
    ground: GroundPlane | None = None
    """Gives crossings a speed."""
    min_track_age_s: float = 0.0
    """The crossings of an object that was seen for less time than this do not count."""
    min_track_score: float = 0.0
    """The crossings of an object whose mean score is below this do not count."""
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

    def resolve(self, labels: Sequence[str]) -> "ResolvedClasses":
        """Return the class ids of every line and zone.

        Args:
            labels: class names of the model, by class id; empty for a model without names.

        Raises:
            UnknownClassError: a line or zone names a class that the model does not have.
        """
        places: tuple[Line | Zone, ...] = (*self.lines, *self.zones)
        return ResolvedClasses(
            {
                place: frozenset(_class_id(name, labels, place.id) for name in place.classes)
                for place in places
                if place.classes
            }
        )


class ResolvedClasses:
    """The class ids that each line and zone counts.

    Args:
        ids: by line or zone; one that is missing counts every class.
    """

    def __init__(self, ids: Mapping[Line | Zone, frozenset[int]]) -> None:
        self._ids = ids

    def of(self, place: Line | Zone) -> frozenset[int] | None:
        """Return the class ids that a line or zone counts; None for every class."""
        return self._ids.get(place)

    def counts(self, place: Line | Zone, class_id: int) -> bool:
        """Return whether a line or zone counts a class."""
        ids = self._ids.get(place)
        return ids is None or class_id in ids


def _class_id(name: str, labels: Sequence[str], place_id: str) -> int:
    lowered = [label.lower() for label in labels]
    if name.lower() in lowered:
        return lowered.index(name.lower())
    if name.isdigit() and (not labels or int(name) < len(labels)):
        return int(name)
    raise UnknownClassError(place_id, name, labels)


def _check_outline(field: str, polygon: Points) -> None:
    _check_points(field, polygon, at_least=OUTLINE_POINTS)
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
