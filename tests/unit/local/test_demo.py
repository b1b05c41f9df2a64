"""Clips of the demo: from what their rendering prints to cameras and truth."""

import json
from pathlib import Path

from countline.v1 import cameras_pb2
from countline_local.demo.site import Remembered, SiteClip, _read_lines

LINE = {
    "version": 3,
    "name": "plaza",
    "title": "Market square",
    "clip": "plaza.mp4",
    "fps": 10.0,
    "frames": 320,
    "duration_s": 32.0,
    "size": [640, 360],
    "site_time_zone": "Europe/Zurich",
    "classes": ["person", "vehicle"],
    "lines": [{"id": "middle", "points": [[0.5, 0.1], [0.5, 0.9]]}, {"id": "edge", "points": [[0, 0.5], [1, 0.5]]}],
    "zones": [{"id": "bench", "polygon": [[0, 0], [1, 0], [1, 1]]}],
    "truth": [
        {"line": "middle", "t": 1.25, "direction": "in", "class_id": 0, "object": 4, "class": "person"},
        {"line": "middle", "t": 9.5, "direction": "out", "class_id": 1, "object": 5, "class": "vehicle"},
    ],
    "path": "/data/demo/plaza.mp4",
}


def clip() -> SiteClip:
    return SiteClip.parse(json.dumps(LINE))


def test_a_clip_becomes_a_camera_that_plays_it_in_a_loop() -> None:
    camera = clip().camera()
    assert (camera.camera_id, camera.site_id, camera.name) == ("plaza", "demo", "Market square")
    assert camera.stream_url == "file:///data/demo/plaza.mp4"
    assert camera.spec.model == "demo_detector"
    assert camera.spec.playback == cameras_pb2.PLAYBACK_LOOP
    assert [line.line_id for line in camera.spec.lines] == ["middle", "edge"]
    assert [(point.x, point.y) for point in camera.spec.lines[0].points] == [(0.5, 0.1), (0.5, 0.9)]
    assert [len(zone.polygon) for zone in camera.spec.zones] == [3]


def test_the_truth_repeats_with_the_clip_in_phase_with_the_wall_clock() -> None:
    middle, _ = clip().truth_sets()
    assert (middle["start"], middle["duration_s"], middle["repeats"]) == ("1970-01-01T00:00:00Z", 32.0, True)
    assert middle["crossings"] == [
        {"t": 1.25, "direction": "in", "class_name": "person"},
        {"t": 9.5, "direction": "out", "class_name": "vehicle"},
    ]


def test_a_line_that_nobody_crosses_has_a_truth_too() -> None:
    edge = clip().truth_sets()[1]
    assert (edge["line_id"], edge["crossings"]) == ("edge", [])


def test_what_was_set_up_is_remembered_by_version(tmp_path: Path) -> None:
    path = tmp_path / "set-up.json"
    assert not Remembered(path).has(clip())
    Remembered(path).add(clip())
    assert Remembered(path).has(clip())
    newer = SiteClip.parse(json.dumps({**LINE, "version": 4}))
    assert not Remembered(path).has(newer)


def test_only_whole_lines_of_a_growing_file_are_read_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "demo.log"
    assert _read_lines(path, 0) == ([], 0)
    path.write_bytes(b"one\ntw")
    lines, position = _read_lines(path, 0)
    assert lines == ["one"]
    assert _read_lines(path, position) == ([], position)
    with path.open("ab") as file:
        file.write("o\nthrée\n".encode())
    lines, position = _read_lines(path, position)
    assert lines == ["two", "thrée"]
    assert position == path.stat().st_size
