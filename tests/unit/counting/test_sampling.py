"""The same walk, sampled at any rate from 2 to 60 frames a second, gives the same counts.

It does wherever each stay on a side lasts two samples and half a second, and each excursion reaches half a height. The
length of a stay is known to one sample, so at a single rate half a second and one sample are certain.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import HEIGHT, totals
from tests.fixtures.examples import examples

SEEDS = st.integers(0, 2**32 - 1)
RATES = st.floats(2, 60)
MARGIN_S = 1e-3


def walk(rng, least_stay_s: float):
    """Waypoints (second, heights from the line) of a person who paces over it, and the true (in, out).

    Each stay goes at once or slowly to a farthest point, half a height to three heights away, rests there for a while
    or turns round, and comes back to the line.
    """
    first = rng.choice([-1, 1])
    points, t = [], 0.0
    stays = int(rng.integers(2, 7))
    for i in range(stays):
        stay_s = least_stay_s + MARGIN_S + rng.choice([0, rng.uniform(0, 2)])
        farthest = first * (-1) ** i * rng.choice([0.5, rng.uniform(0.5, 3)])
        there, back = np.sort(rng.uniform(0.05, 0.95, 2)) if rng.random() < 0.5 else [rng.uniform(0.2, 0.8)] * 2
        points += [(t, 0.0), (t + there * stay_s, farthest), (t + back * stay_s + 1e-9, farthest)]
        t += stay_s
    down, up = (stays - (first > 0)) // 2, (stays - (first < 0)) // 2
    return [*points, (t, 0.0)], (down, up)


def sampled(points, fps: float, phase: float):
    times = np.arange(phase / fps, points[-1][0], 1 / fps)
    heights = np.interp(times, [t for t, _ in points], [away for _, away in points])
    return [(t, [(1, 600.0, 360 + HEIGHT * away)]) for t, away in zip(times.tolist(), heights.tolist(), strict=True)]


@given(SEEDS, st.lists(st.tuples(RATES, st.floats(0, 1)), min_size=2, max_size=4))
@examples(12)
def test_one_walk_at_several_rates_gives_the_true_count_at_each(seed, rates):
    points, truth = walk(np.random.default_rng(seed), least_stay_s=2 / 2)
    assert [totals(sampled(points, fps, phase)) for fps, phase in rates] == [truth] * len(rates)


@given(SEEDS, RATES, st.floats(0, 1))
@examples(25)
def test_at_any_rate_two_samples_and_half_a_second_are_enough(seed, fps, phase):
    points, truth = walk(np.random.default_rng(seed), least_stay_s=max(2 / fps, 0.5 + 1 / fps))
    assert totals(sampled(points, fps, phase)) == truth


@given(SEEDS, st.floats(20, 60))
@examples(15)
def test_frames_that_are_dropped_at_random_change_nothing(seed, fps):
    """No more than a tenth of a second of them at a time."""
    rng = np.random.default_rng(seed)
    points, truth = walk(rng, least_stay_s=0.8)
    frames = sampled(points, fps, 0.5)
    kept = [frame for i, frame in enumerate(frames) if i % max(1, int(fps * 0.1)) == 0 or rng.random() < 0.5]
    assert totals(kept) == truth
