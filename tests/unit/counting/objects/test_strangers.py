"""Scenes in which one person seems to go on where another was lost, as detections and with ids, in several views."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fixtures.counting.paths import IDENTITY

from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing
from countline_counting.spec import CountingSpec, Line
from countline_pipelines.offline.replay import RecordedFrame, read_jsonl

SCENES = ("1_enters_where_another_left", "2_opposite_walkers_behind_another")


def counted(frames: list[RecordedFrame], lines: tuple[Line, ...], size: tuple[int, int], *, tracked: bool):
    counter = CameraCounter(IDENTITY, CountingSpec(lines=lines), tracked=tracked)
    events = []
    for frame in frames:
        if tracked:
            events += counter.update_tracked(frame.as_tracks("camera", size)).events
        else:
            events += counter.update(frame.as_detections("camera", size)).events
    events += counter.flush()
    return Counter((event.line_id, event.direction.value) for event in events if isinstance(event, Crossing))


def mirrored(frame: RecordedFrame, width: int) -> RecordedFrame:
    table = frame.detections.copy()
    table[:, [0, 2]] = width - table[:, [2, 0]]
    return replace(frame, detections=np.ascontiguousarray(table))


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("with_ids", [False, True], ids=["detections", "with ids"])
@pytest.mark.parametrize("is_mirrored", [False, True], ids=["as it is", "left for right"])
def test_each_of_two_people_is_counted_for_itself(shared_data: Path, name: str, with_ids: bool, is_mirrored: bool):
    folder = shared_data / "faults" / "counting"
    case = next(each for each in json.loads((folder / "cases.json").read_text()) if each["name"] == name)
    (width, height), expected = case["size"], Counter()
    frames, lines = list(read_jsonl(folder / f"{name}.jsonl", with_ids=with_ids)), []
    if is_mirrored:
        frames = [mirrored(frame, width) for frame in frames]
    for line_id, (ax, ay, bx, by) in case["lines"].items():
        ends = [(ax, ay), (bx, by)]
        if is_mirrored:
            ends = [(width - x, y) for x, y in ends[::-1]]  # turned round, so that in stays in
        lines.append(Line(line_id, tuple((x / width, y / height) for x, y in ends)))
        expected[line_id, "in"], expected[line_id, "out"] = case["expect"][line_id]
    assert counted(frames, tuple(lines), (width, height), tracked=with_ids) == +expected
