"""True crossings: computed from the ground path, and the same as following the boxes frame by frame."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.errors import AlreadyExistsError
from countline_demo.scenes.clips import CLIPS
from countline_demo.scenes.render import describe, is_rendered, render_clip
from countline_demo.scenes.routes import GroundRoute, Journey, Stop
from countline_demo.scenes.scene import Renderer
from countline_demo.scenes.truth import crossings_of, true_crossings
from countline_demo.scenes.video import write_video

UP = np.array([[5.0, 10.0], [5.0, 0.0]])
"""From A at the bottom to B at the top of the screen: the right-hand side is to the right."""


def curve(*points: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(points), dtype=float), np.array(points, dtype=float)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (((0, 5), (10, 5)), [(0.5, True)]),  # to the right of someone who looks up the screen
        (((10, 5), (0, 5)), [(0.5, False)]),
        (((0, 5), (4, 5), (0, 6)), []),  # comes near and turns back
        (((0, 5), (5, 5), (0, 6)), [(1.0, True), (1.0, False)]),  # a point on the line is on the right-hand side
        (((0, 20), (10, 20)), []),  # passes beyond the end
        (((0, 5), (np.nan, np.nan), (10, 5)), []),  # leaves the picture in between
    ],
)
def test_a_curve_crosses_a_line(points: tuple[tuple[float, float], ...], expected: list[tuple[float, bool]]) -> None:
    assert crossings_of(*curve(*points), UP) == expected


COORDINATE = st.integers(-20, 20).map(lambda n: n + 0.25)


@given(
    st.lists(st.tuples(COORDINATE, COORDINATE), min_size=2, max_size=8),
    st.lists(st.tuples(COORDINATE, COORDINATE), min_size=2, max_size=2, unique=True),
)
def test_turning_the_line_round_turns_every_direction_round(
    points: list[tuple[float, float]], ends: list[tuple[float, float]]
) -> None:
    times, places = curve(*points)
    line = np.array(ends) + np.array([0.1234567, 0.0987123])  # off the grid: no path goes through an end
    if _grazes(places, line):
        return
    there = crossings_of(times, places, line)
    back = crossings_of(times, places, line[::-1])
    assert [t for t, _ in there] == pytest.approx([t for t, _ in back])
    assert [inwards for _, inwards in there] == [not inwards for _, inwards in back]


def _grazes(places: np.ndarray, line: np.ndarray) -> bool:
    """Whether some point lies on the line's carrier, where sides are a matter of definition."""
    along = line[1] - line[0]
    side = along[0] * (places[:, 1] - line[0, 1]) - along[1] * (places[:, 0] - line[0, 0])
    return bool(np.any(np.abs(side) < 1e-9))


@pytest.mark.parametrize("name", list(CLIPS))
def test_true_crossings_are_those_that_following_the_boxes_shows(name: str) -> None:
    clip = CLIPS[name]()
    scene, renderer = clip.scene, Renderer(clip.scene)
    size = np.array(scene.camera.size_wh)
    indices = range(0, scene.frames + 2, 2)
    seen = [renderer.boxes(index) for index in indices]
    found = []
    for actor in scene.actors:
        boxes = [frame.get(actor.id, (np.nan,) * 4) for frame in seen]
        anchors = np.array([((x1 + x2) / 2, y2) for x1, _, x2, y2 in boxes])
        times = np.array(indices) / float(scene.fps)
        for line in clip.lines:
            for t, inwards in crossings_of(times, anchors, np.array(line.points) * size):
                found.append((line.id, actor.id, "in" if inwards else "out", t))
    expected = [(truth.line, truth.object, truth.direction, truth.t) for truth in true_crossings(scene, clip.lines)]
    assert sorted(row[:3] for row in found) == sorted(row[:3] for row in expected)
    for mine, true in zip(sorted(found), sorted(expected), strict=True):
        assert abs(mine[3] - true[3]) < 0.3, (mine, true)


@pytest.mark.parametrize("name", list(CLIPS))
def test_whoever_crosses_a_line_does_it_once_per_period_and_both_directions_are_used(name: str) -> None:
    clip = CLIPS[name]()
    crossings = true_crossings(clip.scene, clip.lines)
    assert len({(crossing.line, crossing.object) for crossing in crossings}) == len(crossings)
    for line in clip.lines:
        directions = {crossing.direction for crossing in crossings if crossing.line == line.id}
        assert directions == {"in", "out"}, line.id
    assert 4 <= len(crossings) <= 12


def test_a_journey_slows_down_for_a_stop_and_goes_on() -> None:
    journey = Journey(GroundRoute(((0.0, 0.0), (20.0, 0.0))), 0.0, 2.0, (Stop(10.0, 3.0, ease_s=1.0),))
    times = np.arange(0.0, journey.duration_s, 0.05)
    gone = journey.distance_m(times)
    speed = np.diff(gone) / 0.05
    assert np.all(speed >= 0)
    assert speed.max() < 2.01
    assert gone[-1] == pytest.approx(20.0, abs=0.11)
    standing = times[:-1][speed < 0.01]
    assert standing.max() - standing.min() == pytest.approx(3.0, abs=0.2)
    assert journey.duration_s == pytest.approx(20 / 2 + 3 + 1, abs=0.01)


def test_the_description_of_a_clip_is_plain_json_with_normalised_geometry() -> None:
    described = json.loads(json.dumps(describe(CLIPS["street"]())))
    assert described["duration_s"] == described["frames"] / described["fps"]
    assert {line["id"] for line in described["lines"]} == {truth["line"] for truth in described["truth"]}
    for u, v in [point for line in described["lines"] for point in line["points"]]:
        assert 0 <= u <= 1
        assert 0 <= v <= 1
    assert {truth["class"] for truth in described["truth"]} == {"person", "vehicle"}
    assert all(0 <= truth["t"] < described["duration_s"] for truth in described["truth"])


def test_a_clip_is_rendered_with_its_description_and_not_again_unless_the_version_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = CLIPS["entrance"]()
    monkeypatch.setitem(CLIPS, "entrance", lambda: replace(clip, scene=replace(clip.scene, frames=5)))
    assert not is_rendered(tmp_path, "entrance")
    steps: list[tuple[int, int]] = []
    described = render_clip(tmp_path, "entrance", lambda done, frames: steps.append((done, frames)))
    assert steps == [(done, 5) for done in range(1, 6)]
    assert json.loads((tmp_path / "entrance.json").read_text()) == described
    assert is_rendered(tmp_path, "entrance")
    monkeypatch.setattr("countline_demo.scenes.render.VERSION", described["version"] + 1)
    assert not is_rendered(tmp_path, "entrance")


@pytest.mark.parametrize("taken", ["street.mp4", "street.json"])
def test_files_of_the_user_with_the_names_of_a_clip_are_never_replaced(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text('{"mine": true}')
    with pytest.raises(AlreadyExistsError, match=taken) as refused:
        render_clip(tmp_path, "street", lambda *_: None)
    assert "--out" in refused.value.hint
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(taken, '{"mine": true}')]


def test_an_interrupted_clip_is_rendered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = CLIPS["entrance"]()
    monkeypatch.setitem(CLIPS, "entrance", lambda: replace(clip, scene=replace(clip.scene, frames=2)))
    for interrupted_version in (1, 2):  # the first time, and when an older clip is replaced

        def interrupt(done: int, frames: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("countline_demo.scenes.render.VERSION", interrupted_version)
        with pytest.raises(KeyboardInterrupt):
            render_clip(tmp_path, "entrance", interrupt)
        assert not is_rendered(tmp_path, "entrance")
        render_clip(tmp_path, "entrance", lambda *_: None)
        assert is_rendered(tmp_path, "entrance")


def test_a_film_has_every_frame_at_a_constant_rate_and_starts_with_a_key_frame(tmp_path: Path) -> None:
    pictures = [np.full((64, 96, 3), 40 + index, dtype=np.uint8) for index in range(45)]
    assert write_video(tmp_path / "film.mp4", pictures, (96, 64), Fraction(10)) == 45
    with av.open(str(tmp_path / "film.mp4")) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert packets[0].is_keyframe
    with av.open(str(tmp_path / "film.mp4")) as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].average_rate == 10
        assert [round(float(frame.time) * 10) for frame in frames] == list(range(45))
        assert float(container.duration / av.time_base) == pytest.approx(4.5, abs=0.001)
    assert not list(tmp_path.glob(".*")), "the unfinished file is gone"
