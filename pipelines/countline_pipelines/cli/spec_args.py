"""Lines, zones and sizes as they are written on the command line; shared by the commands that count.

--line NAME:x1,y1,x2,y2[,x3,y3...]      --zone NAME:x1,y1,x2,y2,x3,y3[,...]      --size 1280x720      --anchor 0.5,1
--queue, --mask-include, --mask-ignore as --zone           --ground x,y=X,Y (four times)
"""

import re
from collections.abc import Sequence

from countline_common.errors import FieldProblem, InvalidInputError
from countline_counting import CountingSpec, GeometryError, GroundPlane, Line, Zone
from countline_counting.spec import DEFAULT_ANCHOR, Mask, MaskKind

Points = tuple[tuple[float, float], ...]


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """Parse `1280x720`.

    Raises:
        InvalidInputError: it is not a width and a height.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})[x×]([1-9]\d{0,4})", text.strip())
    if not match:
        raise InvalidInputError(
            f"{option}: {text!r} is no picture size", hint="write width x height in pixels: 1280x720"
        )
    return int(match[1]), int(match[2])


def parse_anchor(text: str) -> tuple[float, float]:
    """Parse the anchor: two fractions of the box, `bottom` or `centre`.

    Raises:
        InvalidInputError: it is neither.
    """
    named = {"bottom": DEFAULT_ANCHOR, "centre": (0.5, 0.5), "center": (0.5, 0.5)}
    if text in named:
        return named[text]
    numbers = _numbers(text, f"--anchor {text}")
    if len(numbers) != 2:
        raise InvalidInputError(
            f"--anchor {text}: two fractions are needed", hint="--anchor 0.5,1 is the bottom-centre"
        )
    return numbers[0], numbers[1]


def parse_spec(
    lines: Sequence[str],
    zones: Sequence[str] = (),
    *,
    queues: Sequence[str] = (),
    anchor: str = "bottom",
    pixels_of: tuple[int, int] | None = None,
    classes: frozenset[str] = frozenset(),
    min_score: float = 0.0,
    min_track_age_s: float = 0.0,
    min_track_score: float = 0.0,
    include: Sequence[str] = (),
    ignore: Sequence[str] = (),
    ground: Sequence[str] = (),
) -> CountingSpec:
    """Make the spec of one camera from options of the command line.

    Args:
        lines: `NAME:x1,y1,x2,y2[,...]` each.
        zones: `NAME:x1,y1,x2,y2,x3,y3[,...]` each.
        queues: zones in which objects wait, written likewise.
        anchor: the tested point of a box.
        pixels_of: size of the picture if coordinates are pixels, None if they are 0..1.
        classes: names of the classes that count, empty for all.
        min_score: detections below are not seen.
        min_track_age_s: objects that were seen for less time cross nothing.
        min_track_score: nor do objects of a lower mean score.
        include: masks, `NAME:x1,y1,x2,y2,x3,y3[,...]` each, outside of which nothing is seen.
        ignore: masks, written likewise, inside of which nothing is seen.
        ground: `x,y=X,Y` each: where four points of the picture lie on the ground, in metres; empty for none.

    Raises:
        InvalidInputError: something cannot be counted with; says which option, and what to do.
    """
    try:
        return CountingSpec(
            lines=tuple(Line(name, points, classes=classes) for name, points in _named(lines, "--line", 2, pixels_of)),
            zones=tuple(
                Zone(name, _opened(points), classes=classes, queue=option == "--queue")
                for option, texts in (("--zone", zones), ("--queue", queues))
                for name, points in _named(texts, option, 3, pixels_of)
            ),
            anchor=parse_anchor(anchor),
            min_score=min_score,
            min_track_age_s=min_track_age_s,
            min_track_score=min_track_score,
            masks=tuple(
                Mask(name, _opened(points), kind)
                for kind, texts in ((MaskKind.INCLUDE, include), (MaskKind.IGNORE, ignore))
                for name, points in _named(texts, f"--mask-{kind}", 3, pixels_of)
            ),
            ground=GroundPlane(tuple(_ground_point(text, pixels_of) for text in ground)) if ground else None,
        )
    except GeometryError as error:
        raise invalid_geometry(error) from error


def invalid_geometry(error: GeometryError) -> InvalidInputError:
    """Return a fault of geometry as an error that the command line and gRPC can report."""
    return InvalidInputError(str(error), hint=error.hint, fields=(FieldProblem(error.field, error.problem),))


def _opened(points: Points) -> Points:
    """Drop a last corner that repeats the first: outlines are often written closed."""
    return points[:-1] if len(points) > 3 and points[0] == points[-1] else points


def _named(
    texts: Sequence[str], option: str, at_least: int, pixels_of: tuple[int, int] | None
) -> list[tuple[str, Points]]:
    return [_parse_named(text, option, at_least, pixels_of) for text in texts]


def _parse_named(text: str, option: str, at_least: int, pixels_of: tuple[int, int] | None) -> tuple[str, Points]:
    name, colon, coordinates = text.rpartition(":")
    if not colon or not name:
        raise InvalidInputError(f"{option} {text}: the name is missing", hint=f"{option} NAME:x1,y1,x2,y2")
    numbers = _numbers(coordinates, f"{option} {name}")
    if len(numbers) % 2 or len(numbers) < 2 * at_least:
        raise InvalidInputError(
            f"{option} {name}: {len(numbers)} numbers, but pairs are needed and at least {at_least} of them",
            hint=f"{option} {name}:" + ",".join(f"x{i},y{i}" for i in range(1, at_least + 1)),
        )
    width, height = pixels_of or (1, 1)
    return name, tuple((x / width, y / height) for x, y in zip(numbers[::2], numbers[1::2], strict=True))


def _ground_point(text: str, pixels_of: tuple[int, int] | None) -> tuple[tuple[float, float], tuple[float, float]]:
    image, _, place = text.partition("=")
    numbers = [*_numbers(image, f"--ground {text}"), *_numbers(place, f"--ground {text}")]
    if len(numbers) != 4 or image.count(",") != 1:
        raise InvalidInputError(
            f"--ground {text}: a point of the picture and its place on the ground are needed",
            hint="--ground x,y=X,Y with X and Y in metres, four times",
        )
    x, y, x_m, y_m = numbers
    width, height = pixels_of or (1, 1)
    return (x / width, y / height), (x_m, y_m)


def _numbers(text: str, what: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInputError(
            f"{what}: {text!r} is not a list of numbers", hint="separate numbers by commas"
        ) from error
