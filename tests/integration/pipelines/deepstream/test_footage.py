"""Real footage, a real network and a person's lines: `countline count` counts what the person counted, and so does the
DeepStream plane.

The network needs tens of milliseconds for a frame, so each clip is counted once by the command, and people, who walk,
at half of their frames.
"""

import json
import math
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.doubles.deepstream import Installed
from tests.fixtures.clips import beginning
from tests.fixtures.forked.command import countline
from tests.fixtures.pipelines.deepstream_bench import deepstream_plane, plan
from tests.fixtures.triton import TritonServer, start_triton

from countline_counting.spec import CountingSpec, Line

MOST_APART_S = 0.5
"""Between the same crossing of two planes: two trackers, and two ways to scale a picture, on boxes that flicker."""
STARTS_AT = 1000.0
"""Capture time of a clip's first frame on the DeepStream plane (`deepstream_bench.plan`)."""

pytestmark = [pytest.mark.slow, pytest.mark.early, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Footage:
    """A clip of the shared data, with the lines that a person counted over."""

    clip: str
    lines_px: dict[str, tuple[int, int, int, int]]
    """From A to B, in pixels of 768 x 432."""
    counts: dict[tuple[str, str], int]
    """By line and direction, as a person counted."""
    classes: frozenset[str] = frozenset()
    rate: float = 0.0
    step: int = 1
    """From one counted frame to the next, at this rate."""
    standing: int = 0
    """Crossings of people who stand at the line, within the noise of their boxes. Planes date them differently."""
    compared_s: float = math.inf
    """The planes are compared over the clip's beginning: it costs a network's time for each frame."""

    def counting(self) -> CountingSpec:
        return CountingSpec(
            lines=tuple(
                Line(name, ((x1 / 768, y1 / 432), (x2 / 768, y2 / 432)), classes=self.classes)
                for name, (x1, y1, x2, y2) in self.lines_px.items()
            )
        )

    def options(self) -> list[str]:
        """Of `countline count`."""
        lines = [f"{name}:{','.join(map(str, points))}" for name, points in self.lines_px.items()]
        options = ["--pixels", *(word for line in lines for word in ("--line", line))]
        options += ["--classes", ",".join(self.classes)] if self.classes else []
        return options + (["--rate", str(self.rate)] if self.rate else [])


CARS = Footage(
    "car.mp4",
    {"middle_horizontal": (0, 208, 767, 208), "right_lane_diagonal": (480, 200, 290, 312)},
    {("middle_horizontal", "in"): 2, ("middle_horizontal", "out"): 2, ("right_lane_diagonal", "in"): 2},
    compared_s=20.0,
)
PEOPLE = Footage(
    "one-by-one-person.mp4", {"door": (100, 323, 500, 431)}, {("door", "out"): 6}, frozenset({"person"}), rate=5.0,
    step=2, standing=1,
)  # fmt: skip
"""Their feet are cut off by the picture's border where they come in."""
each_footage = pytest.mark.parametrize("footage", [CARS, PEOPLE], ids=["cars", "people"])

Counted = Callable[[Footage], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def counted(shared_data: Path) -> Counted:
    """The events that `countline count` reports of a clip; each clip is counted once."""
    network = ("--model", str(shared_data / "models" / "yolox_nano.onnx"), "--head", "yolox")

    @cache
    def events(clip: str, *options: str) -> list[dict[str, Any]]:
        command = [str(countline()), "count", str(shared_data / "videos" / clip), *network, *options, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)["events"]
        return found

    return lambda footage: events(footage.clip, *footage.options())


@each_footage
def test_each_crossing_is_counted_once_as_a_person_counted(counted: Counted, footage: Footage) -> None:
    assert Counter((event["line"], event["direction"]) for event in counted(footage)) == footage.counts


def test_cars_cross_in_the_frames_in_which_a_person_saw_them_cross(counted: Counted, shared_data: Path) -> None:
    truth = json.loads((shared_data / "videos" / "car.truth.json").read_text())
    found = {(event["line"], event["frame"]) for event in counted(CARS)}
    for crossing in truth["crossings"]:
        middle, tolerance = crossing["frame_bottom_center"], crossing["tolerance"]
        near = range(middle - tolerance, middle + tolerance + 1)
        assert any((crossing["line"], frame) in found for frame in near), crossing


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


@each_footage
def test_the_deepstream_plane_counts_what_the_command_counts(
    deepstream_double: Installed,
    yolox_triton: TritonServer,
    counted: Counted,
    shared_data: Path,
    footage: Footage,
    tmp_path: Path,
) -> None:
    whole, rate = shared_data / "videos" / footage.clip, footage.rate
    clip = beginning(whole, tmp_path / footage.clip, footage.compared_s)
    with deepstream_plane(yolox_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("cam", clip, model="yolox_nano", counting=footage.counting(), rate=rate))
        bench.wait_ended("cam", timeout_s=400)
    numbers = bench.recorder.frame_numbers("cam")
    assert {later - earlier for earlier, later in pairwise(numbers)} == {footage.step}
    ours = sorted((each.line_id, each.direction.value, each.t - STARTS_AT) for each in bench.recorder.crossings("cam"))
    before = [each for each in counted(footage) if each["t"] < footage.compared_s]
    theirs = sorted((each["line"], each["direction"], each["t"]) for each in before)
    assert [one[:2] for one in ours] == [other[:2] for other in theirs]
    apart_s = sorted(abs(one[2] - other[2]) for one, other in zip(ours, theirs, strict=True))
    assert max(apart_s[: len(apart_s) - footage.standing]) < MOST_APART_S, (ours, theirs)
