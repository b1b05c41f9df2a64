"""A trial as a chart: what both versions counted over time, and the ratio of the two with its interval."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from countline.v1 import models_pb2
from countline.v1.models_pb2 import Trial
from countline_common.files.output_files import OutputFile
from countline_common.times import from_timestamp
from countline_models.charts import FAINT, INK, WIDTH, Area, Axis, Mark, Plot, Stroke, Words, save_picture, ticks

LEFT: Final = 72
RIGHT: Final = 210
"""Margins in pixels: the left one holds the numbers of the axes, the right one names and results."""
COUNTS: Final = (124, 380)
"""Top and bottom of the plot of counts, in pixels."""
RATIOS: Final = (436, 580)
"""Top and bottom of the plot of ratios, in pixels."""
MINUTE_S: Final = 60.0
INCUMBENT, CHALLENGER, BAND = "#2f6fde", "#e08a00", "#eef6f0"


def save_chart(output: OutputFile, trial: Trial) -> None:
    """Draw the chart into a file.

    Raises:
        CountlineError: the file cannot be written.
    """
    save_picture(output, chart(trial))


@dataclass(frozen=True, slots=True)
class _Series:
    """Counts up to the end of each bucket."""

    ends_min: tuple[float, ...]
    """Minutes since the start of the first bucket; the first is 0, where nothing is counted yet."""
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


def chart(trial: Trial) -> list[Mark]:
    """The marks of the chart, from back to front."""
    series = _Series.of(trial)
    time = Axis(0.0, max(series.ends_min[-1], 1.0), LEFT, WIDTH - RIGHT)
    most = max(series.incumbent[-1], series.challenger[-1], 1)
    counts = Plot(time, Axis(0.0, float(most), COUNTS[1], COUNTS[0]))
    return [*_head(trial), *_counts(trial, series, counts), *_ratios(trial, series, time)]


def _head(trial: Trial) -> Iterable[Mark]:
    mode = "canary" if trial.mode == models_pb2.TRIAL_MODE_CANARY else "shadow"
    title = f"{trial.name}: version {trial.challenger} against version {trial.incumbent} ({mode})"
    yield Words((LEFT, 41), title, 20)
    for i, line in enumerate(textwrap.wrap(trial.verdict or "no crossings yet", 130)[:2]):
        yield Words((LEFT, 68 + 18 * i), line, 13, FAINT)


def _counts(trial: Trial, series: _Series, plot: Plot) -> Iterable[Mark]:
    yield Words((LEFT, COUNTS[0] - 10), "Crossings", 13)
    yield from plot.rules(ticks(plot.y.high, 1.0, 7), lambda value: f"{value:g}")
    ends = []
    for colour, counted, name in (
        (INCUMBENT, series.incumbent, f"live @{trial.incumbent}"),
        (CHALLENGER, series.challenger, f"new @{trial.challenger}"),
    ):
        yield Stroke(tuple(map(plot.at, series.ends_min, counted)), colour, 2.5)
        ends.append((plot.y.at(counted[-1]), f"{name}: {counted[-1]}", colour))
    yield from _names(sorted(ends))


def _names(ends: Sequence[tuple[float, str, str]]) -> Iterable[Mark]:
    """Names at the ends of the two lines, moved apart if the lines end close together."""
    (upper, *upper_words), (lower, *lower_words) = ends
    apart = max(0.0, 18 - (lower - upper)) / 2
    for y, (text, colour) in ((upper - apart, upper_words), (lower + apart, lower_words)):
        yield _result(y, text, 14, colour)


def _result(level: float, text: str, size: int, colour: str = INK) -> Words:
    """Text to the right of the plots, with its middle at a level."""
    return Words((WIDTH - RIGHT + 12, level + round(size / 3)), text, size, colour)


def _ratios(trial: Trial, series: _Series, time: Axis) -> Iterable[Mark]:
    total, margin, minutes = trial.total, trial.margin or 0.1, time.high
    ratios = [
        (minute, challenger / incumbent)
        for minute, incumbent, challenger in zip(series.ends_min, series.incumbent, series.challenger, strict=True)
        if incumbent
    ]
    shown = [1 - 2 * margin, 1 + 2 * margin, *((total.ratio_low, total.ratio_high) if total.HasField("ratio") else ())]
    plot = Plot(time, Axis(max(0.0, min(shown)), min(2.0, max(shown)), RATIOS[1], RATIOS[0]))
    yield Words((LEFT, RATIOS[0] - 10), "New divided by live", 13)
    yield Area(plot.at(0, 1 + margin), plot.at(minutes, 1 - margin), BAND)
    yield from plot.rules((1 - margin, 1.0, 1 + margin), lambda value: f"{value:.2f}")
    yield _result(plot.y.at(1 + margin), f"margin {margin:.0%}", 12, FAINT)
    if len(ratios) > 1:
        yield Stroke(tuple(plot.at(*ratio) for ratio in ratios), CHALLENGER, 2.0)
    if total.HasField("ratio"):
        yield from _interval(trial, plot)
    for minute in ticks(minutes, 0.5, 7):
        yield Words((time.at(minute), RATIOS[1] + 20), f"{minute:g} min", 12, FAINT, "middle")


def _interval(trial: Trial, plot: Plot) -> Iterable[Mark]:
    """The present ratio and its interval, at the right end."""
    total, x = trial.total, plot.x.end_px
    low, high, middle = (plot.y.at(value) for value in (total.ratio_low, total.ratio_high, total.ratio))
    yield Stroke(((x, low), (x, high)), INK, 2.0)
    yield Stroke(((x - 5, low), (x + 5, low)), INK, 2.0)
    yield Stroke(((x - 5, high), (x + 5, high)), INK, 2.0)
    yield Area((x - 4, middle - 4), (x + 4, middle + 4), CHALLENGER)
    level = max(middle, plot.y.at(1 + (trial.margin or 0.1)) + 18)
    yield _result(level, f"{total.ratio:.2f} ({total.ratio_low:.2f} to {total.ratio_high:.2f})", 14)
