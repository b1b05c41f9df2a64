"""A trial as a picture: what both versions counted over time, and the ratio of the two with its interval.

What is drawn is decided first, as a list of shapes, and then written as SVG or painted as PNG.
"""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from xml.sax.saxutils import escape

from countline.v1 import models_pb2
from countline.v1.models_pb2 import Trial
from countline_common.errors import InvalidInputError
from countline_common.times import from_timestamp

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH: Final = 1000
HEIGHT: Final = 640
LEFT: Final = 72
RIGHT: Final = 210
"""Free at the sides: for the numbers of the axis, and for names and what was found."""
COUNTS: Final = (124, 380)
RATIOS: Final = (436, 580)
"""Where the two charts begin and end, from the top."""
MINUTE_S: Final = 60.0
SMOOTH: Final = 2
"""A picture of pixels is painted so many times as large and then made smaller, since lines of Pillow have steps."""
PAPER, INK, FAINT, RULE = "#ffffff", "#1b1f24", "#6b7280", "#e3e6ea"
INCUMBENT, CHALLENGER, BAND = "#2f6fde", "#e08a00", "#eef6f0"

Place = tuple[float, float]
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through places."""

    places: tuple[Place, ...]
    colour: str
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Area:
    """A filled rectangle."""

    corner: Place
    opposite: Place
    colour: str


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text; `at` is on its middle height."""

    at: Place
    text: str
    size: int = 13
    colour: str = INK
    anchor: Anchor = "start"


Shape = Stroke | Area | Words


def save_chart(path: Path, trial: Trial) -> None:
    """Draw and write the picture.

    Raises:
        InvalidInputError: the file cannot be written, or is of another kind than .png and .svg.
    """
    shapes = chart(trial)
    try:
        if path.suffix.lower() == ".svg":
            path.write_text(as_svg(shapes), encoding="utf-8")
        elif path.suffix.lower() == ".png":
            painted(shapes).save(path)
        else:
            raise InvalidInputError(f"{path} names no kind of picture", hint="name a .png or a .svg")
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be written: {error.strerror or error}", hint="name a .png or .svg in a folder that is there"
        ) from error


@dataclass(frozen=True, slots=True)
class _Series:
    """What was counted up to the end of each bucket."""

    ends_min: tuple[float, ...]
    """Minutes from the first bucket's beginning; the first is 0, where nothing is counted."""
    incumbent: tuple[int, ...]
    challenger: tuple[int, ...]

    @classmethod
    def of(cls, trial: Trial) -> "_Series":
        buckets = sorted(trial.buckets, key=lambda bucket: from_timestamp(bucket.start))
        starts = [from_timestamp(bucket.start) for bucket in buckets]
        width_s = min((after - before for before, after in pairwise(starts) if after > before), default=MINUTE_S)
        return cls(
            (0.0, *((start + width_s - starts[0]) / MINUTE_S for start in starts)),
            (0, *accumulate(bucket.incumbent for bucket in buckets)),
            (0, *accumulate(bucket.challenger for bucket in buckets)),
        )


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where numbers lie in one of the two charts."""

    top: float
    bottom: float
    low: float
    high: float
    minutes: float

    def place(self, minute: float, value: float) -> Place:
        x = LEFT + (WIDTH - LEFT - RIGHT) * minute / self.minutes
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return x, self.bottom - (self.bottom - self.top) * share


def chart(trial: Trial) -> list[Shape]:
    """What is drawn, from back to front."""
    series = _Series.of(trial)
    minutes = max(series.ends_min[-1], 1.0)
    most = max(series.incumbent[-1], series.challenger[-1], 1)
    counts = _Axes(*COUNTS, 0.0, float(most), minutes)
    return [*_head(trial), *_counts(trial, series, counts), *_ratios(trial, series, minutes)]


def _head(trial: Trial) -> Iterable[Shape]:
    mode = "canary" if trial.mode == models_pb2.TRIAL_MODE_CANARY else "shadow"
    title = f"{trial.name}: version {trial.challenger} against version {trial.incumbent} ({mode})"
    yield Words((LEFT, 34), title, 20)
    for i, line in enumerate(textwrap.wrap(trial.verdict or "nothing was counted yet", 130)[:2]):
        yield Words((LEFT, 64 + 18 * i), line, 13, FAINT)


def _counts(trial: Trial, series: _Series, axes: _Axes) -> Iterable[Shape]:
    yield Words((LEFT, COUNTS[0] - 14), "Crossings", 13)
    yield from _frame(axes, _ticks(axes.high, 1.0), lambda value: f"{value:g}")
    ends = []
    for colour, counted, name in (
        (INCUMBENT, series.incumbent, f"live @{trial.incumbent}"),
        (CHALLENGER, series.challenger, f"new @{trial.challenger}"),
    ):
        yield Stroke(tuple(map(axes.place, series.ends_min, counted)), colour, 2.5)
        ends.append((axes.place(series.ends_min[-1], counted[-1])[1], f"{name}: {counted[-1]}", colour))
    yield from _names(sorted(ends))


def _names(ends: Sequence[tuple[float, str, str]]) -> Iterable[Shape]:
    """Names at the ends of the lines, apart where the lines end close together."""
    (upper, *upper_words), (lower, *lower_words) = ends
    apart = max(0.0, 18 - (lower - upper)) / 2
    for y, (text, colour) in ((upper - apart, upper_words), (lower + apart, lower_words)):
        yield Words((WIDTH - RIGHT + 12, y), text, 14, colour)


def _ratios(trial: Trial, series: _Series, minutes: float) -> Iterable[Shape]:
    total, margin = trial.total, trial.margin or 0.1
    ratios = [
        (minute, challenger / incumbent)
        for minute, incumbent, challenger in zip(series.ends_min, series.incumbent, series.challenger, strict=True)
        if incumbent
    ]
    shown = [1 - 2 * margin, 1 + 2 * margin, *((total.ratio_low, total.ratio_high) if total.HasField("ratio") else ())]
    axes = _Axes(*RATIOS, max(0.0, min(shown)), min(2.0, max(shown)), minutes)
    yield Words((LEFT, RATIOS[0] - 14), "New divided by live", 13)
    yield Area(axes.place(0, 1 + margin), axes.place(minutes, 1 - margin), BAND)
    yield from _frame(axes, (1 - margin, 1.0, 1 + margin), lambda value: f"{value:.2f}")
    yield Words((WIDTH - RIGHT + 12, axes.place(0, 1 + margin)[1]), f"margin {margin:.0%}", 12, FAINT)
    if len(ratios) > 1:
        yield Stroke(tuple(axes.place(*ratio) for ratio in ratios), CHALLENGER, 2.0)
    if total.HasField("ratio"):
        yield from _interval(trial, axes)
    for minute in _ticks(minutes, 0.5):
        yield Words((axes.place(minute, 0)[0], RATIOS[1] + 16), f"{minute:g} min", 12, FAINT, "middle")


def _interval(trial: Trial, axes: _Axes) -> Iterable[Shape]:
    """The interval as it is now, at the right end."""
    total = trial.total
    (x, low), (_, high), (_, middle) = (
        axes.place(axes.minutes, value) for value in (total.ratio_low, total.ratio_high, total.ratio)
    )
    yield Stroke(((x, low), (x, high)), INK, 2.0)
    yield Stroke(((x - 5, low), (x + 5, low)), INK, 2.0)
    yield Stroke(((x - 5, high), (x + 5, high)), INK, 2.0)
    yield Area((x - 4, middle - 4), (x + 4, middle + 4), CHALLENGER)
    at = max(middle, axes.place(0, 1 + (trial.margin or 0.1))[1] + 18)
    yield Words((WIDTH - RIGHT + 12, at), f"{total.ratio:.2f} ({total.ratio_low:.2f} to {total.ratio_high:.2f})", 14)


def _frame(axes: _Axes, values: Iterable[float], written: Callable[[float], str]) -> Iterable[Shape]:
    for value in values:
        left, right = axes.place(0, value), axes.place(axes.minutes, value)
        yield Stroke((left, right), RULE)
        yield Words((LEFT - 8, left[1]), written(value), 12, FAINT, "end")


def _ticks(high: float, least: float) -> list[float]:
    """Round numbers from 0 to at most `high`, at most seven of them and `least` apart."""
    steps = (factor * 10.0**power for power in range(-1, 10) for factor in (1, 2, 5))
    step = next(step for step in steps if step >= least and high / step <= 6)
    return [i * step for i in range(int(high / step) + 1)]


def as_svg(shapes: Iterable[Shape]) -> str:
    """The shapes as an SVG document."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>',
        *map(_svg_of, shapes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _svg_of(shape: Shape) -> str:
    match shape:
        case Stroke(places, colour, width):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        case Area((x, y), (x2, y2), colour):
            return f'<rect x="{x:.1f}" y="{y:.1f}" width="{x2 - x:.1f}" height="{y2 - y:.1f}" fill="{colour}"/>'
        case Words((x, y), text, size, colour, anchor):
            return (
                f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
                f'dominant-baseline="middle">{escape(text)}</text>'
            )


def painted(shapes: Iterable[Shape]) -> "Image":
    """The shapes as a picture of pixels."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (WIDTH * SMOOTH, HEIGHT * SMOOTH), PAPER)
    draw = ImageDraw.Draw(image)
    anchors = {"start": "lm", "middle": "mm", "end": "rm"}
    for shape in shapes:
        match shape:
            case Stroke(places, colour, width):
                draw.line([_larger(place) for place in places], colour, round(width * SMOOTH), joint="curve")
            case Area(corner, opposite, colour):
                draw.rectangle((*_larger(corner), *_larger(opposite)), colour)
            case Words(at, text, size, colour, anchor):
                font = ImageFont.load_default(size * SMOOTH)
                draw.text(_larger(at), text, fill=colour, font=font, anchor=anchors[anchor])
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _larger(place: Place) -> Place:
    return place[0] * SMOOTH, place[1] * SMOOTH
