"""Which setting is recommended, and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_models.bench.points import BenchPoint, Setting
from countline_models.bench.recommend import AS_GOOD, recommend, under_full_load


def point(setting: tuple[int, ...], frames_per_s: float, p95_ms: float, in_flight: int = 2) -> BenchPoint:
    return BenchPoint(Setting(*setting), in_flight, frames_per_s, p95_ms / 2, p95_ms, p95_ms, 0.0, True, 100)


@pytest.mark.parametrize(
    ("points", "limit_ms", "expected", "holds"),
    [
        # batching pays
        ([point((1, 1), 50, 40), point((8, 1), 100, 160)], 0, (8, 1, 0), True),
        # the same, but the limit forbids it
        ([point((1, 1), 50, 40), point((8, 1), 100, 160)], 100, (1, 1, 0), True),
        # four percent are not worth a batch
        ([point((1, 1), 96, 40), point((8, 1), 100, 160)], 0, (1, 1, 0), True),
        # six are
        ([point((1, 1), 94, 40), point((8, 1), 100, 160)], 0, (8, 1, 0), True),
        # the smaller batch comes before fewer instances
        (
            [point((4, 1), 99, 80), point((1, 4), 97, 80), point((1, 2), 96, 80), point((8, 4), 100, 80)],
            0,
            (1, 2, 0),
            True,
        ),
        # no delay where it brings nothing
        ([point((4, 1, 500), 100, 80), point((4, 1), 98, 80)], 0, (4, 1, 0), True),
        # a limit counts under the heaviest load, not on an idle server
        ([point((8, 1), 90, 50, 1), point((8, 1), 100, 160, 3), point((1, 1), 40, 60, 3)], 100, (1, 1, 0), True),
        # nothing holds: the nearest, and it is said
        ([point((1, 1), 50, 40), point((8, 1), 100, 160)], 30, (1, 1, 0), False),
    ],
)
def test_the_smallest_setting_within_five_percent_of_the_best_is_recommended(
    points: list[BenchPoint], limit_ms: float, expected: tuple[int, int, int], holds: bool
) -> None:
    found = recommend(points, limit_ms)
    assert found.setting == Setting(*expected)
    assert found.holds is holds


def test_it_says_what_it_was_chosen_over() -> None:
    found = recommend([point((1, 1), 96, 40), point((8, 2), 100, 160)])
    assert found.reason == (
        "the highest throughput is 100.0 frames/s with batches of 8 and 2 instances; "
        "this is the smallest setting within 5 % of it"
    )


def test_it_says_whether_batches_and_instances_pay_as_measured() -> None:
    slow = recommend([point((1, 1), 50, 40), point((8, 1), 50, 320), point((1, 2), 98, 40), point((8, 2), 99, 320)])
    assert slow.findings == (
        "batches do not pay: batches of 8 and 2 instances give 1.01 times what single frames and 2 instances give",
        "more instances pay: batches of 8 and 2 instances give 1.98 times what single frames and 1 instance give",
    )
    quick = recommend([point((1, 1), 50, 40), point((8, 1), 200, 80)])
    assert quick.findings == (
        "batches pay: batches of 8 and 1 instance give 4.00 times what single frames and 1 instance give",
    )


def test_nothing_is_said_of_what_was_not_varied() -> None:
    assert recommend([point((4, 2), 50, 40)]).findings == ()


points_drawn = st.lists(
    st.builds(
        point,
        st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(1, 3), st.sampled_from([0, 500])),
        st.floats(1, 1000),
        st.floats(1, 500),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=30,
)


@given(points_drawn, st.floats(1, 500))
def test_what_is_recommended_holds_the_limit_and_nothing_smaller_is_as_good(
    points: list[BenchPoint], limit: float
) -> None:
    found = recommend(points, limit)
    judged = under_full_load(points)
    holding = [each for each in judged if each.latency_p95_ms <= limit]
    assert found.holds is bool(holding)
    assert found.point in judged
    if holding:
        best = max(each.frames_per_s for each in holding)
        assert found.point in holding
        assert found.point.frames_per_s >= AS_GOOD * best
        assert not any(each.setting < found.setting and each.frames_per_s >= AS_GOOD * best for each in holding)
