"""Lines, zones, masks, ground points, anchors and picture sizes as text of a command line.

    --line                            NAME:x1,y1,x2,y2[,x3,y3...][:CLASS,...]
    --zone, --queue                   NAME:x1,y1,x2,y2,x3,y3[,...][:CLASS,...]
    --mask-include, --mask-ignore     NAME:x1,y1,x2,y2,x3,y3[,...]
    --ground                          x,y=X,Y
    --anchor                          bottom, centre, or x,y
    --size                            WIDTHxHEIGHT

Coordinates are fractions of the picture, 0..1, or pixels where the reader is given the size of the picture. `spec`
checks whether they lie in the picture.

A name may contain colons: the first part after it that is a list of enough numbers holds the points, and what follows
it are the classes. The outline of a zone or mask may repeat its first corner at the end.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from countline_counting.errors import GrammarError
from countline_counting.geometry.segments import Point, Points
from countline_counting.limits import LINE_POINTS, OUTLINE_POINTS
from countline_counting.spec import DEFAULT_ANCHOR

NAMED_ANCHORS: Final = {"bottom": DEFAULT_ANCHOR, "centre": (0.5, 0.5), "center": (0.5, 0.5)}
_SIZE: Final = re.compile(r"([1-9]\d{0,4})[x×]([1-9]\d{0,4})")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A line, zone or mask as a person wrote it."""

    name: str
    points: Points
    """Fractions of the picture, unchecked."""
    classes: tuple[str, ...] = ()
    """Class names in the order given; empty for every class."""


def read_line(text: str, option: str = "--line", pixels_of: tuple[int, int] | None = None) -> Drawing:
    """Read a count line.

    Args:
        text: `NAME:x1,y1,x2,y2[,x3,y3...][:CLASS,...]`.
        option: name of the option, for the error.
        pixels_of: width and height of the picture if coordinates are pixels, None if they are fractions.

    Raises:
        GrammarError: the text is not of this form.
    """
    return _read_drawing(text, option, LINE_POINTS, pixels_of)


def read_zone(text: str, option: str = "--zone", pixels_of: tuple[int, int] | None = None) -> Drawing:
    """Read a zone; arguments and errors as for `read_line`."""
    return _opened(_read_drawing(text, option, OUTLINE_POINTS, pixels_of))


def read_mask(text: str, option: str = "--mask-ignore", pixels_of: tuple[int, int] | None = None) -> Drawing:
    """Read a mask, which has no classes; arguments and errors as for `read_line`."""
    drawing = _opened(_read_drawing(text, option, OUTLINE_POINTS, pixels_of))
    if drawing.classes:
        raise GrammarError(
            f"{option} {drawing.name}",
            "a mask cannot have classes",
            f"write {_form(OUTLINE_POINTS, with_classes=False)}; a mask hides objects of every class",
        )
    return drawing


def read_ground_point(
    text: str, option: str = "--ground", pixels_of: tuple[int, int] | None = None
) -> tuple[Point, Point]:
    """Read a reference point of the ground: a point of the picture and its place on the ground, in metres.

    Raises:
        GrammarError: the text is not `x,y=X,Y`.
    """
    image, _, place = text.partition("=")
    at, on = _numbers(image), _numbers(place)
    if at is None or on is None or len(at) != 2 or len(on) != 2:
        raise GrammarError(
            f"{option} {text}",
            "not a point of the picture and its place on the ground",
            f"write {option} x,y=X,Y four times, with X and Y in metres",
        )
    (point,) = _scaled(at, pixels_of)
    return point, (on[0], on[1])


def read_anchor(text: str, option: str = "--anchor") -> Point:
    """Read an anchor: `bottom`, `centre`, or two fractions of the box.

    Raises:
        GrammarError: the text is none of these.
    """
    if text in NAMED_ANCHORS:
        return NAMED_ANCHORS[text]
    numbers = _numbers(text)
    if numbers is None or len(numbers) != 2:
        raise GrammarError(
            f"{option} {text}",
            "not a point of the box",
            "write bottom, centre, or two fractions of the box: 0.5,1 is the bottom centre",
        )
    return numbers[0], numbers[1]


def read_size(text: str, option: str = "--size") -> tuple[int, int]:
    """Read the size of a picture: width and height in pixels.

    Raises:
        GrammarError: the text is not `WIDTHxHEIGHT`.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise GrammarError(f"{option} {text}", "not a picture size", "write width x height in pixels: 1280x720")
    return int(match[1]), int(match[2])


def write_points(points: Iterable[Point]) -> str:
    """Return points as `x1,y1,x2,y2,...`, exactly."""
    return ",".join(f"{_written(x)},{_written(y)}" for x, y in points)


def write_ground_point(image: Point, place: Point) -> str:
    """Return a reference point of the ground as `x,y=X,Y`, exactly."""
    return f"{write_points([image])}={write_points([place])}"


def read_names(text: str | None) -> frozenset[str]:
    """Read names separated by commas; empty for no text."""
    return frozenset(_names(text or ""))


def _read_drawing(text: str, option: str, at_least: int, pixels_of: tuple[int, int] | None) -> Drawing:
    parts = text.split(":")
    for i in range(1, len(parts)):
        numbers = _numbers(parts[i])
        if numbers is not None and len(numbers) % 2 == 0 and len(numbers) >= 2 * at_least:
            name = ":".join(parts[:i])
            if not name.strip():
                break
            return Drawing(name, _scaled(numbers, pixels_of), _names(":".join(parts[i + 1 :])))
    raise _not_a_drawing(text, option, at_least)


def _not_a_drawing(text: str, option: str, at_least: int) -> GrammarError:
    name, colon, _ = text.partition(":")
    with_classes = not option.startswith("--mask")
    hint = f"write {_form(at_least, with_classes=with_classes)}, for example {_EXAMPLES[at_least]}"
    if not colon or not name.strip():
        return GrammarError(f"{option} {text}", "the name is missing", hint)
    rest = text.split(":")[1:]
    counts = [len(numbers) for part in rest if (numbers := _numbers(part)) is not None]
    if counts:
        problem = f"{counts[0]} numbers, but pairs are needed and at least {at_least} of them"
    else:
        problem = f"{rest[0]!r} is not a list of numbers"
    return GrammarError(f"{option} {name}", problem, hint)


_EXAMPLES: Final = {LINE_POINTS: "gate:0.1,0.5,0.9,0.5", OUTLINE_POINTS: "hall:0.1,0.1,0.9,0.1,0.5,0.9"}


def _form(at_least: int, *, with_classes: bool) -> str:
    return "NAME:" + ",".join(f"x{i},y{i}" for i in range(1, at_least + 1)) + ("[:CLASS,...]" if with_classes else "")


def _opened(drawing: Drawing) -> Drawing:
    points = drawing.points
    if len(points) > OUTLINE_POINTS and points[0] == points[-1]:
        return Drawing(drawing.name, points[:-1], drawing.classes)
    return drawing


def _scaled(numbers: Sequence[float], pixels_of: tuple[int, int] | None) -> Points:
    width, height = pixels_of or (1, 1)
    return tuple((x / width, y / height) for x, y in zip(numbers[::2], numbers[1::2], strict=True))


def _numbers(text: str) -> list[float] | None:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _written(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
