"""Latency against throughput as a picture: a curve for each setting, a dot for each load, the recommended one ringed.

What is drawn is made up as a list of strokes and words (pure); Pillow makes pixels of it, or it is written as SVG.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw, ImageFont

from countline_common.errors import InvalidInputError
from countline_models.bench.points import Point, Setting
from countline_models.bench.recommend import Recommendation

WIDTH: Final = 1000
HEIGHT: Final = 640
LEFT, RIGHT, TOP, BOTTOM = 84, 150, 84, 64
"""Margins in pixels; to the right stand the names of the curves."""
PAPER, INK, FAINT, RULE, CHOSEN = "#ffffff", "#1c2430", "#6b7684", "#e3e7ec", "#12813f"
LIMIT: Final = "#c62834"
COLOURS: Final = ("#2f6fb7", "#c2571a", "#7a4fb0", "#0f8a83", "#a3366f", "#6a7a12", "#3d4b5c")
"""By batch size, in order; begins again where there are more."""
MOST_TICKS: Final = 8


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through points, in pixels."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 1


@dataclass(frozen=True, slots=True)
class Dot:
    """A disc, or a ring."""

    centre: tuple[float, float]
    radius: float
    colour: str
    filled: bool = True


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text."""

    at: tuple[float, float]
    """Its baseline's left end, middle or right end, as `anchor` says."""
    text: str
    size: int = 13
    colour: str = INK
    anchor: str = "start"
    """As in SVG: start, middle or end."""


Mark = Stroke | Dot | Words


def save_chart(
    path: Path, title: str, points: Sequence[Point], chosen: Recommendation, latency_limit_ms: float
) -> None:
    """Draw and write the picture; the file's ending says what kind.

    Raises:
        InvalidInputError: the file cannot be written, or is of no kind that pictures have.
    """
    marks = marks_of(title, points, chosen, latency_limit_ms)
    try:
        if path.suffix.lower() == ".svg":
            path.write_text(as_svg(marks), encoding="utf-8")
        else:
            as_image(marks).save(path)
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"{path} cannot be written: {error}", hint="name a .png or .svg in a folder that is there"
        ) from error


def marks_of(title: str, points: Sequence[Point], chosen: Recommendation, latency_limit_ms: float) -> list[Mark]:
    """Everything that is drawn, in order."""
    frame = _Frame(
        max(point.frames_per_s for point in points) * 1.06,
        max(*(point.latency_p95_ms for point in points), latency_limit_ms) * 1.08,
    )
    marks = _head(title, chosen) + frame.axes()
    if latency_limit_ms:
        level = frame.y(latency_limit_ms)
        marks += [Stroke(((LEFT, level), (WIDTH - RIGHT, level)), LIMIT, 1.5)]
        marks += [Words((WIDTH - RIGHT + 8, level + 4), f"limit {latency_limit_ms:g} ms", 12, LIMIT)]
    batches = sorted({point.setting.max_batch_size for point in points})
    for setting in dict.fromkeys(point.setting for point in points):
        colour = COLOURS[batches.index(setting.max_batch_size) % len(COLOURS)]
        marks += _curve(frame, [point for point in points if point.setting == setting], colour)
    ring = frame.place(chosen.point)
    return [*marks, Dot(ring, 9, CHOSEN, filled=False), Dot(ring, 10, CHOSEN, filled=False)]


def _head(title: str, chosen: Recommendation) -> list[Mark]:
    return [
        Words((LEFT, 34), title, 20),
        Words((LEFT, 56), f"green ring: {'recommended' if chosen.holds else 'nearest to the limit'}", 13, CHOSEN),
        Words((WIDTH - RIGHT, 56), "each curve: batch / instances; a dot for each load", 12, FAINT, "end"),
    ]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where numbers lie in the picture; both axes begin at 0."""

    most_frames_per_s: float
    most_ms: float

    def x(self, frames_per_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * frames_per_s / self.most_frames_per_s

    def y(self, ms: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ms / self.most_ms

    def place(self, point: Point) -> tuple[float, float]:
        return self.x(point.frames_per_s), self.y(point.latency_p95_ms)

    def axes(self) -> list[Mark]:
        floor, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        marks: list[Mark] = []
        for rate in ticks(self.most_frames_per_s):
            marks += [Stroke(((self.x(rate), TOP), (self.x(rate), floor)), RULE)]
            marks += [Words((self.x(rate), floor + 18), f"{rate:g}", 12, FAINT, "middle")]
        for ms in ticks(self.most_ms):
            marks += [Stroke(((LEFT, self.y(ms)), (right, self.y(ms))), RULE)]
            marks += [Words((LEFT - 8, self.y(ms) + 4), f"{ms:g}", 12, FAINT, "end")]
        marks += [Words(((LEFT + right) / 2, HEIGHT - 18), "frames a second", 13, INK, "middle")]
        return [*marks, Words((LEFT - 60, TOP - 10), "latency of a request, p95, ms", 13)]


def _curve(frame: _Frame, points: Sequence[Point], colour: str) -> list[Mark]:
    ordered = sorted(points, key=lambda point: point.in_flight)
    places = tuple(frame.place(point) for point in ordered)
    end_x, end_y = places[-1]
    marks: list[Mark] = [Stroke(places, colour, 2)] if len(places) > 1 else []
    marks += [Dot(place, 4, colour) for place in places]
    return [*marks, Words((end_x + 13, end_y + 4), _name(ordered[0].setting), 12, colour)]


def _name(setting: Setting) -> str:
    # Pillow's own font has neither × nor µ.
    delay = f", {setting.max_queue_delay_us} us" if setting.max_queue_delay_us else ""
    return f"{setting.max_batch_size} / {setting.instances}{delay}"


def ticks(most: float) -> list[float]:
    """Round numbers from 0 up to `most`, at most eight.

    >>> ticks(47)
    [0, 10, 20, 30, 40]
    """
    step = next(
        base * 10.0**power for power in range(-3, 9) for base in (1, 2, 5) if most / (base * 10.0**power) < MOST_TICKS
    )
    return [round(index * step, 6) for index in range(int(most / step) + 1)]


def as_svg(marks: Sequence[Mark]) -> str:
    """The marks as an SVG document."""
    body = "\n".join(_svg(mark) for mark in marks)
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    paper = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">\n{paper}\n{body}\n</svg>\n'


def _svg(mark: Mark) -> str:
    match mark:
        case Stroke(points, colour, width):
            places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        case Dot((x, y), radius, colour, filled):
            paint = f'fill="{colour}"' if filled else f'fill="none" stroke="{colour}"'
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" {paint}/>'
        case Words((x, y), text, size, colour, anchor):
            style = f'font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
            return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def as_image(marks: Sequence[Mark]) -> Image.Image:
    """The marks as pixels, drawn at twice the size and brought down, for smooth edges."""
    image = Image.new("RGB", (2 * WIDTH, 2 * HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    for mark in marks:
        _paint(draw, mark)
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _paint(draw: ImageDraw.ImageDraw, mark: Mark) -> None:
    twice: Callable[[tuple[float, float]], tuple[float, float]] = lambda at: (2 * at[0], 2 * at[1])  # noqa: E731
    match mark:
        case Stroke(points, colour, width):
            draw.line([twice(point) for point in points], colour, round(2 * width))
        case Dot(centre, radius, colour, filled):
            (x, y), r = twice(centre), 2 * radius
            draw.ellipse((x - r, y - r, x + r, y + r), colour if filled else None, colour, 2)
        case Words(at, text, size, colour, anchor):
            font = ImageFont.load_default(2 * size)
            draw.text(twice(at), text, colour, font, {"start": "ls", "middle": "ms", "end": "rs"}[anchor])
