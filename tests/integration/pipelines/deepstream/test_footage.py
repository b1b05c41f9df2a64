"""Real footage, a real network and a person's lines, over both planes: the same files, models, lines, and counts."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.doubles.deepstream import Installed
from tests.fixtures.forked.command import countline
from tests.fixtures.pipelines.deepstream_bench import Recorder, by_software, deepstream_plane, plan
from tests.fixtures.triton import TritonServer, start_triton

from countline_counting.events import Direction
from countline_counting.spec import CountingSpec, Line

MOST_APART_S = 0.5
"""Between the same crossing of two planes: two trackers, and two ways to scale a picture, on boxes that flicker."""


@dataclass(frozen=True)
class Footage:
    """A clip of the shared data, with the lines that a person counted over."""

    clip: str
    lines_px: dict[str, tuple[int, int, int, int]]
    """From A to B, in pixels of 768 x 432."""
    counts: dict[str, tuple[int, int]]
    """In and out, as a person counted."""
    classes: frozenset[str] = frozenset()

    def counting(self) -> CountingSpec:
        return CountingSpec(
            lines=tuple(
                Line(name, ((x1 / 768, y1 / 432), (x2 / 768, y2 / 432)), classes=self.classes)
                for name, (x1, y1, x2, y2) in self.lines_px.items()
            )
        )


CARS = Footage(
    "car.mp4",
    {"middle_horizontal": (0, 208, 767, 208), "right_lane_diagonal": (480, 200, 290, 312)},
    {"middle_horizontal": (2, 2), "right_lane_diagonal": (2, 0)},
)
PEOPLE = Footage("one-by-one-person.mp4", {"door": (100, 323, 500, 431)}, {"door": (0, 6)}, ("person",))


@pytest.fixture(scope="module")
def yolox_triton(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Serves yolox_nano, prepared by command."""
    folder = tmp_path_factory.mktemp("yolox")
    command = [str(countline()), "models", "prepare"]
    model = shared_data / "models" / "yolox_nano.onnx"
    subprocess.run([*command, str(model), "--out", str(folder / "repository")], capture_output=True, check=True)
    server = start_triton(folder / "repository", folder)
    yield server
    server.stop()


def counts(recorder: Recorder) -> dict[str, tuple[int, int]]:
    found: dict[str, list[Direction]] = {}
    for crossing in recorder.crossings("cam"):
        found.setdefault(crossing.line_id, []).append(crossing.direction)
    return {line: (ways.count(Direction.IN), ways.count(Direction.OUT)) for line, ways in found.items()}


def in_order(recorder: Recorder) -> list[tuple[str, str, float]]:
    return sorted((each.line_id, each.direction.value, each.t) for each in recorder.crossings("cam"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "footage",
    [CARS, PEOPLE],
    ids=["cars", "people"],
)
def test_what_a_person_counted_is_what_both_planes_count(
    deepstream_double: Installed,
    yolox_triton: TritonServer,
    shared_data: Path,
    footage: Footage,
    tmp_path: Path,
) -> None:
    of = plan("cam", shared_data / "videos" / footage.clip, model="yolox_nano", counting=footage.counting())
    with deepstream_plane(yolox_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(of)
        bench.wait_ended("cam", timeout_s=400)
    software = by_software(yolox_triton.grpc, of)
    assert counts(bench.recorder) == counts(software) == footage.counts
    for ours, theirs in zip(in_order(bench.recorder), in_order(software), strict=True):
        assert ours[:2] == theirs[:2]
        assert abs(ours[2] - theirs[2]) < MOST_APART_S, (ours, theirs)
