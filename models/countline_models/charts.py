"""Draws charts: lists of marks, written as SVG or painted as PNG with Pillow.

A module that draws decides what to draw as a list of marks, which is pure and easy to test. All charts have one size.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from xml.sax.saxutils import escape

from countline_common.errors import InvalidInputError
from countline_common.files.output_files import OutputFile, OutputFiles

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

WIDTH: Final = 1000
HEIGHT: Final = 640
PAPER, INK, FAINT, RULE = "#ffffff", "#1b1f24", "#6b7280", "#e3e6ea"
SMOOTH: Final = 2
"""Pixels are painted at this many times the size and then scaled down, because lines of Pillow have jagged edges."""

KINDS: Final = {".png", ".svg"}
"""Endings of the pictures that can be written."""

Point = tuple[float, float]
"""x and y in pixels from the top left."""
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through points."""

    points: tuple[Point, ...]
    colour: str
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Area:
    """A filled rectangle."""

    corner: Point
    opposite: Point
    colour: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A disc, or a ring."""

    centre: Point
    radius: float
    colour: str
    filled: bool = True


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text."""

    at: Point
    """Left end, middle or right end of the baseline, as `anchor` says."""
    text: str
    size: int = 13
    colour: str = INK
    anchor: Anchor = "start"


Mark = Stroke | Area | Dot | Words


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps values to pixels; values beyond the ends are drawn at the ends."""

    low: float
    high: float
    start_px: float
    """Pixel of `low`."""
    end_px: float
    """Pixel of `high`."""

    def at(self, value: float) -> float:
        """The pixel of a value."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start_px + (self.end_px - self.start_px) * share


@dataclass(frozen=True, slots=True)
class Plot:
    """A field of a chart with two axes."""

    x: Axis
    y: Axis

    def at(self, x: float, y: float) -> Point:
        """The point of two values."""
        return self.x.at(x), self.y.at(y)

    def rules(self, values: Iterable[float], written: Callable[[float], str]) -> Iterable[Mark]:
        """A horizontal line with its number for each value of `y`."""
        for value in values:
            level = self.y.at(value)
            yield Stroke(((self.x.start_px, level), (self.x.end_px, level)), RULE)
            yield Words((self.x.start_px - 8, level + 4), written(value), 12, FAINT, "end")


def ticks(most: float, least_step: float = 0.0, count: int = 8) -> list[float]:
    """Round numbers from 0 up to `most`, at most `count` of them and at least `least_step` apart.

    >>> ticks(47)
    [0, 10, 20, 30, 40]
    """
    steps = (base * 10.0**power for power in range(-3, 10) for base in (1, 2, 5))
    step = next(step for step in steps if step >= least_step and most / step < count)
    return [round(index * step, 6) for index in range(int(most / step) + 1)]


def open_picture(outputs: OutputFiles, path: Path) -> OutputFile:
    """Open the file of `--plot` before the work begins.

    Raises:
        CountlineError: the file cannot be written, or its ending is not .png or .svg.
    """
    if path.suffix.lower() not in KINDS:
        raise InvalidInputError(f"{path} cannot be written: unknown kind of picture", hint="use a .png or .svg file")
    return outputs.open("--plot", path)


def save_picture(output: OutputFile, marks: Iterable[Mark]) -> None:
    """Write the marks as a picture; the file's ending says which kind.

    Raises:
        CountlineError: the file cannot be written.
    """
    with output.errors():
        if output.named.suffix.lower() == ".svg":
            output.file.write(as_svg(marks).encode())
        else:
            as_image(marks).save(output.file, "PNG")


def as_svg(marks: Iterable[Mark]) -> str:
    """The marks as an SVG document, from back to front."""
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>',
        *map(_svg_of, marks),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _svg_of(mark: Mark) -> str:
    match mark:
        case Stroke(points, colour, width):
            places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        case Area((x, y), (x2, y2), colour):
            return f'<rect x="{x:.1f}" y="{y:.1f}" width="{x2 - x:.1f}" height="{y2 - y:.1f}" fill="{colour}"/>'
        case Dot((x, y), radius, colour, filled):
            paint = f'fill="{colour}"' if filled else f'fill="none" stroke="{colour}"'
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" {paint}/>'
        case Words((x, y), text, size, colour, anchor):
            style = f'font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
            return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def as_image(marks: Iterable[Mark]) -> "Image":
    """The marks as pixels, from back to front."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH * SMOOTH, HEIGHT * SMOOTH), PAPER)
    draw = ImageDraw.Draw(image)
    for mark in marks:
        _paint(draw, mark)
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _paint(draw: "ImageDraw", mark: Mark) -> None:
    from PIL import ImageFont

    match mark:
        case Stroke(points, colour, width):
            draw.line([_scaled(point) for point in points], colour, round(width * SMOOTH), joint="curve")
        case Area(corner, opposite, colour):
            draw.rectangle((*_scaled(corner), *_scaled(opposite)), colour)
        case Dot(centre, radius, colour, filled):
            (x, y), r = _scaled(centre), radius * SMOOTH
            draw.ellipse((x - r, y - r, x + r, y + r), colour if filled else None, colour, SMOOTH)
        case Words(at, text, size, colour, anchor):
            font = ImageFont.load_default(size * SMOOTH)
            draw.text(_scaled(at), text, colour, font, {"start": "ls", "middle": "ms", "end": "rs"}[anchor])


def _scaled(point: Point) -> Point:
    return point[0] * SMOOTH, point[1] * SMOOTH
