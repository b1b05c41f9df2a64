"""Places on the ground, and how fast and whereto objects go."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import GATE, IDENTITY, SIZE, crossings, tracked
from tests.fixtures.examples import examples
from typer.testing import CliRunner

from countline.v1 import cameras_pb2
from countline_common.cli.app import app
from countline_common.errors import InvalidInputError
from countline_counting.counter import CameraCounter
from countline_counting.errors import GeometryError
from countline_counting.events import Crossing
from countline_counting.geometry.ground import GroundPlane, travel
from countline_counting.spec import CountingSpec, Line
from countline_pipelines.cli.spec_args import parse_spec
from countline_pipelines.planes.interface import require_classes
from countline_pipelines.publishing.events import RecordBuilder, RecordIdentity
from countline_pipelines.worker.assignments import counting_of

IMAGE = ((0.3, 0.3), (0.7, 0.3), (0.95, 0.95), (0.05, 0.95))
"""A street that runs away from the camera."""
STREET = ((0.0, 30.0), (8.0, 30.0), (8.0, 0.0), (0.0, 0.0))
PLANE = GroundPlane(tuple(zip(IMAGE, STREET, strict=True)))


def to_image(x_m: float, y_m: float) -> tuple[float, float]:
    """The way back from the ground, in pixels: the homography that the same pairs fix the other way round, by SVD."""
    rows = []
    for (u, v), (x, y) in zip(IMAGE, STREET, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y, -u])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y, -v])
    h = np.linalg.svd(np.array(rows))[2][-1].reshape(3, 3)
    u, v, w = h @ (x_m, y_m, 1.0)
    return u / w * SIZE[0], v / w * SIZE[1]


def test_reference_points_lie_where_they_were_said_to_lie():
    pixels = np.array([(x * SIZE[0], y * SIZE[1]) for x, y in IMAGE])
    assert PLANE.metres(pixels, SIZE) == pytest.approx(np.array(STREET), abs=1e-9)


@given(st.floats(0, 8), st.floats(0, 30))
def test_a_place_on_the_ground_is_found_again_from_the_picture(x_m, y_m):
    found = PLANE.metres(np.array([to_image(x_m, y_m)]), SIZE)
    assert found[0].tolist() == pytest.approx([x_m, y_m], abs=1e-6)


def test_what_lies_beyond_the_horizon_is_nowhere():
    """The sides of the street meet at x = 0.5 and y = -0.22, above the picture."""
    assert np.isnan(PLANE.metres(np.array([[640.0, -200.0]]), SIZE)).all()


@pytest.mark.parametrize(
    ("image", "ground", "problem"),
    [
        (IMAGE[:3], STREET[:3], "4 are needed"),
        ((*IMAGE[:3], (1.5, 0.9)), STREET, "outside the picture"),
        ((*IMAGE[:3], (0.3, float("nan"))), STREET, "outside the picture"),
        (IMAGE, (*STREET[:3], (float("inf"), 0.0)), "no place"),
        (((0.1, 0.1), (0.5, 0.5), (0.9, 0.9), (0.1, 0.9)), STREET, "on one line in the picture"),
        (IMAGE, ((0.0, 0.0), (4.0, 0.0), (8.0, 0.0), (0.0, 30.0)), "on one line on the ground"),
        (IMAGE, (STREET[0], STREET[0], *STREET[2:]), "on one line on the ground"),
        (IMAGE, (STREET[1], STREET[0], STREET[2], STREET[3]), "horizon"),
        (IMAGE, ((0.0, 0.0), (8.0, 0.0), (4.0, 5.0), (4.0, 30.0)), "horizon"),
    ],
)
def test_points_that_fix_no_ground_are_refused_with_a_hint(image, ground, problem):
    with pytest.raises(GeometryError, match=problem) as refused:
        GroundPlane(tuple(zip(image, ground, strict=True)))
    assert refused.value.hint
    assert refused.value.field == "ground_plane"


SQUARE = ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))
MOVED = st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)), min_size=4, max_size=4)
"""How far the corners of a square are drawn away: some of what comes of it are grounds, some are not."""


def drawn(moved, scale):
    return [((x + dx) * scale, (y + dy) * scale) for (x, y), (dx, dy) in zip(SQUARE, moved, strict=True)]


@examples(100)
@given(MOVED, MOVED, st.lists(st.floats(0.01, 1), min_size=4, max_size=4))
def test_what_is_accepted_has_its_whole_quadrilateral_before_the_horizon(image_moved, ground_moved, shares):
    image, places = drawn(image_moved, 1.0), drawn(ground_moved, 30.0)
    try:
        plane = GroundPlane(tuple(zip(image, places, strict=True)))
    except GeometryError:
        return
    share = np.array(shares) / sum(shares)
    inner = share @ np.array(image) * np.array(SIZE)
    assert np.isfinite(plane.metres(inner[None, :], SIZE)).all()


def walk(speed, angle_deg, fps, *, seconds=6.0, jitter=None):
    """Frames of somebody who goes straight over the middle of the street at an even speed, there at 3 s."""
    dx, dy = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    frames = []
    for index in range(int(seconds * fps) + 1):
        away_m = (index / fps - seconds / 2) * speed
        x, y = to_image(4.0 + away_m * dx, 6.0 + away_m * dy)
        if jitter is not None:
            x, y = x + jitter.normal(0, 1.0), y + jitter.normal(0, 1.0)
        frames.append((index / fps, [(1, x, y)]))
    return frames


def through(line_at_m: float) -> CountingSpec:
    left, right = to_image(-20.0, line_at_m), to_image(28.0, line_at_m)
    ends = tuple((min(max(x / SIZE[0], 0.0), 1.0), y / SIZE[1]) for x, y in (left, right))
    return CountingSpec(lines=(Line("gate", ends),), ground=PLANE)


@examples(12)
@given(st.floats(0.5, 1.9), st.sampled_from([70.0, 90.0, 110.0, 270.0]), st.sampled_from([2, 5, 12.5, 25, 30, 60]))
def test_an_even_speed_is_recovered_at_any_frame_rate(speed, angle_deg, fps):
    found = crossings(walk(speed, angle_deg, fps), through(6.0))
    assert len(found) == 1
    assert found[0].speed_m_per_s == pytest.approx(speed, rel=0.02)


def test_a_speed_survives_jitter_of_a_pixel_and_frames_that_are_missing():
    chance = np.random.default_rng(4)
    frames = [frame for frame in walk(1.5, 90.0, 25, jitter=chance) if chance.random() > 0.4]
    (found,) = crossings(frames, through(6.0))
    assert found.speed_m_per_s == pytest.approx(1.5, rel=0.15)


@pytest.mark.parametrize(
    ("step", "heading_deg"), [((0, -9), 0), ((9, 0), 90), ((0, 9), 180), ((-9, 0), 270), ((9, -9), 45)]
)
def test_the_direction_of_travel_is_clockwise_from_straight_up(step, heading_deg):
    history = np.array([[k / 10, 300 + k * step[0], 300 + k * step[1], 40, 80] for k in range(8)], dtype=float)
    moving = travel(history, 0.3, None, SIZE)
    assert moving.heading_deg == pytest.approx(heading_deg, abs=1e-9)
    assert moving.speed_m_per_s is None


def test_of_an_object_that_was_seen_once_or_stands_still_nothing_is_claimed():
    once = np.full((12, 5), np.nan)
    once[3] = (1.0, 300, 300, 40, 80)
    assert travel(once, 1.0, PLANE, SIZE).heading_deg is None
    still = np.array([[k / 10, 640, 500, 40, 80] for k in range(8)], dtype=float)
    assert travel(still, 0.3, PLANE, SIZE).heading_deg is None
    assert travel(still, 0.3, PLANE, SIZE).speed_m_per_s == pytest.approx(0)


def test_a_ground_that_comes_while_the_camera_runs_is_used_from_then_on():
    counter = CameraCounter(IDENTITY, CountingSpec(lines=(GATE,)), tracked=True)
    found = []
    for index in range(60):
        if index == 30:
            counter.reconfigure(CountingSpec(lines=(GATE,), ground=PLANE))
        y = 200 + 8 * (index % 30) if index < 30 else 440 - 8 * (index % 30)
        events = counter.update_tracked(tracked(index, index / 10, [(1, 600, y)])).events
        found += [event for event in events if isinstance(event, Crossing)]
    first, second = [*found, *(event for event in counter.flush() if isinstance(event, Crossing))]
    assert first.speed_m_per_s is None
    assert first.heading_deg == pytest.approx(180)
    assert second.speed_m_per_s is not None


GROUND_ARGUMENTS = [
    argument
    for (x, y), (x_m, y_m) in zip(IMAGE, STREET, strict=True)
    for argument in ("--ground", f"{x * SIZE[0]:g},{y * SIZE[1]:g}={x_m:g},{y_m:g}")
]


def recorded(path, speed):
    lines = []
    for index, (t, spots) in enumerate(walk(speed, 90.0, 25)):
        (box,) = tracked(index, t, spots).xyxy_px.tolist()
        lines.append(json.dumps({"t": t, "objects": [{"id": 1, "box": box}]}))
    path.write_text("\n".join(lines))
    y = to_image(4.0, 6.0)[1]
    return ["replay", str(path), "--size", "1280x720", "--tracked", "--pixels", "--line", f"gate:0,{y:g},1280,{y:g}"]


def test_replay_reports_speeds_where_the_ground_is_known(tmp_path):
    arguments = recorded(tmp_path / "tracks.jsonl", 1.4)
    printed = CliRunner().invoke(app, [*arguments, *GROUND_ARGUMENTS, "--json"])
    assert printed.exit_code == 0, printed.output
    (event,) = json.loads(printed.stdout)["events"]
    assert event["speed_m_per_s"] == pytest.approx(1.4, rel=0.02)
    assert 0 <= event["heading_deg"] < 360
    (event,) = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)["events"]
    assert event["speed_m_per_s"] is None


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        (["0.1,0.2"], "a point of the picture and its place"),
        (["0.1=0.2,3,4"], "a point of the picture and its place"),
        (["0.1,0.2=3,4"], "4 are needed"),
    ],
)
def test_a_ground_that_cannot_be_meant_is_refused(points, problem):
    with pytest.raises(InvalidInputError, match=problem) as refused:
        parse_spec(["gate:0.1,0.5,0.9,0.5"], ground=points)
    assert refused.value.hint


def test_the_ground_of_an_assignment_reaches_the_counter_and_its_speeds_the_record():
    message = cameras_pb2.CameraSpec()
    for (x, y), (x_m, y_m) in zip(IMAGE, STREET, strict=True):
        message.ground_plane.points.add(image=cameras_pb2.Point(x=x, y=y), x_m=x_m, y_m=y_m)
    assert require_classes(counting_of(message), []).ground == PLANE
    (found,) = crossings(walk(1.2, 90.0, 25), through(6.0))
    identity = RecordIdentity("site", "cam", "worker", 1, "run", "UTC", ("person",))
    record = RecordBuilder(identity, 0.1, finite=False, hand_over=False).finish([found])
    assert record.crossings[0].speed_m_per_s == found.speed_m_per_s
    assert record.crossings[0].heading_deg == found.heading_deg
