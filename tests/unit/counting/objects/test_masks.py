"""What is not looked at, as options say: masks by the anchor, objects by age and score; and what the worker reads."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import GATE, HEIGHT, IDENTITY, SIZE, heights, norm, ramp, totals
from typer.testing import CliRunner

from countline.v1 import cameras_pb2, workers_pb2
from countline_common.cli.app import app
from countline_common.errors import InvalidInputError
from countline_counting.counter import CameraCounter
from countline_counting.errors import GeometryError
from countline_counting.events import Crossing
from countline_counting.frames import DetectionFrame
from countline_counting.geometry.polygons import inside
from countline_counting.objects.masks import MaskFilter
from countline_counting.spec import CountingSpec, Mask, MaskKind
from countline_pipelines.cli.spec_args import parse_spec
from countline_pipelines.planes.interface import require_classes
from countline_pipelines.worker.assignments import counting_of, plan_of

LEFT = norm((0, 0), (600, 0), (600, 720), (0, 720))
NOTCHED = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.5, 0.3), (0.1, 0.9))
NUMBERS = st.floats(0, 1, allow_nan=False)


def masked(*masks: Mask) -> CountingSpec:
    return CountingSpec((GATE,), masks=masks)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_many_points_give_the_same_as_one_by_one(points):
    """In pixels, corners and points on the outline included."""
    corners = [(x * 100, y * 50) for x, y in NOTCHED]
    spots = [*((x * 100, y * 50) for x, y in points), *corners, (50.0, 5.0), (10.0, 20.0)]
    seen = MaskFilter([Mask("m", NOTCHED, MaskKind.INCLUDE)], (100, 50)).seen(np.array(spots))
    assert seen.tolist() == [inside(tuple(corners), spot) for spot in spots]


def test_include_masks_add_up_and_ignore_masks_take_away():
    masks = [
        Mask("left", ((0, 0), (0.3, 0), (0.3, 1), (0, 1)), MaskKind.INCLUDE),
        Mask("right", ((0.7, 0), (1, 0), (1, 1), (0.7, 1)), MaskKind.INCLUDE),
        Mask("tree", ((0, 0), (1, 0), (1, 0.5), (0, 0.5)), MaskKind.IGNORE),
    ]
    spots = np.array([(10, 80), (50, 80), (90, 80), (10, 20)], dtype=float)
    assert MaskFilter(masks, (100, 100)).seen(spots).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("kind", "x", "counted"),
    [
        (MaskKind.INCLUDE, 500.0, (1, 0)),
        (MaskKind.INCLUDE, 700.0, (0, 0)),
        (MaskKind.IGNORE, 500.0, (0, 0)),
        (MaskKind.IGNORE, 700.0, (1, 0)),
    ],
)
def test_a_mask_tests_the_anchor_of_tracks_and_of_detections(kind, x, counted):
    path = heights(ramp(200, 520, 31), x=x)
    counting = masked(Mask("left", LEFT, kind))
    assert totals(path, counting) == counted
    counter, events = CameraCounter(IDENTITY, counting), []
    for i, (t, [(_, at, y)]) in enumerate(path):
        row = np.array([[at - 20, y - HEIGHT, at + 20, y, 0.9, 0]], dtype=np.float32)
        events += counter.update(DetectionFrame("camera", i, t, SIZE, row)).events
    assert sum(isinstance(event, Crossing) for event in [*events, *counter.flush()]) == counted[0]


def test_a_masked_box_suppresses_no_other():
    """Two boxes in one place, the better one with its anchor in the mask: the other one is the object."""
    mask = Mask("floor", norm((0, 370), (1280, 370), (1280, 720), (0, 720)), MaskKind.IGNORE)
    counter = CameraCounter(IDENTITY, masked(mask))
    rows = np.array([[580, 280, 620, 372, 0.9, 0], [580, 280, 620, 366, 0.8, 0]], dtype=np.float32)
    assert len(counter.update(DetectionFrame("camera", 0, 0.0, SIZE, rows)).tracked.ids) == 1


def test_masks_can_be_drawn_while_the_camera_runs():
    counter = CameraCounter(IDENTITY, masked())
    row = np.array([[480, 280, 520, 360, 0.9, 0]], dtype=np.float32)
    assert len(counter.update(DetectionFrame("camera", 0, 0.0, SIZE, row)).tracked.ids) == 1
    counter.reconfigure(masked(Mask("left", LEFT, MaskKind.IGNORE)))
    assert len(counter.update(DetectionFrame("camera", 1, 0.1, SIZE, row)).tracked.ids) == 0


@pytest.mark.parametrize("age", [0.0, 0.5, 1.0, 2.5])
def test_a_least_age_loses_no_object_that_lives_long_enough(age):
    """Its age is reached late; its earlier crossings count then."""
    path = [*heights(ramp(310, 410, 4)), *[(0.4 + i / 10, [(1, 600.0, 410.0)]) for i in range(30)]]
    assert totals(path, CountingSpec((GATE,), min_track_age_s=age)) == (1, 0)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"min_track_age_s": 2.6}, "min_track_age_s"),
        ({"min_track_age_s": float("nan")}, "min_track_age_s"),
        ({"min_track_score": 1.1}, "min_track_score"),
        ({"masks": (Mask("a", LEFT, MaskKind.IGNORE),) * 2}, "masks[a]"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_hint(options, field):
    with pytest.raises(GeometryError) as refused:
        CountingSpec((GATE,), **options)
    assert refused.value.field == field
    assert refused.value.hint


def test_a_mask_that_crosses_itself_is_refused():
    with pytest.raises(InvalidInputError, match=r"masks\[bow\]"):
        parse_spec([], ignore=["bow:0.1,0.1,0.9,0.9,0.9,0.1,0.1,0.9"])
    with pytest.raises(InvalidInputError, match="--mask-include door: 4 numbers"):
        parse_spec([], include=["door:0,0,1,1"])


def test_options_of_replay_reach_the_count_and_explain_says_why(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"id": 1, "box": [580, y - 80, 620, y], "score": 0.7} for y in ramp(200, 520, 31)]
    path.write_text("".join(json.dumps({"t": i / 10, "objects": [row]}) + "\n" for i, row in enumerate(rows)))

    def outcome(*extra: str) -> list[str]:
        command = ["replay", str(path), "--size", "1280x720", "--pixels", "--line", "gate:300,360,900,360"]
        result = CliRunner().invoke(app, [*command, "--explain", "--json", *extra], catch_exceptions=False)
        printed = json.loads(result.stdout)
        assert printed["lines"]["gate"]["in"] == printed["explain"]["lines"]["gate"]["in"]["counted"]
        return [one["outcome"] for one in printed["explain"]["candidates"]]

    assert outcome() == ["counted"]
    assert outcome("--min-track-age", "2.5") == ["counted"]
    assert outcome("--min-track-score", "0.8") == ["score_too_low"]
    assert outcome("--mask-ignore", "tree:500,100,700,100,700,700,500,700") == ["masked"]
    assert outcome("--mask-include", "path:0,100,500,100,500,700,0,700") == ["masked"]


def test_the_worker_takes_masks_age_and_score_from_the_camera():
    spec = cameras_pb2.CameraSpec(min_track_age_s=1.5, min_track_score=0.4)
    spec.masks.add(mask_id="tree", kind=cameras_pb2.MASK_KIND_IGNORE).polygon.extend(
        cameras_pb2.Point(x=x, y=y) for x, y in LEFT
    )
    camera = cameras_pb2.Camera(camera_id="a", stream_url="rtsp://host/stream", spec=spec)
    plan = plan_of(workers_pb2.Assignment(camera=camera), "model")
    counting = require_classes(plan.counting, ["person"])
    assert counting.masks == (Mask("tree", LEFT, MaskKind.IGNORE),)
    assert (counting.min_track_age_s, counting.min_track_score) == (1.5, 0.4)
    spec.masks[0].kind = cameras_pb2.MASK_KIND_UNSPECIFIED
    with pytest.raises(InvalidInputError, match="kind"):
        counting_of(spec)
