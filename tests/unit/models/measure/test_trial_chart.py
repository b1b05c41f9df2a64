"""What a trial's chart shows, shape by shape."""

import pytest

from countline.v1.models_pb2 import Trial, TrialBucket, TrialComparison
from countline_common.times import to_timestamp
from countline_models.charts import Area, Stroke, Words, as_image, as_svg
from countline_models.trials.chart import CHALLENGER, INCUMBENT, chart

NOW = 1_767_225_600.0


def trial(*counts: tuple[int, int], verdict: str = "") -> Trial:
    """A trial with a bucket a minute: (incumbent, challenger)."""
    made = Trial(name="gates", challenger=2, incumbent=1, margin=0.1, verdict=verdict)
    for minute, (incumbent, challenger) in enumerate(counts):
        made.buckets.append(
            TrialBucket(start=to_timestamp(NOW + 60 * minute), incumbent=incumbent, challenger=challenger)
        )
    return made


def stroke(shapes: list, colour: str) -> Stroke:
    return next(shape for shape in shapes if isinstance(shape, Stroke) and shape.colour == colour)


def words(shapes: list) -> list[str]:
    return [shape.text for shape in shapes if isinstance(shape, Words)]


def test_counts_are_added_up_and_named_at_their_ends() -> None:
    shapes = chart(trial((10, 8), (0, 0), (10, 8)))
    live, new = stroke(shapes, INCUMBENT), stroke(shapes, CHALLENGER)
    assert [place[0] for place in live.points] == [place[0] for place in new.points]
    assert live.points[1][1] == live.points[2][1] > live.points[3][1], "y grows downwards"
    assert live.points[3][1] < new.points[3][1]
    assert {"live @1: 20", "new @2: 16"} <= set(words(shapes))


def test_names_of_lines_that_end_together_do_not_lie_on_each_other() -> None:
    names = [shape for shape in chart(trial((50, 50))) if isinstance(shape, Words) and "@" in shape.text]
    assert abs(names[-1].at[1] - names[-2].at[1]) >= 18


def test_buckets_in_any_order_make_one_line() -> None:
    made = trial((10, 8), (5, 5), (1, 1))
    shuffled = Trial()
    shuffled.CopyFrom(made)
    del shuffled.buckets[:]
    shuffled.buckets.extend(reversed(made.buckets))
    assert chart(shuffled) == chart(made)


def test_before_anything_was_counted_the_axes_stand_empty() -> None:
    shapes = chart(trial())
    assert "no crossings yet" in words(shapes)
    assert sum(isinstance(shape, Area) for shape in shapes) == 1, "the margin"
    assert as_image(shapes).size == (1000, 640)


@pytest.mark.parametrize(("ratio", "low", "high"), [(0.82, 0.75, 0.89), (0.0, 0.0, 0.16), (9.0, 5.0, 40.0)])
def test_an_interval_stays_within_the_picture(ratio: float, low: float, high: float) -> None:
    made = trial((10, round(10 * ratio)))
    made.total.CopyFrom(TrialComparison(ratio=ratio, ratio_low=low, ratio_high=high))
    shapes = chart(made)
    assert f"{ratio:.2f} ({low:.2f} to {high:.2f})" in words(shapes)
    places = [place for shape in shapes if isinstance(shape, Stroke) for place in shape.points]
    assert all(0 <= x <= 1000 and 0 <= y <= 640 for x, y in places)


def test_words_that_mean_something_to_svg_are_escaped() -> None:
    assert "a &lt; b &amp; c" in as_svg(chart(trial(verdict="a < b & c")))
