"""Makes the spec of a camera from options of the command line; the commands that count share it.

`countline_counting.text` describes the form of each option.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from countline_counting import text
from countline_counting.errors import SpecError
from countline_counting.geometry.ground import GroundPlane
from countline_counting.spec import CountingSpec, Line, Mask, MaskKind, Zone
from countline_pipelines.planes.interface import unusable_spec

_Made = TypeVar("_Made")


def parse_size(written: str, option: str = "--size") -> tuple[int, int]:
    """Parse `1280x720`.

    Raises:
        InvalidInputError: the text is not a width and a height.
    """
    return _checked(lambda: text.read_size(written, option))


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
    reader = _Reader(pixels_of, classes)
    return _checked(
        lambda: CountingSpec(
            lines=tuple(map(reader.line, lines)),
            zones=(
                *(reader.zone(each, queue=False) for each in zones),
                *(reader.zone(each, queue=True) for each in queues),
            ),
            anchor=text.read_anchor(anchor),
            min_score=min_score,
            min_track_age_s=min_track_age_s,
            min_track_score=min_track_score,
            masks=(
                *(reader.mask(each, MaskKind.INCLUDE) for each in include),
                *(reader.mask(each, MaskKind.IGNORE) for each in ignore),
            ),
            ground=_ground(ground, pixels_of),
        )
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads lines, zones and masks of one command."""

    pixels_of: tuple[int, int] | None
    classes: frozenset[str]
    """For lines and zones without classes of their own."""

    def line(self, written: str) -> Line:
        drawing = text.read_line(written, pixels_of=self.pixels_of)
        return Line(drawing.name, drawing.points, classes=frozenset(drawing.classes) or self.classes)

    def zone(self, written: str, *, queue: bool) -> Zone:
        drawing = text.read_zone(written, "--queue" if queue else "--zone", self.pixels_of)
        classes = frozenset(drawing.classes) or self.classes
        return Zone(drawing.name, drawing.points, classes=classes, queue=queue)

    def mask(self, written: str, kind: MaskKind) -> Mask:
        drawing = text.read_mask(written, f"--mask-{kind}", self.pixels_of)
        return Mask(drawing.name, drawing.points, kind)


def _ground(points: Sequence[str], pixels_of: tuple[int, int] | None) -> GroundPlane | None:
    if not points:
        return None
    return GroundPlane(tuple(text.read_ground_point(each, pixels_of=pixels_of) for each in points))


def _checked(make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except SpecError as error:
        raise unusable_spec(error) from error
