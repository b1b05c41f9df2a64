"""Lines counted over stored paths: the crossings of live counting, and those that the paths leave open."""

import configparser
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import GATE, IDENTITY, SIZE, heights, norm, ramp, spec, tracked
from tests.fixtures.examples import examples
from typer.testing import CliRunner

from countline_common.errors import InvalidInputError
from countline_common.files.output_files import OutputFiles
from countline_counting import rules
from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing, Event
from countline_counting.paths import Trajectory
from countline_counting.spec import CountingSpec, Line
from countline_counting.trajectories.recount import SAME_S, RecountedCrossing, RecountResult, recount
from countline_counting.trajectories.simplification import ERROR_HEIGHTS
from countline_demo.scenes import clips
from countline_demo.scenes.scene import Renderer
from countline_pipelines.cli.recount import TimeRange
from countline_pipelines.cli.recount import count as count_stored
from countline_pipelines.messages import to_message
from countline_pipelines.offline.recount import objects_of
from countline_pipelines.offline.replay import RecordedFrame, read_mot
from countline_pipelines.offline.trajectory_files import TrajectoryFile, read_trajectories

MOST_UNCERTAIN = 0.025


def answer_of(events: Iterable[Event], lines: Sequence[Line]) -> RecountResult:
    messages = [to_message(event, ("person", "vehicle"), IDENTITY) for event in events if isinstance(event, Trajectory)]
    answers = list(recount(objects_of(messages), lines))
    return RecountResult(
        tuple(event for answer in answers for event in answer.events),
        tuple(event for answer in answers for event in answer.possible),
    )


def events_of(frames, lines: Sequence[Line] = (GATE,), size=SIZE) -> list[Event]:
    counter = CameraCounter(IDENTITY, spec(lines=lines), tracked=True, trajectories=True)
    found: list[Event] = []
    for index, (t, spots) in enumerate(frames):
        found += counter.update_tracked(tracked(index, t, spots, size=size)).events
    return [*found, *counter.flush()]


def same(live: Crossing, stored: RecountedCrossing) -> bool:
    return (live.line_id, live.track, live.direction) == (stored.line_id, stored.track, stored.direction) and abs(
        live.t - stored.t
    ) <= SAME_S


@dataclass
class Comparison:
    """Crossings recounted from stored paths, compared with those counted live."""

    live: int
    uncertain: int
    untrue: list[RecountedCrossing]
    """Certain, and not live."""
    missed: list[Crossing]
    """Counted live, but not even possible in the recount."""
    farthest_s: float


def compared(events: Sequence[Event], lines: Sequence[Line]) -> Comparison:
    live = [event for event in events if isinstance(event, Crossing)]
    answer = answer_of(events, lines)
    free, farthest_s = list(live), 0.0
    untrue = []
    for stored in sorted(answer.events, key=lambda event: event.uncertain):
        match = min(
            (each for each in free if same(each, stored)), key=lambda each: abs(each.t - stored.t), default=None
        )
        if match is not None:
            free.remove(match)
            farthest_s = max(farthest_s, 0.0 if stored.uncertain else abs(match.t - stored.t))
        elif not stored.uncertain:
            untrue.append(stored)
    doubtful = [*answer.possible, *(event for event in answer.events if event.uncertain)]
    missed = [each for each in free if not any(same(each, stored) for stored in doubtful)]
    uncertain = sum(event.uncertain for event in answer.events)
    return Comparison(len(live), uncertain, untrue, missed, farthest_s)


def wanderers(seed: int, fps: float = 10.0, seconds: float = 30.0):
    """People who walk to and fro over the line, wander, and are not always seen."""
    rng = np.random.default_rng(seed)
    n, people = int(seconds * fps), 8
    place = rng.uniform((350, 250), (850, 470), (people, 2))
    speed = rng.normal(0, 60, (people, 2))
    for i in range(n):
        speed += rng.normal(0, 25, (people, 2)) / np.sqrt(fps)
        place = np.clip(place + speed / fps, (320, 200), (880, 520))
        seen = rng.random(people) > 0.05
        noisy = place + rng.normal(0, 0.8, (people, 2))
        yield i / fps, [(k + 1, *noisy[k]) for k in range(people) if seen[k]]


LINES = (
    GATE,
    Line("slope", norm((350, 220), (820, 500))),
    Line("bent", norm((420, 500), (600, 300), (780, 500))),
    Line("short", norm((560, 330), (640, 390))),
)


@examples(6)
@given(st.integers(0, 10_000), st.sampled_from([5.0, 10.0, 25.0]))
@example(5986, 5.0)  # a person comes back between two frames, just before the pass would have become certain
def test_what_is_certain_is_what_live_counting_said(seed, fps):
    found = compared(events_of(wanderers(seed, fps, 12.0), LINES), LINES)
    assert found.untrue == []
    assert found.missed == []


def test_a_stored_path_gives_the_crossing_that_was_counted_with_its_id():
    events = events_of(heights(ramp(200, 520, 31)))
    (live,) = (event for event in events if isinstance(event, Crossing))
    (stored,) = answer_of(events, [GATE]).events
    assert (stored.id, stored.direction, stored.class_name) == (live.id, live.direction, "person")
    assert stored.t == pytest.approx(live.t, abs=1e-3)
    assert not stored.uncertain


@pytest.mark.parametrize(("before", "counted"), [(8, 1), (2, 0)])
def test_who_comes_into_view_just_before_the_line_counts_as_live(before, counted):
    comparison = compared(events_of(heights(ramp(360 - before, 520, 20))), (GATE,))
    assert (comparison.live, comparison.untrue, comparison.missed) == (counted, [], [])
    assert comparison.uncertain == 0


def test_the_box_height_decides_as_it_does_live():
    """A person gets 0.22 heights beyond the line, and a little less."""
    enough, short = (360 + 80 * (rules.DESTINATION_CLEAR_HEIGHTS + more) for more in (0.02, -0.02))
    for end, count in ((enough, 1), (short, 0)):
        events = events_of(heights([*ramp(200, end, 20), *[end] * 20]))
        answer = answer_of(events, [GATE])
        assert len(answer.events) == count
        assert not any(event.uncertain for event in answer.events)
        assert answer.possible == ()


@pytest.mark.parametrize(("more", "counted"), [(0.25, True), (-0.25, False)])
def test_what_lies_within_the_error_is_uncertain_or_possible(more, counted):
    """A person gets as far beyond the line as needed, to within a quarter of the error."""
    end = 360 + 80 * (rules.DESTINATION_CLEAR_HEIGHTS + more * ERROR_HEIGHTS)
    answer = answer_of(events_of(heights([*ramp(200, end, 20), *[end] * 20])), [GATE])
    reported = answer.events or answer.possible
    assert len(reported) == 1
    assert all(event.uncertain for event in reported)


def test_somebody_who_passes_the_end_of_a_line_by_a_hair_is_uncertain():
    line = Line("gate", norm((300, 360), (600.05, 360)))
    answer = answer_of(events_of(heights(ramp(200, 520, 31)), [line]), [line])
    assert [event.uncertain for event in (*answer.events, *answer.possible)] == [True]


def test_parts_of_a_long_track_are_one_object():
    rng = np.random.default_rng(5)
    ys = [*(200 + rng.normal(0, 3, 1500)), *ramp(200, 520, 40), *(520 + rng.normal(0, 3, 500))]
    events = events_of(heights(ys))
    assert sum(isinstance(event, Trajectory) for event in events) > 2
    assert [event.t for event in answer_of(events, [GATE]).events] == [
        pytest.approx(event.t, abs=0.01) for event in events if isinstance(event, Crossing)
    ]


def test_a_part_that_did_not_come_is_a_gap_that_is_not_joined():
    rng = np.random.default_rng(5)
    events = events_of(heights(200 + rng.normal(0, 3, 2000)))
    parts = [event for event in events if isinstance(event, Trajectory)]
    objects = list(objects_of(to_message(part, (), IDENTITY) for part in (parts[0], parts[2])))
    assert [len(item.parts) for item in objects] == [1, 1]


def test_only_the_classes_and_the_time_that_are_asked_for_count():
    events = events_of(heights([*ramp(200, 520, 31), *ramp(520, 200, 31)]))
    messages = [to_message(event, ("person",), IDENTITY) for event in events if isinstance(event, Trajectory)]
    live = [event.t for event in events if isinstance(event, Crossing)]
    assert len(count_stored(messages, [GATE])["events"]) == 2
    assert count_stored(messages, [GATE], classes=frozenset({"vehicle"}))["events"] == []
    assert count_stored(messages, [GATE], classes=frozenset({"person"}))["lines"]["gate"]["in"] == 1
    cars, people = (Line("gate", GATE.points, classes=frozenset({name})) for name in ("vehicle", "person"))
    assert count_stored(messages, [cars])["events"] == []
    assert count_stored(messages, [people])["events"] == count_stored(messages, [GATE])["events"]
    late = count_stored(messages, [GATE], asked=TimeRange(start=live[1] - 0.5))
    assert [event["direction"] for event in late["events"]] == ["out"]


def mot15(folder: Path) -> Iterator[tuple[list[Event], tuple[Line, ...]]]:
    for sequence in sorted(each for each in (folder / "mot15").iterdir() if (each / "det.txt").is_file()):
        described = configparser.ConfigParser()
        described.read(sequence / "seqinfo.ini")
        info = described["Sequence"]
        size = int(info["imwidth"]), int(info["imheight"])
        lines = (
            Line("mid_h", ((0.15, 0.55), (0.85, 0.55))),
            Line("mid_v", ((0.5, 0.95), (0.5, 0.2))),
            Line("diag", ((0.25, 0.9), (0.7, 0.35))),
        )
        frames = read_mot(sequence / "det.txt", fps=float(info["framerate"]), with_ids=False)
        yield run(frames, lines, size, as_tracks=False), lines


def demo() -> Iterator[tuple[list[Event], tuple[Line, ...]]]:
    """The true tracks of the demo scenes, with additional lines."""
    more = (Line("level", ((0.0, 0.6), (1.0, 0.6))), Line("upright", ((0.5, 1.0), (0.5, 0.0))))
    for clip in (clips.plaza(), clips.entrance(), clips.street(), clips.crossing()):
        lines = (*(Line(line.id, line.points) for line in clip.lines), *more)
        yield run(true_tracks(clip), lines, clip.scene.camera.size_wh, as_tracks=True), lines


def true_tracks(clip: clips.DemoClip) -> Iterator[RecordedFrame]:
    renderer = Renderer(clip.scene)
    for index in range(clip.scene.frames):
        boxes = renderer.boxes(index)
        table = np.array([[*box, 0.9, 0] for box in boxes.values()], dtype=np.float64).reshape(-1, 6)
        yield RecordedFrame(index, float(index / clips.FPS), np.array(list(boxes), dtype=np.int64), table)


def run(frames: Iterable[RecordedFrame], lines, size, *, as_tracks: bool) -> list[Event]:
    counter = CameraCounter(IDENTITY, CountingSpec(lines=lines), tracked=as_tracks, trajectories=True)
    found: list[Event] = []
    for frame in frames:
        if as_tracks:
            found += counter.update_tracked(frame.as_tracks("camera", size)).events
        else:
            found += counter.update(frame.as_detections("camera", size)).events
    return [*found, *counter.flush()]


def check(results: Iterable[tuple[list[Event], tuple[Line, ...]]]) -> None:
    found = [compared(events, lines) for events, lines in results]
    assert [each.untrue for each in found] == [[] for _ in found]
    assert [each.missed for each in found] == [[] for _ in found]
    live = sum(each.live for each in found)
    assert live > 60
    assert sum(each.uncertain for each in found) <= MOST_UNCERTAIN * live
    assert max(each.farthest_s for each in found) <= 0.3


def test_the_demo_scenes_give_again_what_was_counted():
    check(demo())


def test_public_detections_give_again_what_was_counted(shared_data: Path):
    check(mot15(shared_data))


def test_a_path_takes_a_fraction_of_what_was_seen(shared_data: Path):
    """Compared with five numbers of double precision for each sight."""
    for events, _ in mot15(shared_data):
        paths = [event for event in events if isinstance(event, Trajectory)]
        stored = sum(len(to_message(path, ()).SerializeToString()) for path in paths)
        assert stored < 0.4 * 40 * sum(path.path.sights for path in paths)


def test_a_file_gives_back_what_was_written(tmp_path: Path):
    events = events_of(heights(ramp(200, 520, 31)))
    with OutputFiles() as outputs:
        file = TrajectoryFile(outputs.open("--trajectories", tmp_path / "paths.jsonl"))
        file.write(events, IDENTITY, ("person",))
    sent = [to_message(event, ("person",), IDENTITY) for event in events if isinstance(event, Trajectory)]
    assert list(read_trajectories(tmp_path / "paths.jsonl")) == sent


@pytest.mark.parametrize("line", ["{", '{"track": []}', "7", '{"steps_ms": [0], "x": [1]}'])
def test_a_line_that_is_no_trajectory_is_named(tmp_path: Path, line: str):
    path = tmp_path / "paths.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(InvalidInputError):
        count_stored(read_trajectories(path), [GATE])


def test_replay_writes_what_recount_counts(tmp_path: Path):
    from countline_common.cli.app import app

    recording, paths = tmp_path / "tracks.jsonl", tmp_path / "paths.jsonl"
    with recording.open("w") as file:
        for t, spots in heights(ramp(200, 520, 31)):
            objects = [{"id": i, "box": [x - 20, y - 80, x + 20, y]} for i, x, y in spots]
            file.write(json.dumps({"t": t, "objects": objects}) + "\n")
    line = "gate:300,360,900,360"
    runner = CliRunner()
    replayed = runner.invoke(
        app,
        [
            *("replay", str(recording), "--size", "1280x720", "--tracked", "--pixels", "--line", line),
            *("--trajectories", str(paths), "--json"),
        ],
    )
    counted = runner.invoke(app, ["recount", "--from", str(paths), "--pixels", "1280x720", "--line", line, "--json"])
    assert (replayed.exit_code, counted.exit_code) == (0, 0), counted.output
    before, after = json.loads(replayed.stdout), json.loads(counted.stdout)
    assert after["lines"]["gate"] == {"in": 1, "out": 0, "by_class": {"0": {"in": 1, "out": 0}}, "uncertain": 0}
    assert after["events"][0]["id"] == before["events"][0]["id"]
    assert math.isclose(after["events"][0]["t"], before["events"][0]["t"], abs_tol=1e-3)
    assert after["events"][0]["uncertain"] is False
