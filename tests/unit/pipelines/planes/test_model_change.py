"""Versions of a model change while a camera runs, and run beside each other: nothing is lost and nothing doubled.

Files are read as fast as the fake Triton answers; what counts is capture time, so seconds of warm-up pass in a moment.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from tests.fixtures.clips import FPS, MIDDLE, Pass, render
from tests.fixtures.planes import COUNTING, HEIGHT, WIDTH, Bench, FakeTriton, plan

from countline_counting import rules
from countline_counting.events import Crossing, OccupancySample, Visit
from countline_counting.paths import Trajectory
from countline_counting.spec import CountingSpec, Line, Zone
from countline_pipelines.planes.interface import CameraState, FollowerPlan
from countline_pipelines.planes.software.change import paths, router
from countline_pipelines.sources import Playback
from countline_pipelines.triton import ModelRefusedError

PASSES, LONG = 12, 24
"""Of the films: each pass takes a second and a half. A change takes ten seconds, of which five are its warm-up."""
SHADOW = FollowerPlan("trial", "fake@2", is_challenger=True)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Films by their number of passes: a person crosses, there and back again.

    A tracker that has just begun may take a person who leaves by one border, and another who enters by the other border
    a moment later, for one person who turned round. These tests avoid that.
    """
    folder = tmp_path_factory.mktemp("films")

    @cache
    def of(passes: int) -> Path:
        walks = [Pass(index % 2 == 0, index % 3, 1.0) for index in range(passes)]
        return render(folder / f"{passes}.mp4", walks, size=(WIDTH, HEIGHT))

    return of


@pytest.fixture
def film(films: Callable[[int], Path]) -> Path:
    """Long enough for a change."""
    return films(PASSES)


@pytest.fixture
def long_film(films: Callable[[int], Path]) -> Path:
    """Long enough for two changes, one after the other."""
    return films(LONG)


@pytest.fixture
def soon_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions warm up for half a second: live, capture time passes no faster than the clock."""
    for module in (paths, router):
        monkeypatch.setattr(module, "WARM_UP_S", 0.5)


@pytest.fixture
def bench(benches) -> Bench:
    """A Triton whose second version sees everything two pixels further to the right."""
    client = FakeTriton(delay_s=0.002)
    client.shift_px["fake@2"] = 2
    return benches(client)


def counted(bench: Bench, frames: int, camera: str = "cam") -> None:
    """Wait until so many frames of a camera are counted."""
    bench.wait_for(lambda: len(bench.recorder.frames.get(camera, [])) >= frames)


def check_whole(bench: Bench, passes: int = PASSES) -> None:
    """Every frame was reported once and in order, and every crossing once."""
    times = [t for _, t in bench.recorder.frames["cam"]]
    assert times == pytest.approx([index / FPS for index in range(round(passes * 1.5 * FPS))])
    ids = bench.recorder.ids("cam")
    assert len(ids) == len(set(ids)) == passes
    assert not bench.recorder.open


def check_seamless(bench: Bench) -> None:
    """Each run that took over states the last frame of the run before it."""
    first, *later = bench.recorder.starts
    assert first.since is None
    for start in later:
        ts = [t for _, t in bench.recorder.frames["cam"]]
        assert start.since in ts


@pytest.mark.parametrize("at", [5, 60, 120])
def test_a_file_goes_over_to_another_version_from_where_it_is(bench: Bench, film: Path, at: int) -> None:
    bench.plane.add_camera(plan("cam", film, model="fake@1"))
    counted(bench, at)
    bench.plane.update_camera(plan("cam", film, model="fake@2"))
    bench.wait_ended("cam")
    check_whole(bench)
    check_seamless(bench)
    first, second = bench.recorder.runs
    assert first.run == "film by fake@1"
    assert second.run not in {"film by fake@1", "film by fake@2"}
    assert bench.condition("cam").model == "fake@2"
    assert bench.condition("cam").fault is None


def test_there_and_back_again(bench: Bench, long_film: Path) -> None:
    bench.plane.add_camera(plan("cam", long_film, model="fake@1"))
    counted(bench, 50)
    bench.plane.update_camera(plan("cam", long_film, model="fake@2"))
    bench.wait_for(lambda: bench.condition("cam").model == "fake@2")
    bench.plane.update_camera(plan("cam", long_film, model="fake@1"))
    bench.wait_ended("cam")
    check_whole(bench, LONG)
    check_seamless(bench)
    assert len({run.run for run in bench.recorder.runs}) == 3
    assert bench.condition("cam").model == "fake@1"


def test_of_wishes_in_quick_succession_the_newest_counts(bench: Bench, film: Path) -> None:
    bench.plane.add_camera(plan("cam", film, model="fake@1"))
    counted(bench, 20)
    for version in (2, 3, 4, 5, 4):
        bench.plane.update_camera(plan("cam", film, model=f"fake@{version}"))
    bench.wait_ended("cam")
    check_whole(bench)
    assert bench.condition("cam").model == "fake@4"
    assert len(bench.recorder.runs) == 2


def test_a_wish_after_the_change_waits_until_the_old_version_has_reported_all(bench: Bench, long_film: Path) -> None:
    bench.plane.add_camera(plan("cam", long_film, model="fake@1"))
    counted(bench, 20)
    bench.plane.update_camera(plan("cam", long_film, model="fake@2"))
    bench.wait_for(lambda: len(bench.recorder.runs) == 2)
    assert len(bench.recorder.open) == 2
    bench.plane.update_camera(plan("cam", long_film, model="fake@3"))
    bench.wait_ended("cam")
    check_whole(bench, LONG)
    assert bench.condition("cam").model == "fake@3"
    assert len(bench.recorder.runs) == 3


def test_a_change_that_is_made_while_the_next_version_still_loads_is_not_taken_back(
    bench: Bench, long_film: Path
) -> None:
    """The change was abandoned after the new version had taken over, and the camera reported events twice or none."""
    loaded = bench.client.gates["fake@3"] = threading.Event()
    bench.plane.add_camera(plan("cam", long_film, model="fake@1"))
    counted(bench, 20)
    bench.plane.update_camera(plan("cam", long_film, model="fake@2"))
    bench.wait_for(lambda: "fake@2" in bench.plane._lanes)
    bench.plane.update_camera(plan("cam", long_film, model="fake@3"))
    bench.wait_for(lambda: bench.condition("cam").model == "fake@2")
    loaded.set()
    bench.wait_ended("cam")
    check_whole(bench, LONG)
    assert bench.condition("cam").model == "fake@3"
    assert bench.condition("cam").fault is None
    assert len(bench.recorder.runs) == 3


def test_a_follower_that_has_loaded_when_the_file_is_over_is_left_alone(bench: Bench, film: Path) -> None:
    """It was set beside a count that was over, and kept its lane."""
    loaded = bench.client.gates["fake@2"] = threading.Event()
    bench.plane.add_camera(with_follower(film, SHADOW))
    bench.wait_ended("cam")
    loaded.set()
    bench.wait_for(lambda: not bench.plane._opening.locked() and list(bench.plane._lanes) == ["fake@1"])
    assert bench.condition("cam").follower_model == ""


@pytest.mark.parametrize("at", [150, 200, 260, 330])
def test_a_file_that_ends_during_the_change_is_reported_whole(bench: Bench, film: Path, at: int) -> None:
    """It ends while the new version warms up, or while both decide what is theirs."""
    bench.plane.add_camera(plan("cam", film, model="fake@1"))
    counted(bench, at)
    bench.plane.update_camera(plan("cam", film, model="fake@2"))
    bench.wait_ended("cam")
    bench.wait_for(lambda: len(bench.client.rings) == 1)
    check_whole(bench)


def test_a_person_on_the_line_at_the_change_is_counted_once(bench: Bench, tmp_path: Path) -> None:
    """The person takes twenty seconds to cross, so the change falls while they are on the line."""
    slow = render(tmp_path / "slow.mp4", [Pass(True, 0, 14.0), Pass(False, 0, 3.0)], size=(WIDTH, HEIGHT))
    bench.plane.add_camera(plan("cam", slow, model="fake@1"))
    counted(bench, 30)
    bench.plane.update_camera(plan("cam", slow, model="fake@2"))
    bench.wait_ended("cam")
    events = [event for event in bench.recorder.events["cam"] if isinstance(event, Crossing)]
    assert [event.direction.value for event in events] == ["out", "in"]


def test_zones_and_paths_change_hands_too(bench: Bench, film: Path) -> None:
    bench.client.shift_px.clear()  # or else tracks of the one version and of the other break in other places
    whole = Zone("whole", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))
    counting = CountingSpec(lines=(Line("middle", MIDDLE),), zones=(whole,))
    for model in ("fake@1", "fake@2"):
        wanted = plan("cam", film, model=model)
        bench.plane.update_camera(type(wanted)("cam", wanted.source, model, counting, run=wanted.run))
        counted(bench, 100)
    bench.wait_ended("cam")
    check_whole(bench)
    change = bench.recorder.starts[1].since
    assert change is not None
    samples = [event for event in bench.recorder.events["cam"] if isinstance(event, OccupancySample)]
    assert [sample.t for sample in samples] == sorted(sample.t for sample in samples)
    assert any(sample.t == pytest.approx(change + 1 / FPS) for sample in samples)
    paths = [event.path for event in bench.recorder.events["cam"] if isinstance(event, Trajectory)]
    assert not [path for path in paths if path.start < change - 0.5 and path.end > change + 0.5]
    alone = plan("alone", film, model="fake@1")
    bench.plane.add_camera(type(alone)("alone", alone.source, "fake@1", counting, run="alone"))
    bench.wait_ended("alone")
    undisturbed = [event.path for event in bench.recorder.events["alone"] if isinstance(event, Trajectory)]
    walked = [sum(path.end - path.start for path in each) for each in (paths, undisturbed)]
    assert walked[0] == pytest.approx(walked[1], abs=1.0)


def test_a_version_that_is_missing_leaves_the_old_one_counting_and_is_reported(bench: Bench, film: Path) -> None:
    bench.plane.add_camera(plan("cam", film, Playback.LOOP, model="fake@1"))
    counted(bench, 3)
    bench.plane.update_camera(plan("cam", film, Playback.LOOP, model="missing"))
    bench.wait_for(lambda: bench.condition("cam").fault is not None)
    condition = bench.condition("cam")
    assert condition.state is CameraState.RUNNING
    assert condition.fault is not None
    assert "missing" in condition.fault.message
    assert condition.model == "fake@1"
    counted(bench, len(bench.recorder.frames["cam"]) + 5)
    assert len(bench.recorder.runs) == 1
    bench.plane.update_camera(plan("cam", film, Playback.LOOP, model="fake@1"))
    bench.wait_for(lambda: bench.condition("cam").fault is None)
    assert bench.client.loaded == {"fake@1"}


def test_a_version_that_fails_on_the_frames_is_given_up_and_the_old_one_counts_on(bench: Bench, film: Path) -> None:
    bench.client.refuse.add("fake@2")
    bench.plane.add_camera(plan("cam", film, model="fake@1"))
    counted(bench, 20)
    bench.plane.update_camera(plan("cam", film, model="fake@2"))
    bench.wait_for(lambda: bench.condition("cam").fault is not None)
    bench.wait_ended("cam")
    check_whole(bench)
    assert bench.condition("cam").model == "fake@1"
    assert len(bench.recorder.runs) == 1


def test_a_version_that_crashes_while_it_warms_up_is_given_up_and_the_old_one_counts_on(
    bench: Bench, film: Path
) -> None:
    """The whole camera crashed with it."""
    bench.client.babbling.add("fake@2")
    bench.plane.add_camera(plan("cam", film, model="fake@1"))
    counted(bench, 20)
    bench.plane.update_camera(plan("cam", film, model="fake@2"))
    bench.wait_for(lambda: bench.condition("cam").fault is not None)
    bench.wait_ended("cam")
    check_whole(bench)
    assert bench.condition("cam").model == "fake@1"
    assert len(bench.recorder.runs) == 1


def test_what_a_retired_version_is_refused_late_does_not_stop_the_next_change(bench: Bench, long_film: Path) -> None:
    """It was taken for a failure of the version that was about to take over."""
    bench.plane.add_camera(plan("cam", long_film, model="fake@1"))
    counted(bench, 20)
    camera = bench.plane._held["cam"].camera
    retired = camera.branches.change.counting
    bench.plane.update_camera(plan("cam", long_film, model="fake@2"))
    bench.wait_for(lambda: bench.condition("cam").model == "fake@2" and not camera.branches.change.is_changing)
    bench.plane.update_camera(plan("cam", long_film, model="fake@3"))
    bench.wait_for(lambda: camera.branches.change.is_changing)
    coming, posted = camera.branches.change.new, threading.Event()
    bench.plane._thread.post(lambda: camera.branch_failed(retired, ModelRefusedError("late"), crashed=False))
    bench.plane._thread.post(posted.set)
    assert posted.wait(5)
    assert coming in {camera.branches.change.new, camera.branches.change.counting}
    bench.wait_ended("cam")
    check_whole(bench, LONG)
    assert bench.condition("cam").model == "fake@3"
    assert len(bench.recorder.runs) == 3


def test_a_version_that_is_refused_its_frames_after_the_change_is_let_go(bench: Bench, long_film: Path) -> None:
    """The change never came to its end, so no other version could come, and a file waited for its frames."""
    bench.plane.add_camera(plan("cam", long_film, model="fake@1"))
    counted(bench, 20)
    bench.plane.update_camera(plan("cam", long_film, model="fake@2"))
    bench.wait_for(lambda: bench.condition("cam").model == "fake@2")
    bench.client.refuse.add("fake@1")
    bench.wait_for(lambda: list(bench.plane._lanes) == ["fake@2"])
    assert bench.condition("cam").state is CameraState.RUNNING
    bench.plane.update_camera(plan("cam", long_film, model="fake@3"))
    bench.wait_ended("cam")
    assert bench.condition("cam").model == "fake@3"
    times = [t for _, t in bench.recorder.frames["cam"]]
    assert times == pytest.approx([index / FPS for index in range(len(times))])


def test_a_file_whose_version_is_refused_its_frames_is_taken_over_by_another(bench: Bench, film: Path) -> None:
    """The other one waited for the frames that were refused, and at the end all that it had counted was dropped."""
    bench.plane.add_camera(plan("cam", film, model="fake@1"))
    counted(bench, 20)
    bench.client.refuse.add("fake@1")
    bench.plane.update_camera(plan("cam", film, model="fake@2"))
    bench.wait_for(lambda: bench.condition("cam").model == "fake@2")
    bench.wait_ended("cam")
    assert len(bench.recorder.frames["cam"]) > 0.6 * PASSES * 1.5 * FPS
    assert not bench.recorder.open
    assert len(bench.recorder.runs) == 2


def test_a_version_that_counts_before_it_is_warm_tells_where_objects_are_at_once(bench: Bench, film: Path) -> None:
    """Without a run to take over, no version reported the paths of its first five seconds."""
    bench.client.refuse.add("fake@1")
    bench.plane.add_camera(plan("cam", film, model="fake@1"))
    bench.wait_for(lambda: bench.condition("cam").state is CameraState.FAILED)
    bench.plane.update_camera(plan("cam", film, model="fake@2"))
    bench.wait_ended("cam")
    first_s = bench.recorder.frames["cam"][0][1]
    paths = [event.path for event in bench.recorder.events["cam"] if isinstance(event, Trajectory)]
    assert min(path.start for path in paths) < first_s + 2.0


def test_lines_that_are_taken_back_with_a_version_that_is_missing_are_counted_no_more(bench: Bench, film: Path) -> None:
    """They stayed: the camera had them, and the plane still compared with the old plan."""
    old, drawn = COUNTING, CountingSpec(lines=(Line("middle", MIDDLE, 2),))
    first = plan("cam", film, Playback.LOOP, model="fake@1")
    bench.plane.add_camera(first)
    counted(bench, 3)
    camera = bench.plane._held["cam"].camera

    def version() -> int:
        return camera.branches.change.counting.spec.lines[0].version

    bench.plane.update_camera(replace(first, model="missing", counting=drawn))
    bench.wait_for(lambda: bench.condition("cam").fault is not None)
    assert version() == 2
    bench.plane.update_camera(replace(first, counting=old))
    bench.wait_for(lambda: bench.condition("cam").fault is None)
    assert version() == old.lines[0].version
    assert camera.plan.counting == old


@pytest.mark.usefixtures("soon_warm")
def test_lines_that_are_drawn_while_a_version_warms_up_are_the_camera_s_after_the_change(
    bench: Bench, film: Path
) -> None:
    """A follower that began afterwards counted the lines from the beginning of the change."""
    first = plan("cam", film, Playback.LOOP, model="fake@1")
    drawn = CountingSpec(lines=(Line("middle", MIDDLE, 2),))
    bench.plane.add_camera(first)
    counted(bench, 3)
    camera = bench.plane._held["cam"].camera
    second = replace(first, model="fake@2")
    bench.plane.update_camera(second)
    bench.wait_for(lambda: camera.branches.change.is_changing)
    bench.plane.update_camera(replace(second, counting=drawn))
    bench.wait_for(lambda: bench.condition("cam").model == "fake@2")
    assert camera.plan.counting == drawn


def test_a_camera_that_has_seen_nothing_yet_just_takes_the_other_version(bench: Bench, tmp_path: Path) -> None:
    nowhere = tmp_path / "later.mp4"
    bench.plane.add_camera(plan("cam", nowhere, Playback.LOOP, model="fake@1"))
    bench.wait_for(lambda: bench.condition("cam").fault is not None)
    bench.plane.update_camera(plan("cam", nowhere, Playback.LOOP, model="fake@2"))
    bench.wait_for(lambda: bench.condition("cam").model == "fake@2")
    bench.wait_for(lambda: list(bench.plane._lanes) == ["fake@2"])


def test_a_file_that_is_finished_is_not_counted_again_with_another_version(bench: Bench, film: Path) -> None:
    bench.plane.add_camera(plan("cam", film, model="fake@1"))
    bench.wait_ended("cam")
    bench.plane.update_camera(plan("cam", film, model="fake@2"))
    bench.plane.add_camera(plan("other", film, model="fake@2"))
    bench.wait_ended("other")
    check_whole(bench)
    assert bench.condition("cam").state is CameraState.FINISHED
    assert bench.condition("cam").model == "fake@1"


def test_a_name_without_a_version_is_the_same_as_the_version_that_it_stands_for(bench: Bench, film: Path) -> None:
    bench.plane.add_camera(plan("cam", film, Playback.LOOP, model="fake"))
    counted(bench, 3)
    assert bench.condition("cam").model == "fake@1"
    bench.plane.update_camera(plan("cam", film, Playback.LOOP, model="fake@1"))
    counted(bench, 10)
    assert len(bench.recorder.runs) == 1
    assert bench.client.loaded == {"fake@1"}


@pytest.mark.usefixtures("soon_warm")
def test_stopping_during_the_change_leaves_no_run_open_and_doubles_nothing(film: Path) -> None:
    bench = Bench(FakeTriton(delay_s=0.002))
    bench.plane.add_camera(plan("cam", film, Playback.LOOP, model="fake@1"))
    counted(bench, 3)
    bench.plane.update_camera(plan("cam", film, Playback.LOOP, model="fake@2"))
    bench.wait_for(lambda: len(bench.recorder.open) == 2)
    bench.plane.close(10)
    assert not bench.recorder.open
    times = sorted(e.t for e in bench.recorder.events["cam"] if isinstance(e, Crossing))
    assert all(later - earlier > 1 for earlier, later in pairwise(times))
    assert not bench.client.rings
    assert not bench.client.loaded


@pytest.mark.usefixtures("soon_warm")
def test_a_visit_that_goes_on_when_a_camera_is_stopped_during_the_change_is_reported_once_from_its_start(
    tmp_path: Path,
) -> None:
    """The new version's answers and its end come first. The part of the visit that the old version had seen was lost,
    or reported twice.
    """
    to_and_fro = [Pass(True, 0, 4.0), Pass(False, 0, 4.0)]
    walk = render(tmp_path / "walk.mp4", to_and_fro, size=(WIDTH, HEIGHT), pause_s=0)
    whole = Zone("whole", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))
    bench = Bench(FakeTriton(delay_s=0.002))
    first = replace(plan("cam", walk, Playback.LOOP, model="fake@1"), counting=CountingSpec(zones=(whole,)))
    bench.plane.add_camera(first)
    counted(bench, 3)
    bench.plane.update_camera(replace(first, model="fake@2"))
    bench.wait_for(lambda: len(bench.recorder.open) == 2)
    bench.client.delays["fake@1"] = 0.1
    counted(bench, len(bench.recorder.frames["cam"]) + 5)
    bench.plane.close(10)
    times = [t for _, t in bench.recorder.frames["cam"]]
    (visit,) = [event for event in bench.recorder.events["cam"] if isinstance(event, Visit)]
    assert visit.entered_at == pytest.approx(times[0], abs=0.2)
    assert visit.dwell_s == pytest.approx(times[-1] - times[0], abs=0.3)


# Followers ------------------------------------------------------------------------------------------------------------


def sums(bench: Bench) -> tuple[int, int, int]:
    tallies = [tally for span in bench.recorder.spans.get("cam", []) for tally in span.tallies]
    return tuple(
        sum(getattr(tally, name) for tally in tallies) for name in ("both", "only_incumbent", "only_challenger")
    )


def blind_sums() -> tuple[int, int, int]:
    """What a challenger that is blind for one colour of three leaves to the incumbent, after the warm-up."""
    warm = [index for index in range(PASSES) if index * 1.5 + 0.5 > rules.WARM_UP_S]
    missed = sum(index % 3 == 2 for index in warm)
    return len(warm) - missed, missed, 0


def with_follower(film: Path, follower: FollowerPlan | None, model: str = "fake@1", playback=Playback.FAST):
    return plan("cam", film, playback, model=model, follower=follower)


def test_a_follower_sees_every_frame_of_a_file_and_its_counts_are_compared_and_not_reported(
    bench: Bench, film: Path
) -> None:
    bench.client.blind["fake@2"] = 2
    bench.plane.add_camera(with_follower(film, SHADOW))
    bench.wait_ended("cam")
    check_whole(bench)
    spans = bench.recorder.spans["cam"]
    assert sums(bench) == blind_sums()
    assert {(span.trial_id, span.incumbent, span.challenger) for span in spans} == {("trial", "fake@1", "fake@2")}
    assert all(one.end <= following.start for one, following in pairwise(spans))
    assert sum(span.frames_missed for span in spans) == 0
    # What both have decided is reported; the last moment of the film is not where its end was there first.
    assert sum(span.frames for span in spans) == pytest.approx((PASSES * 1.5 - rules.WARM_UP_S) * FPS, abs=FPS)
    assert len(bench.recorder.runs) == 1


def test_in_a_canary_the_follower_is_the_incumbent(bench: Bench, film: Path) -> None:
    bench.client.blind["fake@2"] = 2
    bench.plane.add_camera(with_follower(film, FollowerPlan("trial", "fake@1", is_challenger=False), "fake@2"))
    bench.wait_ended("cam")
    assert sums(bench) == blind_sums()


def test_followers_come_and_go_without_a_new_run(bench: Bench, film: Path) -> None:
    bench.plane.add_camera(with_follower(film, None))
    counted(bench, 20)
    bench.plane.update_camera(with_follower(film, SHADOW))
    bench.wait_for(lambda: bench.condition("cam").follower_model == "fake@2")
    bench.plane.update_camera(with_follower(film, FollowerPlan("other", "fake@3", is_challenger=True)))
    bench.wait_for(lambda: bench.condition("cam").follower_model == "fake@3")
    bench.plane.update_camera(with_follower(film, None))
    bench.wait_for(lambda: bench.condition("cam").follower_model == "")
    bench.wait_for(lambda: list(bench.plane._lanes) == ["fake@1"])
    bench.wait_ended("cam")
    check_whole(bench)
    assert len(bench.recorder.runs) == 1


def test_a_follower_that_cannot_run_is_reported_and_the_camera_is_counted(bench: Bench, film: Path) -> None:
    bench.plane.add_camera(
        with_follower(film, FollowerPlan("trial", "missing", is_challenger=True), playback=Playback.LOOP)
    )
    bench.wait_for(lambda: bench.condition("cam").fault is not None)
    counted(bench, 10)
    condition = bench.condition("cam")
    assert condition.state is CameraState.RUNNING
    assert condition.fault is not None
    assert condition.fault.code == "follower"
    assert (condition.model, condition.follower_model) == ("fake@1", "")
    bench.plane.update_camera(with_follower(film, None, playback=Playback.LOOP))
    bench.wait_for(lambda: bench.condition("cam").fault is None)


def test_a_follower_that_fails_on_the_frames_is_given_up(bench: Bench, film: Path) -> None:
    bench.client.refuse.add("fake@2")
    bench.plane.add_camera(with_follower(film, SHADOW))
    bench.wait_for(lambda: bench.condition("cam").fault is not None)
    fault = bench.condition("cam").fault
    assert fault is not None
    assert fault.code == "follower"
    bench.wait_ended("cam")
    check_whole(bench)


def test_a_canary_begins_and_is_rolled_back(bench: Bench, long_film: Path) -> None:
    bench.plane.add_camera(with_follower(long_film, None))
    counted(bench, 20)
    bench.plane.update_camera(with_follower(long_film, FollowerPlan("trial", "fake@1", is_challenger=False), "fake@2"))
    bench.wait_for(lambda: bench.condition("cam").follower_model == "fake@1")
    assert bench.condition("cam").model == "fake@2"
    counted(bench, len(bench.recorder.frames["cam"]) + 240)
    bench.plane.update_camera(with_follower(long_film, None))
    bench.wait_ended("cam")
    check_whole(bench, LONG)
    assert len(bench.recorder.runs) == 3
    assert bench.condition("cam").model == "fake@1"
    assert sums(bench)[0] > 0
    assert sums(bench)[1:] == (0, 0)
