"""Lines, zones, masks, anchor and ground of the command line as messages of the contract, and back.

`countline_counting.text` describes the form of each option. The service checks where points lie.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from countline.v1.cameras_pb2 import GroundPlane, GroundPoint, Line, Mask, MaskKind, Point, Zone
from countline_common.errors import InvalidInputError
from countline_counting import text as grammar
from countline_counting.errors import GrammarError

_Read = TypeVar("_Read")


def parse_line(text: str) -> Line:
    """Return the count line that a text stands for.

    Raises:
        InvalidInputError: the text cannot be read.
    """
    drawing = _read(lambda: grammar.read_line(text))
    return Line(line_id=drawing.name, points=_points(drawing.points), classes=drawing.classes)


def parse_zone(text: str, option: str = "--zone") -> Zone:
    """Return the zone that a text stands for; errors as for `parse_line`."""
    drawing = _read(lambda: grammar.read_zone(text, option))
    return Zone(zone_id=drawing.name, polygon=_points(drawing.points), classes=drawing.classes)


def parse_queue(text: str) -> Zone:
    """Return the zone in which objects wait that a text stands for; errors as for `parse_line`."""
    zone = parse_zone(text, "--queue")
    zone.queue = True
    return zone


def parse_mask(text: str, kind: MaskKind.ValueType) -> Mask:
    """Return the mask that a text stands for; errors as for `parse_line`."""
    option = "--mask-include" if kind == MaskKind.MASK_KIND_INCLUDE else "--mask-ignore"
    drawing = _read(lambda: grammar.read_mask(text, option))
    return Mask(mask_id=drawing.name, polygon=_points(drawing.points), kind=kind)


def parse_anchor(text: str) -> Point:
    """Return the anchor that a text stands for; errors as for `parse_line`."""
    x, y = _read(lambda: grammar.read_anchor(text))
    return Point(x=x, y=y)


def parse_ground(texts: Sequence[str]) -> GroundPlane:
    """Return the ground plane from the texts of its reference points; errors as for `parse_line`."""
    pairs = _read(lambda: [grammar.read_ground_point(text) for text in texts])
    return GroundPlane(points=[GroundPoint(image=Point(x=x, y=y), x_m=x_m, y_m=y_m) for (x, y), (x_m, y_m) in pairs])


def write_ground(plane: GroundPlane) -> str:
    """Return the reference points of a ground plane as text of a command line."""
    return " ".join(grammar.write_ground_point((p.image.x, p.image.y), (p.x_m, p.y_m)) for p in plane.points)


def write_points(points: Sequence[Point]) -> str:
    """Return points as text of a command line."""
    return grammar.write_points((point.x, point.y) for point in points)


def _points(points: Sequence[tuple[float, float]]) -> list[Point]:
    return [Point(x=x, y=y) for x, y in points]


def _read(read: Callable[[], _Read]) -> _Read:
    try:
        return read()
    except GrammarError as error:
        raise InvalidInputError(str(error), hint=error.hint) from error
