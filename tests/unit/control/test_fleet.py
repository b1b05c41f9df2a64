"""Leases and statuses in memory, on a clock that the test moves."""

import pytest

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import Camera, CameraSpec, CameraStatus
from countline.v1.workers_pb2 import WORKER_STATE_OFFLINE, WORKER_STATE_ONLINE, CameraReport, ConnectRequest
from countline_common.errors import ConflictError
from countline_control.workers.domain import Held
from countline_control.workers.fleet import FINISHED_SETTLES_S, AssignableCamera, Fleet
from countline_control.workers.store import StoredWorker

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


def camera(camera_id: str = "door", url: str = "rtsp://h/live", **fields: object) -> AssignableCamera:
    playback = cameras_pb2.PLAYBACK_FAST if url.startswith("file") else cameras_pb2.PLAYBACK_LIVE
    spec = CameraSpec(source_url=url, playback=playback, **fields)
    return AssignableCamera(Camera(camera_id=camera_id, site_id="lab", spec=spec), "UTC")


def request(worker_id: str = "w1", instance: str = "a", capacity: int = 2, **states: int) -> ConnectRequest:
    reports = [
        CameraReport(camera_id=name, epoch=int(epoch), status=CameraStatus(state=state))
        for key, state in states.items()
        for name, _, epoch in [key.partition("_")]
    ]
    return ConnectRequest(worker_id=worker_id, instance=instance, capacity=capacity, cameras=reports)


def carry_out(fleet: Fleet, epoch: int = 1) -> dict[str, Held]:
    """What the database would write down."""
    plan = fleet.plan()
    given = {
        camera_id: Held(worker_id, fleet.instance_of(worker_id), 0 if fleet.plays_once(camera_id) else epoch)
        for camera_id, worker_id in plan.given.items()
    }
    fleet.took(given, plan.released)
    return given


def test_a_lease_holds_as_long_as_reports_come_and_no_longer(fleet: Fleet, clock: Clock) -> None:
    fleet.introduce(request())
    for _ in range(5):
        clock.now += LEASE_S - 0.1
        assert fleet.online() == 1
        fleet.report(request())
    clock.now += LEASE_S
    assert fleet.online() == 0
    assert [worker.state for worker in fleet.workers()] == [WORKER_STATE_OFFLINE]


def test_a_worker_that_comes_back_late_is_a_reason_to_plan_again(fleet: Fleet, clock: Clock) -> None:
    fleet.introduce(request())
    assert not fleet.report(request())
    clock.now += LEASE_S + 1
    assert fleet.report(request())
    assert fleet.report(request(capacity=5))


def test_workers_that_the_database_remembers_have_a_whole_lease_to_report(fleet: Fleet, clock: Clock) -> None:
    row = StoredWorker("w1", "a", "software", 2, "0.1.0", 1.0, 2.0)
    fleet.seed([row], {"door": Held("w1", "a", 3)}, {})
    fleet.set_cameras([camera()])
    assert fleet.plan().is_empty
    fleet.introduce(request("w2"))
    assert fleet.plan().is_empty
    clock.now += LEASE_S - 0.1
    fleet.report(request("w2"))
    assert fleet.plan().is_empty
    clock.now += 0.2
    assert fleet.plan().given == {"door": "w2"}


def test_after_an_outage_of_ours_every_lease_begins_anew(fleet: Fleet, clock: Clock) -> None:
    fleet.introduce(request())
    clock.now += LEASE_S + 5
    fleet.renew_all()
    assert fleet.online() == 1


def test_a_status_for_another_epoch_or_from_another_process_is_not_believed(fleet: Fleet) -> None:
    running, failed = cameras_pb2.CAMERA_STATE_RUNNING, cameras_pb2.CAMERA_STATE_FAILED
    fleet.set_cameras([camera()])
    fleet.introduce(request())
    carry_out(fleet, epoch=4)
    assert fleet.status("door").state == cameras_pb2.CAMERA_STATE_STARTING
    fleet.report(request(door_3=failed))
    assert fleet.status("door").state == cameras_pb2.CAMERA_STATE_STARTING
    fleet.report(request(door_4=running))
    assert fleet.status("door").state == running
    fleet.introduce(request("w2"))
    fleet.report(request("w2", door_4=failed))
    assert fleet.status("door").state == running


def test_a_process_whose_name_was_taken_over_can_neither_report_nor_return(fleet: Fleet) -> None:
    fleet.introduce(request(instance="a"))
    fleet.introduce(request(instance="b"))
    with pytest.raises(ConflictError):
        fleet.report(request(instance="a"))
    with pytest.raises(ConflictError):
        fleet.introduce(request(instance="a"))
    fleet.introduce(request(instance="b"))


def test_what_the_worker_says_is_kept_without_passwords(fleet: Fleet) -> None:
    fleet.set_cameras([camera()])
    fleet.introduce(request())
    carry_out(fleet)
    report = request(door_1=cameras_pb2.CAMERA_STATE_FAILED)
    report.cameras[0].status.error.code = "unreachable"
    report.cameras[0].status.error.message = "rtsp://joe:secret@h/live: no route"
    fleet.report(report)
    assert fleet.status("door").error.message == "rtsp://joe:***@h/live: no route"
    fleet.report(request(door_1=cameras_pb2.CAMERA_STATE_RUNNING))
    assert not fleet.status("door").HasField("error")


def test_a_file_has_ended_when_its_worker_says_so_after_playing_it(fleet: Fleet) -> None:
    fleet.set_cameras([camera(url="file:///a.mp4")])
    fleet.introduce(request())
    carry_out(fleet)
    fleet.report(request(door_0=cameras_pb2.CAMERA_STATE_RUNNING))
    assert fleet.report(request(door_0=cameras_pb2.CAMERA_STATE_FINISHED))
    done = fleet.newly_finished()
    fleet.note_finished(done, fleet.outdated_finished())
    assert fleet.plan().released == {"door"}
    assert fleet.status("door").state == cameras_pb2.CAMERA_STATE_FINISHED


def test_an_end_that_may_be_that_of_the_spec_before_a_change_is_not_believed_at_once(
    fleet: Fleet, clock: Clock
) -> None:
    """The report was under way while the new lines went out; believing it would leave them uncounted for ever."""
    fleet.set_cameras([camera(url="file:///a.mp4")])
    fleet.introduce(request())
    carry_out(fleet)
    fleet.report(request(door_0=cameras_pb2.CAMERA_STATE_RUNNING))
    fleet.set_cameras([camera(url="file:///a.mp4", processing_rate=5)])
    fleet.report(request(door_0=cameras_pb2.CAMERA_STATE_FINISHED))
    assert fleet.newly_finished() == {}
    clock.now += FINISHED_SETTLES_S
    fleet.report(request(door_0=cameras_pb2.CAMERA_STATE_FINISHED))
    assert set(fleet.newly_finished()) == {"door"}


def test_a_changed_file_is_played_again_and_a_deleted_one_forgotten(fleet: Fleet) -> None:
    fleet.set_cameras([camera(url="file:///a.mp4")])
    fleet.introduce(request())
    carry_out(fleet)
    fleet.report(request(door_0=cameras_pb2.CAMERA_STATE_RUNNING))
    fleet.report(request(door_0=cameras_pb2.CAMERA_STATE_FINISHED))
    fleet.note_finished(fleet.newly_finished(), set())
    carry_out(fleet)
    fleet.set_cameras([camera(url="file:///a.mp4", disabled=True)])
    assert fleet.outdated_finished() == set()
    fleet.set_cameras([camera(url="file:///a.mp4", min_score=0.5)])
    assert fleet.outdated_finished() == {"door"}
    fleet.note_finished({}, {"door"})
    assert fleet.plan().given == {"door": "w1"}


def test_why_a_camera_waits_is_said(fleet: Fleet, clock: Clock) -> None:
    fleet.set_cameras([camera("door"), camera("yard")])
    assert fleet.status("door").error.code == "no_worker"
    fleet.introduce(request(capacity=1))
    carry_out(fleet)
    assert fleet.status("yard").error.code == "no_capacity"
    assert "for 1 cameras" in fleet.status("yard").error.message
    clock.now += LEASE_S + 20
    assert fleet.status("door").error.code == "worker_offline"
    assert "30 s" in fleet.status("door").error.message
    assert all(fleet.status(name).error.hint for name in ("door", "yard"))


def test_only_the_process_that_holds_a_camera_is_told_of_it(fleet: Fleet) -> None:
    fleet.set_cameras([camera()])
    fleet.introduce(request(instance="a"))
    carry_out(fleet)
    assert [item.camera.camera_id for item in fleet.assignments_of("w1", "a")] == ["door"]
    fleet.introduce(request(instance="b"))
    assert fleet.assignments_of("w1", "b") == []
    carry_out(fleet, epoch=2)
    assert [item.epoch for item in fleet.assignments_of("w1", "b")] == [2]
    assert fleet.assignments_of("w1", "a") == []


def test_workers_that_are_long_gone_are_forgotten_unless_they_hold_something(fleet: Fleet, clock: Clock) -> None:
    fleet.set_cameras([camera()])
    fleet.introduce(request("w1"))
    carry_out(fleet)
    fleet.introduce(request("w2"))
    clock.now += 8 * 86_400
    fleet.introduce(request("w3"))
    assert fleet.forget_long_gone() == {"w2"}
    assert [worker.worker_id for worker in fleet.workers()] == ["w1", "w3"]
    assert fleet.workers()[1].state == WORKER_STATE_ONLINE
