"""Makes the spec of a camera from options of the command line; the commands that count share it.

`countline_counting.text` describes the form of each option.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from countline_counting import text
from countline_counting.errors import SpecError
from countline_counting.geometry.ground import GroundPlane
from countline_counting.geometry.segments import Point
from countline_counting.spec import CountingSpec, Line, Mask, MaskKind, Zone
from countline_pipelines.planes.interface import unusable_spec

_Made = TypeVar("_Made")


def parse_size(written: str, option: str = "--size") -> tuple[int, int]:
    """Parse `1280x720`.

    Raises:
        InvalidInputError: the text is not a width and a height.
    """
    return _checked(lambda: text.read_size(written, option))


def parse_anchor(written: str) -> Point:
    """Parse an anchor: two fractions of the box, `bottom` or `centre`.

    Raises:
        InvalidInputError: the text is none of these.
    """
    return _checked(lambda: text.read_anchor(written))


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
        lines: text of each `--line`.
        zones: text of each `--zone`.
        queues: text of each `--queue`: zones in which objects wait.
        anchor: the tested point of a box.
        pixels_of: width and height of the picture if coordinates are pixels, None if they are fractions.
        classes: classes that lines and zones without classes of their own count; empty for all.
        min_score: the counter leaves out detections below it.
        min_track_age_s: least age of an object that counts, in seconds.
        min_track_score: least mean score of an object that counts.
        include: text of each include mask.
        ignore: text of each ignore mask.
        ground: text of each reference point of the ground; empty for no ground plane.

    Raises:
        InvalidInputError: an option cannot be read or cannot be counted with; names the option, and what to do.
    """

    def zone(written: str, option: str) -> Zone:
        drawing = text.read_zone(written, option, pixels_of)
        own = frozenset(drawing.classes)
        return Zone(drawing.name, drawing.points, classes=own or classes, queue=option == "--queue")

    def line(written: str) -> Line:
        drawing = text.read_line(written, pixels_of=pixels_of)
        return Line(drawing.name, drawing.points, classes=frozenset(drawing.classes) or classes)

    def mask(written: str, kind: MaskKind) -> Mask:
        drawing = text.read_mask(written, f"--mask-{kind}", pixels_of)
        return Mask(drawing.name, drawing.points, kind)

    return _checked(
        lambda: CountingSpec(
            lines=tuple(map(line, lines)),
            zones=(*(zone(each, "--zone") for each in zones), *(zone(each, "--queue") for each in queues)),
            anchor=text.read_anchor(anchor),
            min_score=min_score,
            min_track_age_s=min_track_age_s,
            min_track_score=min_track_score,
            masks=(
                *(mask(each, MaskKind.INCLUDE) for each in include),
                *(mask(each, MaskKind.IGNORE) for each in ignore),
            ),
            ground=_ground(ground, pixels_of),
        )
    )


def _ground(points: Sequence[str], pixels_of: tuple[int, int] | None) -> GroundPlane | None:
    if not points:
        return None
    return GroundPlane(tuple(text.read_ground_point(each, pixels_of=pixels_of) for each in points))


def _checked(make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except SpecError as error:
        raise unusable_spec(error) from error
