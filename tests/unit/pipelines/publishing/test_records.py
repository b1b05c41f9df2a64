"""Records and coverage: what is said, when, and that it is the same each time."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline.v1 import events_pb2
from countline_common.times import from_timestamp
from countline_counting.coverage import CoverageTracker
from countline_counting.events import Crossing, Direction, Event, OccupancySample, Visit
from countline_counting.identity import COUNTING_RULE_VERSION
from countline_counting.paths import ObjectPath, Trajectory
from countline_counting.trials import TrialSpan, TrialTally
from countline_pipelines.publishing.events import MOST_CORNERS, RecordBuilder, RecordIdentity
from countline_pipelines.publishing.trials import trial_record

IDENTITY = RecordIdentity("site", "cam", "worker", 7, "run", "Europe/Berlin", ("person", "vehicle"))


def crossing(t: float, line: str = "gate", class_id: int = 1) -> Crossing:
    return Crossing("c" * 32, line, 2, 5, 0, t, t + 0.5, 12, Direction.IN, class_id, 0.75, stitched=True)


def builder(*, finite: bool = False, hand_over: bool = False) -> RecordBuilder:
    return RecordBuilder(IDENTITY, 0.1, finite=finite, hand_over=hand_over)


def run(
    frames: list[tuple[float, list[Event]]], made: RecordBuilder, end: list[Event] | None = None
) -> list[events_pb2.CountRecord]:
    records = [made.add_frame(t, events) for t, events in frames]
    records.append(made.finish(end or []))
    return [record for record in records if record is not None]


def test_a_crossing_leaves_at_the_frame_that_decided_it() -> None:
    made = builder()
    assert made.add_frame(100.0, []) is None
    record = made.add_frame(100.1, [crossing(100.05)])
    assert record is not None
    (found,) = record.crossings
    assert (found.class_name, found.direction, found.line_version) == ("vehicle", events_pb2.DIRECTION_IN, 2)
    assert (found.frame, found.stitched, found.track) == (12, True, 5)
    assert from_timestamp(found.t) == pytest.approx(100.05, abs=1e-6)
    assert (record.site_id, record.camera_id, record.epoch, record.run) == ("site", "cam", 7, "run")


def test_a_class_without_a_name_is_reported_by_its_number() -> None:
    record = builder().add_frame(0.0, [crossing(0.0, class_id=17)])
    assert record is not None
    assert record.crossings[0].class_name == "17"


def test_the_hand_over_is_said_at_once_and_never_again() -> None:
    records = run([(5.0 + index / 10, []) for index in range(50)], builder(hand_over=True))
    assert from_timestamp(records[0].hand_over_at) == 5.0
    assert records[0].sequence == 0
    assert not any(record.HasField("hand_over_at") for record in records[1:])
    assigned = replace(IDENTITY, assigned_at=4.0)
    records = run([(5.0, []), (7.0, [])], RecordBuilder(assigned, 0.1, finite=False, hand_over=True))
    assert [record.HasField("assigned_at") for record in records] == [True] + [False] * (len(records) - 1)
    assert from_timestamp(records[0].assigned_at) == 4.0
    assert not any(record.HasField("hand_over_at") for record in run([(5.0, []), (7.0, [])], builder()))


def test_coverage_is_reported_every_second_and_joins_without_a_seam() -> None:
    records = run([(index / 10, []) for index in range(100)], builder())
    spans = [(from_timestamp(s.start), from_timestamp(s.end)) for record in records for s in record.coverage]
    assert 9 <= len(spans) <= 11
    assert spans[0][0] == 0
    assert spans[-1][1] == pytest.approx(9.9)
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(spans))
    assert sum(s.frames for record in records for s in record.coverage) == 100


def test_a_file_tells_coverage_rarely_and_the_same_way_each_time() -> None:
    frames = [(1000 + index / 10, [crossing(1000 + index / 10)] if index % 70 == 3 else []) for index in range(300)]
    first, second = (run(frames, builder(finite=True, hand_over=True)) for _ in range(2))
    assert [r.SerializeToString(deterministic=True) for r in first] == [
        r.SerializeToString(deterministic=True) for r in second
    ]
    assert len(first) < 12


def test_visits_are_reported_with_their_open_ends() -> None:
    visit = Visit("v" * 32, "hall", 1, 3, 0, 10.0, None, 4.0, 0, 14.0, True, False, False)
    record = builder().add_frame(14.0, [visit])
    assert record is not None
    assert record.visits[0].class_name == "person"
    assert not record.visits[0].HasField("left_at")
    assert record.visits[0].dwell_s == 4.0


def test_occupancy_is_bounded_and_its_last_value_arrives() -> None:
    frames: list[tuple[float, list[Event]]] = [
        (index / 20, [OccupancySample("hall", 1, index / 20, index)]) for index in range(100)
    ]
    samples = [sample for record in run(frames, builder()) for sample in record.occupancy]
    assert len(samples) <= 12
    assert samples[-1].count == 99
    times = [from_timestamp(sample.t) for sample in samples]
    assert times == sorted(times)


def test_what_is_decided_at_the_end_is_in_the_last_record() -> None:
    records = run([(0.0, []), (0.1, [])], builder(), end=[crossing(0.05)])
    assert len(records[-1].crossings) == 1
    assert builder().finish([]) is None


def test_a_gap_up_to_a_second_or_two_periods_is_covered_and_a_longer_one_is_not() -> None:
    cases = [
        (0.1, 0.99, 1),
        (0.1, 1.05, 2),
        (2.0, 3.9, 1),  # slow cameras: two periods
        (2.0, 4.1, 2),
    ]
    for period_s, gap_s, spans in cases:
        tracker = CoverageTracker(period_s)
        t = 50.0
        for _ in range(20):
            tracker.add(t)
            t += period_s
        tracker.add(t - period_s + gap_s)
        assert len(tracker.cut()) == spans, (period_s, gap_s)


def test_a_camera_that_sends_less_than_it_states_is_still_covered() -> None:
    """It states 25 frames a second and sends one every 1.5 s."""
    tracker = CoverageTracker(1 / 25)
    for index in range(40):
        tracker.add(index * 1.5)
    spans = tracker.cut()
    assert spans[-1].end - spans[-1].start > 50


@given(st.lists(st.tuples(st.floats(0.01, 3.0), st.booleans()), min_size=1, max_size=60))
def test_spans_never_overlap_and_hold_every_frame(steps: list[tuple[float, bool]]) -> None:
    tracker, t, spans = CoverageTracker(0.1), 10.0, []
    for step, cut in steps:
        t += step
        tracker.add(t, dropped=1)
        if cut:
            spans += tracker.cut()
    spans += tracker.cut()
    assert sum(span.frames for span in spans) == len(steps)
    assert sum(span.frames_dropped for span in spans) == len(steps)
    assert all(span.start <= span.end for span in spans)
    assert all(before.end <= after.start for before, after in itertools.pairwise(spans))


def test_that_counting_ends_empties_no_zone() -> None:
    """Nobody knows how many are inside from then on; said to be none, a worker's restart was the day's minimum."""
    made = builder()
    first = made.add_frame(100.0, [OccupancySample("hall", 1, 100.0, 3)])
    last = made.finish([OccupancySample("hall", 1, 100.0, 0)])
    samples = [sample.count for record in (first, last) if record is not None for sample in record.occupancy]
    assert samples == [3]


def trajectory(track: int, t: float = 100.0) -> Trajectory:
    path = ObjectPath(t, (0, 400), (10, 50), (20, 60), (400, 400), (900, 900), (), (), 5, 0.002, 0, False)
    return Trajectory(f"{track:032x}", track, 0, 0.8, False, (640, 480), path)


def test_a_trajectory_goes_with_the_next_record_and_makes_none_of_its_own() -> None:
    frames: list[tuple[float, list[Event]]] = [(100 + index / 10, []) for index in range(30)]
    plain = run(frames, builder())
    frames[12][1].append(trajectory(7))
    records = run(frames, builder())
    assert len(records) == len(plain)
    (found,) = [each for record in records for each in record.trajectories]
    assert (found.track, found.class_name, list(found.x)) == (7, "person", [10, 40])
    assert not found.run  # the record says it


@pytest.mark.parametrize("at_the_end", [False, True])
def test_many_trajectories_come_in_several_records_none_of_which_is_too_large(at_the_end: bool) -> None:
    corners = tuple(range(0, 40_000, 100))
    path = ObjectPath(100.0, corners, corners, corners, corners, corners, (), (), 400, 0.002, 0, True)
    crowd: list[Event] = [Trajectory(f"{k:032x}", k, 0, 0.8, False, (640, 480), path) for k in range(700)]
    made = builder(finite=True)
    assert made.add_frame(100.0, []) is None
    records = [] if at_the_end else [made.add_frame(100.1, crowd)]
    last = made.finish(crowd if at_the_end else [])
    while last is not None:
        records.append(last)
        last = made.finish([])
    sent = [record for record in records if record is not None]
    assert max(record.ByteSize() for record in sent) < 900_000
    assert [each.track for record in sent for each in record.trajectories] == list(range(700))
    assert len(sent) * MOST_CORNERS >= 700 * len(corners)


def test_what_was_on_its_way_at_the_end_of_a_run_is_reported() -> None:
    record = builder().finish([trajectory(3)])
    assert record is not None
    assert [each.track for each in record.trajectories] == [3]


def test_coverage_goes_on_where_the_run_before_left_off_and_not_over_a_gap() -> None:
    for since, start in ((4.9, 4.9), (3.0, 5.0)):
        made = RecordBuilder(IDENTITY, 0.1, finite=False, hand_over=False, since=since)
        records = run([(5.0 + index / 10, []) for index in range(20)], made)
        spans = [span for record in records for span in record.coverage]
        assert from_timestamp(spans[0].start) == pytest.approx(start)
        assert sum(span.frames for span in spans) == 20


def test_what_a_run_decides_after_its_frames_were_taken_over_is_reported_at_once_and_covers_nothing() -> None:
    made = builder()
    made.add_frame(5.0, [])
    made.add_frame(5.1, [])
    record = made.add_late(6.0, [crossing(5.05), OccupancySample("room", 1, 6.0, 3)])
    assert record is not None
    assert len(record.crossings) == 1
    assert not record.occupancy
    assert [from_timestamp(span.end) for span in record.coverage] == [pytest.approx(5.1)]
    assert made.add_late(6.1, []) is None
    assert made.finish([]) is None


def test_a_comparison_is_reported_the_same_each_time() -> None:
    tallies = (TrialTally("gate", Direction.IN, 5, 1, 0), TrialTally("gate", Direction.OUT, 4, 0, 2))
    span = TrialSpan("trial", "m@1", "m@2", 100.0, 110.0, tallies, 250, 3)
    record = trial_record("cam", "worker", span)
    assert (record.trial_id, record.camera_id, record.worker_id) == ("trial", "cam", "worker")
    assert (record.incumbent, record.challenger, record.frames, record.frames_missed) == ("m@1", "m@2", 250, 3)
    assert (from_timestamp(record.start), from_timestamp(record.end)) == (100.0, 110.0)
    assert [(t.direction, t.both, t.only_incumbent, t.only_challenger) for t in record.tallies] == [
        (events_pb2.DIRECTION_IN, 5, 1, 0),
        (events_pb2.DIRECTION_OUT, 4, 0, 2),
    ]
    again = trial_record("cam", "worker", span)
    assert record.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)


@pytest.mark.parametrize(("recording", "version"), [("6c65042474e8f1d2", COUNTING_RULE_VERSION), ("", 0)])
def test_every_record_of_a_file_names_the_file_and_the_version_of_the_rule(recording, version):
    builder = RecordBuilder(replace(IDENTITY, recording=recording), 0.1, finite=True, hand_over=False)
    records = run([(float(t), []) for t in range(30)], builder)
    assert len(records) > 1
    assert {(record.recording, record.rule_version) for record in records} == {(recording, version)}
