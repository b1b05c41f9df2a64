"""Runs, plans and assignments: what begins a new run, what may change while a camera runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from countline.v1 import cameras_pb2, workers_pb2
from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.times import to_timestamp
from countline_counting.spec import CountingSpec, Line
from countline_pipelines.planes.interface import (
    CameraCondition,
    CameraState,
    FollowerPlan,
    require_classes,
)
from countline_pipelines.planes.runs import BREAK_KEEPS_RUN_S, RunKeeper, new_run_name
from countline_pipelines.sources import Picture, Playback, RtspTransport
from countline_pipelines.worker.assignments import counting_key, plan_of
from countline_pipelines.worker.reports import camera_report, signature


def picture(t: float, size: tuple[int, int] = (320, 240), skipped: int = 0) -> Picture:
    return Picture(None, t, size, 0, skipped)


def names(keeper: RunKeeper, *pictures: Picture) -> list[str]:
    numbered = [keeper.number(each) for each in pictures]
    return [each[0].identity.run for each in numbered if each is not None]


def test_a_short_break_goes_on_with_the_run_and_a_long_one_begins_another() -> None:
    keeper = RunKeeper("cam", 3, "")
    short, long = 100 + BREAK_KEEPS_RUN_S - 0.1, 100 + 3 * BREAK_KEEPS_RUN_S
    first, second, third = names(keeper, picture(100.0), picture(short), picture(long))
    assert first == second != third


def test_another_size_of_picture_begins_another_run() -> None:
    keeper = RunKeeper("cam", 3, "")
    first, second = names(keeper, picture(1.0), picture(1.1, (640, 480)))
    assert first != second


def test_the_runs_of_a_finite_file_are_named_by_its_parts_and_the_same_each_time() -> None:
    for _ in range(2):
        keeper = RunKeeper("cam", 0, "film")
        found = names(keeper, picture(0.0), picture(500.0), picture(500.1, (640, 480)), picture(500.2))
        assert found == ["film", "film", "film.1", "film.2"]
        keeper.abandon()
        assert names(keeper, picture(0.0)) == ["film"]


def test_frames_are_numbered_as_decoded_and_never_go_back_in_time() -> None:
    keeper = RunKeeper("cam", 0, "film")
    numbers = [keeper.number(each) for each in (picture(1.0), picture(1.1, skipped=3), picture(1.1), picture(1.2))]
    assert [each[1] if each else None for each in numbers] == [0, 4, None, 5]


def test_a_run_ends_only_when_none_of_its_frames_is_on_its_way() -> None:
    keeper = RunKeeper("cam", 0, "")
    numbered = keeper.number(picture(1.0))
    assert numbered is not None
    run, _ = numbered
    assert keeper.enter(run)
    assert not keeper.try_end(run)
    keeper.leave(run)
    assert keeper.try_end(run)
    assert not keeper.enter(run)
    assert names(keeper, picture(1.1)) != [run.identity.run]


def test_names_of_runs_sort_by_time_and_differ() -> None:
    made = [new_run_name() for _ in range(50)]
    assert len(set(made)) == 50
    assert [name[:11] for name in made] == sorted(name[:11] for name in made)


LABELS = ("person", "vehicle")


def test_classes_are_known_by_name_and_number() -> None:
    every, some, tram, seventh = (
        CountingSpec(lines=(Line("gate", ((0.0, 0.5), (1.0, 0.5)), classes=frozenset(names)),))
        for names in ((), ("Vehicle", "0"), ("tram",), ("7",))
    )
    assert every.resolve(LABELS).of(every.lines[0]) is None
    assert some.resolve(LABELS).of(some.lines[0]) == frozenset({0, 1})
    assert seventh.resolve(()).of(seventh.lines[0]) == frozenset({7})
    with pytest.raises(InvalidInputError) as raised:
        require_classes(tram, LABELS)
    assert raised.value.message == "gate: the model has no class 'tram'"
    assert raised.value.hint == "choose from: person, vehicle"
    assert raised.value.fields[0].field == "gate.classes"


def test_a_line_that_cannot_be_counted_with_is_refused_with_its_field() -> None:
    flat = assignment("rtsp://host/x")
    flat.camera.spec.lines[0].points[1].x = 0
    with pytest.raises(InvalidInputError) as raised:
        plan_of(flat, "default")
    assert raised.value.fields[0].field == "lines[gate].points"
    assert raised.value.hint


def assignment(source: str, **spec: object) -> workers_pb2.Assignment:
    lines = [
        cameras_pb2.Line(
            line_id="gate",
            points=[cameras_pb2.Point(x=0, y=0.5), cameras_pb2.Point(x=1, y=0.5)],
            version=4,
            classes=["person"],
        )
    ]
    camera = cameras_pb2.Camera(
        camera_id="cam",
        site_id="site",
        stream_url=source,
        spec=cameras_pb2.CameraSpec(lines=lines, **spec),
        created_at=to_timestamp(1000.0),
    )
    return workers_pb2.Assignment(camera=camera, epoch=9, time_zone="UTC")


def test_an_assignment_becomes_a_plan_word_for_word() -> None:
    plan = plan_of(
        assignment(
            "rtsp://u:p@host/x",
            processing_rate=5,
            min_score=0.6,
            rtsp_transport=cameras_pb2.RTSP_TRANSPORT_UDP,
            anchor=cameras_pb2.Point(x=0.5, y=0.5),
        ),
        "default",
    )
    assert (plan.camera_id, plan.epoch, plan.model, plan.run) == ("cam", 9, "default", "")
    assert plan.source.playback is Playback.LIVE
    assert plan.source.transport is RtspTransport.UDP
    assert plan.source.rate == 5
    assert "p@" not in plan.source.label.replace("***@", "")
    assert plan.counting.lines == (Line("gate", ((0.0, 0.5), (1.0, 0.5)), 4, frozenset({"person"})),)
    assert (plan.counting.min_score, plan.counting.anchor) == (0.6, (0.5, 0.5))


def test_a_finite_file_is_named_by_its_content_and_begins_when_it_was_recorded(tmp_path: Path) -> None:
    film, copy = tmp_path / "film.mp4", tmp_path / "copy.mp4"
    for path in (film, copy):
        path.write_bytes(b"the same pictures")
    fast = {"playback": cameras_pb2.PLAYBACK_FAST}
    first, second = (plan_of(assignment(str(path), **fast), "m") for path in (film, copy))
    assert first.run == second.run != ""
    assert first.source.recorded_at == 1000.0
    dated = plan_of(assignment(str(film), recorded_at=to_timestamp(5000.0), **fast), "m")
    assert dated.source.recorded_at == 5000.0
    assert dated.run != first.run
    assert plan_of(assignment(str(film), model="other", **fast), "m").run != first.run
    copy.write_bytes(b"other pictures")
    assert plan_of(assignment(str(copy), **fast), "m").run != first.run
    with pytest.raises(NotFoundError):
        plan_of(assignment(str(tmp_path / "missing.mp4"), **fast), "m")


def test_lines_change_while_a_live_camera_runs_and_make_a_file_be_counted_anew(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"pictures")
    other = CountingSpec(lines=(Line("door", ((0.0, 0.0), (1.0, 1.0))),))
    live = plan_of(assignment("rtsp://host/x"), "m")
    assert live.goes_over_to(replace(live, counting=other))
    assert not live.goes_over_to(replace(live, epoch=10))
    assert not live.goes_over_to(replace(live, source=replace(live.source, rate=3)))
    finite = plan_of(assignment(str(film), playback=cameras_pb2.PLAYBACK_FAST), "m")
    changed = replace(finite, counting=other)
    assert not finite.goes_over_to(changed)
    assert finite.run == changed.run
    assert counting_key(finite) != counting_key(changed)


def test_what_the_control_plane_names_comes_before_what_the_camera_names() -> None:
    named = assignment("rtsp://host/x", model="blob")
    assert plan_of(named, "m").model == "blob"
    named.model = "blob@2"
    assert plan_of(named, "m").model == "blob@2"
    assert plan_of(named, "m").follower is None
    named.follower.trial_id, named.follower.model, named.follower.is_challenger = "t", "blob@3", True
    assert plan_of(named, "m").follower == FollowerPlan("t", "blob@3", is_challenger=True)


@pytest.mark.parametrize("source", ["rtsp://host/x", "file"])
def test_model_and_follower_change_while_the_source_stays_open(tmp_path: Path, source: str) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"pictures")
    playback = {"playback": cameras_pb2.PLAYBACK_REALTIME} if source == "file" else {}
    named = assignment(str(film) if source == "file" else source, **playback)
    one = plan_of(named, "blob@1")
    named.follower.trial_id = "t"
    other = plan_of(named, "blob@2")
    assert one.goes_over_to(other)
    assert (one.run == other.run) == (source != "file")
    film.write_bytes(b"other pictures")
    assert one.goes_over_to(plan_of(named, "blob@2")) == (source != "file")


def test_a_file_that_was_counted_to_its_end_was_so_whatever_model_is_wanted_now(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"pictures")
    named = assignment(str(film), playback=cameras_pb2.PLAYBACK_FAST)
    keys = [counting_key(plan_of(named, model)) for model in ("blob@1", "blob@2")]
    assert keys[0] == keys[1]
    named.camera.spec.processing_rate = 5
    assert counting_key(plan_of(named, "blob@1")) != keys[0]
    film.write_bytes(b"other pictures")
    named.camera.spec.processing_rate = 0
    assert counting_key(plan_of(named, "blob@1")) != keys[0]


def test_the_rest_of_a_file_after_a_change_has_a_name_made_of_both_runs_and_the_frame_of_the_change() -> None:
    def name(whole: str, after: str, ordinal: int) -> str:
        (found,) = names(RunKeeper("cam", 0, whole, after), Picture(None, ordinal / 20, (320, 240), ordinal))
        return found

    usual = name("film by 2", "film by 1", 100)
    assert usual == name("film by 2", "film by 1", 100)
    others = {name("film by 3", "film by 1", 100), name("film by 2", "else", 100), name("film by 2", "film by 1", 101)}
    assert len({usual, "film by 2", *others}) == 5


def test_a_file_that_begins_again_after_a_change_is_counted_whole_by_the_new_version() -> None:
    keeper = RunKeeper("cam", 0, "film by 2", "film by 1")
    rest, part = names(keeper, Picture(None, 5.0, (320, 240), 100), Picture(None, 5.1, (640, 480), 102))
    assert part == f"{rest}.1"
    keeper.abandon()
    assert names(keeper, picture(0.0), picture(0.1, (640, 480))) == ["film by 2", "film by 2.1"]


def test_a_change_of_version_is_worth_a_report_at_once() -> None:
    running = CameraCondition(CameraState.RUNNING, model="blob@1")
    said = [signature({"cam": condition}) for condition in (running, replace(running, model="blob@2"))]
    assert said[0] != said[1]
    following = replace(running, follower_model="blob@2")
    assert signature({"cam": following}) != said[0]
    status = camera_report("cam", 3, "worker", following, 100.0, 90.0).observed
    assert (status.model, status.follower_model, status.since.seconds) == ("blob@1", "blob@2", 90)
