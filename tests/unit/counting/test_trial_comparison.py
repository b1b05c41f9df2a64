"""Two versions of a model over the same frames: the crossings of both, and those of only one."""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countline_counting import rules
from countline_counting.events import Crossing, Direction
from countline_counting.trials import MISSED_FRAMES, TrialComparison, TrialRole, TrialSpan

FPS = 10
SECONDS = 60
MODELS = {TrialRole.INCUMBENT: "m@1", TrialRole.CHALLENGER: "m@2"}
SEEDS = st.integers(0, 2**32 - 1)
TIMES = st.lists(st.floats(rules.WARM_UP_S + 1.5, SECONDS - 2), max_size=60)
Seen = list[tuple[float, str, Direction]]


def crossing(t: float, line: str = "gate", direction: Direction = Direction.IN) -> Crossing:
    return Crossing("", line, 1, 1, 0, t, t + 0.5, 0, direction, 0, 0.9, stitched=False)


def frames(seen: Seen, times: Iterable[float], decide_s: float = 0.5) -> list[tuple[float, list[Crossing]]]:
    """Frames with the crossings decided at each, and the crossings decided at the end."""
    waiting = sorted((t + decide_s, t, line, direction) for t, line, direction in seen)
    made = []
    for now in times:
        due = [crossing(*event[1:]) for event in waiting if event[0] <= now]
        waiting = [event for event in waiting if event[0] > now]
        made.append((now, due))
    return [*made, (float("inf"), [crossing(*event[1:]) for event in waiting])]


def compared(
    incumbent: Seen,
    challenger: Seen,
    *,
    lead: int = 0,
    times: dict[TrialRole, list[float]] | None = None,
    decide_s: tuple[float, float] = (0.5, 0.5),
    counting: TrialRole = TrialRole.INCUMBENT,
) -> list[TrialSpan]:
    """Compare both to their ends, with the incumbent `lead` frames ahead of the challenger."""
    usual = [i / FPS for i in range(SECONDS * FPS)]
    times = times or {}
    seen = {TrialRole.INCUMBENT: incumbent, TrialRole.CHALLENGER: challenger}
    queues = {
        role: frames(seen[role], times.get(role, usual), wait) for role, wait in zip(TrialRole, decide_s, strict=True)
    }
    steps = [
        (i - lead * (role is TrialRole.INCUMBENT), role, each)
        for role in TrialRole
        for i, each in enumerate(queues[role])
    ]
    comparison, spans = TrialComparison("trial", MODELS, counting), list[TrialSpan]()
    for _, role, (t, events) in sorted(steps, key=lambda step: step[0]):
        spans += comparison.run_ended(role, events) if t == float("inf") else comparison.frame(role, t, events)
    return [*spans, *comparison.finish()]


def sums(spans: Iterable[TrialSpan]) -> tuple[int, int, int]:
    tallies = [tally for span in spans for tally in span.tallies]
    return tuple(
        sum(getattr(tally, name) for tally in tallies) for name in ("both", "only_incumbent", "only_challenger")
    )


def on_gate(times: Iterable[float]) -> Seen:
    return [(t, "gate", Direction.IN) for t in times]


@given(TIMES, st.integers(-30, 30))
@settings(max_examples=60, deadline=None)
def test_equal_streams_agree_in_everything_whoever_is_ahead(times, lead):
    assert sums(compared(on_gate(times), on_gate(times), lead=lead)) == (len(times), 0, 0)


@given(SEEDS, TIMES, st.floats(0.5, rules.LATEST_S), st.floats(0.5, rules.LATEST_S))
@settings(max_examples=60, deadline=None)
def test_neither_jitter_within_the_tolerance_nor_the_time_of_decision_matters(seed, times, one_s, other_s):
    """Also if the jitter is far longer than the time between two objects."""
    rng = np.random.default_rng(seed)
    shaken = [t + rng.uniform(-1, 1) * rules.SAME_CROSSING_S for t in times]
    spans = compared(on_gate(times), on_gate(shaken), decide_s=(one_s, other_s))
    assert sums(spans) == (len(times), 0, 0)


@given(SEEDS, TIMES, st.integers(-30, 30))
@settings(max_examples=60, deadline=None)
def test_of_a_challenger_that_misses_a_fifth_the_rest_agrees(seed, times, lead):
    rng = np.random.default_rng(seed)
    thinned = [t for t in times if rng.random() > 0.2]
    spans = compared(on_gate(times), on_gate(thinned), lead=lead)
    assert sums(spans) == (len(thinned), len(times) - len(thinned), 0)


@given(SEEDS, TIMES, TIMES)
@settings(max_examples=60, deadline=None)
def test_the_sums_are_what_each_of_them_counted_by_line_and_direction(seed, times, others):
    rng = np.random.default_rng(seed)

    def scattered(all_times: list[float]) -> Seen:
        return [(t, str(rng.choice(["gate", "door"])), Direction(str(rng.choice(["in", "out"])))) for t in all_times]

    incumbent, challenger = scattered(times), scattered(others)
    spans = compared(incumbent, challenger)
    by_incumbent, by_challenger = Counter(), Counter()
    for tally in (tally for span in spans for tally in span.tallies):
        by_incumbent[tally.line_id, tally.direction] += tally.both + tally.only_incumbent
        by_challenger[tally.line_id, tally.direction] += tally.both + tally.only_challenger
    assert +by_incumbent == Counter((line, direction) for _, line, direction in incumbent)
    assert +by_challenger == Counter((line, direction) for _, line, direction in challenger)


@given(TIMES, st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_spans_follow_each_other_about_every_ten_seconds_and_do_not_overlap(times, lead):
    spans = compared(on_gate(times), on_gate(times), lead=lead)
    assert spans[0].start == pytest.approx(rules.WARM_UP_S)
    assert spans[-1].end == pytest.approx(SECONDS, abs=0.2)
    for one, following in pairwise(spans):
        assert one.end == following.start
    assert all(9.9 < span.end - span.start < 11 for span in spans[:-1])
    assert sum(span.frames for span in spans) == pytest.approx((SECONDS - rules.WARM_UP_S) * FPS, abs=2)
    assert sum(span.frames_missed for span in spans) == 0


def test_what_a_follower_counts_while_it_warms_up_is_left_out():
    late = {TrialRole.CHALLENGER: [i / FPS for i in range(20 * FPS, SECONDS * FPS)]}
    everyone = [10.0, 22.0, 24.5, 30.0, 40.0]
    spans = compared(on_gate(everyone), on_gate(everyone), times=late)
    assert spans[0].start == pytest.approx(20.0 + rules.WARM_UP_S)
    assert sums(spans) == (2, 0, 0)


def test_frames_that_a_follower_leaves_out_are_counted():
    thinned = {TrialRole.CHALLENGER: [i / FPS for i in range(SECONDS * FPS) if i % 4]}
    spans = compared([], [], times=thinned)
    frames_, missed = sum(span.frames for span in spans), sum(span.frames_missed for span in spans)
    assert missed == pytest.approx(frames_ / 4, abs=2)


@pytest.mark.parametrize("counting", list(TrialRole))
def test_a_time_in_which_only_one_of_them_ran_is_left_out(counting):
    usual = [i / FPS for i in range(SECONDS * FPS)]
    spans = compared(
        on_gate([10.0, 32.0, 33.0, 50.0]),
        on_gate([10.0, 50.0]),
        times={TrialRole.CHALLENGER: [t for t in usual if not 30 < t < 35]},
        counting=counting,
    )
    assert sums(spans) == (2, 0, 0)
    assert not [span for span in spans if span.start < 34.9 and span.end > 30.1]


@pytest.mark.parametrize(("missed", "left_out"), [(MISSED_FRAMES - 1, False), (MISSED_FRAMES, True)])
def test_a_crossing_that_only_one_of_them_had_the_frames_for_is_left_out(missed, left_out):
    usual = [i / FPS for i in range(SECONDS * FPS)]
    thinned = [t for i, t in enumerate(usual) if not 300 < i <= 300 + missed]
    times = {TrialRole.CHALLENGER: thinned}
    spans = compared(on_gate([10.0, 30.2, 31.2, 50.0]), on_gate([10.0, 31.2, 50.0]), times=times)
    assert sums(spans) == ((2, 0, 0) if left_out else (3, 1, 0))
    assert sum(span.frames_missed for span in spans) == (0 if left_out else missed)


def test_a_version_that_is_always_too_slow_is_compared_with_the_frames_that_it_has():
    thinned = [i / FPS for i in range(0, SECONDS * FPS, 5)]
    spans = compared(on_gate([10.0, 30.2, 50.0]), on_gate([10.0, 50.0]), times={TrialRole.CHALLENGER: thinned})
    assert sums(spans) == (2, 1, 0)
    assert sum(span.frames_missed for span in spans) == pytest.approx(0.8 * sum(span.frames for span in spans), abs=5)


def test_a_stall_of_the_stream_leaves_nothing_out():
    stalled = [i / FPS for i in range(SECONDS * FPS) if not 30 < i / FPS < 35]
    spans = compared(on_gate([32.0]), on_gate([32.0]), times=dict.fromkeys(TrialRole, stalled))
    assert sums(spans) == (1, 0, 0)


def test_a_run_that_begins_anew_warms_up_anew():
    comparison, spans = TrialComparison("trial", MODELS, TrialRole.INCUMBENT), list[TrialSpan]()
    for begins, ends in ((0, 30), (100, 130)):
        for i in range(begins * FPS, ends * FPS):
            for role in TrialRole:
                due = [crossing(i / FPS - 0.5)] if i % 20 == 0 and i / FPS - 0.5 >= begins else []
                spans += comparison.frame(role, i / FPS, due)
        for role in TrialRole:
            spans += comparison.run_ended(role, ())
    assert [round(span.start) for span in spans if span.start in {5.0, 105.0}] == [5, 105]
    assert not [span for span in spans if span.end > 30 and span.start < 105]
    assert sums(spans) == (24, 0, 0)
    assert comparison.finish() == ()


def test_when_a_trial_ends_only_what_both_have_surely_decided_is_reported():
    comparison = TrialComparison("trial", MODELS, TrialRole.INCUMBENT)
    for i in range(18 * FPS):
        for role in TrialRole:
            assert comparison.frame(role, i / FPS, ()) == ()
    (span,) = comparison.finish()
    assert span.end == pytest.approx(18 - rules.LATEST_S - rules.SAME_CROSSING_S, abs=0.2)


def test_memory_is_bounded_while_only_one_of_them_runs():
    comparison = TrialComparison("trial", MODELS, TrialRole.INCUMBENT)
    for i in range(100_000):
        comparison.frame(TrialRole.INCUMBENT, i / FPS, [crossing(i / FPS)])
    side = comparison._sides[TrialRole.INCUMBENT]
    assert len(side.times) < 100
    assert sum(map(len, side.crossings.values())) < 100
