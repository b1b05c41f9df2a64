"""A live camera changes its model, or is followed by another one, in real time; Triton's part is played by a fake."""

import gc
import threading
import weakref
from itertools import pairwise
from pathlib import Path

import pytest
from tests.fixtures.clips import FPS, MIDDLE, Pass, render
from tests.fixtures.planes import Bench, FakeTriton, plan

from countline_counting.events import Crossing
from countline_counting.spec import CountingSpec, Line
from countline_pipelines.planes.interface import FollowerPlan
from countline_pipelines.planes.software.change.change import ChangeState
from countline_pipelines.sources import Playback

SHADOW = FollowerPlan("trial", "fake@2", is_challenger=True)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody crosses every second and a half, there and back again."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    return render(path, [Pass(index % 2 == 0, index % 3, 1.0) for index in range(20)])


@pytest.fixture
def bench(benches) -> Bench:
    """A Triton of which the second version sees everything two pixels further to the right."""
    client = FakeTriton(delay_s=0.004)
    client.shift_px["fake@2"] = 2
    return benches(client)


def counted(bench: Bench, frames: int) -> None:
    """Wait until so many frames are counted."""
    bench.wait_for(lambda: len(bench.recorder.frames.get("cam", [])) >= frames)


def test_lines_of_another_version_change_with_it(bench: Bench, film: Path) -> None:
    """The old model does not know the class that the new line counts, so it goes on with the old line until then."""
    bench.client.labels["fake@2"] = frozenset({"other"})
    bench.plane.add_camera(plan("cam", film, Playback.LOOP, model="fake@1"))
    counted(bench, 3)
    wanted = plan("cam", film, Playback.LOOP, model="fake@2")
    drawn = CountingSpec(lines=(Line("middle", MIDDLE, 2, frozenset({"other"})),))
    bench.plane.update_camera(type(wanted)("cam", wanted.source, "fake@2", drawn))
    bench.wait_for(lambda: bench.condition("cam").model == "fake@2")
    assert bench.condition("cam").fault is None

    def of_new() -> list[Crossing]:
        return [e for e in bench.recorder.events["cam"] if isinstance(e, Crossing) and e.line_version == 2]

    bench.wait_for(lambda: len(of_new()) > 1)
    change = bench.recorder.starts[1].since
    assert change is not None
    of_old = [e for e in bench.recorder.events["cam"] if isinstance(e, Crossing) and e.line_version == 1]
    assert all(event.t <= change + 1 / FPS for event in of_old)
    assert all(event.t > change for event in of_new())


@pytest.mark.slow
def test_a_live_camera_changes_without_a_gap_and_nothing_of_the_old_version_stays(bench: Bench, film: Path) -> None:
    bench.plane.add_camera(plan("cam", film, Playback.LOOP, model="fake@1"))
    counted(bench, 3)
    old_lane = weakref.ref(bench.plane._lanes["fake@1"])
    old_branch = weakref.ref(bench.plane._held["cam"].camera.branches.change.counting)
    threads = threading.active_count()
    bench.plane.update_camera(plan("cam", film, Playback.LOOP, model="fake@2"))
    bench.wait_for(lambda: len(bench.recorder.open) == 2)
    bench.wait_for(lambda: len(bench.recorder.open) == 1)
    counted(bench, len(bench.recorder.frames["cam"]) + 40)
    times = [t for _, t in bench.recorder.frames["cam"]]
    assert all(0 < later - earlier < 1 for earlier, later in pairwise(times))
    crossings = sorted(e.t for e in bench.recorder.events["cam"] if isinstance(e, Crossing))
    gaps = [later - earlier for earlier, later in pairwise(crossings)]
    assert len(gaps) >= 4
    assert all(gap == pytest.approx(1.5, abs=0.2) for gap in gaps)
    bench.wait_for(lambda: bench.plane._held["cam"].camera.branches.change.state is ChangeState.STEADY)
    gc.collect()
    assert old_lane() is None
    assert old_branch() is None
    assert list(bench.plane._lanes) == ["fake@2"]
    assert bench.client.loaded == {"fake@2"}
    assert len(bench.client.rings) == 1
    assert threading.active_count() <= threads  # one of a pool may have ended meanwhile


@pytest.mark.slow
def test_a_live_follower_that_is_slow_drops_frames_of_its_own_and_says_how_many(benches, film: Path) -> None:
    client = FakeTriton()
    client.delays["fake@2"] = 0.4
    bench = benches(client)
    bench.plane.add_camera(plan("cam", film, Playback.LOOP, model="fake@1", follower=SHADOW))
    bench.wait_for(lambda: bool(bench.recorder.spans.get("cam")), 40)
    (span,) = bench.recorder.spans["cam"][:1]
    assert span.frames > 150
    assert span.frames_missed > 20
    condition = bench.condition("cam")
    assert condition.frames_dropped < 0.1 * condition.frames_processed
    bench.wait_for(lambda: bench.condition("cam").latency_s < 0.3)  # a busy machine takes longer now and then
