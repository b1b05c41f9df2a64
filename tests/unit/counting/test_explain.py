"""Every crossing says why it counted, every near-crossing says why not, and the totals reconcile."""

import re
from collections import Counter
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.fixtures.counting.paths import GATE, HEIGHT, IDENTITY, SIZE, heights, norm, ramp, spec, tracked
from tests.fixtures.examples import examples

from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing, Direction
from countline_counting.explain import Explainer, Journal
from countline_counting.frames import DetectionFrame
from countline_counting.geometry.segments import path_crossings
from countline_counting.reasons import REASONS, Reason
from countline_counting.spec import CountingSpec, Line, Mask, MaskKind
from countline_pipelines.offline.reports.explained import explained, show_explained
from countline_pipelines.selftest.cases import all_cases
from countline_pipelines.selftest.scene import SIZE_WH, frames_of

UNMET = (Reason.TOUCHED_ONLY, Reason.WENT_ROUND_THE_END)
ABOVE = [330.0] * 10


def explain(frames, counting: CountingSpec | None = None, scores=None):
    journal = Journal()
    counter = CameraCounter(IDENTITY, counting or spec(), tracked=True, listener=Explainer(journal))
    events = []
    for index, (t, spots) in enumerate(frames):
        frame = tracked(index, t, spots)
        if scores is not None:
            frame.scores[:] = scores
        events += counter.update_tracked(frame).events
    events += counter.flush()
    return journal, [event for event in events if isinstance(event, Crossing)]


def outcomes(journal: Journal) -> list[tuple[str, str]]:
    found = sorted(journal.candidates, key=lambda one: one.t)
    return [(one.direction.value, one.reason.value if one.reason else "counted") for one in found]


def reconciles(journal: Journal, crossings: list[Crossing], lines) -> None:
    """Candidates are crossings and reasons, in each direction of each line, and crossings are the events."""
    counted = Counter((event.line_id, event.direction) for event in crossings)
    for line in lines:
        for way in Direction:
            settled = sum(n for (name, d, _), n in journal.settled.items() if (name, d) == (line.id, way))
            assert journal.appeared[line.id, way] == settled
            assert journal.settled[line.id, way, None] == counted[line.id, way]
    counted_ones = [one for one in journal.candidates if one.reason is None]
    assert sorted(one.event_id for one in counted_ones) == sorted(event.id for event in crossings)


@pytest.mark.parametrize(
    ("ys", "found"),
    [
        pytest.param(ramp(200, 520, 31), [("in", "counted")], id="clean pass"),
        pytest.param([*ramp(200, 357, 17), *ramp(357, 200, 17)], [("in", "touched_only")], id="touches, goes back"),
        pytest.param(
            [*ramp(200, 370, 17), *ramp(370, 200, 17)],
            [("in", "turned_back"), ("out", "turned_back")],
            id="a foot over the line",
        ),
        pytest.param(
            [*ABOVE, 400, 400, 400, *ABOVE], [("in", "came_back_too_soon"), ("out", "came_back_too_soon")], id="0.3 s"
        ),
        pytest.param([*ramp(200, 366, 20)], [("in", "ended_near_the_line")], id="vanishes on the line"),
        pytest.param([358, 366, *ramp(380, 520, 16)], [("in", "never_clear_at_origin")], id="appears on the line"),
        pytest.param(ramp(352, 520, 20), [("in", "counted")], id="comes into view before the line"),
        pytest.param(
            [352, 361, 359, *ramp(362, 520, 16)],
            [("in", "same_pass"), ("out", "same_pass"), ("in", "counted")],
            id="comes into view before the line and hesitates",
        ),
        pytest.param(
            [*ramp(200, 356, 10), 364, 357, 365, *ramp(370, 520, 16)],
            [("in", "same_pass"), ("out", "same_pass"), ("in", "counted")],
            id="jitters on its way over",
        ),
        pytest.param([*ABOVE, *[400] * 9, *ABOVE], [("in", "counted"), ("out", "counted")], id="over and back"),
    ],
)
def test_each_near_crossing_has_one_outcome(ys, found):
    journal, crossings = explain(heights(ys))
    assert outcomes(journal) == found
    reconciles(journal, crossings, [GATE])


def test_one_bad_box_after_which_the_object_was_hidden_is_a_single_sample():
    frames = [*heights([*ABOVE, 400]), *[(1.1 + i / 10, []) for i in range(10)]]
    frames += [(2.1 + i / 10, [(1, 600.0, 330.0)]) for i in range(10)]
    journal, _ = explain(frames)
    assert outcomes(journal) == [("in", "single_sample_excursion"), ("out", "single_sample_excursion")]


def test_the_way_round_the_end_is_near_only_close_by():
    def round_at(x):
        return [(i / 10, [(1, x, y)]) for i, y in enumerate(ramp(250, 470, 30))]

    assert outcomes(explain(round_at(940.0))[0]) == [("in", "went_round_the_end")]
    assert outcomes(explain(round_at(1000.0))[0]) == []


def test_a_second_meeting_in_the_direction_of_an_undecided_pass_has_a_reason():
    """Round the end of a line shorter than a box, and through it again, within 0.4 s."""
    line = Line("gate", norm((590, 360), (610, 360)))
    spots = [*[(600, 330)] * 8, (600, 385), (640, 370), (630, 345), (602, 350), (602, 390), *[(602, 400)] * 8]
    journal, crossings = explain([(i / 10, [(1, x, y)]) for i, (x, y) in enumerate(spots)], spec(lines=[line]))
    assert outcomes(journal) == [("in", "counted"), ("in", "already_beyond")]
    reconciles(journal, crossings, [line])


def test_what_an_object_is_can_be_the_reason():
    path = heights(ramp(200, 520, 31))
    cars = spec(lines=[Line("gate", GATE.points, classes=frozenset({"1"}))])
    assert outcomes(explain(path, cars)[0]) == [("in", "class_not_counted")]
    unsure = CountingSpec((GATE,), min_track_score=0.95)
    assert outcomes(explain(path, unsure)[0]) == [("in", "score_too_low")]


def test_a_short_object_is_too_young_and_one_that_grows_old_enough_counts_what_it_did_before():
    strict = CountingSpec((GATE,), min_track_age_s=2.0)
    short = [(0.5 + i / 10, spots) for i, (_, spots) in enumerate(heights(ramp(300, 420, 9)))]
    journal, crossings = explain([*short, *[(1.5 + i / 10, []) for i in range(40)]], strict)
    assert outcomes(journal) == [("in", "too_young")]
    assert crossings == []
    journal, (event,) = explain(heights([*ramp(300, 420, 9), *[420.0] * 20]), strict)
    assert event.t == pytest.approx(0.4)
    assert event.decided_at == pytest.approx(2.0)
    assert outcomes(journal) == [("in", "counted")]


def test_boxes_that_are_left_out_have_reasons_too():
    path = heights(ramp(200, 520, 31))
    ignored = Mask("tree", norm((500, 100), (700, 100), (700, 600), (500, 600)), MaskKind.IGNORE)
    assert outcomes(explain(path, CountingSpec((GATE,), masks=(ignored,)))[0]) == [("in", "masked")]
    assert outcomes(explain(path, CountingSpec((GATE,), min_score=0.95))[0]) == [("in", "box_score_too_low")]
    doubled = [(t, [(1, x, y), (2, x + 1, y + 2)]) for t, [(_, x, y)] in path]
    assert sorted(outcomes(explain(doubled)[0])) == [("in", "counted"), ("in", "duplicate_box")]


def test_detections_that_are_left_out_are_followed_to_see_what_they_would_have_crossed():
    rows = [[580, y - HEIGHT, 620, y, 0.9, 0] for y in ramp(200, 520, 31)]
    journal = Journal()
    mask = Mask("tree", norm((500, 100), (700, 100), (700, 600), (500, 600)), MaskKind.IGNORE)
    counter = CameraCounter(IDENTITY, CountingSpec((GATE,), masks=(mask,)), listener=Explainer(journal))
    for i, row in enumerate(rows):
        counter.update(DetectionFrame("camera", i, i / 10, SIZE, np.array([row], dtype=np.float32)))
    counter.flush()
    assert outcomes(journal) == [("in", "masked")]


def test_two_doubtful_boxes_apart_are_unconfirmed():
    boxes = [[580, 200, 620, 280, 0.5, 0], [580, 330, 620, 410, 0.5, 0]]
    journal = Journal()
    counter = CameraCounter(IDENTITY, spec(), listener=Explainer(journal))
    for i in range(40):
        rows = np.array(boxes[i : i + 1], dtype=np.float32).reshape(-1, 6)
        counter.update(DetectionFrame("camera", i, i / 10, SIZE, rows))
    assert counter.flush() == ()
    assert outcomes(journal) == [("in", "unconfirmed")]


def test_a_crossing_says_what_was_measured_and_where():
    journal, (event,) = explain(heights([*[250.0] * 3, *ramp(261, 520, 27)]))
    (one,) = journal.candidates
    assert one.event_id == event.id
    assert one.decided == "stayed"
    assert [gate.name for gate in one.gates] == [
        "origin clear", "destination clear", "excursion seconds", "excursion sights"
    ]  # fmt: skip
    assert all(gate.passed and gate.value >= gate.limit for gate in one.gates)
    assert one.gates[0].value == pytest.approx(110 / HEIGHT)
    assert [place.what for place in one.path] == ["origin", "before", "met", "after", "clear"]
    assert one.path[2].xy_px == pytest.approx((600, 360))
    assert one.path[2].t == event.t
    assert one.path[1].distance_heights < 0 < one.path[3].distance_heights


def test_counting_is_the_same_with_a_journal_and_without():
    for case in all_cases():
        lines = tuple(
            Line(name, tuple((x / SIZE_WH[0], y / SIZE_WH[1]) for x, y in points), classes=case.classes)
            for name, points in case.lines.items()
        )
        counting, journal = CountingSpec(lines), Journal()
        plain = CameraCounter(IDENTITY, counting, tracked=True)
        watched = CameraCounter(IDENTITY, counting, tracked=True, listener=Explainer(journal))
        frames = list(frames_of(case))
        events = [event for frame in frames for event in watched.update_tracked(frame).events] + [*watched.flush()]
        assert events == [e for frame in frames for e in plain.update_tracked(frame).events] + [*plain.flush()]
        reconciles(journal, [event for event in events if isinstance(event, Crossing)], lines)


LINES = {
    "gate": GATE,
    "bent": Line("bent", norm((300, 300), (600, 420), (900, 300))),
    "room": Line("room", norm((450, 250), (800, 250), (800, 550), (450, 550), (450, 250))),
    "short": Line("short", norm((560, 360), (640, 360))),
}


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(LINES)), st.sampled_from([3.0, 10.0, 25.0]))
@examples(30)
def test_candidates_are_crossings_and_reasons_and_as_many_as_exact_geometry_finds(seed, name, fps):
    """Random walks, with jitter and jumps: every meeting of the path with the line has one outcome."""
    rng = np.random.default_rng(seed)
    line = LINES[name]
    steps = rng.normal(0, rng.choice([3, 15, 60]), (100, 2)) * (rng.random((100, 1)) < 0.8)
    path = np.clip(np.array([600, 360]) + rng.normal(0, 60, 2) + np.cumsum(steps, axis=0), (150, 160), (1150, 640))
    counting = CountingSpec((line,), min_track_age_s=float(rng.choice([0, 1.5])))
    journal, crossings = explain([(i / fps, [(1, x, y)]) for i, (x, y) in enumerate(path.tolist())], counting)
    reconciles(journal, crossings, [line])
    points = tuple((x * SIZE[0], y * SIZE[1]) for x, y in line.points)
    # The picture's coordinates go through a division and back; the walk is of floats, so none lies on the line.
    pairs = zip(path[:-1].tolist(), path[1:].tolist(), strict=True)
    met = Counter(sign for a, b in pairs for _, sign in path_crossings(points, tuple(a), tuple(b)))
    reported = Counter(one.direction for one in journal.candidates if any(place.what == "met" for place in one.path))
    assert (reported[Direction.IN], reported[Direction.OUT]) == (met[1], met[-1])
    assert all(one.reason in UNMET for one in journal.candidates if all(place.what != "met" for place in one.path))


def test_every_reason_is_published_with_its_meaning():
    assert set(REASONS) == set(Reason)
    assert len({*REASONS.values()}) == len(REASONS)


def test_the_report_adds_up():
    journal, _ = explain(heights([*ramp(200, 370, 17), *ramp(370, 200, 17), *ramp(200, 520, 31)]))
    reported = explained(journal, spec())
    assert reported["lines"]["gate"]["in"] == {"candidates": 2, "counted": 1, "reasons": {"turned_back": 1}}
    assert reported["lines"]["gate"]["out"] == {"candidates": 1, "counted": 0, "reasons": {"turned_back": 1}}
    assert [one["outcome"] for one in reported["candidates"]] == ["turned_back", "turned_back", "counted"]
    assert list(reported["reasons"]) == ["turned_back"]


def test_the_table_for_people_gives_each_gate_its_value_and_limit():
    journal, _ = explain(heights([*ramp(200, 370, 17), *ramp(370, 200, 17)]))
    output = StringIO()
    show_explained(Console(file=output, width=200), explained(journal, spec()))
    assert re.search(r"origin clear 2.00 >= 0.15; destination clear 0.1\d not 0.22", output.getvalue())
    assert "1 turned_back" in output.getvalue()
    assert "turned_back: met the line, but was back" in output.getvalue()


@given(st.integers(0, 2**32 - 1))
@examples(6)
def test_totals_reconcile_for_a_crowd_with_lost_ids_masks_false_boxes_and_lines_that_change(seed):
    """Several people walk about and are detected with misses; half-way, a line is drawn again."""
    rng = np.random.default_rng(seed)
    tree = Mask("tree", norm((550, 300), (650, 300), (650, 420), (550, 420)), MaskKind.IGNORE)
    counting = CountingSpec(
        (GATE, LINES["room"]), min_score=0.3, min_track_age_s=0.8, min_track_score=0.5, masks=(tree,)
    )
    journal, events = Journal(), []
    counter = CameraCounter(IDENTITY, counting, listener=Explainer(journal))
    paths = np.cumsum(rng.normal(0, 14, (90, 5, 2)), axis=0) + rng.uniform((400, 250), (800, 500), (5, 2))
    for i, spots in enumerate(paths):
        rows = [[x - 20, y - 80, x + 20, y, rng.uniform(0.2, 0.9), 0] for x, y in spots if rng.random() < 0.85]
        rows += [[x - 20, y - 80, x + 20, y - 2, 0.6, 1] for x, y in spots[:1] if rng.random() < 0.3]
        table = np.array(rows, dtype=np.float32).reshape(-1, 6)
        events += counter.update(DetectionFrame("camera", i, i / 10, SIZE, table)).events
        if i == 45:
            moved = Line("gate", norm((300, 380), (900, 380)), version=2)
            counter.reconfigure(replace(counting, lines=(moved, LINES["room"])))
    events += counter.flush()
    reconciles(journal, [event for event in events if isinstance(event, Crossing)], counting.lines)
