"""Leases and observations in memory, on a clock that the test moves."""

import pytest

from countline_common.errors import ConflictError
from countline_control.cameras.domain import (
    Camera,
    CameraFault,
    CameraObservation,
    CameraSpec,
    ObservedState,
    PlaybackMode,
)
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.workers.domain import AssignableCamera, CameraReport, Holder, StoredWorker, WorkerReport
from countline_control.workers.finished import FINISHED_SETTLES_S
from countline_control.workers.fleet import Fleet
from countline_control.workers.messages import assignable

LEASE_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet(clock: Clock) -> Fleet:
    return Fleet(LEASE_S, clock, clock)


def camera(
    camera_id: str = "door",
    url: str = "rtsp://h/live",
    status: WantedStatus = WantedStatus.ACTIVE,
    **fields: object,
) -> AssignableCamera:
    playback = PlaybackMode.FAST if url.startswith("file") else PlaybackMode.LIVE
    spec = CameraSpec(playback=playback, **fields)
    return assignable(Camera(camera_id, "lab", stream_url=url, status=status, spec=spec), "UTC")


def request(
    worker_id: str = "w1", instance: str = "a", capacity: int = 2, fault: CameraFault | None = None, **states: str
) -> WorkerReport:
    reports = [
        CameraReport(name, int(epoch), CameraObservation(state, fault=fault))
        for key, state in states.items()
        for name, _, epoch in [key.partition("_")]
    ]
    return WorkerReport(worker_id, instance, "software", capacity, "0.1.0", 0.0, tuple(reports))


def carry_out(fleet: Fleet, epoch: int = 1) -> dict[str, Holder]:
    """Apply the plan as the database would store it."""
    plan = fleet.plan()
    given = {
        camera_id: Holder(
            worker_id, fleet.registry.record(worker_id).instance, 0 if fleet.plays_once(camera_id) else epoch
        )
        for camera_id, worker_id in plan.given.items()
    }
    fleet.apply(given, plan.released)
    return given


def test_a_lease_holds_as_long_as_reports_come_and_no_longer(fleet: Fleet, clock: Clock) -> None:
    fleet.registry.introduce(request())
    for _ in range(5):
        clock.now += LEASE_S - 0.1
        assert len(fleet.registry.online()) == 1
        fleet.report(request())
    clock.now += LEASE_S
    assert len(fleet.registry.online()) == 0
    assert [worker.online for worker in fleet.workers()] == [False]


def test_a_worker_that_comes_back_late_is_a_reason_to_plan_again(fleet: Fleet, clock: Clock) -> None:
    fleet.registry.introduce(request())
    assert not fleet.report(request())
    clock.now += LEASE_S + 1
    assert fleet.report(request())
    assert fleet.report(request(capacity=5))


def test_workers_that_the_database_remembers_have_a_whole_lease_to_report(fleet: Fleet, clock: Clock) -> None:
    row = StoredWorker("w1", "a", "software", 2, "0.1.0", 1.0, 2.0)
    fleet.seed([row], {"door": Holder("w1", "a", 3)}, {})
    fleet.set_cameras([camera()])
    assert fleet.plan().is_empty
    fleet.registry.introduce(request("w2"))
    assert fleet.plan().is_empty
    clock.now += LEASE_S - 0.1
    fleet.report(request("w2"))
    assert fleet.plan().is_empty
    clock.now += 0.2
    assert fleet.plan().given == {"door": "w2"}


def test_after_an_outage_of_ours_every_lease_begins_anew(fleet: Fleet, clock: Clock) -> None:
    fleet.registry.introduce(request())
    clock.now += LEASE_S + 5
    fleet.registry.renew_all()
    assert len(fleet.registry.online()) == 1


def test_a_status_for_another_epoch_or_from_another_process_is_not_believed(fleet: Fleet) -> None:
    running, failed = ObservedState.RUNNING, ObservedState.FAILED
    fleet.set_cameras([camera()])
    fleet.registry.introduce(request())
    carry_out(fleet, epoch=4)
    assert fleet.status("door").state == ObservedState.PROBING
    fleet.report(request(door_3=failed))
    assert fleet.status("door").state == ObservedState.PROBING
    fleet.report(request(door_4=running))
    assert fleet.status("door").state == running
    fleet.registry.introduce(request("w2"))
    fleet.report(request("w2", door_4=failed))
    assert fleet.status("door").state == running


def test_a_process_whose_name_was_taken_over_can_neither_report_nor_return(fleet: Fleet) -> None:
    fleet.registry.introduce(request(instance="a"))
    fleet.registry.introduce(request(instance="b"))
    with pytest.raises(ConflictError):
        fleet.report(request(instance="a"))
    with pytest.raises(ConflictError):
        fleet.registry.introduce(request(instance="a"))
    fleet.registry.introduce(request(instance="b"))


def test_what_the_worker_says_is_kept_without_passwords(fleet: Fleet) -> None:
    fleet.set_cameras([camera()])
    fleet.registry.introduce(request())
    carry_out(fleet)
    fault = CameraFault("unreachable", "rtsp://joe:secret@h/live: no route")
    fleet.report(request(door_1=ObservedState.FAILED, fault=fault))
    assert fleet.status("door").fault.message == "rtsp://joe:***@h/live: no route"
    fleet.report(request(door_1=ObservedState.RUNNING))
    assert fleet.status("door").fault is None


def test_a_file_has_ended_when_its_worker_says_so_after_playing_it(fleet: Fleet) -> None:
    fleet.set_cameras([camera(url="file:///a.mp4")])
    fleet.registry.introduce(request())
    carry_out(fleet)
    fleet.report(request(door_0=ObservedState.RUNNING))
    assert fleet.report(request(door_0=ObservedState.FINISHED))
    done = fleet.newly_finished()
    fleet.note_finished(done, fleet.outdated_finished())
    assert fleet.plan().released == {"door"}
    assert fleet.status("door").state == ObservedState.FINISHED


def test_an_end_that_may_be_that_of_the_spec_before_a_change_is_not_believed_at_once(
    fleet: Fleet, clock: Clock
) -> None:
    """The report was on its way when the lines changed. Trusting it would leave the new lines uncounted for ever."""
    fleet.set_cameras([camera(url="file:///a.mp4")])
    fleet.registry.introduce(request())
    carry_out(fleet)
    fleet.report(request(door_0=ObservedState.RUNNING))
    fleet.set_cameras([camera(url="file:///a.mp4", processing_rate=5)])
    fleet.report(request(door_0=ObservedState.FINISHED))
    assert fleet.newly_finished() == {}
    clock.now += FINISHED_SETTLES_S
    fleet.report(request(door_0=ObservedState.FINISHED))
    assert set(fleet.newly_finished()) == {"door"}


def test_a_changed_file_is_played_again_and_a_deleted_one_forgotten(fleet: Fleet) -> None:
    fleet.set_cameras([camera(url="file:///a.mp4")])
    fleet.registry.introduce(request())
    carry_out(fleet)
    fleet.report(request(door_0=ObservedState.RUNNING))
    fleet.report(request(door_0=ObservedState.FINISHED))
    fleet.note_finished(fleet.newly_finished(), set())
    carry_out(fleet)
    fleet.set_cameras([camera(url="file:///a.mp4", status=WantedStatus.PAUSED)])
    assert fleet.outdated_finished() == set()
    fleet.set_cameras([camera(url="file:///a.mp4", min_score=0.5)])
    assert fleet.outdated_finished() == {"door"}
    fleet.note_finished({}, {"door"})
    assert fleet.plan().given == {"door": "w1"}


def test_why_a_camera_waits_is_said(fleet: Fleet, clock: Clock) -> None:
    fleet.set_cameras([camera("door"), camera("yard")])
    assert fleet.status("door").fault.code == "no_worker"
    fleet.registry.introduce(request(capacity=1))
    carry_out(fleet)
    assert fleet.status("yard").fault.code == "no_capacity"
    assert "for 1 cameras" in fleet.status("yard").fault.message
    clock.now += LEASE_S + 20
    assert fleet.status("door").fault.code == "worker_offline"
    assert "30 s" in fleet.status("door").fault.message
    assert all(fleet.status(name).fault.hint for name in ("door", "yard"))


def test_only_the_process_that_holds_a_camera_receives_it(fleet: Fleet) -> None:
    fleet.set_cameras([camera()])
    fleet.registry.introduce(request(instance="a"))
    carry_out(fleet)
    assert [each.item.camera.camera_id for each in fleet.assignments_of("w1", "a")] == ["door"]
    fleet.registry.introduce(request(instance="b"))
    assert fleet.assignments_of("w1", "b") == ()
    carry_out(fleet, epoch=2)
    assert [each.epoch for each in fleet.assignments_of("w1", "b")] == [2]
    assert fleet.assignments_of("w1", "a") == ()


def test_workers_that_are_long_gone_are_forgotten_unless_they_hold_something(fleet: Fleet, clock: Clock) -> None:
    fleet.set_cameras([camera()])
    fleet.registry.introduce(request("w1"))
    carry_out(fleet)
    fleet.registry.introduce(request("w2"))
    clock.now += 8 * 86_400
    fleet.registry.introduce(request("w3"))
    assert fleet.forget_long_gone() == {"w2"}
    assert [worker.worker_id for worker in fleet.workers()] == ["w1", "w3"]
    assert fleet.workers()[1].online
