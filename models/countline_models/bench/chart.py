"""Latency against throughput: a curve for each setting, a dot for each load, a ring around the recommended one."""

from collections.abc import Iterator, Sequence
from typing import Final

from countline_common.files.output_files import OutputFile
from countline_models.bench.points import BenchPoint, Setting
from countline_models.bench.recommend import Recommendation
from countline_models.charts import (
    FAINT,
    HEIGHT,
    RULE,
    WIDTH,
    Axis,
    Dot,
    Mark,
    Plot,
    Stroke,
    Words,
    save_picture,
    ticks,
)

LEFT, RIGHT, TOP, BOTTOM = 84, 150, 84, 64
"""Margins in pixels; the right one holds the names of the curves."""
CHOSEN: Final = "#12813f"
LIMIT: Final = "#c62834"
COLOURS: Final = ("#2f6fb7", "#c2571a", "#7a4fb0", "#0f8a83", "#a3366f", "#6a7a12", "#3d4b5c")
"""Colours by batch size, in order; they repeat if there are more."""


def save_chart(
    output: OutputFile, title: str, points: Sequence[BenchPoint], chosen: Recommendation, latency_limit_ms: float
) -> None:
    """Draw the chart into a file.

    Raises:
        CountlineError: the file cannot be written.
    """
    save_picture(output, marks_of(title, points, chosen, latency_limit_ms))


def marks_of(title: str, points: Sequence[BenchPoint], chosen: Recommendation, latency_limit_ms: float) -> list[Mark]:
    """The marks of the chart, from back to front."""
    most_ms = max(*(point.latency_p95_ms for point in points), latency_limit_ms) * 1.08
    plot = Plot(
        Axis(0.0, max(point.frames_per_s for point in points) * 1.06, LEFT, WIDTH - RIGHT),
        Axis(0.0, most_ms, HEIGHT - BOTTOM, TOP),
    )
    marks = [*_head(title, chosen), *_axes(plot)]
    if latency_limit_ms:
        level = plot.y.at(latency_limit_ms)
        marks += [Stroke(((LEFT, level), (WIDTH - RIGHT, level)), LIMIT, 1.5)]
        marks += [Words((WIDTH - RIGHT + 8, level + 4), f"limit {latency_limit_ms:g} ms", 12, LIMIT)]
    batches = sorted({point.setting.max_batch_size for point in points})
    for setting in dict.fromkeys(point.setting for point in points):
        colour = COLOURS[batches.index(setting.max_batch_size) % len(COLOURS)]
        marks += _curve(plot, [point for point in points if point.setting == setting], colour)
    ring = _place(plot, chosen.point)
    return [*marks, Dot(ring, 9, CHOSEN, filled=False), Dot(ring, 10, CHOSEN, filled=False)]


def _head(title: str, chosen: Recommendation) -> Iterator[Mark]:
    yield Words((LEFT, 34), title, 20)
    yield Words((LEFT, 56), f"green ring: {'recommended' if chosen.holds else 'nearest to the limit'}", 13, CHOSEN)
    yield Words((WIDTH - RIGHT, 56), "each curve: batch / instances; a dot for each load", 12, FAINT, "end")


def _axes(plot: Plot) -> Iterator[Mark]:
    floor = plot.y.start_px
    for rate in ticks(plot.x.high):
        yield Stroke(((plot.x.at(rate), TOP), (plot.x.at(rate), floor)), RULE)
        yield Words((plot.x.at(rate), floor + 18), f"{rate:g}", 12, FAINT, "middle")
    yield from plot.rules(ticks(plot.y.high), lambda ms: f"{ms:g}")
    yield Words(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18), "frames a second", 13, anchor="middle")
    yield Words((LEFT - 60, TOP - 10), "latency of a request, p95, ms", 13)


def _place(plot: Plot, point: BenchPoint) -> tuple[float, float]:
    return plot.at(point.frames_per_s, point.latency_p95_ms)


def _curve(plot: Plot, points: Sequence[BenchPoint], colour: str) -> Iterator[Mark]:
    ordered = sorted(points, key=lambda point: point.in_flight)
    places = tuple(_place(plot, point) for point in ordered)
    end_x, end_y = places[-1]
    if len(places) > 1:
        yield Stroke(places, colour, 2)
    yield from (Dot(place, 4, colour) for place in places)
    yield Words((end_x + 13, end_y + 4), _name(ordered[0].setting), 12, colour)


def _name(setting: Setting) -> str:
    # Pillow's own font has neither × nor µ.
    delay = f", {setting.max_queue_delay_us} us" if setting.max_queue_delay_us else ""
    return f"{setting.max_batch_size} / {setting.instances}{delay}"
