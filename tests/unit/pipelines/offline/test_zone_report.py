"""How full zones were, what becomes of everybody who was in one, and what a run reports of it."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import IDENTITY, ROOM, SIZE, norm, spec, tracked
from tests.fixtures.examples import examples
from typer.testing import CliRunner

from countline.v1 import cameras_pb2
from countline_counting.counter import CameraCounter
from countline_counting.errors import GeometryError
from countline_counting.events import OccupancySample, Visit
from countline_counting.geometry.polygons import inside, polygon_crosses_itself
from countline_counting.objects.sights import Sights
from countline_counting.rule.zones import ZoneCounter
from countline_counting.spec import Zone
from countline_pipelines.cli.replay import count_recording
from countline_pipelines.offline.replay import RecordedFrame
from countline_pipelines.planes.interface import require_classes
from countline_pipelines.publishing.events import RecordBuilder, RecordIdentity
from countline_pipelines.worker.assignments import counting_of

QUEUE = Zone("queue", ROOM.polygon, queue=True)


def recording(*tracks, fps=10.0, seconds=20.0):
    """Frames of objects that stand for a while at one spot each: (id, from, until, x, y)."""
    frames = []
    for index in range(int(seconds * fps)):
        t = index / fps
        spots = [(track, x, y) for track, begin, end, x, y in tracks if begin <= t < end]
        frame = tracked(index, t, spots)
        table = np.column_stack([frame.xyxy_px, frame.scores, frame.classes])
        frames.append(RecordedFrame(index, t, frame.ids, table))
    return iter(frames)


def zone_of(*tracks, zone=QUEUE, **options):
    result = count_recording(recording(*tracks, **options), spec(lines=(), zones=(zone,)), SIZE, tracked=True, run="r")
    return result["zones"][zone.id]


def test_the_mean_is_over_time_and_who_stands_there_to_the_end_is_there_now():
    found = zone_of((1, 0.0, 20.0, 600, 350), (2, 10.0, 20.0, 700, 350))
    assert (found["min"], found["max"], found["now"]) == (0, 2, 2)
    # Coming in is certain half a second after it, so each is in the occupancy for that much less.
    assert found["mean"] == pytest.approx((19.5 + 9.5) / 20, abs=0.011)
    assert (found["visits"], found["born_inside"], found["lost_inside"]) == (2, 2, 2)
    assert (found["entries"], found["exits"]) == (0, 0)


def test_a_queue_tells_its_length_and_how_long_people_waited():
    found = zone_of((1, 2.0, 8.0, 600, 350), (2, 3.0, 7.0, 700, 350))
    assert found["queue_length"] == {"mean": found["mean"], "max": 2}
    assert found["waiting_s"] == {"mean": pytest.approx(4.9), "max": pytest.approx(5.9)}
    assert found["dwell_s"]["median"] == pytest.approx(4.9)


def test_a_zone_that_is_no_queue_tells_of_no_waiting():
    found = zone_of((1, 2.0, 8.0, 600, 350), zone=ROOM)
    assert "waiting_s" not in found
    assert "queue_length" not in found
    assert found["visits"] == 1


def test_an_empty_zone_was_seen_to_be_empty_and_one_that_no_frame_showed_was_not():
    assert [zone_of()[key] for key in ("min", "max", "mean", "now", "visits")] == [0, 0, 0, 0, 0]
    assert [zone_of(seconds=0)[key] for key in ("min", "max", "mean", "now")] == [None] * 4


def test_replay_takes_queues_on_the_command_line(tmp_path):
    from countline_common.cli.app import app

    file = tmp_path / "tracks.jsonl"
    lines = [
        {"t": frame.t, "objects": [{"id": 1, "box": row[:4].tolist()} for row in frame.detections]}
        for frame in recording((1, 0.0, 5.0, 600, 350), seconds=5)
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    arguments = ["replay", str(file), "--size", "1280x720", "--tracked", "--pixels"]
    arguments += ["--queue", "till:400,200,800,200,800,500,400,500", "--zone", "hall:0,0,1280,0,1280,720,0,720"]
    printed = CliRunner().invoke(app, [*arguments, "--json"])
    assert printed.exit_code == 0, printed.output
    zones = json.loads(printed.stdout)["zones"]
    assert zones["till"]["waiting_s"]["max"] == pytest.approx(4.9)
    assert "waiting_s" not in zones["hall"]
    assert "till (queue)" in CliRunner().invoke(app, arguments).stdout


WALKS = st.lists(
    st.tuples(st.floats(300, 900), st.floats(150, 600), st.floats(0, 6), st.floats(0.3, 8)), min_size=1, max_size=6
)
"""Objects that go back and forth about the room: (x, y of the start, from when on, for how long)."""


@examples(15)
@given(WALKS, st.integers(0, 2**32 - 1))
def test_who_came_in_is_who_went_out_and_who_is_still_inside(walks, seed):
    """When counting ends, exactly the objects that were inside are reported as stays that end there."""
    chance = np.random.default_rng(seed)
    counter = CameraCounter(IDENTITY, spec(lines=(), zones=(ROOM,)), tracked=True)
    steps = chance.normal(0, 12, (len(walks), 120, 2)).cumsum(axis=1)
    said, ended_visits = 0, []
    for index in range(120):
        t = index / 10
        spots = [
            (number, float(x + steps[number, index, 0]), float(y + steps[number, index, 1]))
            for number, (x, y, begin, lasting) in enumerate(walks)
            if begin <= t < begin + lasting
        ]
        events = counter.update_tracked(tracked(index, t, spots)).events
        ended_visits += [event for event in events if isinstance(event, Visit)]
        said = next((event.count for event in events if isinstance(event, OccupancySample)), said)
        if index % 17 == 0 or index == 119:
            ended = [event for event in copy.deepcopy(counter).flush() if isinstance(event, Visit)]
            # A sight that was held back to be healed may, at the end, still complete a stay or begin one.
            if not counter._sightings._fragments:
                stays = [*ended_visits, *ended]
                came = sum(not stay.born_inside for stay in stays) + sum(stay.born_inside for stay in stays)
                went = sum(not stay.lost_inside for stay in ended_visits) + sum(
                    stay.lost_inside for stay in ended_visits
                )
                assert came == went + said


STAR = st.lists(st.tuples(st.floats(0.05, 0.45), st.floats(0, 1)), min_size=3, max_size=9)


def star(spokes) -> tuple[tuple[float, float], ...] | None:
    """A polygon about the middle of the picture, concave where a spoke is short; None where it is no zone."""
    angles = sorted({round(turn, 3) for _, turn in spokes})
    radii = [radius for radius, _ in spokes]
    corners = tuple(
        (0.5 + radius * float(np.cos(2 * np.pi * turn)), 0.5 + radius * float(np.sin(2 * np.pi * turn)))
        for turn, radius in zip(angles, radii, strict=False)
    )
    return corners if len(corners) >= 3 and not polygon_crosses_itself(corners) else None


@examples(100)
@given(STAR, st.lists(st.tuples(st.floats(0, 1280), st.floats(0, 720)), min_size=1, max_size=8))
def test_in_concave_zones_the_depth_is_positive_inside_as_rational_arithmetic_says(spokes, points):
    corners = star(spokes)
    if corners is None:
        return
    counter = ZoneCounter(Zone("z", corners), SIZE)
    xy = np.array([*points, *((x * SIZE[0], y * SIZE[1]) for x, y in corners)])
    none = np.zeros(len(xy))
    sights = Sights(
        rows=np.arange(len(xy)), t=none, frame=none.astype(np.int64), xy_px=xy, hidden=np.zeros((len(xy), 2)),
        height_px=np.full(len(xy), 80.0), width_px=np.full(len(xy), 40.0), before_t=none,
        before_xy_px=np.full((len(xy), 2), np.nan), known_at=none,
    )  # fmt: skip
    pixels = tuple((x * SIZE[0], y * SIZE[1]) for x, y in corners)
    depth = counter._depth_heights(sights)
    assert (depth > 0).tolist() == [inside(pixels, (x, y)) for x, y in xy.tolist()]


def test_a_zone_that_is_taken_away_is_left_by_all():
    counter = CameraCounter(IDENTITY, spec(lines=(), zones=(ROOM,)), tracked=True)
    for index in range(20):
        counter.update_tracked(tracked(index, index / 10, [(1, 600, 350)]))
    counter.reconfigure(spec(lines=(), zones=()))
    events = counter.update_tracked(tracked(20, 2.0, [(1, 600, 350)])).events
    (sample,) = [event for event in events if isinstance(event, OccupancySample)]
    assert (sample.zone_id, sample.count, sample.t) == ("room", 0, 1.9)


def test_a_zone_whose_outline_meets_itself_is_refused():
    with pytest.raises(GeometryError, match="crosses or touches itself"):
        Zone("eight", norm((100, 100), (500, 500), (500, 100), (100, 500)))


def test_a_queue_stays_one_from_the_assignment_to_the_visit():
    zone = cameras_pb2.Zone(zone_id="till", polygon=[{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 1}], queue=True)
    plan = counting_of(cameras_pb2.CameraSpec(zones=[zone]))
    counter = CameraCounter(IDENTITY, require_classes(plan, ["person"]), tracked=True)
    for index in range(20):
        counter.update_tracked(tracked(index, index / 10, [(1, 900, 350)]))
    (visit,) = [event for event in counter.flush() if isinstance(event, Visit)]
    assert visit.queue
    identity = RecordIdentity("site", "cam", "worker", 1, "run", "UTC", ("person",))
    record = RecordBuilder(identity, 0.1, finite=False, hand_over=False).finish([visit])
    assert [(v.queue, v.born_inside, v.lost_inside, v.stitched) for v in record.visits] == [(True, True, True, False)]
