"""Lines, zones and masks as they are written on a command line: `NAME:x1,y1,x2,y2[,…][:CLASS,…]`."""

from collections.abc import Sequence

from countline.v1.cameras_pb2 import GroundPlane, GroundPoint, Line, Mask, MaskKind, Point, Zone
from countline_common.errors import InvalidInputError


def parse_line(text: str) -> Line:
    """A count line; the service checks where its points lie.

    Raises:
        InvalidInputError: the text is not NAME:x1,y1,x2,y2 with more pairs at will.
    """
    name, points, classes = _parse(text, "line", at_least=2)
    return Line(line_id=name, points=points, classes=classes)


def parse_zone(text: str) -> Zone:
    """A zone; as `parse_line`, with three points or more."""
    name, points, classes = _parse(text, "zone", at_least=3)
    return Zone(zone_id=name, polygon=points, classes=classes)


def parse_queue(text: str) -> Zone:
    """A zone in which objects wait, written as any other."""
    zone = parse_zone(text)
    zone.queue = True
    return zone


def parse_mask(text: str, kind: MaskKind.ValueType) -> Mask:
    """A mask; as `parse_zone`, but it has no classes."""
    name, points, classes = _parse(text, "mask", at_least=3)
    if classes:
        raise _refuse("mask", text, "NAME:x1,y1,x2,y2,x3,y3: masks hide objects of every class")
    return Mask(mask_id=name, polygon=points, kind=kind)


def parse_anchor(text: str) -> Point:
    """An anchor, `x,y`.

    Raises:
        InvalidInputError: the text is not two numbers.
    """
    numbers = _numbers(text.split(","))
    if numbers is None or len(numbers) != 2:
        raise _refuse("anchor", text, "X,Y, such as 0.5,1 for the bottom centre")
    return Point(x=numbers[0], y=numbers[1])


def parse_ground(texts: Sequence[str]) -> GroundPlane:
    """The ground from reference points, `x,y=X,Y` each; the service checks whether they fix one.

    Raises:
        InvalidInputError: a text is not two pairs of numbers.
    """
    return GroundPlane(points=[_ground_point(text) for text in texts])


def _ground_point(text: str) -> GroundPoint:
    image, _, place = text.partition("=")
    at, on = _numbers(image.split(",")), _numbers(place.split(","))
    if at is None or on is None or len(at) != 2 or len(on) != 2:
        raise _refuse("reference point", text, "x,y=X,Y: a point of the picture, 0..1, and its place in metres")
    return GroundPoint(image=Point(x=at[0], y=at[1]), x_m=on[0], y_m=on[1])


def write_ground(plane: GroundPlane) -> str:
    """Reference points as they are written on a command line."""
    return " ".join(f"{write_points([point.image])}={point.x_m:g},{point.y_m:g}" for point in plane.points)


def write_points(points: Sequence[Point]) -> str:
    """Points as they are written on a command line."""
    return ",".join(f"{point.x:g},{point.y:g}" for point in points)


def _parse(text: str, what: str, at_least: int) -> tuple[str, list[Point], list[str]]:
    name, _, rest = text.partition(":")
    coordinates, _, classes = rest.partition(":")
    numbers = _numbers(coordinates.split(","))
    if not name or numbers is None or len(numbers) % 2 or len(numbers) < 2 * at_least:
        example = ",".join(f"x{i},y{i}" for i in range(1, at_least + 1))
        raise _refuse(what, text, f"NAME:{example}, as fractions of the picture, such as gate:0.1,0.5,0.9,0.5")
    points = [Point(x=x, y=y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
    return name, points, [name.strip() for name in classes.split(",") if name.strip()]


def _numbers(parts: Sequence[str]) -> list[float] | None:
    try:
        return [float(part) for part in parts]
    except ValueError:
        return None


def _refuse(what: str, text: str, form: str) -> InvalidInputError:
    return InvalidInputError(f"{text!r} is no {what}", hint=f"write {form}")
