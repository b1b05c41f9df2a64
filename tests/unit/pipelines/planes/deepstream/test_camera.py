"""One camera of the DeepStream plane, fed with tables as a pipeline gives them."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.clips import MIDDLE

from countline_common.triton import ModelInfo
from countline_counting.events import Crossing, Event
from countline_counting.identity import Identity
from countline_counting.rules import OBJECT_UNSEEN_S
from countline_counting.spec import CountingSpec, Line
from countline_pipelines.planes.deepstream.cameras.camera import DeepStreamCamera
from countline_pipelines.planes.deepstream.cameras.metadata import FrameTable
from countline_pipelines.planes.deepstream.cameras.scores import ScoreMemory
from countline_pipelines.planes.deepstream.cameras.valve import SourceValve
from countline_pipelines.planes.interface import CameraPlan, CameraState, CountedFrame, RunStarted
from countline_pipelines.sources import Playback, SourceSpec

INFO = ModelInfo("people", 3, 384, 640, 100, ("person", "vehicle"), 0.45, 8, 1)
PERIOD_NS = 50_000_000
TRACKER_ONLY = -0.1
"""Confidence that DeepStream gives a box which the tracker predicted and the detector did not see."""


class Sink:
    def __init__(self) -> None:
        self.runs: list[str] = []
        self.ended: list[tuple[str, bool]] = []
        self.frames: list[CountedFrame] = []
        self.events: list[Event] = []

    def run_started(self, run: RunStarted) -> None:
        self.runs.append(run.identity.run)

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        self.frames.append(counted)
        self.events += counted.result.events

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        self.ended.append((identity.run, events is not None))
        self.events += events or ()


class Fed:
    """A camera with an open source."""

    def __init__(self, playback: Playback = Playback.FAST, run: str = "named") -> None:
        counting = CountingSpec(lines=(Line("middle", MIDDLE),))
        source = SourceSpec("/clips/a.mp4", playback, recorded_at=1_000.0)
        self.sink = Sink()
        self.camera = DeepStreamCamera(CameraPlan("cam", source, "people", counting, 0, run), INFO, self.sink)
        self.open()

    def open(self) -> None:
        self.valve = SourceValve(self.camera.plan.source)
        self.camera.opened(self.valve)

    def feed(
        self, index: int, *boxes: tuple[float, ...], score: float = 0.9, size_wh: tuple[int, int] = (640, 480)
    ) -> None:
        """A frame with boxes as (id, x1, y1, x2, y2)."""
        pts_ns = index * PERIOD_NS
        self.valve.transit.enter(pts_ns, 0.0, 0.0)
        rows = np.array(boxes, np.float64).reshape(-1, 5)
        table = FrameTable(
            0, pts_ns, 0, size_wh, rows[:, 0].astype(np.int64), rows[:, 1:],
            np.full(len(rows), score), np.zeros(len(rows), np.int64),
        )  # fmt: skip
        self.camera.take(table)

    def walk(self, track: int, frames: Sequence[int], **more: object) -> None:
        """An object that crosses the line to the right: out."""
        for step, index in enumerate(frames):
            x = 640 * (step + 0.5) / len(frames)
            self.feed(index, (track, x - 30, 150, x + 30, 350), **more)

    def crossings(self) -> list[Crossing]:
        return [event for event in self.sink.events if isinstance(event, Crossing)]


def test_a_track_over_a_line_is_counted_once() -> None:
    fed = Fed()
    fed.walk(7, range(40))
    fed.camera.finished()
    assert len(fed.crossings()) == 1
    assert fed.sink.runs == ["named"]
    assert fed.sink.ended == [("named", True)]
    assert fed.camera.condition().state is CameraState.FINISHED
    assert fed.camera.condition().progress == 1.0


def test_boxes_that_the_tracker_alone_sees_count_with_the_last_score_of_their_track() -> None:
    fed = Fed()
    for index in range(40):
        x = 640 * (index + 0.5) / 40
        fed.feed(index, (7, x - 30, 150, x + 30, 350), score=0.8 if index < 10 else TRACKER_ONLY)
    fed.camera.finished()
    (crossing,) = fed.crossings()
    assert crossing.score == pytest.approx(0.8)


def test_a_file_that_is_broken_off_decides_nothing_and_is_counted_anew_under_its_name() -> None:
    fed = Fed()
    fed.walk(7, range(30))
    fed.camera.closed(decide=False)
    fed.open()
    fed.walk(7, range(40))
    fed.camera.finished()
    assert fed.sink.ended == [("named", False), ("named", True)]
    assert len({crossing.id for crossing in fed.crossings()}) == 1


def test_a_source_that_is_opened_anew_has_a_new_tracker_and_so_a_new_run() -> None:
    """Ids start again on a new pad: 7 is another object."""
    fed = Fed(Playback.LOOP, run="")
    fed.feed(0, (7, 100, 150, 160, 350))
    fed.camera.closed(decide=True)
    fed.open()
    fed.feed(1, (7, 500, 150, 560, 350))
    assert len(set(fed.sink.runs)) == 2
    assert fed.sink.ended == [(fed.sink.runs[0], True)]


def test_another_size_of_picture_is_a_new_run() -> None:
    fed = Fed()
    fed.walk(7, range(10))
    fed.feed(10, (7, 100, 150, 160, 350), size_wh=(320, 240))
    assert fed.sink.runs == ["named", "named.1"]


def test_boxes_are_clipped_to_the_picture() -> None:
    fed = Fed()
    for index in range(3):
        fed.feed(index, (7, -20, 50, 200, 490))
    assert fed.sink.frames[-1].result.tracked.xyxy_px.tolist() == [[0.0, 50.0, 200.0, 480.0]]


def test_frames_that_the_pipeline_lost_are_reported_as_dropped_and_leave_a_gap_in_the_numbers() -> None:
    fed = Fed()
    fed.feed(0)
    for index in (1, 2):
        fed.valve.transit.enter(index * PERIOD_NS, 0.0, 0.0)
    fed.feed(3)
    assert [counted.dropped for counted in fed.sink.frames] == [0, 2]
    assert [counted.result.tracked.index for counted in fed.sink.frames] == [0, 3]
    assert fed.camera.condition().frames_dropped == 2


def test_a_crash_of_counting_ends_this_camera_alone_and_says_so() -> None:
    fed = Fed()
    fed.feed(0)
    fed.camera._counter.counter.update_tracked = None  # type: ignore[union-attr,method-assign,assignment]
    fed.feed(1)
    assert fed.camera.crashed_at is not None
    condition = fed.camera.condition()
    assert condition.state is CameraState.FAILED
    assert condition.fault is not None
    assert condition.fault.code == "internal"
    fed.camera.closed(decide=True)
    assert fed.sink.ended == [("named", False)], "what a crashed counter would say is not asked for"


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=200))
def test_the_memory_of_scores_is_bounded_by_who_was_seen_lately(sights: list[tuple[int, bool]]) -> None:
    memory = ScoreMemory()
    for step, (track, seen) in enumerate(sights):
        score = 0.5 if seen else TRACKER_ONLY
        filled = memory.completed(np.array([step * 10 + track]), np.array([score]), step * 0.5)
        assert filled[0] == (0.5 if seen else 0.0)
        assert len(memory) <= 2 * OBJECT_UNSEEN_S / 0.5 + 2
